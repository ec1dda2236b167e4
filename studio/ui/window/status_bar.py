"""The bar at the bottom: generation, activity, what memory holds up, saved state, memory."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAccessible, QAccessibleEvent
from PySide6.QtWidgets import QFrame, QProgressBar, QSizePolicy, QWidget

from studio.ui.parts import ElidedLabel, Theme, button, label, row, set_flag, set_tip, tool_button
from studio.ui.settings import HealthDialog, MemoryGauge
from studio.viewmodels.status import StatusViewModel


def gauge(name: str, width: int) -> QProgressBar:
    """A thin bar that assistive technology reads as a percentage."""
    bar = QProgressBar()
    bar.setAccessibleName(name)
    bar.setRange(0, 100)
    bar.setTextVisible(False)
    bar.setFixedSize(width, 4)
    return bar


class StatusBar(QFrame):
    """Says in a few words how things stand."""

    generations_wanted = Signal()

    def __init__(self, model: StatusViewModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("statusbar")
        self.setFixedHeight(34)
        self._model = model
        self._theme = theme
        self._generation = button("", "genchip")
        set_tip(self._generation, self.tr("Show the generations"))
        self._generation.clicked.connect(self.generations_wanted)
        self._health = button("", "warnchip")
        self._health.clicked.connect(self._show_report)
        self._activity = label("")
        self._progress = gauge(self.tr("Ingest progress"), 60)
        self._transfer = label("")
        self._transfer_progress = gauge(self.tr("Export or import progress"), 60)
        self._cancel = tool_button(self.tr("Cancel the export or import"))
        self._cancel.clicked.connect(model.cancel_transfers)
        self._saved = label("")
        self.notice = ElidedLabel("notice")
        self.notice.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.gauge = MemoryGauge(model.memory, theme)
        for text in (self._activity, self._transfer, self._saved):
            text.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        content = row(
            self._generation,
            self._health,
            row(self._activity, self._progress, spacing=8),
            row(self._transfer, self._transfer_progress, self._cancel, spacing=8),
            self.notice,
            self._saved,
            self.gauge,
            margins=(12, 0, 8, 0),
            spacing=16,
        )
        content.setStretch(content.indexOf(self.notice), 1)
        self.setLayout(content)
        model.changed.connect(self._show)
        model.memory.changed.connect(self._show_memory)
        model.health_changed.connect(self._show_health)
        theme.changed.connect(self._retint)
        self._retint()
        self._show()
        self._show_memory()
        self._show_health()

    def _retint(self) -> None:
        self._cancel.setIcon(self._theme.icon("x", size=14))

    def _show(self) -> None:
        model = self._model
        self._generation.setText(("●  " if model.is_live else "") + model.generation)
        self._generation.setAccessibleName(model.generation)
        set_flag(self._generation, "calm", "false" if model.is_live else "true")
        self._activity.setText(model.activity)
        self._progress.setVisible(bool(model.activity))
        self._progress.setValue(round(model.fraction * 100))
        self._progress.setAccessibleDescription(model.activity)
        self._transfer.setText(model.transfer)
        self._transfer_progress.setValue(round(model.transfer_fraction * 100))
        self._transfer_progress.setAccessibleDescription(model.transfer)
        for widget in (self._transfer, self._transfer_progress, self._cancel):
            widget.setVisible(bool(model.transfer))
        self._saved.setText(model.saved)
        set_tip(self._saved, model.read_only)

    def _show_health(self) -> None:
        model = self._model
        self._health.setVisible(bool(model.health))
        self._health.setText(model.health)
        set_tip(self._health, model.health_tip)
        self._health.setAccessibleName(model.health or self.tr("Search health"))
        self._health.setAccessibleDescription(model.health_tip)

    def _show_report(self) -> None:
        HealthDialog(self._model, self.window()).open()

    def _show_memory(self) -> None:
        memory = self._model.memory
        is_new = memory.sentence != self.notice.text()
        self.notice.setText(memory.sentence)
        set_tip(self.notice, memory.state if memory.sentence else "")
        set_flag(self.notice, "level", memory.level.name.lower())
        if is_new and memory.sentence:
            QAccessible.updateAccessibility(QAccessibleEvent(self.notice, QAccessible.Event.Alert))
