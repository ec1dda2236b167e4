"""What steers a search beside its query: the weight of meaning, and the filters in force as chips."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QSlider, QWidget

from studio.ui.parts import FlowLayout, Theme, button, label, row, set_tip
from studio.ui.search.box import RemovableChip
from studio.viewmodels.search import FilterChip

_STEPS = 100


class WeightSlider(QWidget):
    """Words against meaning. Shows the weight that was chosen for the query until a person moves it."""

    weight_chosen = Signal(object)
    """The share of meaning in 0..1, or None for the automatic choice."""

    def __init__(self) -> None:
        super().__init__()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, _STEPS)
        self.slider.setSingleStep(5)
        self.slider.setPageStep(20)
        self.slider.setFixedSize(170, 24)
        self.slider.setAccessibleName(self.tr("Weight of meaning against words"))
        set_tip(self.slider, self.tr("How much the meaning of a passage counts against its words"))
        self.slider.valueChanged.connect(self._moved)
        self.auto = button(self.tr("Auto"), "chip")
        self.auto.setCheckable(True)
        self.auto.setMinimumHeight(26)  # a round end needs more than its radius
        set_tip(self.auto, self.tr("Let the program choose the weight for each query"))
        self.auto.clicked.connect(self._toggle_auto)
        self._value = label("")
        self._value.setFixedWidth(30)
        self.setLayout(
            row(
                label(self.tr("Words")),
                self.slider,
                label(self.tr("Meaning")),
                self._value,
                self.auto,
                None,
                spacing=8,
            )
        )

    def show_weight(self, chosen: float | None, used: float) -> None:
        """Show the weight a person chose, or the one that was used where none was chosen."""
        weight = used if chosen is None else chosen
        if not self.slider.isSliderDown() or chosen is None:
            with QSignalBlocker(self.slider):
                self.slider.setValue(round(weight * _STEPS))
        self._value.setText(f"{weight:.2f}")
        self.auto.setChecked(chosen is None)
        said = self.tr("{0} percent meaning").format(round(weight * _STEPS))
        self.slider.setAccessibleDescription(said + (self.tr(", chosen automatically") if chosen is None else ""))

    def _moved(self, value: int) -> None:
        self.weight_chosen.emit(value / _STEPS)

    def _toggle_auto(self, on: bool) -> None:
        self.weight_chosen.emit(None if on else self.slider.value() / _STEPS)


class ChipRow(QWidget):
    """The filters in force; pressing one takes it away."""

    removed = Signal(str)
    """The field of `Filters` to reset."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setAccessibleName(self.tr("Active filters"))
        self._theme = theme
        self._flow = FlowLayout(self)
        self._shown: tuple[FilterChip, ...] = ()
        self.hide()

    def show_chips(self, chips: Sequence[FilterChip]) -> None:
        """Show these, and hide when there are none."""
        if tuple(chips) == self._shown:
            return
        self._shown = tuple(chips)
        while (item := self._flow.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for chip in chips:
            widget = RemovableChip(self._theme, chip.text, chip.tip)
            widget.clicked.connect(lambda _=False, field=chip.field: self.removed.emit(field))
            self._flow.addWidget(widget)
        self.setVisible(bool(chips))
        self.updateGeometry()
