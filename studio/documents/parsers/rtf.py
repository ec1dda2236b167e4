"""Rich Text Format (the only importer of striprtf)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from striprtf.striprtf import rtf_to_text  # type: ignore[import-untyped, unused-ignore]

from studio.documents.parsers.base import TextBuilder, choose_title, make_document, read_all
from studio.domain import ParsedDocument

_CODE_PAGE = re.compile(r"\\ansicpg(\d+)")
_INFO = re.compile(r"\{\\info\b(.{0,4000})", re.DOTALL)
_FIELD = r"\{\\%s\s+([^{}]*)\}"
_CELL_END = re.compile(r"(?<![ \t])[ \t]*\n\|")
_BLANK_LINES = re.compile(r"\n\s*\n+")


def parse(path: Path) -> Iterator[ParsedDocument]:
    """One document without anchors."""
    source = read_all(path).decode("latin-1")
    if not source.lstrip().startswith("{\\rtf"):
        source = "{\\rtf1\\ansi " + source + "}"  # a fragment: the reader stops at the end of its first group
    page = _CODE_PAGE.search(source[:2000])
    builder = TextBuilder()
    plain: str = rtf_to_text(source, encoding=f"cp{page.group(1)}" if page else "cp1252", errors="replace")  # type: ignore[no-untyped-call]
    plain = _CELL_END.sub(" |", plain)
    for paragraph in _BLANK_LINES.split(plain):
        builder.block(paragraph)
    text, spans = builder.build()
    yield make_document(
        text, spans, "rtf", title=choose_title(_info(source, "title"), "", path), author=_info(source, "author")
    )


def _info(source: str, field: str) -> str:
    info = _INFO.search(source[:200_000])
    found = re.search(_FIELD % field, info.group(1)) if info else None
    value = found.group(1) if found else ""
    return "" if "\\" in value else value
