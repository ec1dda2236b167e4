"""PDF files some of whose pages are pictures."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import pypdfium2

from tests.unit.documents.making import pdf

WIDTH, HEIGHT = 600, 800


def scanned_pdf(path: Path, pages: Sequence[str | None], *, picture_of: str = "") -> Path:
    """A page for each text; "" is a blank page, None one that is a picture, of a text or of nothing much."""
    objects: list[bytes] = []

    def add(body: bytes) -> int:
        objects.append(body)
        return len(objects)

    add(b"<</Type/Catalog/Pages 2 0 R>>")
    add(b"")
    font = add(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    image = add(_image(picture_of))
    kids = []
    for page in pages:
        drawn = b"q %d 0 0 %d 0 0 cm /I Do Q" % (WIDTH, HEIGHT) if page is None else b""
        shown = b"BT /F 12 Tf 50 700 Td (%s) Tj ET" % page.encode("latin-1") if page else b""
        content = drawn or shown
        stream = add(b"<</Length %d>>\nstream\n%s\nendstream" % (len(content), content))
        kids.append(
            add(
                b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Contents %d 0 R/Resources<</Font<</F %d 0 R>>"
                b"/XObject<</I %d 0 R>>>>>>" % (WIDTH, HEIGHT, stream, font, image)
            )
        )
    objects[1] = b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(kids), b" ".join(b"%d 0 R" % kid for kid in kids))
    data, offsets = b"%PDF-1.5\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(data))
    path.write_bytes(data + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + trailer)
    return path


def _image(text: str) -> bytes:
    width, height, pixels = (2, 2, b"\xff\x00\x00\xff") if not text else _rendered(text)
    packed = zlib.compress(pixels)
    head = b"<</Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceGray" % (width, height)
    return head + b"/BitsPerComponent 8/Filter/FlateDecode/Length %d>>\nstream\n%s\nendstream" % (len(packed), packed)


def _rendered(text: str) -> tuple[int, int, bytes]:
    """Width, height and grey pixels of a page that shows a text."""
    document = pypdfium2.PdfDocument(pdf([[text]]))
    page = document[0]
    bitmap = page.render(scale=3, grayscale=True)
    rows = bytes(bitmap.buffer)
    pixels = b"".join(rows[y * bitmap.stride : y * bitmap.stride + bitmap.width] for y in range(bitmap.height))
    size = bitmap.width, bitmap.height
    bitmap.close()
    page.close()
    document.close()
    return *size, pixels
