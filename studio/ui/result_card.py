"""A search result as a card: title, a snippet with the matched terms marked, the scores."""

from __future__ import annotations

from collections import OrderedDict

from PySide6.QtCore import QObject, QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPen, QTextCharFormat, QTextLayout, QTextOption

from studio.domain import SearchResult
from studio.ui.delegates import DEMI_BOLD, Index, RowDelegate, RowState
from studio.ui.theme import Theme
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.text import document_title, utf16_range

_LINES = 3
_LINE_HEIGHT = 19.5
_CACHE_SIZE = 200
_RIGHT = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight


class ResultDelegate(RowDelegate):
    """Paints cards; text layouts are kept, since laying out is most of the work."""

    height = 148

    def __init__(self, theme: Theme, parent: QObject) -> None:
        super().__init__(theme, parent)
        self._layouts: OrderedDict[tuple[object, ...], QTextLayout] = OrderedDict()
        theme.changed.connect(self._layouts.clear)

    def paint_row(self, painter: QPainter, rect: QRectF, state: RowState, index: Index) -> None:
        item: SearchResult = index.data(ITEM_ROLE)
        rect = rect.adjusted(1, 5, -9, -5)
        edge = "accent" if state.selected else "border2" if state.hovered else "border"
        painter.setPen(QPen(self.theme.color(edge), 1.4 if state.selected else 1))
        painter.setBrush(self.theme.color("card"))
        painter.drawRoundedRect(rect.adjusted(0.5, 0.5, -0.5, -0.5), 10, 10)
        left, top = rect.left() + 16, rect.top() + 13
        self.icon(painter, left, top + 1, "file-text", "accent" if state.selected else "muted")
        page = item.citation.page_number
        rank = f"p. {page}   #{index.row() + 1}" if page is not None else f"#{index.row() + 1}"
        small = self.theme.font(12, tabular=True)
        self.text(painter, QRectF(rect.right() - 130, top, 114, 18), rank, small, "muted", _RIGHT)
        title = QRectF(left + 23, top, rect.width() - 150, 18)
        self.text(painter, title, document_title(item), self.theme.font(13, DEMI_BOLD), "text")
        painter.setPen(self.theme.color("text2"))
        self._snippet(item, int(rect.width() - 32)).draw(painter, QPointF(left, top + 26))
        self._scores(painter, rect, left, item)

    def _scores(self, painter: QPainter, rect: QRectF, left: float, item: SearchResult) -> None:
        middle = rect.bottom() - 19
        left += self.chip(painter, left, middle, f"{item.score:.3f}", "softtext", ground="soft") + 6
        why = item.explanation
        for name, score, digits in (("vector", why.vector_score, 2), ("bm25", why.keyword_score, 1)):
            if score is not None:
                text = f"{name} {score:.{digits}f}"
                left += self.chip(painter, left, middle, text, "muted", border="border") + 6
        room = QRectF(left + 4, middle - 10, rect.right() - left - 20, 20)
        self.text(painter, room, item.citation.anchor, self.theme.font(12), "muted")

    def _snippet(self, item: SearchResult, width: int) -> QTextLayout:
        key = (item.chunk_id, item.snippet, item.highlights, width)
        layout = self._layouts.get(key)
        if layout is not None:
            self._layouts.move_to_end(key)
            return layout
        layout = self._lay_out(item, width)
        self._layouts[key] = layout
        if len(self._layouts) > _CACHE_SIZE:
            self._layouts.popitem(last=False)
        return layout

    def _lay_out(self, item: SearchResult, width: int) -> QTextLayout:
        # Line breaks of the source mean nothing in three lines; same length, so highlights stay right.
        text = "".join(" " if character in "\r\n\t\u2028\u2029" else character for character in item.snippet)
        layout = QTextLayout(text, self.theme.font(13))
        option = QTextOption()
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        layout.setTextOption(option)
        marked = QTextCharFormat()
        marked.setBackground(self.theme.color("mark"))
        marked.setForeground(self.theme.color("text"))
        marked.setFontWeight(DEMI_BOLD)
        formats = []
        for start, end in item.highlights:
            piece = QTextLayout.FormatRange()
            piece.start, piece.length = utf16_range(text, start, end)  # type: ignore[misc]
            piece.format = marked  # type: ignore[misc]
            formats.append(piece)
        layout.setFormats(formats)
        layout.beginLayout()
        for number in range(_LINES):
            line = layout.createLine()
            if not line.isValid():
                break
            line.setLineWidth(width)
            line.setPosition(QPointF(0, number * _LINE_HEIGHT))
        layout.endLayout()
        return layout
