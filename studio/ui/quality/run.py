"""What a run compares, its start, its progress, and the runs before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QMenu, QProgressBar, QPushButton, QWidget

from studio.domain import Fusion, SearchMode
from studio.ui.parts import FlowLayout, Theme, button, column, forbid, label, popup_menu, row, set_tip
from studio.viewmodels.generations import GenerationsViewModel
from studio.viewmodels.quality import WEIGHTS, Choice, QualityViewModel
from studio.viewmodels.text import count, moment

T = TypeVar("T")
_FUSIONS = {Fusion.MINMAX: "min-max", Fusion.RRF: "reciprocal rank", Fusion.ADAPTIVE: "adaptive"}
_INDEX = {False: "as built", True: "exact"}


class CheckMenu(QMenu):
    """A menu of things to tick; it stays open until something else is clicked."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        action = self.actionAt(event.position().toPoint())
        if action is not None and action.isCheckable():
            action.trigger()
            return
        super().mouseReleaseEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        action = self.activeAction()
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter) and action is not None:
            action.trigger()
            return
        super().keyPressEvent(event)


class RunBar(QWidget):
    """Chips for what is compared, and the button that starts it."""

    deletion_wanted = Signal(int)
    """The id of the run that is to be forgotten."""

    def __init__(self, model: QualityViewModel, generations: GenerationsViewModel, theme: Theme) -> None:
        super().__init__()
        self._model = model
        self._generations = generations
        self._theme = theme
        self.modes = self._chip(self._pick_modes)
        self.weights = self._chip(self._pick_weights)
        self.fusions = self._chip(self._pick_fusions)
        self.index = self._chip(self._pick_index)
        self.numbers = self._chip(self._pick_generations)
        self.history = self._chip(self._pick_run)
        self.history.setText(self.tr("Earlier runs"))
        self.run = button(self.tr("Run"), "primary")
        self.cancel = button(self.tr("Cancel"))
        self.run.clicked.connect(model.run)
        self.cancel.clicked.connect(model.stop)
        self._cost = label("")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(4)
        self._bar.setAccessibleName(self.tr("Progress of the run"))
        chips = QWidget()
        flow = FlowLayout(chips)
        for chip in (self.modes, self.weights, self.fusions, self.index, self.numbers):
            flow.addWidget(chip)
        head = row(chips, self.history, self.cancel, self.run, spacing=10)
        head.setStretch(0, 1)
        for each in (self.history, self.cancel, self.run):
            head.setAlignment(each, Qt.AlignmentFlag.AlignTop)
        self.setLayout(column(head, row(self._cost, self._bar, spacing=12), spacing=8))
        model.changed.connect(self._show)
        model.progressed.connect(self._show_progress)
        generations.changed.connect(self._show)
        self._show()

    def _chip(self, pick: Callable[[], None]) -> QPushButton:
        chip = button("", "chip")
        chip.setFixedHeight(26)
        chip.clicked.connect(pick)
        return chip

    def _show(self) -> None:
        model, choice = self._model, self._model.choice
        hybrid = SearchMode.HYBRID in choice.modes
        numbers = [self.tr("active") if number is None else str(number) for number in choice.generations]
        for chip, name, chosen in (
            (self.modes, self.tr("Mode"), [mode.value for mode in choice.modes]),
            (self.weights, self.tr("Weight"), [_weight(weight) for weight in choice.weights]),
            (self.fusions, self.tr("Fusion"), [_FUSIONS[fusion] for fusion in choice.fusions]),
            (self.index, self.tr("Index"), [_INDEX[exact] for exact in choice.exact]),
            (self.numbers, self.tr("Generation"), numbers),
        ):
            chip.setText(f"{name}: {', '.join(chosen)}")
            chip.setAccessibleName(chip.text())
            chip.setEnabled(not model.running)
        for chip in (self.weights, self.fusions):
            chip.setEnabled(hybrid and not model.running)
            set_tip(chip, "" if hybrid else self.tr("Only hybrid searches combine two sides"))
        settings, queries = len(choice.settings()), model.usable
        self._cost.setText(f"{count(settings, 'setting')} × {count(queries, 'judged query', 'judged queries')}")
        self.run.setVisible(not model.running)
        self.run.setEnabled(queries > 0)
        self.cancel.setVisible(model.running)
        self._bar.setVisible(model.running)
        self.history.setVisible(bool(model.runs))
        self._show_progress()

    def _show_progress(self) -> None:
        if self._model.running:
            done, total = self._model.progress
            self._bar.setRange(0, max(total, 0))  # 0 to 0: on its way
            self._bar.setValue(done)
            self._cost.setText(self.tr("{0} of {1} searches").format(f"{done:,}", f"{total:,}") if total else "")

    # ------------------------------------------------------------ menus

    def _pick_modes(self) -> None:
        self._pick(self.modes, [(mode, mode.value) for mode in SearchMode], "modes")

    def _pick_weights(self) -> None:
        self._pick(self.weights, [(weight, _weight(weight)) for weight in WEIGHTS], "weights")

    def _pick_fusions(self) -> None:
        self._pick(self.fusions, list(_FUSIONS.items()), "fusions")

    def _pick_index(self) -> None:
        self._pick(self.index, list(_INDEX.items()), "exact")

    def _pick_generations(self) -> None:
        readable = [item.number for item in self._generations.rows.items if item.can_be_read]
        active = self._generations.active
        others: list[tuple[int | None, str]] = [
            (number, self.tr("Generation {0}").format(number))
            for number in readable
            if active is None or number != active.number
        ]
        self._pick(self.numbers, [(None, self.tr("The active one")), *others], "generations")

    def _pick(self, chip: QPushButton, entries: Sequence[tuple[T, str]], field: str) -> None:
        menu = CheckMenu(self)
        for value, name in entries:
            action = menu.addAction(name[:1].upper() + name[1:])
            action.setCheckable(True)
            action.setChecked(value in getattr(self._model.choice, field))
            action.toggled.connect(partial(self._toggled, field, [entry for entry, _ in entries], value, action))
        menu.popup(chip.mapToGlobal(QPoint(0, chip.height() + 4)))

    def _toggled(self, field: str, order: Sequence[object], value: object, action: object, on: bool) -> None:
        choice: Choice = self._model.choice
        chosen = {*getattr(choice, field), value} if on else {*getattr(choice, field)} - {value}
        if chosen:
            self._model.choose(replace(choice, **{field: tuple(item for item in order if item in chosen)}))
        else:
            action.setChecked(True)  # type: ignore[attr-defined]

    def _pick_run(self) -> None:
        menu = popup_menu(self)
        shown = self._model.evaluation
        for found in self._model.runs:
            best = max(found.ndcg, key=lambda name: found.ndcg[name], default="")
            queries = count(found.queries, "query", "queries")
            text = f"{moment(found.created_ms)} · {queries} · best: {best} {found.ndcg.get(best, 0):.3f}"
            action = menu.addAction(text, partial(self._model.open_run, found.id))
            action.setCheckable(True)
            action.setChecked(shown is not None and shown.id == found.id)
        if shown is not None and shown.id:
            menu.addSeparator()
            forget = menu.addAction(self.tr("Forget the one shown…"), partial(self.deletion_wanted.emit, shown.id))
            forbid(self._model.read_only, forget)
        menu.popup(self.history.mapToGlobal(QPoint(0, self.history.height() + 4)))


def _weight(weight: float | None) -> str:
    return "automatic" if weight is None else f"{weight:g}"
