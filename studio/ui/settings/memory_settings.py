"""The settings of the memory: how much the program keeps to, and when an unused model leaves it."""

from __future__ import annotations

from PySide6.QtWidgets import QAbstractSpinBox, QButtonGroup, QHBoxLayout, QSpinBox, QVBoxLayout

from studio.ui.parts import button, column, label, number_field, row, segmented, set_tip
from studio.viewmodels.settings import SettingsViewModel
from studio.viewmodels.text import size

_AUTOMATIC, _FIXED = range(2)
_LEAST_MIB = 512
"""The window, the readers of files and a small model take about as much."""
_STEP_MIB = 256


class BudgetField:
    """Automatic, or so many MiB. Takes effect when it is left, with Enter, or with a step."""

    def __init__(self, model: SettingsViewModel) -> None:
        self._model = model
        budget = int(model.get("memory_budget_mib"))
        ceiling = model.memory_ceiling >> 20
        self.choice = QButtonGroup()
        segments = [button(name, "") for name in ("Automatic", "At most")]
        for number, segment in enumerate(segments):
            segment.setCheckable(True)
            segment.setAutoDefault(False)
            segment.setChecked(number == (_FIXED if budget else _AUTOMATIC))
            self.choice.addButton(segment, number)
        segments[_AUTOMATIC].setAccessibleName("Automatic memory budget")
        segments[_FIXED].setAccessibleName("Memory budget of at most")
        self.limit = _number_field("Memory budget in MiB", min(_LEAST_MIB, ceiling), ceiling, " MiB")
        self.limit.setSingleStep(_STEP_MIB)
        self.limit.setGroupSeparatorShown(True)
        self.limit.setValue(budget or model.automatic_budget >> 20)
        set_tip(self.limit, f"From {self.limit.minimum():,} to {ceiling:,} MiB")
        self._words = label("")
        self.layout: QVBoxLayout = column(
            row(segmented("Memory budget", *segments), self.limit, None), self._words, spacing=6
        )
        self.choice.idClicked.connect(self._apply)
        self.limit.valueChanged.connect(self._apply)
        self._show()

    @property
    def is_automatic(self) -> bool:
        """Whether no limit is set."""
        return self.choice.checkedId() == _AUTOMATIC

    def focus(self) -> None:
        """Take the keyboard."""
        self.choice.checkedButton().setFocus()

    def _apply(self) -> None:
        self._model.set_memory("memory_budget_mib", 0 if self.is_automatic else self.limit.value())
        self._show()

    def _show(self) -> None:
        self.limit.setEnabled(not self.is_automatic)
        model = self._model
        all_of_it = size(model.memory_ceiling)
        if self.is_automatic:
            said = f"{size(model.automatic_budget)}: half of the {all_of_it} of this computer, at least 1 GiB."
        else:
            said = f"{size(self.limit.value() << 20)} of the {all_of_it} of this computer."
        self._words.setText(said)
        self.limit.setAccessibleDescription(said)


class IdleField:
    """After how many minutes without use a model leaves memory; none: never."""

    def __init__(self, model: SettingsViewModel) -> None:
        declared = model.declared("model_idle_minutes")
        self.minutes = _number_field(
            "Minutes until an idle model is unloaded", declared.minimum, declared.maximum, " minutes"
        )
        self.minutes.setSpecialValueText("Never")
        self.minutes.setValue(int(model.get("model_idle_minutes")))
        self.minutes.valueChanged.connect(lambda minutes: model.set_memory("model_idle_minutes", minutes))
        set_tip(self.minutes, "They load again when they are needed")
        self.layout: QHBoxLayout = row(self.minutes, label("without use"), None)


def _number_field(name: str, least: int, most: int, unit: str) -> QSpinBox:
    field = QSpinBox()
    number_field(field, name)
    field.setRange(least, most)
    field.setSuffix(unit)
    field.setKeyboardTracking(False)  # a number that is half typed is not meant
    field.setCorrectionMode(QAbstractSpinBox.CorrectionMode.CorrectToNearestValue)
    return field
