"""Small widgets and layout helpers the panes share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from PySide6.QtCore import QAbstractItemModel, QEvent, QModelIndex, QObject, QPersistentModelIndex, QSize, Qt, Signal
from PySide6.QtGui import QAction, QKeyEvent, QKeySequence, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QAbstractSpinBox,
    QBoxLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QLineEdit,
    QListView,
    QMenu,
    QPlainTextEdit,
    QPushButton,
    QSizePolicy,
    QStyledItemDelegate,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from studio.ui.parts.plain_text import PlainLabel, restore_tip, set_tip
from studio.ui.parts.theme import Theme

ModelIndex = QModelIndex | QPersistentModelIndex
Item = QWidget | QLayout | int | None
Margins = tuple[int, int, int, int]
_Box = TypeVar("_Box", bound=QBoxLayout)
_WINDOW_KEYS = (Qt.Key.Key_K, Qt.Key.Key_L, Qt.Key.Key_D, Qt.Key.Key_E)


def row(*items: Item, margins: Margins = (0, 0, 0, 0), spacing: int = 8) -> QHBoxLayout:
    """A horizontal layout; None stretches, a number is a gap in pixels."""
    return _fill(QHBoxLayout(), items, margins, spacing)


def column(*items: Item, margins: Margins = (0, 0, 0, 0), spacing: int = 8) -> QVBoxLayout:
    """A vertical layout; None stretches, a number is a gap in pixels."""
    return _fill(QVBoxLayout(), items, margins, spacing)


def _fill(layout: _Box, items: tuple[Item, ...], margins: Margins, spacing: int) -> _Box:
    layout.setContentsMargins(*margins)
    layout.setSpacing(spacing)
    for item in items:
        if item is None:
            layout.addStretch()
        elif isinstance(item, int):
            layout.addSpacing(item)
        elif isinstance(item, QWidget):
            layout.addWidget(item)
            if item.objectName() in ("kbd", "genchip"):
                layout.setAlignment(item, Qt.AlignmentFlag.AlignVCenter)  # else its background fills the row
        else:
            layout.addLayout(item)
    return layout


def panel(style: str, layout: QLayout) -> QWidget:
    """A plain widget with a background from the style sheet."""
    widget = QWidget()
    widget.setObjectName(style)
    widget.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
    widget.setLayout(layout)
    return widget


def label(text: str, style: str = "muted") -> QLabel:
    """A label in one of the styles of the style sheet; never takes its text for markup."""
    widget = PlainLabel(text)
    widget.setObjectName(style)
    return widget


def button(text: str, style: str = "ghost") -> QPushButton:
    """A push button in one of the styles of the style sheet, reachable with Tab."""
    widget = QPushButton(text)
    widget.setObjectName(style)
    widget.setCursor(Qt.CursorShape.PointingHandCursor)
    return widget


def tool_button(name: str, shortcut: str = "") -> QToolButton:
    """An icon-only button whose name is both tool tip and accessible name."""
    widget = QToolButton()
    set_tip(widget, f"{name} ({shortcut})" if shortcut else name)
    widget.setAccessibleName(name)
    widget.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return widget


def number_field(field: QAbstractSpinBox, name: str) -> None:
    """Give a spin box its name and the room at its left that other fields have."""
    field.setAccessibleName(name)
    inner = field.findChild(QLineEdit)
    if inner is not None:
        inner.setTextMargins(6, 0, 0, 0)  # the style sheet's padding does not reach it


def segmented(name: str, *segments: QPushButton) -> QFrame:
    """Buttons of which one is down, as one control."""
    frame = QFrame()
    frame.setObjectName("segmented")
    frame.setAccessibleName(name)
    frame.setFixedHeight(36)
    frame.setLayout(row(*segments, margins=(3, 3, 3, 3), spacing=2))
    return frame


def popup_menu(parent: QWidget) -> QMenu:
    """An empty menu that goes when it closes and shows the tool tips of its actions."""
    menu = QMenu(parent)
    menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    menu.setToolTipsVisible(True)
    return menu


def forbid(reason: str, *controls: QWidget | QAction) -> None:
    """Disable controls that change something, with the reason as tool tip; "" gives back what was taken."""
    for control in controls:
        allowed_tip = control.property("allowed_tip")
        if reason:
            if allowed_tip is None:
                control.setProperty("allowed_tip", control.toolTip())
            set_tip(control, reason)
            control.setEnabled(False)
        elif allowed_tip is not None:
            control.setProperty("allowed_tip", None)
            restore_tip(control, allowed_tip)
            control.setEnabled(True)


def set_flag(widget: QWidget, name: str, value: object) -> None:
    """Set a property the style sheet looks at, and have it look again."""
    if widget.property(name) != value:
        widget.setProperty(name, value)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


class ElidedLabel(PlainLabel):
    """One line that gives way: the end is cut off, the whole text is the tool tip."""

    def __init__(self, style: str) -> None:
        super().__init__()
        self.setObjectName(style)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def setText(self, text: str) -> None:
        super().setText(text)
        set_tip(self, text)

    def minimumSizeHint(self) -> QSize:
        return QSize(40, super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, self.width())
        painter.drawText(self.rect(), self.alignment(), text)


class WindowKeys(QObject):
    """Leaves keys of the window to the window that a text field would take for itself.

    A field claims Copy also when nothing is selected, and on X11 Ctrl+K (delete to the end of the line), Ctrl+D
    (delete) and Ctrl+E (end of the line).
    """

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            if isinstance(watched, QLineEdit):
                selected = watched.hasSelectedText()
            else:
                selected = isinstance(watched, QPlainTextEdit) and watched.textCursor().hasSelection()
            copies_nothing = event.matches(QKeySequence.StandardKey.Copy) and not selected
            control = event.modifiers() == Qt.KeyboardModifier.ControlModifier
            if copies_nothing or (control and event.key() in _WINDOW_KEYS):
                event.ignore()
                return True
        return False


class ItemList(QListView):
    """A list of painted rows. Enter activates the current row."""

    def __init__(self, model: QAbstractItemModel, delegate: QStyledItemDelegate, name: str) -> None:
        super().__init__()
        self.setModel(model)
        self.setItemDelegate(delegate)
        self.setAccessibleName(name)
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.verticalScrollBar().setSingleStep(24)

    def current_row(self) -> int:
        """The current row, -1 for none."""
        return self.currentIndex().row()

    def set_current_row(self, row: int) -> None:
        """Make a row current; -1 for none."""
        self.setCurrentIndex(self.model().index(row, 0))

    def dataChanged(self, first: ModelIndex, last: ModelIndex, roles: Sequence[int] = ()) -> None:
        if self.uniformItemSizes():
            # The list's own version lays all rows out again: 20 ms for 40,000 rows, at every step of a job.
            QAbstractItemView.dataChanged(self, first, last, list(roles))
        else:
            super().dataChanged(first, last, list(roles))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self.activated.emit(self.currentIndex())
            return
        super().keyPressEvent(event)


class Banner(QFrame):
    """A line that says what is not as it should be, until it is; with a button for the way out, if it has a name."""

    acted = Signal()

    def __init__(self, theme: Theme, action: str = "") -> None:
        super().__init__()
        self.setObjectName("banner")
        self._theme = theme
        self._color = "warn"
        self._icon = PlainLabel()
        self._text = label("", "bannertext")
        self._text.setWordWrap(True)
        layout = row(self._icon, self._text, margins=(12, 7, 12, 7), spacing=8)
        layout.setStretch(1, 1)
        self._way_out = button(action, "link") if action else None
        if self._way_out is not None:
            self._way_out.clicked.connect(self.acted)
            layout.addWidget(self._way_out)
        self.setLayout(layout)
        theme.changed.connect(self._retint)
        self._retint()
        self.hide()

    def show_text(self, text: str, action: str = "") -> None:
        """Say this, or hide when there is nothing to say; `action` is another name for the button."""
        self._text.setText(text)
        if action and self._way_out is not None:
            self._way_out.setText(action)
        self.setAccessibleName(text)
        self.setVisible(bool(text))

    def set_urgent(self, urgent: bool) -> None:
        """Red while it is urgent, amber while it is not."""
        kind = "bad" if urgent else ""
        set_flag(self, "kind", kind)
        set_flag(self._text, "kind", kind)  # what is inside looks only when a property of its own changes
        self._color = "bad" if urgent else "warn"
        self._retint()

    def forbid(self, reason: str) -> None:
        """Take the way out away, and say why; "" gives it back."""
        if self._way_out is not None:
            forbid(reason, self._way_out)

    def _retint(self) -> None:
        self._icon.setPixmap(self._theme.pixmap("triangle-alert", self._color, 16, self.devicePixelRatioF()))
