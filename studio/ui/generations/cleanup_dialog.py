"""Cleaning up: the policy that keeps old generations, what it lets go now, and a button that does it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QButtonGroup,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QGridLayout,
    QPushButton,
    QSpinBox,
    QWidget,
)

from studio.domain import Retention
from studio.ui.parts import column, label, number_field, panel, row, segmented
from studio.viewmodels.generations import CleanupViewModel

_MOST = 1_000_000
_MOST_LINES = 8


class CleanupDialog(QDialog):
    """Shows the policy of one knowledge base; what it costs stands above the button that deletes."""

    def __init__(self, model: CleanupViewModel, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(self.tr("Clean up"))
        self.setModal(True)
        self.setFixedWidth(560)
        self._model = model
        self._shown: tuple[bool, Retention] | None = None
        self.default = QPushButton(self.tr("Program's default"))
        self.own = QPushButton(self.tr("Own policy"))
        choice = QButtonGroup(self)
        for segment in (self.default, self.own):
            segment.setCheckable(True)
            segment.setAutoDefault(False)
            choice.addButton(segment)
        self.last = QSpinBox()
        self.last.setRange(0, 1000)
        self.hours = QDoubleSpinBox()
        self.hours.setRange(0, _MOST)
        self.hours.setDecimals(1)
        self.mib = QSpinBox()
        self.mib.setRange(0, _MOST)
        self.mib.setGroupSeparatorShown(True)
        self.mib.setSpecialValueText(self.tr("no limit"))
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(10)
        grid.setColumnStretch(0, 1)
        lines: tuple[tuple[str, QAbstractSpinBox, str], ...] = (
            (self.tr("Archived generations to keep for rollback"), self.last, ""),
            (self.tr("Keep each for at least"), self.hours, self.tr(" hours")),
            (self.tr("All of them may take up to"), self.mib, self.tr(" MiB")),
        )
        for number, (text, field, unit) in enumerate(lines):
            number_field(field, text)
            field.setSuffix(unit)
            field.setFixedWidth(140)
            grid.addWidget(label(text, "body"), number, 0)
            grid.addWidget(field, number, 1)
            field.valueChanged.connect(self._edited)
        self.default.toggled.connect(self._edited)
        self._preview = label("", "body")
        self._preview.setWordWrap(True)
        self._kept = label("")
        outcome = panel("listframe", column(self._preview, self._kept, margins=(14, 12, 14, 12), spacing=8))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.save = QPushButton(self.tr("Save policy"))
        self.clean_up = QPushButton(self.tr("Clean up now"))
        self.clean_up.setObjectName("primary")
        for extra in (self.save, self.clean_up):
            buttons.addButton(extra, QDialogButtonBox.ButtonRole.ActionRole)
        for each in buttons.buttons():
            each.setAutoDefault(False)
        self.save.clicked.connect(self._save)
        self.clean_up.clicked.connect(model.collect)
        buttons.rejected.connect(self.reject)
        name = model.kb.name if model.kb is not None else ""
        self.setLayout(
            column(
                label(self.tr("Clean up “{0}”").format(name), "h2"),
                row(segmented(self.tr("Which policy"), self.default, self.own), None),
                grid,
                outcome,
                buttons,
                margins=(22, 20, 22, 18),
                spacing=14,
            )
        )
        model.changed.connect(self._show)
        self._show()

    @property
    def _policy(self) -> Retention:
        return Retention(self.last.value(), self.hours.value(), self.mib.value())

    @property
    def _is_edited(self) -> bool:
        if self.default.isChecked() != (not self._model.own_policy):
            return True
        return not self.default.isChecked() and self._policy != self._model.policy

    def _save(self) -> None:
        self._model.save(None if self.default.isChecked() else self._policy)

    def _show(self) -> None:
        model = self._model
        saved = (model.own_policy, model.policy)
        if saved != self._shown and not model.busy:
            self._shown = saved
            for field in (self.default, self.last, self.hours, self.mib):
                field.blockSignals(True)
            (self.own if model.own_policy else self.default).setChecked(True)
            self.last.setValue(model.policy.keep_archived)
            self.hours.setValue(model.policy.min_age_hours)
            self.mib.setValue(model.policy.max_archived_mib)
            for field in (self.default, self.last, self.hours, self.mib):
                field.blockSignals(False)
        self._edited()

    def _edited(self) -> None:
        model, edited = self._model, self._is_edited
        for field in (self.last, self.hours, self.mib):
            field.setEnabled(not self.default.isChecked())
        if model.busy:
            text = self.tr("Looking at what is kept…")
        elif edited:
            text = self.tr("Save the policy to see what it lets go.")
        else:
            text = model.preview
        self._preview.setText(text)
        kept = [*model.kept[:_MOST_LINES], *([self.tr("…")] if len(model.kept) > _MOST_LINES else [])]
        self._kept.setText("\n".join(kept) if not edited else "")
        self._kept.setVisible(bool(self._kept.text()))
        self.adjustSize()
        self.save.setEnabled(edited and not model.busy)
        self.clean_up.setEnabled(model.can_collect and not edited and not model.busy)
