"""Rich Text Format (the only importer of striprtf)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from striprtf.striprtf import rtf_to_text  # type: ignore[import-untyped, unused-ignore]

from studio.documents.parsers.base import TextBuilder, choose_title, make_document, one_line, read_all
from studio.domain import ParsedDocument

_CODE_PAGE = re.compile(r"\\ansicpg(\d+)")
_INFO = re.compile(r"\{\\info\b(.{0,4000})", re.DOTALL)
_CHARACTER = re.compile(r"\\u(-?\d{5,})")
_FIELD = r"\{\\%s\s+((?:[^{}]|\{[^{}]*\})*)\}"
_CREATED = re.compile(r"\\creatim\s*\\yr(\d{4})\s*\\mo(\d{1,2})\s*\\dy(\d{1,2})")
_CELL_END = re.compile(r"(?<![ \t])[ \t]*\n\|")
_BLANK_LINES = re.compile(r"\n\s*\n+")
_OUTLINE = re.compile(r"(\\outlinelevel([0-8]))(?!\d)")
_LEVEL_MARK = re.compile("^[\ue100-\ue108]+", re.MULTILINE)
_MARKS = re.compile("[\ue100-\ue108]")
_MEANT_FOR_GROUP = re.compile(r"(\\\\|\{\s*\\\*)|\\\*")
_BINARY = re.compile(r"(?<!\\)\\bin(?:fsxn|sxn)?(?![a-z])(\d*) ?")
_TABLE_LINE = re.compile(r".*\|\s*$", re.MULTILINE)


def parse(path: Path) -> Iterator[ParsedDocument]:
    """One document; spans follow the headings of paragraphs that state an outline level."""
    source = read_all(path).decode("latin-1")
    if not source.lstrip().startswith("{\\rtf"):
        source = "{\\rtf1\\ansi " + source + "}"  # a fragment: the reader stops at the end of its first group
    builder = TextBuilder()
    # Outline levels are properties of paragraphs that the reader drops: a private character carries them over.
    marked = _OUTLINE.sub(lambda level: f"{level.group(1)}\\u{0xE100 + int(level.group(2)) - 0x10000}?", source)
    for paragraph in _BLANK_LINES.split(rtf_text(marked)):
        _add(builder, paragraph)
    text, spans = builder.build()
    created = _CREATED.search(source[:200_000])
    yield make_document(
        text,
        spans,
        "rtf",
        title=choose_title(_info(source, "title"), builder.first_heading, path),
        author=_info(source, "author"),
        licence=_info(source, "copyright"),
        created="{}-{:0>2}-{:0>2}".format(*created.groups()) if created else "",
    )


def _add(builder: TextBuilder, paragraph: str) -> None:
    """Add a paragraph; lines of it that carry an outline level are headings."""
    at = 0
    for mark in _LEVEL_MARK.finditer(paragraph):
        end = paragraph.find("\n", mark.end())
        end = len(paragraph) if end < 0 else end
        title = _MARKS.sub("", paragraph[mark.end() : end]).strip()
        if title and len(title) <= 300:
            builder.block(_MARKS.sub("", paragraph[at : mark.start()]))
            builder.heading(ord(mark.group()[-1]) - 0xE100 + 1, title)
            at = end
    rest = _MARKS.sub("", paragraph[at:])
    lines = rest.strip().split("\n")
    builder.block(rest, whole=len(lines) > 1 and all(_TABLE_LINE.match(line) for line in lines))


def rtf_text(source: str) -> str:
    """The text of RTF source, whose bytes stand for themselves (latin-1)."""
    page = _CODE_PAGE.search(source[:2000])
    source = _MEANT_FOR_GROUP.sub(r"\1", _without_data(source))  # within a group the mark would hide what follows
    source = _CHARACTER.sub(_existing, source)
    plain: str = rtf_to_text(source, encoding=f"cp{page.group(1)}" if page else "cp1252", errors="replace")  # type: ignore[no-untyped-call]
    return _CELL_END.sub(" |", plain)


def _without_data(source: str) -> str:
    """The source without the bytes of pictures and objects, which may look like anything."""
    kept, at = [], 0
    for mark in _BINARY.finditer(source):
        if mark.start() >= at:
            kept.append(source[at : mark.start()])
            at = mark.end() + (int(mark.group(1)[:9] or 0) if "fs" not in mark.group() else 0)
    return "".join((*kept, source[at:]))


def _existing(character: re.Match[str]) -> str:
    number = character.group(1)
    return character.group() if len(number) <= 7 and -0x10000 <= int(number) <= 0x10FFFF else "\\u65533"


def _info(source: str, field: str) -> str:
    info = _INFO.search(source[:200_000])
    found = re.search(_FIELD % field, info.group(1)) if info else None
    if found is None:
        return ""
    page = _CODE_PAGE.search(source[:2000])
    head = f"{{\\rtf1\\ansi{page.group() if page else ''} "
    return one_line(rtf_text(head + found.group(1) + "}"))
