"""Markdown as readable text: markup goes, structure stays (the only importer of markdown_it)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

from studio.documents.parsers import front_matter
from studio.documents.parsers.base import TextBuilder, choose_title, make_document, read_all
from studio.documents.parsers.encodings import decode
from studio.documents.parsers.html import html_text
from studio.documents.parsers.table_rows import TableRows
from studio.domain import ParsedDocument

_AUTHORS = ("author", "authors", "creator")
_LICENCES = ("license", "licence", "rights")
_CELL_TAG = re.compile(r"</?(?:td|th|tr|p|div|li)\b", re.IGNORECASE)
_BREAK_TAG = re.compile(r"<br\s*/?>", re.IGNORECASE)


def parse(path: Path) -> Iterator[ParsedDocument]:
    """One document; spans follow the headings."""
    source = decode(read_all(path)).removeprefix("\ufeff")
    fields, source = front_matter.split(source)
    builder = TextBuilder()
    builder.block("\n".join(f"{name}: {value}" for name, value in fields.items() if name != "title" and value))
    add_markdown(builder, source)
    text, spans = builder.build()
    if not text:  # a note of front matter alone
        builder.block(fields.get("title", ""))
        text, spans = builder.build()
    tags = _named(fields, "tags", "keywords", "categories")
    yield make_document(
        text,
        spans,
        "markdown",
        title=choose_title(fields.get("title"), builder.first_heading, path),
        author=_named(fields, *_AUTHORS),
        licence=_named(fields, *_LICENCES),
        created=_named(fields, "date", "created", "published"),
        metadata={
            **{name: value for name, value in fields.items() if name not in ("title", *_AUTHORS, *_LICENCES)},
            **({"tags": tags} if tags else {}),
        },
    )


def _named(fields: dict[str, str], *names: str) -> str:
    return next((fields[name] for name in names if fields.get(name)), "")


def add_markdown(builder: TextBuilder, source: str) -> None:
    """Add Markdown source to a text under construction."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source)
    lists: list[int | None] = []  # per open list: next number, None for bullets
    prefix = ""
    cells: list[str] | None = None
    rows = TableRows(builder)
    tight = False
    for i, token in enumerate(tokens):
        if token.type in ("bullet_list_open", "ordered_list_open"):
            start = int(token.attrs.get("start", 1)) if token.type == "ordered_list_open" else None
            tight = bool(lists)
            lists.append(start)
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            lists.pop()
            prefix = ""
        elif token.type == "list_item_open":
            prefix = "  " * (len(lists) - 1) + _marker(lists)
        elif token.type == "tr_open":
            cells = []
        elif token.type == "tr_close":
            rows.add(" | ".join(cells or ()), names=tokens[i - 1].type == "th_close")
            cells = None
        elif token.type in ("fence", "code_block"):
            builder.block(token.content, whole=True)
        elif token.type == "html_block":
            builder.block(html_text(token.content))
        elif token.type == "inline":
            text = inline_text(token.children or ())
            if cells is not None:
                cells.append(text.replace("\n", " "))
            elif tokens[i - 1].type == "heading_open":
                builder.heading(int(tokens[i - 1].tag[1:]), text)
            else:
                builder.block(prefix.lstrip() + text, gap="\n" if lists and tight and prefix else "\n\n")
                tight = bool(lists)
                prefix = ""
        elif token.type == "table_open":
            rows.begin()


def _marker(lists: list[int | None]) -> str:
    number = lists[-1]
    if number is None:
        return "- "
    lists[-1] = number + 1
    return f"{number}. "


def inline_text(tokens: Sequence[Token]) -> str:
    """What a reader sees of inline markup; links with where they lead, images by their description."""
    parts: list[str] = []
    targets: list[str] = []
    for token in tokens:
        if token.type in ("softbreak", "hardbreak"):
            parts.append("\n")
        elif token.type == "image":
            parts.append(inline_text(token.children or ()))
        elif token.type == "html_inline":
            parts.append("\n" if _BREAK_TAG.match(token.content) else " " if _CELL_TAG.match(token.content) else "")
        elif token.type == "link_open":
            targets.append(unquote(str(token.attrs.get("href", ""))))
        elif token.type == "link_close":
            target = targets.pop() if targets else ""
            if target and not target.startswith("#") and target.removeprefix("mailto:") not in "".join(parts):
                parts.append(f" ({target})")
        else:
            parts.append(token.content)
    return "".join(parts)
