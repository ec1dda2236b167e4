"""The memory in the window: a gauge in the status bar, and the ledger that it opens."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QGridLayout, QPushButton, QWidget

from studio.memory import Level
from studio.ui.parts import Banner, PlainLabel, Popover, Theme, button, label, row, set_tip
from studio.viewmodels.memory import MemoryViewModel, Part

_WIDTH = 460
_BAR = QSize(60, 4)
_ROW_HEIGHT = 24
_THICK = 8
_THIN = 1.5
"""What holds anything is seen, however little it is of the budget."""
_FILLS = {Level.NORMAL: "accent", Level.ELEVATED: "warn", Level.CRITICAL: "bad"}
_MAPPED_OPACITY = 0.45
_CACHED_OPACITY = 0.4
_KINDS = ("Its own", "Mapped from files", "Cached by the system, not counted")


class MemoryGauge(QPushButton):
    """Says how much of the budget is in use; its colour says how short memory is. A click opens the ledger."""

    def __init__(self, model: MemoryViewModel, theme: Theme) -> None:
        super().__init__()
        self.setObjectName("gauge")
        self.setFont(theme.font(12, tabular=True))  # what stands beside it stays where it is
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._model = model
        self._theme = theme
        model.changed.connect(self._show)
        theme.changed.connect(self.update)
        self._show()

    def _show(self) -> None:
        model = self._model
        self.setText(model.text)
        self.setVisible(bool(model.text))
        set_tip(self, model.tip)
        self.setAccessibleName(self.tr("Memory use: {0}").format(model.text))
        self.setAccessibleDescription(model.state)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        place = QRectF(QPoint(0, 0), _BAR)
        place.moveCenter(QRectF(self.rect()).center())
        place.moveRight(self.width() - 9)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("border2"))
        painter.drawRoundedRect(place, 2, 2)
        painter.setBrush(self._theme.color(_FILLS[self._model.level]))
        place.setWidth(max(_THIN, place.width() * self._model.fraction))
        painter.drawRoundedRect(place, 2, 2)


class MemoryPopover(Popover):
    """The ledger: one bar up to the budget line, and what it is made of, a bar for each component.

    Kept up to date while it is open.
    """

    settings_wanted = Signal()

    def __init__(self, model: MemoryViewModel, theme: Theme, parent: QWidget, gauge: QWidget) -> None:
        super().__init__(theme, parent, _WIDTH)
        self._model = model
        self._gauge = gauge
        self._rows: dict[str, _Row] = {}
        self._calm = label("", "body")
        self._short = Banner(theme)
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 6, 6, 0)
        self._grid.setHorizontalSpacing(12)
        self._grid.setVerticalSpacing(0)  # the budget line goes through two rows and must not be interrupted
        self._grid.setColumnStretch(1, 1)
        self._budget = _BudgetMark(theme)
        self._total = _PartBar(theme)
        self._grid.addWidget(self._budget, 0, 0, 1, 3)
        self._grid.addWidget(self._total, 1, 0, 1, 3)
        settings = button(self.tr("Memory settings…"), "link")
        settings.clicked.connect(self._open_settings)
        self.content.addLayout(row(self._short, margins=(0, 0, 6, 0)))
        self.content.addWidget(self._calm)
        self.content.addLayout(self._grid)
        self.content.addSpacing(4)
        self.content.addLayout(_legend(theme))
        self.content.addLayout(row(None, settings, margins=(0, 2, 0, 0)))
        self.setAccessibleName(self.tr("Memory"))
        model.changed.connect(self._show)
        self.closed.connect(self._forget)
        parent.installEventFilter(self)

    def open(self) -> None:
        """Show it above the gauge and give it the keyboard."""
        if not self.isVisible():
            self._model.set_shown(True)
            self._fill()
        self.show_beside(self._anchor(), title=self.tr("Memory"), keyboard=True)

    def toggle(self) -> None:
        """Open it, or put it away."""
        if not self.leave():
            self.open()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize and self.isVisible():
            self.move_to(self._anchor())
        return False

    def _anchor(self) -> QRect:
        return QRect(self._gauge.mapTo(self.parentWidget(), QPoint(0, 0)), self._gauge.size())

    def _open_settings(self) -> None:
        self.leave()
        self.settings_wanted.emit()

    def _forget(self) -> None:
        self._model.set_shown(False)
        for shown in self._rows.values():
            shown.remove(self._grid)
        self._rows.clear()

    def _show(self) -> None:
        if self.isVisible():
            self._fill()
            self.move_to(self._anchor())

    def _fill(self) -> None:
        model = self._model
        is_short = model.level is not Level.NORMAL or bool(model.sentence)
        in_use = self.tr("{0} in use.").format(model.text)
        self._calm.setText(in_use if is_short else f"{in_use} {model.state}")
        self._short.set_urgent(model.level is Level.CRITICAL)
        self._short.show_text(model.state if is_short else "")
        scale = max(1, model.budget_bytes, model.used_bytes)
        line = model.budget_bytes / scale
        self._budget.show_line(line, self.tr("Budget"))
        self._total.show_part(model.total, scale, line)
        for part in model.parts:
            if part.name not in self._rows:
                self._rows[part.name] = _Row(self._grid, 2 + len(self._rows), self._theme)
            self._rows[part.name].show(part, model.used_bytes)
        lines = [f"{part.name}: {part.detail}." for part in model.parts]
        self.setAccessibleDescription("\n".join([model.state, in_use, *lines]))


class _Row:
    """A component: its name, its bar, its size. Its tool tip tells the kinds of memory apart."""

    def __init__(self, grid: QGridLayout, line: int, theme: Theme) -> None:
        self._name = label("", "body")
        self._bar = _PartBar(theme)
        self._amount = label("", "body")
        grid.addWidget(self._name, line, 0)
        grid.addWidget(self._bar, line, 1)
        grid.addWidget(self._amount, line, 2, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for widget in (self._name, self._bar, self._amount):
            widget.show()  # what is hidden takes no room

    def show(self, part: Part, scale: int) -> None:
        """Show what a part holds; `scale` bytes are the whole width."""
        self._name.setText(part.name)
        self._amount.setText(part.amount)
        self._bar.show_part(part, scale)
        for widget in (self._name, self._amount):
            set_tip(widget, part.detail)

    def remove(self, grid: QGridLayout) -> None:
        """Take it out of the popover."""
        for widget in (self._name, self._bar, self._amount):
            grid.removeWidget(widget)
            widget.setParent(None)
            widget.deleteLater()


class _Ruled(QWidget):
    """A stretch of a scale, with the budget line in it unless that lies elsewhere."""

    def __init__(self, theme: Theme, height: int) -> None:
        super().__init__()
        self._theme = theme
        self._line: float | None = None
        self.setFixedHeight(height)

    def _rule(self, painter: QPainter) -> float:
        """Draw the line over the whole height; its place."""
        if self._line is None:
            return 0.0
        place = round(self._line * (self.width() - 2)) + 0.5
        painter.setPen(QPen(self._theme.color("muted"), 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(place, 0), QPointF(place, self.height()))
        return place


class _BudgetMark(_Ruled):
    """Names the budget line."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, 18)
        self._text = ""

    def show_line(self, line: float, text: str) -> None:
        """The line is at `line`, 0..1 of the width, and means `text`."""
        self._line, self._text = line, text
        self.setAccessibleName(text)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        place = self._rule(painter)
        painter.setFont(self._theme.font(11))
        painter.setPen(self._theme.color("muted"))
        aligned = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(0, 0, max(0.0, place - 6), self.height()), aligned, self._text)


class _PartBar(_Ruled):
    """A bar of up to three pieces: own memory, mapped files, files in the system's cache."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, _ROW_HEIGHT)
        self._part = Part("")
        self._scale = 1

    def show_part(self, part: Part, scale: int, line: float | None = None) -> None:
        """Show this part; `scale` bytes are the whole width, at `line` (0..1) of which the budget ends."""
        if (self._part, self._scale, self._line) != (part, scale, line):
            self._part, self._scale, self._line = part, max(1, scale), line
            self.setAccessibleName(f"{part.name}: {part.detail}")
            set_tip(self, part.detail)
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        left, top = 0.0, (self.height() - _THICK) / 2
        kinds = (self._part.private, self._part.mapped, self._part.cached)
        for held, color in zip(kinds, _colors(self._theme), strict=True):
            if held:
                width = min(max(_THIN, held / self._scale * (self.width() - 2)), self.width() - left)
                painter.fillRect(QRectF(left, top, width, _THICK), color)
                left += width
        if self._line is not None:  # what is free is part of what this bar says
            painter.fillRect(QRectF(left, top, self.width() - left, _THICK), self._theme.color("border"))
        self._rule(painter)


def _colors(theme: Theme) -> tuple[QColor, QColor, QColor]:
    """The colours of own memory, mapped files and cached files."""
    mapped, cached = theme.color("accent"), theme.color("muted")
    mapped.setAlphaF(_MAPPED_OPACITY)
    cached.setAlphaF(_CACHED_OPACITY)
    return theme.color("accent"), mapped, cached


class _Swatch(PlainLabel):
    """A spot of the colour of one kind of memory."""

    def __init__(self, theme: Theme, kind: int) -> None:
        super().__init__()
        self.setFixedSize(_THICK, _THICK)
        self._theme = theme
        self._kind = kind

    def paintEvent(self, event: QPaintEvent) -> None:
        QPainter(self).fillRect(self.rect(), _colors(self._theme)[self._kind])


def _legend(theme: Theme) -> QGridLayout:
    legend = QGridLayout()
    legend.setContentsMargins(0, 0, 6, 0)
    legend.setHorizontalSpacing(6)
    for kind, name in enumerate(_KINDS):
        legend.addWidget(_Swatch(theme, kind), 0, 2 * kind)
        legend.addWidget(label(name), 0, 2 * kind + 1)
    legend.setColumnStretch(2 * len(_KINDS), 1)
    return legend
