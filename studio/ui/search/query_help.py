"""What can be typed into the search box, on a card below it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from studio.ui.parts import Popover, Theme, label

SYNTAX = (
    ('"trace tree"', "These words next to each other"),
    ("-garbage", "Without this word, phrase or field"),
    ("loop OR cycle", "At least one of them"),
    ("title:compilers", "In the title of the document"),
    ("type:pdf", "Documents of this type"),
    ("path:notes/*.md", "Where the file lies"),
    ("tag:draft", "Documents with this tag"),
    ("after:2024-01-31", "Newer documents"),
    ("before:2025", "Older documents"),
)


class QueryHelp(Popover):
    """The query syntax, a line each."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(theme, parent, 400)
        grid = QGridLayout()
        grid.setHorizontalSpacing(18)
        grid.setVerticalSpacing(7)
        grid.setColumnStretch(1, 1)
        for line, (typed, meaning) in enumerate(SYNTAX):
            grid.addWidget(label(typed, "kbd"), line, 0, Qt.AlignmentFlag.AlignLeft)
            grid.addWidget(label(meaning, "body"), line, 1)
        self.content.addSpacing(2)
        self.content.addLayout(grid)
        hint = label(self.tr("Anything else is searched as words."))
        self.content.addWidget(hint)
        self.setAccessibleName(self.tr("What can be typed here"))
        self.setAccessibleDescription(" ".join(f"{typed}: {meaning}." for typed, meaning in SYNTAX))
