"""The generations of a knowledge base: which one answers, which can be gone back to."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QMenu, QWidget

from studio.ui.delegates import GenerationDelegate
from studio.ui.dialogs import confirm
from studio.ui.theme import Theme
from studio.ui.widgets import ItemList, button, column, label, panel, row
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.generations import GenerationRow, GenerationsViewModel
from studio.viewmodels.text import count


class GenerationsPane(QWidget):
    """Shows the list of the generations view-model."""

    def __init__(self, model: GenerationsViewModel, theme: Theme) -> None:
        super().__init__()
        self._model = model
        self._theme = theme
        self._of = label("")
        self._promote = button(self.tr(" Promote"))
        self._roll_back = button(self.tr(" Roll back"))
        self._build = button(self.tr("New generation"), "primary")
        self._promote.clicked.connect(self._promote_selected)
        self._roll_back.clicked.connect(self._roll_back_clicked)
        self._build.clicked.connect(self._ask_build)
        self._hint = label("")
        self.list = ItemList(model.rows, GenerationDelegate(theme, self), self.tr("Generations"))
        self.list.customContextMenuRequested.connect(self._open_menu)
        self.list.selectionModel().currentChanged.connect(self._show)
        head = row(label(self.tr("Generations"), "h1"), self._of, None, self._promote, self._roll_back, self._build)
        layout = column(head, self._hint, self.list, margins=(24, 20, 24, 0), spacing=14)
        self.setLayout(column(panel("page", layout), spacing=0))
        model.changed.connect(self._show)
        model.rows.modelReset.connect(self._show)
        theme.changed.connect(self._retint)
        self._retint()
        self._show()

    def _retint(self) -> None:
        self._promote.setIcon(self._theme.icon("circle-arrow-up"))
        self._roll_back.setIcon(self._theme.icon("rotate-ccw"))

    def _selected(self) -> GenerationRow | None:
        item: GenerationRow | None = self.list.currentIndex().data(ITEM_ROLE)
        return item

    def _show(self) -> None:
        model, selected = self._model, self._selected()
        chosen = selected is not None and selected.can_roll_back_to
        self._of.setText(f"of {model.kb.name}" if model.kb is not None else "")
        self._promote.setVisible(selected is not None and selected.can_promote)
        self._roll_back.setVisible(model.can_roll_back or chosen)
        self._roll_back.setText(f" Roll back to {selected.number}" if chosen and selected else self.tr(" Roll back"))
        self._build.setVisible(model.kb is not None)
        self._build.setEnabled(model.can_build)
        if model.kb is None:
            hint = self.tr("Select a knowledge base in the sidebar to see its generations.")
        elif not model.rows.items:
            hint = self.tr("Nothing is indexed yet. Drop files on the window to build the first generation.")
        else:
            hint = self.tr(
                "Each generation is an immutable index. Searches keep using the active one while another is built."
            )
        self._hint.setText(hint)

    # ------------------------------------------------------------ gestures

    def _promote_selected(self) -> None:
        selected = self._selected()
        if selected is not None and selected.can_promote:
            self._model.promote(selected.number)

    def _roll_back_clicked(self) -> None:
        selected = self._selected()
        self._model.roll_back(selected.number if selected is not None and selected.can_roll_back_to else None)

    def _ask_build(self) -> None:
        kb = self._model.kb
        if kb is not None:
            confirm(
                self,
                self.tr("Build a new generation of “{0}”?").format(kb.name),
                f"{count(kb.documents, 'document')} with {count(kb.chunks, 'passage')} are read and embedded again, "
                "with the present settings. Searches keep using the active generation until the new one is whole.",
                self.tr("Build"),
                self._model.build,
            )

    def _open_menu(self, where: QPoint) -> None:
        index = self.list.indexAt(where)
        if not index.isValid():
            return
        self.list.setCurrentIndex(index)
        item: GenerationRow = index.data(ITEM_ROLE)
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if item.can_promote:
            menu.addAction(self.tr("Promote"), partial(self._model.promote, item.number))
        if item.can_roll_back_to:
            menu.addAction(self.tr("Roll back to this"), partial(self._model.roll_back, item.number))
        if menu.isEmpty():
            menu.deleteLater()
            return
        menu.popup(self.list.viewport().mapToGlobal(where))
