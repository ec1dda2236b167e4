"""Org mode: the text of an outline, with its headings, tables and blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from studio.documents.parsers.base import TextBuilder, choose_title, clean, make_document, read_all
from studio.documents.parsers.encodings import decode
from studio.domain import ParsedDocument

_HEADING = re.compile(
    r"(\*+)[ \t]+(?:(?:TODO|DONE|NEXT|WAITING|CANCELLED)[ \t]+)?(?:\[#\w\][ \t]*)?(.*?)(?:[ \t]+:[\w@#%:]+:)?[ \t]*\Z"
)
_KEYWORD = re.compile(r"[ \t]*#\+([\w-]+)(?:\[[^\]]*\])?:[ \t]*(.*)\Z")
_BLOCK = re.compile(r"[ \t]*#\+begin_(\w+)", re.IGNORECASE)
_DRAWER = re.compile(r"[ \t]*:[\w-]+:[ \t]*\Z")
_RULE = re.compile(r"[ \t]*(?:\|[-+|: ]*|-{5,})[ \t]*\Z")
_PLANNING = re.compile(r"[ \t]*(?:SCHEDULED|DEADLINE|CLOSED|CLOCK):")
_ITEM = re.compile(r"[ \t]*(?:[-+]|\d+[.)])[ \t]+")
_CHECKBOX = re.compile(r"([-+]|\d+[.)])[ \t]+\[[ X-]\][ \t]+")
_LINK = re.compile(r"\[\[(?:[^\[\]]*\]\[)?([^\[\]]*)\]\]")
_MARKS = re.compile(r"(?<![\w\\])([*/_=~+])(?=\S)((?:(?!\1)[^\n]){1,400}?)(?<=\S)\1(?!\w)")
_FOOTNOTE = re.compile(r"\[fn:([\w-]*)(?::([^\[\]]*))?\]")

_VERBATIM = frozenset({"src", "example", "export", "verse"})
_KEPT = ("date", "keywords", "description", "category", "language", "subtitle", "email", "subject")
_SHOWN_KEYWORDS = frozenset({"title", "subtitle", "author", "date", "caption"})


def parse(path: Path) -> Iterator[ParsedDocument]:
    """One document; spans follow the headings."""
    about: dict[str, str] = {}
    builder = TextBuilder()
    _read(clean(decode(read_all(path))).split("\n"), builder, about)
    text, spans = builder.build()
    yield make_document(
        text,
        spans,
        "org",
        title=choose_title(about.get("title"), builder.first_heading, path),
        author=about.get("author", ""),
        licence=about.get("license", about.get("licence", "")),
        created=about.get("date", "").strip("<>[]"),
        metadata={
            **{name: about[name] for name in _KEPT if name in about},
            "tags": ", ".join(filter(None, about.get("filetags", "").split(":"))),
        },
    )


def _read(lines: list[str], builder: TextBuilder, about: dict[str, str]) -> None:
    paragraph: list[str] = []
    item = after_item = False

    def flush() -> None:
        nonlocal item, after_item
        if paragraph:
            builder.block(_inline("\n".join(paragraph)), "\n" if item and after_item else "\n\n")
            after_item = item
        item = False
        paragraph.clear()

    at = 0
    while at < len(lines):
        line = lines[at].rstrip()
        at += 1
        if not line:
            flush()
            after_item = False
        elif heading := _HEADING.match(line):
            flush()
            builder.heading(len(heading.group(1)), _inline(heading.group(2)))
        elif block := _BLOCK.match(line):
            flush()
            at = _block(lines, at, block.group(1).lower(), builder)
        elif keyword := _KEYWORD.match(line):
            flush()
            name, value = keyword.group(1).lower(), keyword.group(2).strip()
            about.setdefault(name, value)
            if name in _SHOWN_KEYWORDS:
                builder.line(_inline(value))
        elif _DRAWER.match(line):
            flush()
            at = _after_drawer(lines, at)
        elif line.lstrip().startswith("|"):
            flush()
            at = _table(lines, at - 1, builder)
        elif _RULE.match(line) or _PLANNING.match(line) or re.match(r"[ \t]*#(?:[ \t+]|\Z)", line):
            flush()
        elif _ITEM.match(line):
            flush()
            paragraph.append(_CHECKBOX.sub(r"\1 ", line.strip()))
            item = True
        else:
            paragraph.append(line.strip().removeprefix(": "))
    flush()


def _block(lines: list[str], at: int, name: str, builder: TextBuilder) -> int:
    """Add a `#+begin_` block; returns the line after it. Only verbatim blocks are taken as a whole."""
    if name not in _VERBATIM and name != "comment":
        return at
    inside: list[str] = []
    while at < len(lines) and not re.match(rf"[ \t]*#\+end_{re.escape(name)}", lines[at], re.IGNORECASE):
        inside.append(lines[at])
        at += 1
    if name != "comment":
        builder.block("\n".join(inside), whole=True)
    return at + 1


def _after_drawer(lines: list[str], at: int) -> int:
    """The line after the `:END:` of a drawer; a drawer without end is none."""
    for end in range(at, min(len(lines), at + 60)):
        if lines[end].strip().lower() == ":end:":
            return end + 1
        if lines[end].startswith("*"):
            break
    return at


def _table(lines: list[str], at: int, builder: TextBuilder) -> int:
    rows = []
    while at < len(lines) and lines[at].lstrip().startswith("|"):
        if not _RULE.match(lines[at]):
            cells = lines[at].strip().strip("|").split("|")
            rows.append(" | ".join(_inline(cell.strip()) for cell in cells))
        at += 1
    builder.block("\n".join(rows), whole=True)
    return at


def _inline(text: str) -> str:
    text = _LINK.sub(r"\1", text)
    text = _FOOTNOTE.sub(lambda found: f" ({found.group(2)})" if found.group(2) else f"[{found.group(1)}]", text)
    return _MARKS.sub(r"\2", text)
