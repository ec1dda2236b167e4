"""The jobs of the ingest queue, and the buttons and keys that steer them."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRectF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence, QPainter
from PySide6.QtWidgets import QWidget

from studio.domain import JobState
from studio.ui.ingest.file_rows import QueueDelegate
from studio.ui.parts import (
    DEMI_BOLD,
    Banner,
    Index,
    ItemList,
    RowState,
    Theme,
    ask_keep,
    column,
    confirm,
    forbid,
    label,
    popup_menu,
    row,
    set_tip,
    tool_button,
)
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.ingest import JobRow, JobsViewModel, Tone
from studio.viewmodels.text import count

_ROWS_SHOWN = 3


class JobDelegate(QueueDelegate):
    """A job: for which knowledge base, what of, how it stands."""

    height = 54

    def paint_row(self, painter: QPainter, rect: QRectF, state: RowState, index: Index) -> None:
        item: JobRow = index.data(ITEM_ROLE)
        self.ground(painter, rect, state)
        self.mark(painter, rect, item.tone)
        left, width = rect.left() + 46, rect.width() - 46 - self.ending_width(item.tone)
        line = QRectF(left, rect.top() + 7, width, 18)
        taken = self.text(painter, line, item.name, self.theme.font(13, DEMI_BOLD), "text")
        line.setLeft(left + taken + 8)
        self.text(painter, line, item.subject, self.theme.font(13), "text2")
        ink = "bad" if item.tone is Tone.BAD else "muted"
        detail = QRectF(left, rect.top() + 27, width, 18)
        self.text(painter, detail, item.detail, self.theme.font(12, tabular=True), ink)
        self.ending(painter, rect, item.tone, item.badge, item.fraction)
        self.rule(painter, rect)


class _Rows(ItemList):
    """Delete and Alt with the arrows act on the current job."""

    delete_wanted = Signal()
    move_wanted = Signal(int)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}
        if event.modifiers() & Qt.KeyboardModifier.AltModifier and event.key() in steps:
            self.move_wanted.emit(steps[Qt.Key(event.key())])
        elif event.matches(QKeySequence.StandardKey.Delete):
            self.delete_wanted.emit()
        else:
            super().keyPressEvent(event)


class JobList(QWidget):
    """Shows the jobs view-model; hidden while there is no job."""

    def __init__(self, model: JobsViewModel, theme: Theme) -> None:
        super().__init__()
        self._model = model
        self._theme = theme
        self._read_only = ""
        self._chosen = ""
        self.list = _Rows(model.rows, JobDelegate(theme, self), self.tr("Jobs"))
        self._pause = tool_button(self.tr("Pause the job"))
        self._up = tool_button(self.tr("Move the job up"), "Alt+Up")
        self._down = tool_button(self.tr("Move the job down"), "Alt+Down")
        self._retry = tool_button(self.tr("Retry the job"))
        self._cancel = tool_button(self.tr("Cancel the job"), "Del")
        self._pause.clicked.connect(self._pause_or_resume)
        self._up.clicked.connect(lambda: self._move(-1))
        self._down.clicked.connect(lambda: self._move(1))
        self._retry.clicked.connect(self._retry_current)
        self._cancel.clicked.connect(self._cancel_current)
        self.list.move_wanted.connect(self._move)
        self.list.delete_wanted.connect(self._delete_waiting)
        self.list.customContextMenuRequested.connect(self._open_menu)
        self.list.selectionModel().currentChanged.connect(self._choose)
        self._fault = Banner(theme, self.tr("Resume"))
        self._fault.acted.connect(self._go_on)
        head = row(
            label(self.tr("JOBS"), "section"), None, self._retry, self._pause, self._up, self._down, self._cancel,
            spacing=2,
        )  # fmt: skip
        self.setLayout(column(head, self.list, self._fault, spacing=6))
        model.changed.connect(self._show)
        theme.changed.connect(self._retint)
        self._retint()
        self._show()

    def forbid(self, reason: str) -> None:
        """Let nothing be changed, and say why; "" allows it again."""
        self._read_only = reason
        self._show_actions()

    @property
    def current(self) -> JobRow | None:
        """The job the buttons act on."""
        item: JobRow | None = self.list.currentIndex().data(ITEM_ROLE)
        return item

    def _retint(self) -> None:
        self._up.setIcon(self._theme.icon("chevron-up"))
        self._down.setIcon(self._theme.icon("chevron-down"))
        self._retry.setIcon(self._theme.icon("rotate-ccw"))
        self._cancel.setIcon(self._theme.icon("x"))
        self._show_actions()

    def _show(self) -> None:
        rows = len(self._model.rows.items)
        self.setVisible(rows > 0)
        self.list.setFixedHeight(max(1, min(rows, _ROWS_SHOWN)) * JobDelegate.height)
        if rows:
            self._stay()
        self._show_actions()

    def _stay(self) -> None:
        """Keep the current job current where it went; when it is gone, what took its place or the first."""
        ids = [item.job.id for item in self._model.rows.items]
        place = ids.index(self._chosen) if self._chosen in ids else max(0, self.list.current_row())
        self._chosen = ids[place]
        self.list.set_current_row(place)

    def _choose(self) -> None:
        if (item := self.current) is not None:
            self._chosen = item.job.id
        self._show_actions()

    @property
    def _stopped(self) -> JobRow | None:
        """The job whose fault is shown: the current one, else the first that waits for a decision, failed or kept."""
        rows = [item for item in (self.current, *self._model.rows.items) if item is not None]
        return next((item for item in rows if item.tone in (Tone.WARN, Tone.BAD)), None)

    def _show_fault(self) -> None:
        item = self._stopped
        if item is None:
            self._fault.show_text("")
            return
        way_out = self.tr("Resume") if item.job.state is JobState.PAUSED else self.tr("Retry")
        if item.held:
            way_out = self.tr("Remove {0}").format(count(item.held, "document"))
        self._fault.show_text(f"{item.name}: {item.fault}", way_out)

    def _go_on(self) -> None:
        if (item := self._stopped) is None:
            return
        if item.held:
            documents = count(item.held, "document")
            confirm(
                self.window(),
                self.tr("Remove {0} from “{1}”?").format(documents, item.name),
                self.tr(
                    "Their files are not where they were. The generation before can be gone back to while it is kept."
                ),
                self.tr("Remove"),
                lambda: self._model.remove_kept(item),
            )
        else:
            (self._model.resume if item.job.state is JobState.PAUSED else self._model.retry)(item.job)

    def _show_actions(self) -> None:
        item = self.current
        state = item.job.state if item is not None else None
        paused = state is JobState.PAUSED
        said = self.tr("Resume the job") if paused else self.tr("Pause the job")
        self._pause.setIcon(self._theme.icon("play" if paused else "pause"))
        self._pause.setAccessibleName(said)
        set_tip(self._pause, said)
        busy = item is not None and item.job.wish in ("cancel", "finish")
        open_job = state is not None and not state.ended and not busy
        self._pause.setEnabled(open_job)
        for control, step in ((self._up, -1), (self._down, 1)):
            control.setEnabled(item is not None and open_job and self._model.can_move(item.job, step))
            control.setVisible(len(self._model.rows.items) > 1)
        self._cancel.setEnabled(state is not None and not busy)
        self._retry.setVisible(state is JobState.FAILED)
        forbid(self._read_only, self._pause, self._up, self._down, self._cancel, self._retry)
        self._show_fault()
        self._fault.forbid(self._read_only)

    # ------------------------------------------------------------ gestures

    def _pause_or_resume(self) -> None:
        if (item := self.current) is not None:
            (self._model.resume if item.job.state is JobState.PAUSED else self._model.pause)(item.job)

    def _move(self, step: int) -> None:
        if (item := self.current) is not None and not self._read_only:
            self._model.move(item.job, step)

    def _retry_current(self) -> None:
        if (item := self.current) is not None:
            self._model.retry(item.job)

    def _cancel_current(self) -> None:
        if (item := self.current) is not None:
            self._cancel_job(item)

    def _cancel_job(self, item: JobRow) -> None:
        """Cancel a job; where a part of it is finished, ask what becomes of that."""
        model, job, through = self._model, item.job, self._model.finished_files(item.job)
        if not through:
            model.cancel_job(job)
            return
        ask_keep(
            self.window(),
            self.tr("Cancel “{0}”?").format(item.name),
            self.tr("{0} of this job are finished. Kept, they become searchable; the others are not read.").format(
                count(through, "file")
            ),
            lambda: model.cancel_job(job, keep=True),
            lambda: model.cancel_job(job),
        )

    def _delete_waiting(self) -> None:
        """One key must not throw away what a running job has done."""
        item = self.current
        if item is not None and item.job.state is not JobState.RUNNING and self._cancel.isEnabled():
            self._cancel_job(item)

    def _open_menu(self, where: QPoint) -> None:
        index = self.list.indexAt(where)
        if not index.isValid():
            return
        self.list.setCurrentIndex(index)
        menu = popup_menu(self)
        for control, text, call in (
            (self._retry, self.tr("Retry"), self._retry_current),
            (self._pause, self._pause.accessibleName(), self._pause_or_resume),
            (self._up, self.tr("Move up\tAlt+Up"), lambda: self._move(-1)),
            (self._down, self.tr("Move down\tAlt+Down"), lambda: self._move(1)),
            (self._cancel, self.tr("Cancel"), self._cancel_current),
        ):
            if control.isVisible():
                action = menu.addAction(text, call)
                action.setEnabled(control.isEnabled())
        menu.popup(self.list.viewport().mapToGlobal(where))
