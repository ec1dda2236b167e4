"""Source code and configuration: the text as it stands, located by lines and by the names that are defined there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.documents.parsers.base import MAX_TEXT_CHARS, clean, make_document, read_all, text_too_large
from studio.documents.parsers.encodings import decode
from studio.domain import ParsedDocument, Span

SPAN_CHARS = 900
"""About what one chunk of 256 tokens holds of code: pieces are joined up to this size, so that a chunk's lines are
those its location names."""
MAX_PIECE_LINES = 40
"""A definition without a blank line is cut after this many lines."""
MAX_NAMES = 3
MAX_NAME_CHARS = 60
_LOOKED_AT = 240
"""Characters of a line that may tell a definition."""

_NO_LINE_ENDS = str.maketrans("\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", " " * 8)
"""Editors do not count these as line ends; `clean` would."""

# An atomic group: Python before 3.11.5 goes on behind a word that a “(?:…)*+” tried in vain
# (https://github.com/python/cpython/issues/100061). Of single characters they are sound.
_MODIFIERS = (
    r"(?>(?:(?:export|default|declare|public|private|protected|internal|static|final|abstract|async|sealed|partial|open|"
    r"override|virtual|inline|const|unsafe|extern|pub(?:\([^)]*\))?|data|case|local|global|suspend|readonly|"
    r"create|or|replace|temporary|if|not|exists)\s+)*)"
)
_KEYWORD_DEFINITION = re.compile(
    rf"""\(?{_MODIFIERS}(?:def|defp|defmodule|defmacro|defn-?|defun|class|struct|enum|union|interface|trait|impl|protocol|
      extension|object|record|module|namespace|package|function\*?|func|fun|fn|type|sub|procedure|proc|macro_rules!|message|
      service|rpc|contract|modifier|table|view|trigger|subroutine|program|theorem|lemma|resource|component)\b\s*+
      (?:<[^<>]*>\s*+|\([^()]*\)\s*+(?=\w+\s*\())?  # type parameters; the receiver of a Go method
      [(\[{{"'`]?(?P<name>[\w$][\w$.:?!-]*+)(?=\s*(?:[()\[\]{{}}<>:=;,"'`&|]|$
      |(?:extends|implements|as|is|on|of|returns?|begin|where|for|do|struct|interface|with|from)\b))""",
    re.VERBOSE | re.IGNORECASE,
)
_C_LIKE_DEFINITION = re.compile(
    r"(?!return\b|else\b|new\b|throw\b|if\b|for\b|while\b|switch\b|case\b|await\b|yield\b|using\b|delete\b|goto\b)"
    r"[A-Za-z_][\w$<>,:*&\[\]~]*+(?:\s+[\w$<>,:*&\[\]~]++){0,8}?[\s*&]+(?P<name>~?[A-Za-z_$][\w$:]*)\s*\([^;=]*$"
)
_ASSIGNED_FUNCTION = re.compile(
    r"(?:export\s+)?(?:const|let|var)\s+(?P<name>[\w$]+)\s*=\s*(?:async\s*)?(?:function\b|\([^)]*\)\s*=>|\w+\s*=>)"
)
_TABLE_HEADER = re.compile(r"\[{1,2}(?P<name>[\w.:\"' /-]+)\]{1,2}\s*$")
_LEADING = re.compile(r"\s*(?:@|#(?!\s*(?:if|endif|else|include|define)\b)|//|/\*|\*|--|;|%|'|<!--|\[\w)")
_NOT_NAMES = frozenset({"if", "for", "while", "switch", "catch", "return", "in", "of", "is", "and", "the", "not", "as"})

_LICENCE = re.compile(r"SPDX-License-Identifier:[ \t]*([\w.+() -]{2,120}?)[ \t]*(?:\*/|-->|--|\"|'|$)", re.MULTILINE)
_AUTHOR = re.compile(
    r"""(?:__author__\s*=\s*["']|@author:?[ \t]+|^\W{0,6}Author:[ \t]+
        |SPDX-FileCopyrightText:[ \t]*(?:©|\(c\))?[ \t\d,-]*)([^\n"']{2,120})""",
    re.MULTILINE | re.IGNORECASE | re.VERBOSE,
)


@dataclass(slots=True)
class _Piece:
    """Lines first..last (from 0, last exclusive) that belong together, under a dotted name or none."""

    first: int
    last: int
    name: str


def parse(path: Path) -> Iterator[ParsedDocument]:
    """One document: the file's text, cleaned, in spans of whole definitions or paragraphs of about a chunk each."""
    source = decode(read_all(path))
    if len(source) > 2 * MAX_TEXT_CHARS:
        raise text_too_large()
    text = clean(source.translate(_NO_LINE_ENDS))
    head = text[:20_000]
    licence, author = _LICENCE.search(head), _AUTHOR.search(head)
    yield make_document(
        text,
        code_spans(text),
        "code",
        title=path.name,
        author=author.group(1).strip(" .,*/") if author else "",
        licence=licence.group(1) if licence else "",
    )


def code_spans(text: str) -> tuple[Span, ...]:
    """Spans that cover `text`, each anchored at its lines ("Packer.region · lines 41–80")."""
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    starts[-1] = len(text)
    spans = []
    for group in _grouped(_pieces(lines), starts):
        start, end = starts[group[0].first], starts[group[-1].last]
        if start < end:
            spans.append(Span(start, end, None, _anchor(group, lines), whole=True))
    return tuple(spans)


def _pieces(lines: Sequence[str]) -> Iterator[_Piece]:
    """The lines cut where something is defined, and at blank lines where a definition grows long."""
    outer: list[tuple[int, str]] = []  # indentation and name of the definitions around this line
    first, name, blank = 0, "", False
    indent_limit = 4 * _indent_step(lines)
    for number, line in enumerate(lines):
        if not line.strip():
            blank = True
            continue
        indent = len(line) - len(line.lstrip())
        found = _defined_name(line, indent) if indent <= indent_limit else ""
        if indent <= (outer[-1][0] if outer else -1) and (found or blank) and line.strip()[0] not in ")]}":
            outer = [(depth, known) for depth, known in outer if depth < indent]
            fresh = True
        else:
            fresh = bool(found) and len(outer) < 2
        at = _with_comments(lines, first, number) if found else number
        if (
            (found and fresh)
            or (blank and (fresh or number - first >= MAX_PIECE_LINES // 4))
            or (number - first >= MAX_PIECE_LINES)
        ):
            if at > first:
                yield _Piece(first, at, name)
                first = at
            if found and fresh:
                outer = [*outer, (indent, found)]
            name = ".".join(known for _, known in outer)
        blank = False
    yield _Piece(first, len(lines), name)


def _indent_step(lines: Sequence[str]) -> int:
    """How far the file indents: 1 for tabs, else the smallest indentation of its first lines."""
    widths = [len(line) - len(line.lstrip()) for line in lines[:2000] if line[:1] in " \t" and line.strip()]
    return 1 if any(line.startswith("\t") for line in lines[:2000]) else min(max(2, min(widths, default=4)), 4)


def _with_comments(lines: Sequence[str], first: int, number: int) -> int:
    """Where the comments and decorators directly above a definition begin."""
    while number - 1 > first and _LEADING.match(lines[number - 1][:_LOOKED_AT]):
        number -= 1
    return number


def _defined_name(line: str, indent: int) -> str:
    """The name a line defines, "" if it defines none."""
    code = line.strip()[:_LOOKED_AT]
    match = _KEYWORD_DEFINITION.match(code) or _ASSIGNED_FUNCTION.match(code)
    if match is None and indent == 0:
        match = _TABLE_HEADER.match(code)
    if match is None and (indent == 0 or code.endswith("{")):
        match = _C_LIKE_DEFINITION.match(code)
    name = match.group("name").strip(".:-\"'") if match else ""
    return "" if name.lower() in _NOT_NAMES else name[:MAX_NAME_CHARS]


def _grouped(pieces: Iterator[_Piece], starts: Sequence[int]) -> Iterator[list[_Piece]]:
    """Neighbouring pieces joined up to `SPAN_CHARS`."""
    group: list[_Piece] = []
    for piece in pieces:
        if group and starts[piece.last] - starts[group[0].first] > SPAN_CHARS:
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


def _anchor(group: Sequence[_Piece], lines: Sequence[str]) -> str:
    first, last = group[0].first, group[-1].last
    while last - 1 > first and not lines[last - 1].strip():
        last -= 1
    while first < last - 1 and not lines[first].strip():
        first += 1
    where = f"line {first + 1}" if last == first + 1 else f"lines {first + 1}–{last}"
    names = list(dict.fromkeys(piece.name for piece in group if piece.name))
    shown = ", ".join(names[:MAX_NAMES]) + (", …" if len(names) > MAX_NAMES else "")
    return f"{shown} · {where}" if shown else where
