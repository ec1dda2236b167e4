"""Plain text in any encoding; source code, logs and light markup count as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from studio.documents.parsers.base import choose_title, clean, make_document, read_all
from studio.documents.parsers.encodings import decode
from studio.domain import ParsedDocument, Span

_UNDERLINE = re.compile(r"^([=\-~^*#\"'`+:.])\1{2,}\s*$")
_TEX_TITLE = re.compile(r"\\title\s*(?:\[[^]]*\])?\{([^{}]+)\}")
_ORG_TITLE = re.compile(r"^#\+title:\s*(.+)$", re.IGNORECASE | re.MULTILINE)


def parse(path: Path) -> Iterator[ParsedDocument]:
    """The text as it stands, cleaned of control characters."""
    text = clean(decode(read_all(path)))
    title = choose_title(declared_title(text[:20_000], path.suffix.lower()), "", path)
    yield make_document(text, (Span(0, len(text)),), "text", title=title)


def declared_title(head: str, suffix: str) -> str:
    """The title that LaTeX, org and reStructuredText state in their text, else ""."""
    if suffix in {".tex", ".ltx", ".latex"}:
        found = _TEX_TITLE.search(head)
        return found.group(1).replace("\\\\", " ") if found else ""
    if suffix == ".org":
        found = _ORG_TITLE.search(head)
        return found.group(1) if found else ""
    if suffix == ".rst":
        lines = head.split("\n", 200)[:200]
        for line, below in pairwise(lines):
            if (
                line.strip()
                and not _UNDERLINE.match(line)
                and _UNDERLINE.match(below)
                and len(below) >= len(line.rstrip())
            ):
                return line
    return ""
