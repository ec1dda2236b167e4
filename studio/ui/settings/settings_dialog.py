"""The settings a person changes in the window."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QButtonGroup, QCheckBox, QDialog, QDialogButtonBox, QGridLayout, QPushButton, QWidget

from studio.ui.parts import Theme, ThemeChoice, button, column, confirm, label, row, segmented, show_directory
from studio.ui.settings.memory_settings import BudgetField, IdleField
from studio.viewmodels.settings import SettingsViewModel
from studio.viewmodels.text import size

_THEMES = (
    (ThemeChoice.SYSTEM, "System"),
    (ThemeChoice.LIGHT, "Light"),
    (ThemeChoice.DARK, "Dark"),
)


class SettingsDialog(QDialog):
    """Theme, embedding models, memory, data folder. Choices take effect at once."""

    def __init__(self, model: SettingsViewModel, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(self.tr("Settings"))
        self.setModal(True)
        self.setMinimumWidth(520)
        self._model = model
        self._theme = theme
        self.themes = QButtonGroup(self)
        segments: list[QPushButton] = []
        for number, (choice, name) in enumerate(_THEMES):
            segment = QPushButton(name)
            segment.setCheckable(True)
            segment.setAutoDefault(False)
            segment.setChecked(choice is theme.choice)
            segment.setAccessibleName(f"{name} theme")
            self.themes.addButton(segment, number)
            segments.append(segment)
        self.themes.idClicked.connect(self._theme_chosen)
        self._models = label("", "body")
        self._models.setWordWrap(True)
        self.budget = BudgetField(model)
        self.idle = IdleField(model)
        self.remember = QCheckBox(self.tr("Remember the last 1,000 searches of each knowledge base, on this computer"))
        self.remember.setToolTip(self.tr("The vector index is measured with them. Switched off, they are removed"))
        self.remember.setChecked(model.get("remember_queries") == "True")
        self.remember.clicked.connect(self._remember_chosen)
        folder = label(str(model.data_dir), "body")
        folder.setWordWrap(True)
        folder.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        open_folder = button(self.tr("Open"))
        open_folder.setAccessibleName(self.tr("Open the data folder"))
        open_folder.clicked.connect(lambda: show_directory(model.data_dir))
        folder_row = row(folder, open_folder)
        folder_row.setStretch(0, 1)
        grid = QGridLayout()
        grid.setHorizontalSpacing(20)
        grid.setVerticalSpacing(14)
        grid.setColumnStretch(1, 1)
        top = Qt.AlignmentFlag.AlignTop
        grid.addWidget(label(self.tr("Theme"), "title"), 0, 0)
        grid.addLayout(row(segmented(self.tr("Theme"), *segments), None), 0, 1)
        grid.addWidget(label(self.tr("Embedding models"), "title"), 1, 0, top)
        grid.addWidget(self._models, 1, 1)
        budget = label(self.tr("Memory budget"), "title")
        budget.setFixedHeight(36)  # beside the buttons, not beside the words below them
        grid.addWidget(budget, 2, 0, top)
        grid.addLayout(self.budget.layout, 2, 1)
        grid.addWidget(label(self.tr("Unload models"), "title"), 3, 0)
        grid.addLayout(self.idle.layout, 3, 1)
        grid.addWidget(label(self.tr("Privacy"), "title"), 4, 0)
        grid.addWidget(self.remember, 4, 1)
        grid.addWidget(label(self.tr("Data folder"), "title"), 5, 0, top)
        grid.addLayout(folder_row, 5, 1)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        open_folder.setAutoDefault(False)
        buttons.rejected.connect(self.reject)
        self.setLayout(column(label(self.tr("Settings"), "h2"), grid, 8, buttons, margins=(22, 20, 22, 18), spacing=14))
        model.models_changed.connect(self._show_models)
        self._show_models()
        model.read_models()

    def _remember_chosen(self, remember: bool) -> None:
        """What is remembered goes at once when it is switched off, so that asks."""
        if remember:
            self._model.set_remember_queries(True)
            return
        asked = confirm(
            self,
            self.tr("Forget the searches?"),
            self.tr("Those that are remembered are removed, in every knowledge base, and no more are kept."),
            self.tr("Forget them"),
            partial(self._model.set_remember_queries, False),
        )
        asked.rejected.connect(partial(self.remember.setChecked, True))

    def _theme_chosen(self, number: int) -> None:
        choice = _THEMES[number][0]
        self._theme.apply(choice)
        self._model.set("theme", choice)

    def _show_models(self) -> None:
        lines = []
        for info in self._model.models:
            default = " (default)" if info.name == self._model.default_model else ""
            what = "reranker" if info.kind == "reranker" else f"{info.dimension} dimensions"
            state = f"{what}, {size(info.size_bytes)}" if info.installed else "not installed"
            lines.append(f"{info.name}{default}: {state}")
        self._models.setText("\n".join(lines) or f"{self._model.default_model} (default)")
