"""The first screen of an empty program: drop a folder."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QWidget

from studio.ui.parts import DropZone, PlainLabel, Theme, button, column, forbid, label, panel, row


class WelcomePane(QWidget):
    """Shown while there is no knowledge base."""

    sample_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._icon = PlainLabel()
        self._icon.setAlignment(Qt.AlignmentFlag.AlignCenter)
        title = label(self.tr("Drop a folder to search it"), "h1")
        title.setAlignment(Qt.AlignmentFlag.AlignCenter)
        text = label(
            self.tr(
                "RAG Studio reads the documents in it, finds passages by meaning and by words, and shows each one on "
                "its page. Everything stays on this machine."
            ),
            "body",
        )
        text.setWordWrap(True)
        text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        text.setFixedWidth(460)
        self.drop = DropZone(theme, self.tr("Drop PDFs, Markdown or folders here"), height=170)
        self.drop.setFixedWidth(560)
        self._sample = sample = button(self.tr("Or try it with the sample library"), "link")
        sample.clicked.connect(self.sample_wanted)
        middle = column(
            None,
            self._icon,
            title,
            row(None, text, None),
            8,
            row(None, self.drop, None),
            row(None, sample, None),
            None,
            spacing=12,
        )
        self.setLayout(column(panel("page", middle), spacing=0))
        theme.changed.connect(self._retint)
        self._retint()

    def forbid(self, reason: str) -> None:
        """Take no files, and say why; "" takes them again."""
        self.drop.forbid(reason)
        forbid(reason, self._sample)

    def _retint(self) -> None:
        self._icon.setPixmap(self._theme.pixmap("book-open", "accent", 40, self.devicePixelRatioF()))
        self._icon.setMinimumSize(QSize(40, 44))
