"""The health of searching, as a report."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QPlainTextEdit, QWidget

from studio.ui.parts import column, label
from studio.viewmodels.status import StatusViewModel


class HealthDialog(QDialog):
    """Shows the last report at once, and the full one with the recall measured as soon as it is there."""

    def __init__(self, model: StatusViewModel, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(self.tr("Search health"))
        self.setModal(True)
        self.resize(760, 460)
        self._model = model
        self.text = QPlainTextEdit()
        self.text.setObjectName("text")
        self.text.setReadOnly(True)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setAccessibleName(self.tr("Report on the health of searching"))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        title = label(self.tr("Search health"), "h2")
        self.setLayout(column(title, self.text, buttons, margins=(22, 20, 22, 18), spacing=14))
        model.health_changed.connect(self._show)
        self._show()
        model.measure_health()

    def _show(self) -> None:
        self.text.setPlainText(self._model.health_text)
