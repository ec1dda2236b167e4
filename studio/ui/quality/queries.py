"""The saved queries: what is asked in a run, and how many documents are judged."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import QDir, QPoint, Qt, Signal
from PySide6.QtWidgets import QFileDialog, QWidget

from studio.ui.parts import (
    ElidedLabel,
    ItemList,
    Theme,
    ask_name,
    button,
    column,
    confirm,
    forbid,
    panel,
    popup_menu,
    row,
)
from studio.ui.quality.rows import SavedQueryDelegate
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.quality import QualityViewModel, QueryRow
from studio.viewmodels.text import count


class SavedQueriesPage(QWidget):
    """Lists them, adds, renames and deletes; brings them from files and writes them to files."""

    query_wanted = Signal(str)
    """A query is to be searched."""

    def __init__(self, model: QualityViewModel, theme: Theme) -> None:
        super().__init__()
        self._model = model
        self.list = ItemList(model.queries, SavedQueryDelegate(theme, self), self.tr("Saved queries"))
        self.list.activated.connect(self._open)
        self.list.customContextMenuRequested.connect(self._open_menu)
        self.list.selectionModel().currentChanged.connect(self._show)
        self.add = button(self.tr("Add…"))
        self.rename = button(self.tr("Rename…"))
        self.delete = button(self.tr("Delete…"))
        self.load = button(self.tr("Import…"))
        self.export = button(self.tr("Export…"))
        self.add.clicked.connect(self._ask_add)
        self.rename.clicked.connect(self._ask_rename)
        self.delete.clicked.connect(self._ask_delete)
        self.load.clicked.connect(self.ask_load)
        self.export.clicked.connect(self._choose_form)
        frame = panel("listframe", column(self.list, margins=(0, 4, 2, 4)))
        hint = ElidedLabel("")
        hint.setText(self.tr("Double-click a query to search it and judge what it finds."))
        buttons = row(self.add, self.rename, self.delete, hint, self.load, self.export)
        buttons.setStretch(3, 1)
        layout = column(frame, buttons)
        layout.setStretch(0, 1)
        self.setLayout(layout)
        model.changed.connect(self._show)
        model.queries.modelReset.connect(self._show)
        model.replacing.connect(self._ask_replace)
        self._show()

    def _selected(self) -> QueryRow | None:
        item: QueryRow | None = self.list.currentIndex().data(ITEM_ROLE)
        return item

    def _show(self) -> None:
        selected = self._selected() is not None
        forbid(self._model.read_only, self.add, self.rename, self.delete, self.load)
        if not self._model.read_only:
            self.rename.setEnabled(selected)
            self.delete.setEnabled(selected)
        self.export.setEnabled(bool(self._model.queries.items))

    def _open(self) -> None:
        selected = self._selected()
        if selected is not None:
            self.query_wanted.emit(selected.query)

    def _ask_add(self) -> None:
        ask_name(
            self,
            self.tr("Add a query"),
            self.tr("Search it afterwards, and mark what answers it with Ctrl+D."),
            "",
            self.tr("Add"),
            self._model.add,
            field_name=self.tr("Query"),
        )

    def _ask_rename(self) -> None:
        item = self._selected()
        if item is not None:
            ask_name(
                self,
                self.tr("Rename the query"),
                item.query,
                item.name,
                self.tr("Rename"),
                partial(self._model.rename, item.id),
            )

    def _ask_delete(self) -> None:
        item = self._selected()
        if item is not None:
            judged = count(item.relevant + item.irrelevant, "judgment")
            confirm(
                self,
                self.tr("Delete this query?"),
                self.tr("“{0}” is forgotten, with {1}. Earlier runs keep their numbers.").format(item.title, judged),
                self.tr("Delete"),
                partial(self._model.delete, item.id),
            )

    # ------------------------------------------------------------ files

    def ask_load(self) -> None:
        """Ask for a file of queries, then for their judgments."""
        dialog = self._file_dialog(self.tr("Queries (BEIR: queries.jsonl, TREC: topics)"), QDir.homePath())
        dialog.fileSelected.connect(self._ask_qrels)
        dialog.open()

    def _ask_qrels(self, queries: str) -> None:
        folder = Path(queries).parent
        inner = folder / "qrels"
        dialog = self._file_dialog(
            self.tr("Judgments of these queries (qrels)"), str(inner if inner.is_dir() else folder)
        )
        dialog.fileSelected.connect(lambda qrels: self._model.load(Path(queries), Path(qrels)))
        dialog.open()

    def _choose_form(self) -> None:
        menu = popup_menu(self)
        menu.addAction(self.tr("BEIR (queries.jsonl, qrels.tsv)…"), partial(self._ask_folder, "beir"))
        menu.addAction(self.tr("TREC (topics, qrels)…"), partial(self._ask_folder, "trec"))
        menu.popup(self.export.mapToGlobal(QPoint(0, -menu.sizeHint().height())))

    def _ask_folder(self, form: str) -> None:
        dialog = self._file_dialog(self.tr("Folder for queries and judgments"), QDir.homePath())
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.setOption(QFileDialog.Option.ShowDirsOnly)
        dialog.fileSelected.connect(lambda folder: self._model.export(Path(folder), form))
        dialog.open()

    def _ask_replace(self, folder: Path, form: str, names: list[str]) -> None:
        confirm(
            self,
            self.tr("Replace {0}?").format(" and ".join(names)),
            self.tr("There are such files in {0}. What they hold is lost.").format(folder),
            self.tr("Replace"),
            partial(self._model.export, folder, form, replace=True),
        )

    def _file_dialog(self, title: str, folder: str) -> QFileDialog:
        dialog = QFileDialog(self, title, folder)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        return dialog

    def _open_menu(self, where: QPoint) -> None:
        index = self.list.indexAt(where)
        if not index.isValid():
            return
        self.list.setCurrentIndex(index)
        menu = popup_menu(self)
        menu.addAction(self.tr("Search it"), self._open)
        changes = [
            menu.addAction(self.tr("Rename…"), self._ask_rename),
            menu.addAction(self.tr("Delete…"), self._ask_delete),
        ]
        forbid(self._model.read_only, *changes)
        menu.popup(self.list.viewport().mapToGlobal(where))
