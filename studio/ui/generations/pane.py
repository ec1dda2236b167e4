"""The generations of a knowledge base: which one answers, which can be gone back to, and what can be done with them."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QPoint, Signal
from PySide6.QtWidgets import QWidget

from studio.ui.generations.cleanup_dialog import CleanupDialog
from studio.ui.generations.compare_dialog import CompareDialog
from studio.ui.generations.gate_dialog import GateDialog
from studio.ui.generations.rows import GenerationDelegate
from studio.ui.parts import ItemList, Theme, ask_name, button, column, confirm, forbid, label, panel, popup_menu, row
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.generations import GenerationRow
from studio.viewmodels.text import count
from studio.viewmodels.workspace import Workspace


class GenerationsPane(QWidget):
    """Shows the list of the generations view-model."""

    export_wanted = Signal(object, int)
    """(knowledge base, number of the generation) to write to a file."""

    def __init__(self, workspace: Workspace, theme: Theme) -> None:
        super().__init__()
        self._workspace = workspace
        self._model = model = workspace.generations
        self._theme = theme
        self._compare_dialog: CompareDialog | None = None
        self._of = label("")
        self._promote = button(self.tr(" Promote"))
        self._roll_back = button(self.tr(" Roll back"))
        self._go_forward = button(self.tr(" Go forward"))
        self._build = button(self.tr("New generation"), "primary")
        self._pins = button(self.tr("Pinned queries…"), "link")
        self._clean_up = button(self.tr("Clean up…"), "link")
        self._promote.clicked.connect(self._promote_selected)
        self._roll_back.clicked.connect(self._roll_back_clicked)
        self._go_forward.clicked.connect(self._go_forward_clicked)
        self._build.clicked.connect(self._ask_build)
        self._pins.clicked.connect(self.open_pins)
        self._clean_up.clicked.connect(self.open_clean_up)
        self._hint = label("")
        self._hint.setWordWrap(True)
        self.list = ItemList(model.rows, GenerationDelegate(theme, self), self.tr("Generations"))
        self.list.setUniformItemSizes(False)  # one that is held back says why
        self.list.customContextMenuRequested.connect(self._open_menu)
        self.list.selectionModel().currentChanged.connect(self._show)
        head = row(
            label(self.tr("Generations"), "h1"), self._of, None,
            self._promote, self._roll_back, self._go_forward, self._build,
        )  # fmt: skip
        below = row(self._hint, self._pins, self._clean_up, spacing=4)
        below.setStretch(0, 1)
        layout = column(head, below, self.list, margins=(24, 20, 24, 0), spacing=14)
        self.setLayout(column(panel("page", layout), spacing=0))
        model.changed.connect(self._show)
        model.rows.modelReset.connect(self._show)
        model.rows.dataChanged.connect(self.list.scheduleDelayedItemsLayout)
        model.held_back.connect(self._ask_promote)
        theme.changed.connect(self._retint)
        self._retint()
        self._show()

    def _retint(self) -> None:
        self._promote.setIcon(self._theme.icon("circle-arrow-up"))
        self._roll_back.setIcon(self._theme.icon("rotate-ccw"))
        self._go_forward.setIcon(self._theme.icon("rotate-cw"))

    def _selected(self) -> GenerationRow | None:
        item: GenerationRow | None = self.list.currentIndex().data(ITEM_ROLE)
        return item

    def _show(self) -> None:
        model, selected = self._model, self._selected()
        back = selected.number if selected is not None and selected.can_roll_back_to else None
        forward = selected.number if selected is not None and selected.can_go_forward_to else None
        self._of.setText(self.tr("of {0}").format(model.kb.name) if model.kb is not None else "")
        self._promote.setVisible(selected is not None and selected.can_promote)
        self._roll_back.setVisible(model.can_roll_back)
        self._roll_back.setText(self.tr(" Roll back to {0}").format(back) if back else self.tr(" Roll back"))
        self._go_forward.setVisible(model.can_go_forward)
        self._go_forward.setText(self.tr(" Go forward to {0}").format(forward) if forward else self.tr(" Go forward"))
        self._build.setVisible(model.kb is not None)
        self._pins.setVisible(model.active is not None)
        self._clean_up.setVisible(model.active is not None)
        forbid(model.read_only, self._promote, self._roll_back, self._go_forward, self._build, self._clean_up)
        self._build.setEnabled(model.can_build and not model.read_only)
        if model.kb is None:
            hint = self.tr("Select a knowledge base in the sidebar to see its generations.")
        elif not model.rows.items:
            hint = self.tr("Nothing is indexed yet. Drop files on the window to build the first generation.")
        else:
            hint = self.tr(
                "Each generation is an immutable index. Searches keep using the active one while another is built."
            )
        self._hint.setText(hint)

    # ------------------------------------------------------------ which generation is active

    def _promote_selected(self) -> None:
        selected = self._selected()
        if selected is not None and selected.can_promote:
            self._promote_row(selected)

    def _promote_row(self, item: GenerationRow) -> None:
        if item.held:
            self._ask_promote(item.number, item.held)
        else:
            self._model.promote(item.number)

    def _ask_promote(self, number: int, held: str) -> None:
        confirm(
            self,
            self.tr("Promote generation {0} all the same?").format(number),
            self.tr("{0} Searches would answer from it at once; you can roll back.").format(held),
            self.tr("Promote anyway"),
            partial(self._model.promote, number, force=True),
        )

    def _roll_back_clicked(self) -> None:
        selected = self._selected()
        self._model.roll_back(selected.number if selected is not None and selected.can_roll_back_to else None)

    def _go_forward_clicked(self) -> None:
        selected = self._selected()
        if selected is not None and selected.can_go_forward_to:
            self._model.promote(selected.number)
        else:
            self._model.go_forward()

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

    # ------------------------------------------------------------ what else can be done with them

    def open_pins(self, check: int | None = None) -> None:
        """Show the pinned queries; `check`: and try them on this generation."""
        if self._model.kb is not None:
            self._workspace.gate.open(self._model.kb, check or None)
            GateDialog(self._workspace.gate, self._theme, self, self._model.read_only).open()

    def open_clean_up(self) -> None:
        """Show which generations are kept and what would go."""
        if self._model.kb is not None:
            self._workspace.cleanup.open(self._model.kb)
            CleanupDialog(self._workspace.cleanup, self).open()

    def compare_with_active(self, number: int) -> None:
        """Show how a generation differs from the active one, in a window beside this one."""
        kb, active = self._model.kb, self._model.active
        if kb is None or active is None:
            return
        self._workspace.compare.open(kb, number, active.number)
        if self._compare_dialog is None:
            self._compare_dialog = CompareDialog(self._workspace.compare, self._theme, self)
            self._compare_dialog.destroyed.connect(self._compare_closed)
        self._compare_dialog.show()
        self._compare_dialog.raise_()
        self._compare_dialog.activateWindow()

    def _compare_closed(self) -> None:
        self._compare_dialog = None

    def _ask_note(self, item: GenerationRow) -> None:
        ask_name(
            self,
            self.tr("Note on generation {0}").format(item.number),
            "",
            item.note,
            self.tr("Save"),
            partial(self._model.annotate, item.number),
            field_name=self.tr("Note"),
            may_be_empty=True,
        )

    def _open_menu(self, where: QPoint) -> None:
        index = self.list.indexAt(where)
        if not index.isValid():
            return
        self.list.setCurrentIndex(index)
        item: GenerationRow = index.data(ITEM_ROLE)
        menu = popup_menu(self)
        changes = []
        if item.can_promote:
            changes.append(menu.addAction(self.tr("Promote"), partial(self._promote_row, item)))
            menu.addAction(self.tr("Try the pinned queries on it…"), partial(self.open_pins, item.number))
        if item.can_roll_back_to:
            changes.append(menu.addAction(self.tr("Roll back to this"), partial(self._model.roll_back, item.number)))
        if item.can_go_forward_to:
            changes.append(menu.addAction(self.tr("Go forward to this"), partial(self._model.promote, item.number)))
        active = self._model.active
        if item.can_be_read:
            if active is not None and item.number != active.number:
                menu.addSeparator()
                menu.addAction(self.tr("Compare with the active one…"), partial(self.compare_with_active, item.number))
            menu.addSeparator()
            menu.addAction(self.tr("Export…"), partial(self.export_wanted.emit, self._model.kb, item.number))
        changes.append(menu.addAction(self.tr("Edit note…"), partial(self._ask_note, item)))
        forbid(self._model.read_only, *changes)
        menu.popup(self.list.viewport().mapToGlobal(where))
