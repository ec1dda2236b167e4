"""A page of a PDF with the cited passage marked on it."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QBuffer, QByteArray, QEvent, QIODevice, QPointF, QRectF, QSize, QSizeF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPaintEvent, QResizeEvent, QWheelEvent
from PySide6.QtPdf import QPdfDocument, QPdfDocumentRenderOptions, QPdfPageRenderer
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

from studio.viewmodels.search import PageMatch, PdfContent

MARK = QColor(255, 196, 0, 100)
_MAX_SIDE_PX = 6000
_MIN_ZOOM, _MAX_ZOOM = 0.25, 6.0
_ZOOM_STEP = 1.2
_MARGIN = 16


def merge_lines(rects: Iterable[QRectF]) -> list[QRectF]:
    """Join rectangles that stand on one line: pdfium gives one for each run of a font."""
    merged: list[QRectF] = []
    for rect in rects:
        if merged:
            last = merged[-1]
            overlap = min(last.bottom(), rect.bottom()) - max(last.top(), rect.top())
            gap = max(rect.left() - last.right(), last.left() - rect.right())
            heights = (last.height(), rect.height())
            if overlap > 0.4 * min(heights) and gap < 1.2 * max(heights):
                merged[-1] = last.united(rect)
                continue
        merged.append(QRectF(rect))
    return merged


class PdfPage(QWidget):
    """One rendered page; `marks` are rectangles in points from the top left of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName(self.tr("Cited page"))
        self.image = QImage()
        self.marks: list[QRectF] = []
        self.zoom = 1.0

    def show_page(self, size: QSizeF, zoom: float, marks: list[QRectF], *, same: bool) -> None:
        """Take the size of a page; its image follows. The `same` page at another zoom is stretched till then."""
        self.zoom = zoom
        self.marks = marks
        if not same:
            self.image = QImage()
        self.setFixedSize((size * zoom).toSize())
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.fillRect(self.rect(), Qt.GlobalColor.white)  # pages are rendered on transparency
        if not self.image.isNull():
            painter.drawImage(QRectF(self.rect()), self.image)
        path = QPainterPath()
        path.setFillRule(Qt.FillRule.WindingFill)
        for mark in self.marks:
            rect = QRectF(mark.topLeft() * self.zoom, mark.size() * self.zoom).adjusted(-2, -1.5, 2, 1.5)
            path.addRoundedRect(rect, 2, 2)
        painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_Multiply)
        painter.fillPath(path.simplified(), MARK)


class PdfView(QScrollArea):
    """Zooms so that the cited column can be read, and scrolls to the passage.

    Pages are rendered on another thread. pdfium has one lock, so the text of a page is taken before
    its rendering is asked for: otherwise this thread would wait for the renderer.
    """

    locate_wanted = Signal(object, str, str)
    """(token, text of the page, passage): answered through `set_match`."""
    matched = Signal(object)
    """The PageMatch on the cited page, or None."""
    page_changed = Signal(int, int)
    """(page from 0, number of pages)."""
    load_failed = Signal(str)
    """The document cannot be shown: why, in words."""
    settled = Signal()
    """The page asked for last is on screen with its marks."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName(self.tr("Citation preview"))
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
        self.setViewportMargins(_MARGIN, _MARGIN, 0, 0)
        self.viewport().setObjectName("pageground")
        self._sheet = PdfPage()
        self.setWidget(self._sheet)
        self._document = QPdfDocument(self)
        self._device: QBuffer | None = None
        self._renderer = QPdfPageRenderer(self)
        self._renderer.setRenderMode(QPdfPageRenderer.RenderMode.MultiThreaded)
        self._renderer.setDocument(self._document)
        self._renderer.pageRendered.connect(self._rendered)
        self._request = 0
        self._pending = False
        self._shown: tuple[str, int] | None = None
        self._content: PdfContent | None = None
        self._loaded_key = ""
        self._marks: list[QRectF] = []
        self._page = 0
        self._magnification = 1.0
        self._width = 0
        self._resized = QTimer(self, singleShot=True, interval=80)
        self._resized.timeout.connect(self._show_again)

    @property
    def marks(self) -> list[QRectF]:
        """The marks on the page that is shown, in points."""
        return self._sheet.marks

    @property
    def is_settled(self) -> bool:
        """Whether the page is rendered."""
        return self._shown is not None and not self._pending

    def open(self, content: PdfContent) -> None:
        """Show the cited page of a document."""
        self._content = content
        self._marks = []
        if self._loaded_key != content.key and not self._load(content):
            return
        if not 0 <= content.page < self._document.pageCount():
            self.load_failed.emit(f"The file has no page {content.page + 1}; this is the text as indexed.")
            return
        self._page = content.page
        text = self._document.getAllText(content.page).text()
        self.locate_wanted.emit(content, text, content.passage)

    def set_match(self, token: object, match: PageMatch | None) -> None:
        """Where the passage is on the page that `locate_wanted` asked about."""
        if token is not self._content or self._content is None:
            return
        if match is not None:
            selection = self._document.getSelectionAtIndex(self._content.page, match.start, match.length)
            self._marks = merge_lines(polygon.boundingRect() for polygon in selection.bounds())
        self.matched.emit(match if self._marks else None)
        self._show_page(scroll=True)

    def step(self, pages: int) -> None:
        """Go forward or back."""
        page = self._page + pages
        if 0 <= page < self._document.pageCount():
            self._page = page
            self._show_page(scroll=True)

    def magnify(self, steps: int) -> None:
        """Zoom in or out."""
        centre = self._centre()
        self._magnification = max(_MIN_ZOOM, min(_MAX_ZOOM, self._magnification * _ZOOM_STEP**steps))
        self._show_page(scroll=False)
        size = self._sheet.size()
        self.horizontalScrollBar().setValue(round(centre.x() * size.width() - self.viewport().width() / 2))
        self.verticalScrollBar().setValue(round(centre.y() * size.height() - self.viewport().height() / 2))

    def release(self) -> None:
        """Let go of the document."""
        self._content = None
        self._request = 0
        self._pending = False
        self._shown = None
        self._loaded_key = ""
        self._document.close()
        self._device = None

    def _load(self, content: PdfContent) -> bool:
        self.release()
        self._content = content
        # The document reads from the buffer for as long as it is open.
        self._device = QBuffer(self._document)
        self._device.setData(QByteArray(content.data))
        self._device.open(QIODevice.OpenModeFlag.ReadOnly)
        self._document.load(self._device)
        if self._document.status() != QPdfDocument.Status.Ready:
            locked = self._document.error() == QPdfDocument.Error.IncorrectPassword
            why = "The file wants a password" if locked else "The pages of this file cannot be shown"
            self.load_failed.emit(f"{why}; this is the text as indexed.")
            return False
        self._loaded_key = content.key
        self._magnification = 1.0
        return True

    def _cited_here(self) -> list[QRectF]:
        on_cited_page = self._content is not None and self._page == self._content.page
        return self._marks if on_cited_page else []

    def _show_page(self, *, scroll: bool) -> None:
        size = self._document.pagePointSize(self._page)
        if size.isEmpty():
            return
        marks = self._cited_here()
        box = QRectF()
        for mark in marks:
            box = box.united(mark)
        # Of the whole width, whether scroll bars are shown or not: else they and the zoom chase each other.
        room = max(80, self.width() - 2 * _MARGIN - self.verticalScrollBar().sizeHint().width())
        fit = room / size.width()
        # A passage in one of two columns: zoom until the column fills the view, within reason.
        zoom = max(fit, min(room / (box.width() + 56), 1.7 * fit)) if box.isValid() else fit
        zoom = max(_MIN_ZOOM * fit, zoom * self._magnification)
        shown = (self._loaded_key, self._page)
        self._sheet.show_page(size, zoom, marks, same=shown == self._shown)
        self._shown = shown
        self._pending = True
        ratio = min(self.devicePixelRatioF(), _MAX_SIDE_PX / (max(size.width(), size.height()) * zoom))
        pixels: QSize = (size * zoom * ratio).toSize()
        self._request = self._renderer.requestPage(self._page, pixels, QPdfDocumentRenderOptions())
        self.page_changed.emit(self._page, self._document.pageCount())
        if scroll and box.isValid():
            self.horizontalScrollBar().setValue(round(box.center().x() * zoom - room / 2))
            self.verticalScrollBar().setValue(round(box.top() * zoom - self.viewport().height() * 0.3))
        elif scroll:
            self.horizontalScrollBar().setValue(0)
            self.verticalScrollBar().setValue(0)

    def _show_again(self) -> None:
        if self._content is not None and self._loaded_key == self._content.key and self._request:
            self._show_page(scroll=True)

    def _rendered(
        self, _page: int, _size: QSize, image: QImage, _options: QPdfDocumentRenderOptions, request: int
    ) -> None:
        if request != self._request:
            return
        self._pending = False
        self._sheet.image = image
        self._sheet.update()
        self.settled.emit()

    def _centre(self) -> QPointF:
        """Middle of the view as a fraction of the page."""
        size = self._sheet.size()
        x = self.horizontalScrollBar().value() + self.viewport().width() / 2
        y = self.verticalScrollBar().value() + self.viewport().height() / 2
        return QPointF(x / max(1, size.width()), y / max(1, size.height()))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self.width() != self._width:
            self._width = self.width()
            self._resized.start()

    def wheelEvent(self, event: QWheelEvent) -> None:
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.magnify(1 if event.angleDelta().y() > 0 else -1)
            event.accept()
            return
        super().wheelEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.DevicePixelRatioChange:
            self._resized.start()
