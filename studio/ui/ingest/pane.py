"""The ingest: a place to drop files on, and the queue."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import QPoint, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QStackedWidget, QWidget

from studio.ui.ingest.failures_list import FailuresList
from studio.ui.ingest.file_rows import QueueDelegate
from studio.ui.ingest.job_list import JobList
from studio.ui.ingest.password_dialog import ask_password, protected
from studio.ui.ingest.preflight_card import PreflightCard, PreflightLine
from studio.ui.parts import (
    Banner,
    DropZone,
    ElidedLabel,
    ItemList,
    Theme,
    button,
    column,
    forbid,
    label,
    panel,
    popup_menu,
    reveal,
    row,
    segmented,
    set_flag,
)
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.ingest import QueueRow, Tone, is_locked
from studio.viewmodels.workspace import Workspace

FILES, FAILED = range(2)


class IngestPane(QWidget):
    """Where files go in: the drop zone, what was looked at, the jobs, their files, and what could not be indexed."""

    copied = Signal(str)
    generations_wanted = Signal(str)
    """Show the generations of the knowledge base of this id."""
    memory_wanted = Signal()
    """Show who holds the memory."""

    def __init__(self, workspace: Workspace, theme: Theme) -> None:
        super().__init__()
        self._model = model = workspace.ingest
        self._preflight = workspace.preflight
        self._theme = theme
        self._target = label("")
        self._clear = button(self.tr("Clear finished"))
        self._resume = button(self.tr(" Resume all"))
        self._pause = button(self.tr(" Pause all"))
        self._clear.clicked.connect(model.clear_finished)
        self._pause.clicked.connect(model.jobs.pause_all)
        self._resume.clicked.connect(model.jobs.resume_all)
        self.drop = DropZone(theme, self.tr("Drop PDFs, Markdown or folders here"))
        self.drop.chosen.connect(lambda paths: workspace.take(paths))
        self.line = PreflightLine(workspace.preflight, theme)
        self.card = PreflightCard(workspace.preflight, theme)
        self.held = Banner(theme, self.tr("Show generations"))
        self.held.acted.connect(lambda: self.generations_wanted.emit(model.held_kb))
        self.paused = Banner(theme, self.tr("Show memory"))
        self.paused.acted.connect(self.memory_wanted)
        self.jobs = JobList(model.jobs, theme)
        self._files = button(self.tr("Files"), "segment")
        self._failed = button(self.tr("Could not be indexed"), "segment")
        for number, tab in enumerate((self._files, self._failed)):
            tab.setCheckable(True)
            tab.setAutoExclusive(True)
            tab.clicked.connect(partial(self.show_list, number))
        self._summary = ElidedLabel("muted")
        self.queue = ItemList(model.queue, QueueDelegate(theme, self), self.tr("Ingest queue"))
        self.card.left.connect(self.queue.setFocus)
        self.queue.customContextMenuRequested.connect(self._open_menu)
        self.failures = FailuresList(workspace.failures, theme)
        self.failures.copied.connect(self.copied)
        self._lists = QStackedWidget()
        self._lists.addWidget(self.queue)
        self._lists.addWidget(self.failures)
        head = row(label(self.tr("Ingest"), "h1"), self._target, None, self._clear, self._resume, self._pause)
        between = row(segmented(self.tr("Lists"), self._files, self._failed), self._summary, spacing=12)
        between.setStretch(1, 1)
        self._between = QWidget()
        self._between.setLayout(between)
        head_frame = QWidget()
        head_frame.setLayout(head)
        head_frame.setFixedHeight(32)  # the same with and without buttons in it
        layout = column(
            head_frame, self.drop, self.line, self.card, self.paused, self.held, self.jobs, self._between, self._lists,
            margins=(24, 20, 24, 0), spacing=12,
        )  # fmt: skip
        layout.setStretch(layout.indexOf(self._lists), 1)
        self.setLayout(column(panel("page", layout), spacing=0))
        for changed in (model.changed, workspace.preflight.changed):
            changed.connect(self._show)
        workspace.memory.changed.connect(lambda: self.paused.show_text(workspace.memory.pause))
        self._failures = workspace.failures
        workspace.failures.changed.connect(self._show)
        theme.changed.connect(self._retint)
        self.show_list(FILES)
        self._retint()
        self._show()

    def show_list(self, number: int) -> None:
        """Show the files (FILES) or what could not be indexed (FAILED)."""
        self._lists.setCurrentIndex(number)
        (self._files, self._failed)[number].setChecked(True)

    def leave(self) -> bool:
        """Put away what was looked at, if anything was; whether there was."""
        waits = self._preflight.offer is not None
        self._preflight.dismiss()
        return waits

    def _retint(self) -> None:
        self._pause.setIcon(self._theme.icon("pause"))
        self._resume.setIcon(self._theme.icon("play"))

    def _show(self) -> None:
        model, failed = self._model, len(self._failures.rows.items)
        self._target.setText(model.target)
        self._summary.setText("" if model.jobs.rows.items else model.summary)  # the jobs say it themselves
        self.held.show_text(model.held)
        for part in (self.drop, self.card, self.jobs, self.failures):
            part.forbid(model.read_only)
        forbid(model.read_only, self._pause, self._resume)
        self.drop.set_low(bool(model.jobs.rows.items) or self._preflight.asking)
        self._files.setText(self.tr("Documents") if model.shows_documents else self.tr("Files"))
        said = self.tr("Could not be indexed")
        self._failed.setText(f"{said}  {failed:,}" if failed else said)
        set_flag(self._failed, "bad", "true" if failed else "false")
        self._between.setVisible(bool(model.queue.items) or model.running or failed > 0)
        self._clear.setVisible(model.has_finished)
        self._pause.setVisible(model.jobs.can_pause)
        self._resume.setVisible(model.jobs.can_resume)

    def _open_menu(self, where: QPoint) -> None:
        index = self.queue.indexAt(where)
        if not index.isValid():
            return
        item = index.data(ITEM_ROLE)
        menu = popup_menu(self)
        menu.addAction(self.tr("Open folder"), lambda: reveal(Path(item.path), self))
        menu.addAction(self.tr("Copy path"), lambda: self._copy(item.path, self.tr("Path copied")))
        if item.tone is Tone.BAD:
            reason = f"{item.path}: {item.detail}"
            menu.addAction(self.tr("Copy reason"), lambda: self._copy(reason, self.tr("Reason copied")))
            changes = [menu.addAction(self.tr("Retry"), lambda: self._failures.retry([item]))]
            if is_locked(item):
                changes.append(menu.addAction(self.tr("Enter password…"), partial(self._unlock, item)))
            forbid(self._model.read_only, *changes)
        menu.popup(self.queue.viewport().mapToGlobal(where))

    def _unlock(self, item: QueueRow) -> None:
        ask_password(self.window(), protected([item.name]), partial(self._failures.retry, [item]))

    def _copy(self, text: str, said: str) -> None:
        QGuiApplication.clipboard().setText(text)
        self.copied.emit(said)
