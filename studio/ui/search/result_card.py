"""A search result as a card: title, a snippet with the matched terms marked, the scores, what stands behind it."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum

from PySide6.QtCore import QObject, QPointF, QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPen, QTextCharFormat, QTextLayout, QTextOption

from studio.domain import SearchResult
from studio.ui.parts import DEMI_BOLD, MEDIUM, Index, RowDelegate, RowState, Theme
from studio.viewmodels.base import ITEM_ROLE
from studio.viewmodels.search import GRADE_ROLE, more_in_document, near_duplicates
from studio.viewmodels.text import document_title, utf16_range

_LINES = 3
_LINE_HEIGHT = 19.5
_CACHE_SIZE = 200
RIGHT = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
_WHY = "Why?"
_WHY_WIDTH = 62.0


class Zone(Enum):
    """A part of a card that does something when it is clicked."""

    WHY = "why"
    MORE = "more"


class ResultDelegate(RowDelegate):
    """Paints cards; text layouts are kept, since laying out is most of the work."""

    height = 148

    def __init__(self, theme: Theme, parent: QObject) -> None:
        super().__init__(theme, parent)
        self._layouts: OrderedDict[tuple[object, ...], QTextLayout] = OrderedDict()
        theme.changed.connect(self._layouts.clear)

    def zones(self, row: QRectF, item: SearchResult) -> dict[Zone, QRectF]:
        """Where the parts of a card are that can be clicked; `row` is the rectangle of its row."""
        card = _card(row)
        why = QRectF(card.right() - 10 - _WHY_WIDTH, card.bottom() - 31, _WHY_WIDTH, 24)
        zones = {Zone.WHY: why}
        more = more_in_document(item)
        if more:
            width = QFontMetricsF(self.theme.font(12, MEDIUM)).horizontalAdvance(more) + 20
            zones[Zone.MORE] = QRectF(why.left() - 6 - width, why.top(), width, why.height())
        return zones

    def zone_at(self, row: QRectF, item: SearchResult, where: QPointF) -> Zone | None:
        """What is at a point of a card's row."""
        return next((zone for zone, rect in self.zones(row, item).items() if rect.contains(where)), None)

    def paint_row(self, painter: QPainter, rect: QRectF, state: RowState, index: Index) -> None:
        item: SearchResult = index.data(ITEM_ROLE)
        zones = self.zones(rect, item)
        rect = _card(rect)
        edge = "accent" if state.selected else "border2" if state.hovered else "border"
        painter.setPen(QPen(self.theme.color(edge), 1.4 if state.selected else 1))
        painter.setBrush(self.theme.color("card"))
        painter.drawRoundedRect(rect.adjusted(0.5, 0.5, -0.5, -0.5), 10, 10)
        left, top = rect.left() + 16, rect.top() + 13
        self.icon(painter, left, top + 1, "file-text", "accent" if state.selected else "muted")
        page = item.citation.page_number
        rank = f"p. {page}   #{index.row() + 1}" if page is not None else f"#{index.row() + 1}"
        small = self.theme.font(12, tabular=True)
        taken = self.text(painter, QRectF(rect.right() - 130, top, 114, 18), rank, small, "muted", RIGHT)
        grade = index.data(GRADE_ROLE)
        if grade is not None:
            icon, ink = ("star-filled", "accent") if grade > 0 else ("circle-minus", "muted")
            self.icon(painter, rect.right() - 16 - taken - 24, top + 1, icon, ink)
        title = QRectF(left + 23, top, rect.width() - 150 - (24 if grade is not None else 0), 18)
        self.text(painter, title, document_title(item), self.theme.font(13, DEMI_BOLD), "text")
        painter.setPen(self.theme.color("text2"))
        self._snippet(item, int(rect.width() - 32)).draw(painter, QPointF(left, top + 26))
        end = self._ending(painter, zones, item, state)
        self._scores(painter, rect, left, item, end)

    def _ending(self, painter: QPainter, zones: dict[Zone, QRectF], item: SearchResult, state: RowState) -> float:
        """What stands at the right of the last line; its left end."""
        why = zones[Zone.WHY]
        end = why.left()
        if state.selected or state.hovered:
            self.icon(painter, why.left() + 5, why.top() + 5, "circle-question-mark", "text2", 14)
            room = why.adjusted(23, 0, 0, 0)
            self.text(painter, room, _WHY, self.theme.font(12, MEDIUM), "text2")
        if Zone.MORE in zones:
            more = zones[Zone.MORE]
            self.text(painter, more, more_in_document(item), self.theme.font(12, MEDIUM), "softtext")
            self.icon(painter, more.right() - 18, more.top() + 5, "chevron-right", "softtext", 14)
            end = more.left()
        copies = near_duplicates(item)
        if copies:
            small = self.theme.font(12)
            width = QFontMetricsF(small).horizontalAdvance(copies) + 12
            self.text(painter, QRectF(end - width, why.top(), width - 8, why.height()), copies, small, "muted", RIGHT)
            end -= width
        return end - 8

    def _scores(self, painter: QPainter, rect: QRectF, left: float, item: SearchResult, end: float) -> None:
        middle = rect.bottom() - 19
        left += self.chip(painter, left, middle, f"{item.score:.3f}", "softtext", ground="soft") + 6
        why = item.explanation
        for name, score, digits in (("vector", why.vector_score, 2), ("bm25", why.keyword_score, 1)):
            if score is not None:
                text = f"{name} {score:.{digits}f}"
                left += self.chip(painter, left, middle, text, "muted", border="border") + 6
        if end - left > 60:
            room = QRectF(left + 4, middle - 10, end - left - 4, 20)
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


def _card(row: QRectF) -> QRectF:
    return row.adjusted(1, 5, -9, -5)
