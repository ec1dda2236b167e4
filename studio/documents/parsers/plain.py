"""Plain text in any encoding; logs and markup without a reader of its own count as plain text."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

from studio.documents.parsers.base import check_size, choose_title, clean, make_document, no_text, read_all
from studio.documents.parsers.encodings import STRAY_BYTES, decode, guess_encoding
from studio.domain import ParsedDocument, Span

WHOLE_BYTES = 16 << 20
PART_CHARS = 1_000_000
"""A longer text is cut into parts, each a document: a log that grows then costs only its last part."""
SAMPLE_BYTES = 1 << 20

_LICENCE = re.compile(r"SPDX-License-Identifier:[ \t]*([\w.+() -]{2,80})")


def parse(path: Path) -> Iterator[ParsedDocument]:
    """The text as it stands, cleaned of control characters; one above `WHOLE_BYTES` in parts."""
    check_size(path)
    if path.stat().st_size > WHOLE_BYTES:
        yield from _in_parts(path)
    else:
        text = clean(decode(read_all(path)))
        yield _document(path, text, _licence_of(text))


def _in_parts(path: Path) -> Iterator[ParsedDocument]:
    """Parts of `PART_CHARS` at most, that end with a line where there are lines."""
    licence, found = "", False
    for number, text in enumerate(_parts(path), 1):
        licence = _licence_of(text) if number == 1 else licence
        if any(map(str.isalnum, text)):
            found = True
            yield _document(path, text, licence, number)
    if not found:
        raise no_text("The file holds no text.")


def _parts(path: Path) -> Iterator[str]:
    with path.open("rb") as raw:
        encoding = guess_encoding(raw.read(SAMPLE_BYTES), complete=False)
        raw.seek(0)
        stream = io.TextIOWrapper(raw, encoding, STRAY_BYTES, newline=None)
        held = ""
        while block := stream.read(PART_CHARS - len(held)):
            held += block
            if len(held) == PART_CHARS:
                end = held.rfind("\n", PART_CHARS // 2) + 1 or PART_CHARS
                yield clean(held[:end])
                held = held[end:]
        if held:
            yield clean(held)


def _licence_of(text: str) -> str:
    found = _LICENCE.search(text[:20_000])
    return found.group(1).strip() if found else ""


def _document(path: Path, text: str, licence: str, part: int = 0) -> ParsedDocument:
    title, name = choose_title("", "", path), f"part {part}" if part else ""
    return make_document(
        text, (Span(0, len(text), anchor=name),), "text", title=f"{title} ({name})" if part else title,
        licence=licence, external_id=name, row=max(0, part - 1),
    )  # fmt: skip
