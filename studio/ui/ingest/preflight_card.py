"""What dropped files would take, and whether to begin."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QHideEvent, QKeyEvent, QPainter, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QSizePolicy, QWidget

from studio.ui.ingest.password_dialog import ask_password
from studio.ui.parts import ElidedLabel, Theme, button, column, forbid, label, row, set_tip
from studio.viewmodels.ingest import PreflightViewModel

_TURN_MS = 40
_TURN_DEGREES = 15


class Spinner(QWidget):
    """Turns while it is visible."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._angle = 0
        self.setFixedSize(16, 16)
        self._timer = QTimer(self)
        self._timer.setInterval(_TURN_MS)
        self._timer.timeout.connect(self._turn)

    def _turn(self) -> None:
        self._angle = (self._angle + _TURN_DEGREES) % 360
        self.update()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._timer.start()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._timer.stop()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.translate(8, 8)
        painter.rotate(self._angle)
        painter.drawPixmap(-8, -8, self._theme.pixmap("loader-circle", "accent", 16, self.devicePixelRatioF()))


class PreflightLine(QWidget):
    """One line: what is being looked at, or what was found out about files whose job began by itself."""

    def __init__(self, model: PreflightViewModel, theme: Theme) -> None:
        super().__init__()
        self._model = model
        self._spinner = Spinner(theme)
        self._text = ElidedLabel("muted")
        layout = row(self._spinner, self._text, spacing=8)
        layout.setStretch(1, 1)
        self.setLayout(layout)
        model.changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        text = self._model.looking_at if self._model.looking else self._model.note
        self._text.setText(text)
        self.setAccessibleName(text)
        self._spinner.setVisible(self._model.looking)
        self.setVisible(bool(text))


class PreflightCard(QFrame):
    """Numbers, warnings, what is left out; Enter starts, Escape leaves it."""

    left = Signal()
    """The card goes, and had the keyboard."""

    def __init__(self, model: PreflightViewModel, theme: Theme) -> None:
        super().__init__()
        self.setObjectName("preflight")
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._model = model
        self._title = ElidedLabel("title")
        self._start = button(self.tr("Start"), "primary")
        self._start.setAutoDefault(True)
        set_tip(self._start, self.tr("Start (Enter)"))
        self._cancel = button(self.tr("Cancel"))
        set_tip(self._cancel, self.tr("Leave it (Esc)"))
        self._unlock = button(self.tr("Enter password…"))
        self._unlock.clicked.connect(self._ask_password)
        self._start.clicked.connect(model.accept)
        self._cancel.clicked.connect(model.dismiss)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(28)
        self._grid.setVerticalSpacing(2)
        self._values: list[QLabel] = []
        self._news = label("")
        self._warnings = label("", "warn")
        self._skipped = label("")
        for text in (self._warnings, self._skipped, self._news):
            text.setWordWrap(True)
        head = row(self._title, self._unlock, self._cancel, self._start)
        head.setStretch(0, 1)
        facts = row(None)
        facts.insertLayout(0, self._grid)
        self.setLayout(
            column(
                head, facts, self._news, self._warnings, self._skipped, margins=(16, 12, 12, 14), spacing=8
            )
        )  # fmt: skip
        model.changed.connect(self._show)
        self._show()

    def forbid(self, reason: str) -> None:
        """Let nothing begin, and say why; "" allows it again."""
        forbid(reason, self._start)

    def _ask_password(self) -> None:
        what = self.tr("Some of the files are protected by a password.")
        ask_password(self.window(), what, self._model.unlock)

    def _show(self) -> None:
        model = self._model
        was_hidden = self.isHidden()
        self._title.setText(model.title)
        self._show_facts(model.facts)
        for widget, text in (
            (self._news, model.news),
            (self._warnings, "\n".join(model.warnings)),
            (self._skipped, model.skipped),
        ):
            widget.setText(text)
            widget.setVisible(bool(text))
        set_tip(self._skipped, model.skipped_names)
        self._unlock.setVisible(model.needs_password)
        spoken = [f"{name} {value}" for name, value in model.facts]
        self.setAccessibleName(model.title)
        said = [*spoken, *filter(None, [model.news]), *model.warnings, *filter(None, [model.skipped])]
        self.setAccessibleDescription(". ".join(said))
        had_keyboard = self.isAncestorOf(self.window().focusWidget() or self)
        self.setVisible(model.asking)
        if model.asking and was_hidden:
            self._start.setFocus()
        elif had_keyboard and not model.asking:
            self.left.emit()

    def _show_facts(self, facts: list[tuple[str, str]]) -> None:
        while len(self._values) < len(facts):
            place = len(self._values)
            self._grid.addWidget(label(facts[place][0]), 0, place)
            value = label("", "fact")
            self._grid.addWidget(value, 1, place)
            self._values.append(value)
        for value, (_, text) in zip(self._values, facts, strict=False):
            value.setText(text)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._start.isEnabled():
            self._model.accept()
        elif event.key() == Qt.Key.Key_Escape:
            self._model.dismiss()
        else:
            super().keyPressEvent(event)
