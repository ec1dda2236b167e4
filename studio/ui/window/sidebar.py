"""The sidebar: the panes, the knowledge bases, settings and theme."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetricsF, QPainter, QPen
from PySide6.QtWidgets import QButtonGroup, QFileDialog, QPushButton, QWidget

from studio.domain import KnowledgeBase
from studio.ui.parts import (
    MEDIUM,
    RIGHT,
    Index,
    PlainLabel,
    RowDelegate,
    RowState,
    Theme,
    ask_name,
    button,
    column,
    confirm,
    forbid,
    label,
    panel,
    popup_menu,
    row,
    set_tip,
    tool_button,
)
from studio.ui.window.drops import SourceList
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.library import LibraryViewModel, SourceRow
from studio.viewmodels.text import count, size

PANES = (("search", "Search"), ("file-up", "Ingest"), ("layers", "Generations"), ("dots-range", "Quality"))


class Sidebar(QWidget):
    """Chooses the pane and the knowledge base."""

    pane_chosen = Signal(int)
    settings_wanted = Signal()
    theme_toggled = Signal()
    import_wanted = Signal()
    export_wanted = Signal(object)
    """The knowledge base to write to a file."""
    files_given = Signal(list, object)
    """(paths, id of the knowledge base they were dropped on or chosen for, None for all sources)."""
    watched_wanted = Signal(object)
    """The knowledge base whose watched folders are to be shown."""

    def __init__(self, library: LibraryViewModel, theme: Theme) -> None:
        super().__init__()
        self.setFixedWidth(248)
        self._library = library
        self._theme = theme
        self._brand = PlainLabel()
        self._panes = QButtonGroup(self)
        navigation: list[QPushButton] = []
        for number, (_, name) in enumerate(PANES):
            entry = button(f"  {name}", "nav")
            entry.setAccessibleName(name)
            set_tip(entry, f"{name} (Ctrl+{number + 1})")
            entry.setCheckable(True)
            entry.setIconSize(QSize(18, 18))
            entry.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            entry.clicked.connect(partial(self.pane_chosen.emit, number))
            self._panes.addButton(entry, number)
            navigation.append(entry)
        self.list = SourceList(library.sources, SourceDelegate(theme, self), self.tr("Knowledge bases"), theme)
        self._add = tool_button(self.tr("New knowledge base"))
        self._import = tool_button(self.tr("Import a knowledge base"))
        self._settings = tool_button(self.tr("Settings"), "Ctrl+,")
        self._toggle = tool_button(self.tr("Switch between light and dark"))
        brand = row(self._brand, label("RAG Studio", "brand"), None, margins=(18, 16, 12, 10), spacing=9)
        heading = row(
            label(self.tr("KNOWLEDGE BASES"), "section"),
            None,
            self._import,
            self._add,
            margins=(18, 0, 10, 0),
            spacing=2,
        )
        foot = row(self._settings, self._toggle, None, margins=(12, 4, 12, 10), spacing=2)
        panes = column(*navigation, margins=(8, 0, 8, 0), spacing=2)
        body = column(brand, panes, 14, heading, self.list, foot, spacing=2)
        self.setLayout(column(panel("sidebar", body), spacing=0))

        self.list.selectionModel().currentChanged.connect(self._row_chosen)
        self.list.dropped.connect(self._take)
        self.list.customContextMenuRequested.connect(self._open_menu)
        self._add.clicked.connect(self.create)
        self._import.clicked.connect(self.import_wanted)
        self._settings.clicked.connect(self.settings_wanted)
        self._toggle.clicked.connect(self.theme_toggled)
        library.changed.connect(self._show_selection)
        library.selection_changed.connect(self._show_selection)
        library.writability_changed.connect(self._show_writability)
        theme.changed.connect(self._retint)
        self._retint()
        self._show_writability()
        self._show_selection()

    def set_pane(self, number: int) -> None:
        """Mark a pane as the one that is shown."""
        self._panes.button(number).setChecked(True)

    def _retint(self) -> None:
        ratio = self.devicePixelRatioF()
        self._brand.setPixmap(self._theme.pixmap("book-open", "accent", 20, ratio))
        for number, (icon, _) in enumerate(PANES):
            self._panes.button(number).setIcon(self._theme.icon(icon, "muted", checked="accent", size=18))
        self._add.setIcon(self._theme.icon("plus"))
        self._import.setIcon(self._theme.icon("download"))
        self._settings.setIcon(self._theme.icon("settings"))
        self._toggle.setIcon(self._theme.icon("sun" if self._theme.dark else "moon"))

    def _show_selection(self) -> None:
        if self.list.current_row() != self._library.selected_row:
            self.list.set_current_row(self._library.selected_row)

    def _show_writability(self) -> None:
        forbid(self._library.read_only, self._add, self._import)

    def _row_chosen(self) -> None:
        source = self.list.currentIndex().data(ITEM_ROLE)
        if source is not None:
            self._library.select(source.kb.id if source.kb is not None else None)

    # ------------------------------------------------------------ gestures

    def _take(self, paths: list[Path], source: SourceRow | None) -> None:
        """Files dropped on a row are for its knowledge base; the selection has no say in it."""
        if source is not None and source.kb is None:
            self._library.select(None)
        self.files_given.emit(paths, source.kb.id if source is not None and source.kb is not None else None)

    def choose_files(self, kb_id: str) -> QFileDialog:
        """Pick files to add to a knowledge base: what a drop on its row does, for the keyboard."""
        dialog = QFileDialog(self, self.tr("Choose files to index"))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFiles)
        dialog.filesSelected.connect(lambda names: self.files_given.emit([Path(name) for name in names], kb_id))
        dialog.open()
        return dialog

    def create(self) -> None:
        """Ask for a name and create a knowledge base."""
        ask_name(
            self,
            self.tr("New knowledge base"),
            self.tr("A knowledge base holds the documents you search together."),
            "",
            self.tr("Create"),
            self._library.create,
        )

    def rename(self) -> None:
        """Ask for another name for the selected knowledge base."""
        kb = self._library.selected
        if kb is not None:
            ask_name(
                self,
                self.tr("Rename knowledge base"),
                "",
                kb.name,
                self.tr("Rename"),
                partial(self._library.rename, kb.id),
            )

    def delete(self) -> None:
        """Ask whether the selected knowledge base may go, saying what that costs."""
        kb = self._library.selected
        if kb is not None:
            confirm(
                self,
                self.tr("Delete “{0}”?").format(kb.name),
                delete_cost(kb),
                self.tr("Delete"),
                partial(self._library.delete, kb.id),
            )

    def _open_menu(self, where: QPoint) -> None:
        index = self.list.indexAt(where)
        menu = popup_menu(self)
        changes = [
            menu.addAction(self.tr("New knowledge base…"), self.create),
            menu.addAction(self.tr("Import…"), self.import_wanted.emit),
        ]
        source = index.data(ITEM_ROLE) if index.isValid() else None
        if source is not None and source.kb is not None:
            self.list.setCurrentIndex(index)
            menu.addSeparator()
            changes.append(menu.addAction(self.tr("Add files…"), partial(self.choose_files, source.kb.id)))
            export = menu.addAction(self.tr("Export…"), partial(self.export_wanted.emit, source.kb))
            export.setEnabled(source.kb.active_generation is not None)
            menu.addAction(self.tr("Watched folders…"), partial(self.watched_wanted.emit, source.kb))
            changes.append(menu.addAction(self.tr("Rename…\tF2"), self.rename))
            changes.append(menu.addAction(self.tr("Delete…"), self.delete))
        forbid(self._library.read_only, *changes)
        menu.popup(self.list.viewport().mapToGlobal(where))


def delete_cost(kb: KnowledgeBase) -> str:
    """What deleting a knowledge base means, in words."""
    held = f"{count(kb.documents, 'document')}, {count(kb.chunks, 'passage')} and {size(kb.size_bytes)} of index"
    return (
        f"{held} are removed, with all its generations. This cannot be undone; indexing the files again takes the "
        "time it took before. The files themselves stay where they are."
    )


class SourceDelegate(RowDelegate):
    """A knowledge base in the sidebar."""

    height = 34

    def paint_row(self, painter: QPainter, rect: QRectF, state: RowState, index: Index) -> None:
        item: SourceRow = index.data(ITEM_ROLE)
        rect = rect.adjusted(8, 1, -8, -1)
        if state.selected or state.hovered:
            ring = state.focused and state.selected
            painter.setPen(QPen(self.theme.color("accent")) if ring else Qt.PenStyle.NoPen)
            painter.setBrush(self.theme.color("soft" if state.selected else "hover"))
            painter.drawRoundedRect(rect.adjusted(0.5, 0.5, -0.5, -0.5), 7, 7)
        ink = "softtext" if state.selected else "text"
        icon = "library" if item.kb is None else "database"
        self.icon(painter, rect.left() + 9, rect.center().y() - 8, icon, "softtext" if state.selected else "text2")
        counted = self.theme.font(12, tabular=True)
        self.text(painter, rect.adjusted(0, 0, -10, 0), item.count, counted, "muted", RIGHT)
        room = rect.adjusted(34, 0, -20 - QFontMetricsF(counted).horizontalAdvance(item.count), 0)
        self.text(painter, room, item.name, self.theme.font(13, MEDIUM), ink)
