"""Plain text in any encoding; logs and markup without a reader of its own count as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from studio.documents.parsers.base import (
    MAX_TEXT_CHARS,
    choose_title,
    clean,
    make_document,
    read_all,
    text_too_large,
)
from studio.documents.parsers.encodings import decode
from studio.domain import ParsedDocument, Span

_LICENCE = re.compile(r"SPDX-License-Identifier:[ \t]*([\w.+() -]{2,80})")


def parse(path: Path) -> Iterator[ParsedDocument]:
    """The text as it stands, cleaned of control characters."""
    source = decode(read_all(path))
    if len(source) > 2 * MAX_TEXT_CHARS:
        raise text_too_large()  # before cleaning makes copies of it
    text = clean(source)
    licence = _LICENCE.search(text[:20_000])
    yield make_document(
        text,
        (Span(0, len(text)),),
        "text",
        title=choose_title("", "", path),
        licence=licence.group(1).strip() if licence else "",
    )
