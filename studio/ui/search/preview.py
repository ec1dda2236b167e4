"""The right-hand side of the search: the cited page or text, and what can be done with the passage."""

from __future__ import annotations

import re

from PySide6.QtCore import Signal
from PySide6.QtGui import QFont, QGuiApplication, QTextCharFormat, QTextCursor
from PySide6.QtWidgets import QBoxLayout, QPlainTextEdit, QStackedWidget, QTextEdit, QToolButton, QWidget

from studio.domain import CitationStyle
from studio.ui.parts import (
    Banner,
    ElidedLabel,
    Theme,
    WindowKeys,
    button,
    column,
    label,
    panel,
    row,
    set_tip,
    tool_button,
)
from studio.ui.search.opening import open_source
from studio.ui.search.pdf_view import PdfView
from studio.viewmodels.search import PdfContent, PreviewViewModel, TextContent
from studio.viewmodels.text import citation, context_markdown

_MIN_FONT_PX, _MAX_FONT_PX = 9, 32


class TextView(QPlainTextEdit):
    """A text with a passage marked. Plain text only: nothing in a document is ever interpreted."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setObjectName("text")
        self.setReadOnly(True)
        self.setAccessibleName(self.tr("Citation preview"))
        self.setFrameShape(QPlainTextEdit.Shape.NoFrame)
        self._theme = theme
        self._size_px = 13
        self._passage = (0, 0)
        self.installEventFilter(WindowKeys(self))
        theme.changed.connect(self._mark)
        self._set_font()

    def show_text(self, text: str, start: int, length: int) -> None:
        """Show a text and scroll to the passage, given in UTF-16 units."""
        # A "\r\n" becomes one line break in the widget, which would shift every offset after it.
        self.setPlainText(re.sub(r"\r\n?", lambda found: " \n" if len(found[0]) == 2 else "\n", text))
        self._passage = (start, length)
        self._mark()
        cursor = self._cursor()
        cursor.setPosition(cursor.selectionStart())
        self.moveCursor(QTextCursor.MoveOperation.End)
        self.setTextCursor(cursor)
        self.centerCursor()

    def magnify(self, steps: int) -> None:
        """Larger or smaller text."""
        self._size_px = max(_MIN_FONT_PX, min(_MAX_FONT_PX, self._size_px + steps))
        self._set_font()

    def _set_font(self) -> None:
        self.setFont(self._theme.font(self._size_px))
        # The style sheet's font-size would win over setFont; this style sheet is the widget's own.
        self.setStyleSheet(f"font-size: {self._size_px}px;")

    def _cursor(self) -> QTextCursor:
        cursor = QTextCursor(self.document())
        end = self.document().characterCount() - 1
        cursor.setPosition(min(self._passage[0], end))
        cursor.setPosition(min(sum(self._passage), end), QTextCursor.MoveMode.KeepAnchor)
        return cursor

    def _mark(self) -> None:
        if not self._passage[1]:
            self.setExtraSelections([])
            return
        selection = QTextEdit.ExtraSelection()
        marked = QTextCharFormat()
        marked.setBackground(self._theme.color("mark"))
        marked.setForeground(self._theme.color("text"))
        marked.setFontWeight(QFont.Weight.Normal)
        selection.format = marked  # type: ignore[attr-defined]
        selection.cursor = self._cursor()  # type: ignore[attr-defined]
        self.setExtraSelections([selection])


class PreviewPane(QWidget):
    """Shows what the preview view-model has loaded."""

    copied = Signal(str)
    """Something was put on the clipboard: what, in words."""
    failed = Signal(str)
    """Something could not be done: why, in words."""
    settled = Signal()
    """What was asked for last is on screen, with its mark."""

    def __init__(self, model: PreviewViewModel, theme: Theme) -> None:
        super().__init__()
        self.setMinimumWidth(360)
        self._model = model
        self._theme = theme
        self._section = 0
        self._build()
        model.changed.connect(self._show)
        model.match_changed.connect(self._match.setText)
        model.located.connect(self.pdf.set_match)
        self.pdf.locate_wanted.connect(model.locate)
        self.pdf.matched.connect(model.tell_match)
        self.pdf.load_failed.connect(model.pdf_failed)
        self.pdf.page_changed.connect(self._pdf_page_changed)
        self.pdf.settled.connect(self.settled)
        theme.changed.connect(self._retint)
        self._retint()
        self._show()

    def _build(self) -> None:
        self._title = ElidedLabel("title")
        self._place = ElidedLabel("muted")
        self._back = tool_button(self.tr("Previous page"), "Alt+Left")
        self._forward = tool_button(self.tr("Next page"), "Alt+Right")
        self._smaller = tool_button(self.tr("Zoom out"), "Ctrl+-")
        self._larger = tool_button(self.tr("Zoom in"), "Ctrl++")
        self._external = tool_button(self.tr("Open in external viewer"), "Ctrl+O")
        self._back.clicked.connect(lambda: self.step(-1))
        self._forward.clicked.connect(lambda: self.step(1))
        self._smaller.clicked.connect(lambda: self.magnify(-1))
        self._larger.clicked.connect(lambda: self.magnify(1))
        self._external.clicked.connect(self.open_external)
        head_row = row(column(self._title, self._place, spacing=1), *self._buttons(), margins=(16, 8, 10, 8), spacing=2)
        head_row.setStretch(0, 1)
        self._head = panel("previewhead", head_row)
        self._head.setFixedHeight(56)
        self._note = Banner(self._theme)
        self.pdf = PdfView()
        self.text = TextView(self._theme)
        self._hint = label("")
        self._empty = panel("pageground", column(None, row(None, self._hint, None), None))
        self._stack = QStackedWidget()
        for page in (self._empty, self.pdf, self.text):
            self._stack.addWidget(page)
        self._match = label("")
        self._copy = button(self.tr(" Copy citation"))
        set_tip(self._copy, self.tr("Copy title, place and file (Ctrl+C)"))
        self._copy.clicked.connect(self.copy_citation)
        self._context = button(self.tr("Use as context"), "primary")
        set_tip(self._context, self.tr("Copy the passage with its citation as Markdown (Ctrl+Shift+C)"))
        self._context.clicked.connect(self.copy_context)
        self._foot = panel("previewfoot", row(self._match, None, self._copy, self._context, margins=(16, 10, 12, 10)))
        self._note_row = column(self._note, margins=(12, 10, 12, 10))
        body = panel("preview", column(self._head, self._note_row, self._stack, self._foot, spacing=0))
        layout = body.layout()
        assert isinstance(layout, QBoxLayout)
        layout.setStretch(2, 1)
        self.setLayout(column(body, spacing=0))

    def _buttons(self) -> tuple[QToolButton, ...]:
        return (self._back, self._forward, self._smaller, self._larger, self._external)

    def _retint(self) -> None:
        names = ("chevron-left", "chevron-right", "zoom-out", "zoom-in", "external-link")
        for widget, name in zip(self._buttons(), names, strict=True):
            widget.setIcon(self._theme.icon(name))
        self._copy.setIcon(self._theme.icon("copy"))

    # ------------------------------------------------------------ what is shown

    @property
    def is_showing_pages(self) -> bool:
        """Whether a PDF is shown, not a text."""
        return self._stack.currentWidget() is self.pdf

    def _show(self) -> None:
        content = self._model.content
        shown = content is not None
        self._head.setVisible(shown)
        self._foot.setVisible(shown)
        self._set_note("")
        if content is None:
            self.pdf.release()
            loading = self._model.result is not None
            self._hint.setText(self.tr("Loading…") if loading else self.tr("Select a result to see its source."))
            self._stack.setCurrentWidget(self._empty)
            return
        self._title.setText(content.title)
        self._external.setEnabled(self._model.source_exists)
        if isinstance(content, PdfContent):
            self._stack.setCurrentWidget(self.pdf)
            self.pdf.open(content)
        else:
            self._set_note(content.note)
            self._stack.setCurrentWidget(self.text)
            self._section = content.current
            self._show_section(content)

    def _set_note(self, text: str) -> None:
        self._note.show_text(text)
        self._note_row.setContentsMargins(*((12, 10, 12, 10) if text else (0, 0, 0, 0)))

    def _show_section(self, content: TextContent) -> None:
        section = content.sections[self._section]
        self.text.show_text(section.text, section.start, section.length)
        self._set_place(section.label, content.anchor, self._section, len(content.sections))
        self.settled.emit()

    def _pdf_page_changed(self, page: int, pages: int) -> None:
        content = self._model.content
        anchor = content.anchor if isinstance(content, PdfContent) and content.page == page else ""
        self._set_place(f"Page {page + 1} of {pages}", anchor, page, pages)

    def _set_place(self, place: str, anchor: str, index: int, total: int) -> None:
        self._place.setText(" · ".join(part for part in (place, anchor) if part))
        self._back.setVisible(total > 1)
        self._forward.setVisible(total > 1)
        self._back.setEnabled(index > 0)
        self._forward.setEnabled(index + 1 < total)

    # ------------------------------------------------------------ gestures

    def step(self, pages: int) -> None:
        """Go forward or back by pages or parts."""
        content = self._model.content
        if isinstance(content, TextContent):
            if 0 <= self._section + pages < len(content.sections):
                self._section += pages
                self._show_section(content)
        elif content is not None:
            self.pdf.step(pages)

    def magnify(self, steps: int) -> None:
        """Zoom in or out."""
        if self.is_showing_pages:
            self.pdf.magnify(steps)
        else:
            self.text.magnify(steps)

    def open_external(self) -> None:
        """Open the source in the program the desktop has for it, or show what could be run in its folder."""
        result = self._model.result
        if result is None:
            return
        path = result.citation.source_path
        if not self._model.source_exists:
            self.failed.emit(self.tr("The file is no longer at {0}.").format(path))
        elif not open_source(path, self):
            self.failed.emit(self.tr("The desktop has no program to open {0}.").format(path))

    def copy_citation(self) -> None:
        """Put the citation on the clipboard."""
        if self._model.result is not None:
            QGuiApplication.clipboard().setText(citation(self._model.result))
            self.copied.emit(self.tr("Citation copied"))

    def copy_citation_as(self, style: CitationStyle) -> None:
        """Put the citation on the clipboard in another style."""
        if self._model.result is not None:
            QGuiApplication.clipboard().setText(citation(self._model.result, style))
            self.copied.emit(self.tr("Citation copied"))

    def copy_context(self) -> None:
        """Put the passage and its citation on the clipboard, as Markdown."""
        if self._model.result is not None:
            QGuiApplication.clipboard().setText(context_markdown(self._model.result))
            self.copied.emit(self.tr("Passage and citation copied as Markdown"))
