"""What a page of a PDF says: its text as a reader sees it, form fields, remarks, and whether it is a picture.

What is rare is looked for only where a cheap look says that it may be there: a call of the library for each character
takes longer than everything else together.
"""

from __future__ import annotations

import ctypes
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import pypdfium2
import pypdfium2.raw as pdfium

from studio.documents.parsers.base import clean, one_line

MAX_ANNOTATIONS = 5_000
FEW_CHARS = 300
"""With less text a page may be a scan that somebody stamped or numbered."""
MOST_OF_THE_PAGE = 0.5
_EDGE = 3.0
"""Points by which a letter may reach over the edge of a page."""
_MAX_TITLE_CHARS = 3_000
"""Of the first page looked at for its largest line."""
_LINK, _POPUP, _WIDGET = pdfium.FPDF_ANNOT_LINK, pdfium.FPDF_ANNOT_POPUP, pdfium.FPDF_ANNOT_WIDGET
_STATES = frozenset({"Off", ""})
_WORDS = re.compile(r"[^\W_]+")
_UNMAPPED = re.compile("[\ue000-\uf8ff\ufffd\x01-\x08\x0e-\x1f\U000f0000-\U0010ffff]")
_LOOKED_AT = 40
_MOST_PIECES = 2_000
_LEAST_LINES = 4
_LEAST_LINE_CHARS = 15
_LEAST_GOING_ON = 0.4
"""Of columns of prose: how long lines are on average, and how many go on with a small letter. Tables are not so."""


_Piece = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Page:
    """`text` as the library gives it, `beside` what fields and remarks say, a line each.

    `has_picture`: there is an image to recognise text in. `is_scan`: one covers most of the page, and what text there
    is was put over it.
    """

    text: str
    beside: tuple[str, ...]
    has_picture: bool
    is_scan: bool


def read_page(pdf: pypdfium2.PdfDocument, page: pypdfium2.PdfPage, index: int) -> Page:
    """Read one page. Raises PdfiumError."""
    text_page = page.get_textpage()
    try:
        text = text_page.get_text_range()
        text = _inside(page, text_page, text)
        text = _in_columns(page, text_page) or text
    finally:
        text_page.close()
    if is_gibberish(text):
        return Page("", _beside(pdf, page, index, ""), True, False)
    beside = _beside(pdf, page, index, text)
    if len(text) >= FEW_CHARS:
        return Page(text, beside, False, False)
    share = _picture_share(page)
    return Page(text, beside, share > 0.0, share >= MOST_OF_THE_PAGE)


def is_gibberish(text: str) -> bool:
    """Whether the fonts of a page do not tell which letters their shapes are."""
    return len(_UNMAPPED.findall(text)) > 0.3 * len(text.replace(" ", "")) > 0


def _picture_share(page: pypdfium2.PdfPage) -> float:
    """How much of a page its largest image covers, 0 to 1."""
    width, height = page.get_size()
    area = max(1.0, width * height)
    largest = 0.0
    for item in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=3):
        left, bottom, right, top = item.get_bounds()
        largest = max(largest, (right - left) * (top - bottom) / area, 1e-6)
    return largest


# ------------------------------------------------------------ where the text stands


def _inside(page: pypdfium2.PdfPage, text_page: pypdfium2.PdfTextPage, text: str) -> str:
    """The text without what lies outside of the visible part of the page."""
    if not text:
        return text
    left, bottom, right, top = page.get_bbox()
    shown: str = text_page.get_text_bounded(left - _EDGE, bottom - _EDGE, right + _EDGE, top + _EDGE)
    return text if len("".join(shown.split())) == len("".join(text.split())) else shown


def _rectangles(text_page: pypdfium2.PdfTextPage, first: int, count: int) -> list[_Piece]:
    """(left, top, right, bottom) of pieces of lines, in the order they are drawn in."""
    found = map(text_page.get_rect, range(first, first + count))
    return [(left, top, right, bottom) for left, bottom, right, top in found]


def _in_columns(page: pypdfium2.PdfPage, text_page: pypdfium2.PdfTextPage) -> str:
    """The text of a page of two columns that are drawn line by line across both, column by column; "" for others."""
    count = text_page.count_rects()
    first = max(0, count // 2 - _LOOKED_AT // 2)
    if count < 2 * _LEAST_LINES or not _turns(_rectangles(text_page, first, min(count, _LOOKED_AT))):
        return ""
    pieces = _rectangles(text_page, 0, min(count, _MOST_PIECES))
    page_left, page_bottom, page_right, page_top = page.get_bbox()
    middle = (page_left + page_right) / 2
    reach = (page_right - page_left) / 6
    starts = sorted(left for left, _, _, _ in pieces if middle - reach < left < middle + reach)
    if len(starts) < _LEAST_LINES:
        return ""
    gutter = statistics.mode(round(start) for start in starts) - 1.0
    left = [piece for piece in pieces if piece[2] <= gutter + 1]
    right = [piece for piece in pieces if piece[0] >= gutter]
    if min(len(left), len(right)) < _LEAST_LINES or not _alternate(pieces, gutter):
        return ""
    top = min(max(piece[1] for piece in left), max(piece[1] for piece in right)) + 1
    bottom = min(min(piece[3] for piece in left), min(piece[3] for piece in right)) - 1
    top = max([top, *(piece[1] for piece in right if piece[1] <= top + 3)]) + 0.5
    if any(piece[0] < gutter < piece[2] and bottom < piece[1] < top for piece in pieces):
        return ""  # something lies across: no columns, or more than these
    read: Callable[..., str] = text_page.get_text_bounded
    columns = [read(page_left, bottom, gutter, top).strip(), read(gutter, bottom, page_right, top).strip()]
    lines = [line.strip() for column in columns for line in column.splitlines() if line.strip()]
    if not lines or statistics.mean(map(len, lines)) < _LEAST_LINE_CHARS:
        return ""
    if sum(line[0].islower() for line in lines) < _LEAST_GOING_ON * (len(lines) - 2):
        return ""
    above, below = read(page_left, top, page_right, page_top), read(page_left, page_bottom, page_right, bottom)
    return "\n".join(filter(None, (above.strip(), *columns, below.strip())))


def _turns(pieces: list[_Piece]) -> bool:
    """Whether among these pieces of lines some lie to the right of the one before, in the same line, with a gap."""
    gaps = sum(abs(before[1] - after[1]) < 3 and after[0] > before[2] + 4 for before, after in pairwise(pieces))
    return gaps >= _LEAST_LINES - 1 and gaps > 0.25 * len(pieces)


def _alternate(pieces: list[_Piece], gutter: float) -> bool:
    """Whether most pieces follow one of the other column, in the same line."""
    sides = [(piece[0] >= gutter, piece[1]) for piece in pieces if piece[2] <= gutter + 1 or piece[0] >= gutter]
    turns = sum(not before and after and abs(top - other) < 3 for (before, top), (after, other) in pairwise(sides))
    return turns >= _LEAST_LINES and turns > 0.35 * len(sides)


def largest_line(pdf: pypdfium2.PdfDocument) -> str:
    """The line of the first page that is set in the largest type, if it stands out; "" for none. Raises PdfiumError."""
    page = pdf[0]
    text_page = page.get_textpage()
    try:
        count = min(text_page.count_chars(), _MAX_TITLE_CHARS)
        if not count:
            return ""
        text = text_page.get_text_range(0, count)
        box = pdfium.FS_RECTF()
        heights = []
        for at in range(count):
            known = pdfium.FPDFText_GetLooseCharBox(text_page, at, box)
            heights.append(round(box.top - box.bottom, 1) if known else 0.0)
    finally:
        text_page.close()
        page.close()
    if len(text) != count:  # a character beyond the first plane: the places would not fit
        return ""
    letters = [height for height, sign in zip(heights, text, strict=True) if sign.isalnum()]
    if not letters or max(letters) < 1.15 * statistics.median(letters):
        return ""
    return _run_of(text, heights, max(letters))


def _run_of(text: str, heights: list[float], largest: float) -> str:
    """The first run of characters of a size, over line ends."""
    found: list[str] = []
    for sign, height in zip(text, heights, strict=True):
        if height >= 0.95 * largest or (found and not sign.isalnum() and (sign.isspace() or height == 0.0)):
            found.append(sign)
        elif found:
            break
    title = one_line("".join(found))
    return title if 4 <= len(title) <= 200 else ""


# ------------------------------------------------------------ fields and remarks


def _beside(pdf: pypdfium2.PdfDocument, page: pypdfium2.PdfPage, index: int, text: str) -> tuple[str, ...]:
    """What fields, remarks and stamps of a page say and the text does not."""
    count = min(pdfium.FPDFPage_GetAnnotCount(page), MAX_ANNOTATIONS)
    if count <= 0:
        return ()
    said: list[str] = []
    drawn = False
    for at in range(count):
        annotation = pdfium.FPDFPage_GetAnnot(page, at)
        if not annotation:
            continue
        try:
            kind = pdfium.FPDFAnnot_GetSubtype(annotation)
            if kind in (_LINK, _POPUP) or pdfium.FPDFAnnot_GetFlags(annotation) & pdfium.FPDF_ANNOT_FLAG_HIDDEN:
                continue
            drawn = drawn or bool(pdfium.FPDFAnnot_HasKey(annotation, b"AP"))
            said.extend(_field(pdf, annotation) if kind == _WIDGET else _remark(annotation))
        finally:
            pdfium.FPDFPage_CloseAnnot(annotation)
    if drawn:
        said.extend(_drawn(pdf, page, index, text, list(said)))
    known = " ".join(text.split())
    return tuple(line for line in dict.fromkeys(said) if line and line not in known)


def _remark(annotation: object) -> Iterator[str]:
    yield one_line(_string(annotation, b"Contents"))


def _field(pdf: pypdfium2.PdfDocument, annotation: object) -> Iterator[str]:
    """`label: value` of a field that is filled in; of a box that is ticked its label."""
    form = pdf.formenv
    if form is None:
        value, label, ticked = _string(annotation, b"V"), _string(annotation, b"TU") or _string(annotation, b"T"), False
    else:
        kind = pdfium.FPDFAnnot_GetFormFieldType(form, annotation)
        if kind == pdfium.FPDF_FORMFIELD_PUSHBUTTON:
            return
        value = _told(pdfium.FPDFAnnot_GetFormFieldValue, form, annotation)
        label = _told(pdfium.FPDFAnnot_GetFormFieldAlternateName, form, annotation) or _told(
            pdfium.FPDFAnnot_GetFormFieldName, form, annotation
        )
        ticked = kind in (pdfium.FPDF_FORMFIELD_CHECKBOX, pdfium.FPDF_FORMFIELD_RADIOBUTTON)
    value, label = clean(value).strip(), one_line(label)
    if ticked:
        if value not in _STATES and label:
            yield f"{label}: {value}" if value not in ("Yes", "On", "1") else label
    elif value:
        yield f"{label}: {value}" if label else value


def _string(annotation: object, key: bytes) -> str:
    return _told(pdfium.FPDFAnnot_GetStringValue, annotation, key)


def _told(ask: Callable[..., int], *arguments: object) -> str:
    """A text that the library writes into a buffer: UTF-16, its length in bytes with the zero at its end."""
    size = ask(*arguments, None, 0)
    if not 2 < size < 1 << 20:
        return ""
    buffer = ctypes.create_string_buffer(size)
    ask(*arguments, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return buffer.raw[: size - 2].decode("utf-16-le", "replace")


def _drawn(
    pdf: pypdfium2.PdfDocument, page: pypdfium2.PdfPage, index: int, text: str, said: list[str]
) -> Iterator[str]:
    """Lines that stand on the page only once what is drawn for fields, remarks and signatures is part of it."""
    if pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY) != pdfium.FLATTEN_SUCCESS:
        return
    whole = pdf[index]  # which the page that is open does not know of
    try:
        text_page = whole.get_textpage()
        shown: str = text_page.get_text_range()
        text_page.close()
    finally:
        whole.close()
    before = {" ".join(line.split()) for line in text.splitlines()}
    told = set(_WORDS.findall(" ".join(said)))
    for line in map(one_line, clean(shown).splitlines()):
        if sum(map(str.isalnum, line)) > 1 and line not in before and not told.issuperset(_WORDS.findall(line)):
            yield line
