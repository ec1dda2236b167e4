"""AsciiDoc as readable text: its blocks, headings, lists and tables. Includes are not followed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from studio.documents.parsers.base import TextBuilder, choose_title, clean, make_document, one_line, read_all
from studio.documents.parsers.encodings import decode
from studio.domain import ParsedDocument

MAX_LINE_CHARS = 10_000
"""A longer line is text and nothing else: the patterns for marks take quadratic time."""
MAX_HEADER_LINE_CHARS = 300
MAX_EXPANDED_CHARS = 1_000_000
"""What the attributes of a document may add to its text; references beyond it stay as they are."""

_TOLD = frozenset({"doctitle", "author", "authors", "license", "licence", "page-license"})
"""Attributes that the record of a document has a place of its own for."""
_HEADING = re.compile(r"(={1,6}|#{1,6})[ \t]+(\S.*?)(?:[ \t]+\1)?[ \t]*\Z")
_UNDERLINES = {"=": 1, "-": 2, "~": 3, "^": 4, "+": 5}
_ATTRIBUTE = re.compile(r":!?([\w-]+)!?:(?:[ \t]+(.*))?\Z")
_AUTHOR_LINE = re.compile(r"([^\W\d][\w .'’-]{1,80}?)(?:[ \t]*<([^<>\s]+)>)?(?:;.*)?\Z")
_REVISION_LINE = re.compile(r"(?:v?[\d.]+[\w.-]*,?[ \t]*)?(\d{4}-\d\d-\d\d|[^,:]*\d{4})?(?:[:].*)?\Z")
_REFERENCE = re.compile(r"\{([\w-]+)\}")
_DELIMITER = re.compile(r"(?:(-{4,}|\.{4,}|={4,}|\*{4,}|_{4,}|\+{4,}|/{4,})|(--)|(```+)\w*|([|,:!])={3,})[ \t]*\Z")
_BLOCK_MACRO = re.compile(r"(include|image|video|audio|ifdef|ifndef|ifeval|endif|toc|link|xref)::([^\[\n]*)\[(.*)\]\Z")
_BLOCK_ATTRIBUTES = re.compile(r"\[(?:\[.*\]|[^\[\]]*)\][ \t]*\Z")
_LIST_ITEM = re.compile(r"[ \t]*(?:(\*{1,6}|-)|(\.{1,6})|(\d+)\.|<(?:\d+|\.)>)[ \t]+(?=\S)(?:\[[ xX*]\][ \t]+)?")
_TERM = re.compile(r"[ \t]*(\S.*?)(?:::{1,3}|;;)(?:[ \t]+(.*))?\Z")
_ADMONITION = re.compile(r"(NOTE|TIP|IMPORTANT|WARNING|CAUTION):[ \t]+")
_CELL = re.compile(r"(?:(?:\d+(?:\.\d+)?|\.\d+)[+*])?[<^>]?(?:\.[<^>])?[aemshldv]?(?<!\\)\|")
_MACRO = re.compile(
    r"(?<![\w\\])(?:(?P<named>kbd|btn|menu|footnote|footnoteref|stem|latexmath|asciimath|image|icon|pass|indexterm2?|anchor)"
    r":[^\s\[\]]{0,300}|(?P<target>(?:link:|xref:|mailto:|https?://|ftp://)[^\s\[\]<>]{1,500}))\[(?P<text>[^\]\n]{0,500})\]"
)
_CROSS_REFERENCE = re.compile(r"<<(?:[^<>,\n]*,[ \t]*)?([^<>\n]*)>>")
_ANCHOR = re.compile(r"\[\[[^\[\]\n]*\]\]|\(\(\([^()\n]*\)\)\)|\[#[\w-]+\](?=[#*_`])")
_MARKS = re.compile(r"(?<![\w\\])(\*\*|__|``|##|[*_`#+^~])(?=\S)((?:(?!\1)[^\n]){1,400}?)(?<=\S)\1(?!\w)")
_BREAK = re.compile(r"[ \t]\+\Z")


def parse(path: Path) -> Iterator[ParsedDocument]:
    """One document; spans follow the headings."""
    source = clean(decode(read_all(path)))
    builder = TextBuilder()
    reader = _Reader(builder)
    reader.read(source.split("\n"))
    text, spans = builder.build()
    about = reader.attributes
    yield make_document(
        text,
        spans,
        "asciidoc",
        title=choose_title(about.get("doctitle"), builder.first_heading, path),
        author=about.get("author", about.get("authors", "")),
        licence=about.get("license", about.get("licence", about.get("page-license", ""))),
        created=about.get("revdate", about.get("date", "")),
        metadata={name: value for name, value in about.items() if name not in _TOLD},
    )


class _Reader:
    """Reads lines; paragraphs and list items gather until something ends them."""

    def __init__(self, builder: TextBuilder) -> None:
        self.attributes: dict[str, str] = {}
        self._builder = builder
        self._lines: list[str] = []
        self._item = False
        self._after_item = False
        self._style = ""
        self._left = MAX_EXPANDED_CHARS

    def read(self, lines: list[str]) -> None:
        """Add the text of a whole document."""
        at = self._header(lines)
        while at < len(lines):
            at = self._line(lines, at)
        self._flush()

    def _header(self, lines: list[str]) -> int:
        at = 0
        while at < len(lines) and (not lines[at].strip() or lines[at].startswith("//") or self._attribute(lines[at])):
            at += 1
        title = re.match(r"[=#][ \t]+(\S.*)", lines[at]) if at < len(lines) else None
        if title is None:
            return at
        self.attributes["doctitle"] = self._inline(title.group(1))
        self._builder.heading(1, self.attributes["doctitle"])
        at += 1
        plain = 0
        while at < len(lines) and lines[at].strip():
            line = lines[at].strip()
            if not line.startswith("//") and not self._attribute(line):
                plain += 1
                short = line[:MAX_HEADER_LINE_CHARS]
                if plain == 1 and (author := _AUTHOR_LINE.match(short)):
                    self.attributes.setdefault("author", author.group(1).strip())
                elif plain == 2 and (revision := _REVISION_LINE.match(short)):
                    self.attributes.setdefault("revdate", (revision.group(1) or "").strip())
                self._builder.line(line)
            at += 1
        return at

    def _attribute(self, line: str) -> bool:
        found = _ATTRIBUTE.match(line.rstrip())
        if found:
            self.attributes[found.group(1).lower()] = self._inline((found.group(2) or "").strip())[:300]
        return bool(found)

    def _line(self, lines: list[str], at: int) -> int:
        """Deal with the line at `at`; returns the next one to read."""
        line = lines[at].rstrip()
        if not line:
            self._flush()
            self._after_item = False
        elif delimiter := _DELIMITER.match(line):
            return self._block(lines, at, delimiter)
        elif len(line) > MAX_LINE_CHARS:
            self._lines.append(line.strip())
        elif line.startswith("//"):
            pass
        elif heading := _HEADING.match(line):
            self._heading(len(heading.group(1)), heading.group(2))
        elif self._is_underlined(lines, at):
            self._heading(_UNDERLINES[lines[at + 1][0]], line)
            return at + 2
        elif macro := _BLOCK_MACRO.match(line):
            self._flush()
            if macro.group(1) in ("image", "video", "audio"):
                self._add(self._inline(macro.group(3).split(",")[0].strip('"')))
        elif _BLOCK_ATTRIBUTES.match(line) and not self._lines:
            self._style = line.strip("[] ").split(",")[0].lstrip(".#%")
        elif not self._lines and self._attribute(line):
            pass
        elif re.match(r"\.[^\s.]", line) and not self._lines:
            self._add(self._inline(line[1:]))
        elif line == "+" or line in ("'''", "<<<", "---", "***"):
            self._flush()
        elif item := _LIST_ITEM.match(line):
            self._flush()
            marker = f"{item.group(3)}. " if item.group(3) else "- "
            self._lines.append(marker + line[item.end() :])
            self._item = True
        elif (term := _TERM.match(line)) and not self._lines:
            self._add(self._inline(term.group(1)) + ":" + (" " + self._inline(term.group(2)) if term.group(2) else ""))
        else:
            self._lines.append(line if self._style in ("verse", "source", "listing", "literal") else line.strip())
        return at + 1

    def _is_underlined(self, lines: list[str], at: int) -> bool:
        """A title with a line of marks of about its length below it."""
        below = lines[at + 1].rstrip() if at + 1 < len(lines) else ""
        return (
            not self._lines
            and len(below) >= 3
            and below[0] in _UNDERLINES
            and below == below[0] * len(below)
            and abs(len(below) - len(lines[at].rstrip())) <= 2
            and any(c.isalnum() for c in lines[at])
            and not lines[at].startswith((".", "["))
        )

    def _heading(self, level: int, title: str) -> None:
        self._flush()
        self._builder.heading(level, self._inline(title))
        self._style = ""

    def _block(self, lines: list[str], at: int, delimiter: re.Match[str]) -> int:
        """A delimited block: verbatim, a comment, a table, or a container whose lines are read as usual."""
        self._flush()
        mark = delimiter.group().strip()
        container = mark == "--" or mark[0] in "=*_"
        if container and self._style not in ("source", "listing", "literal", "verse", "stem", "latexmath"):
            return at + 1  # its end is a delimiter as well and is dropped in the same way
        close = "`" * (len(mark) - len(mark.lstrip("`"))) or mark
        end = at + 1
        while end < len(lines) and lines[end].rstrip() != close:
            end += 1
        inside = lines[at + 1 : end]
        if mark[1:2] == "=" and mark[0] in "|,:!":
            self._table(inside, mark[0])
        elif mark[0] != "/" and self._style != "comment":
            self._builder.block("\n".join(inside), whole=True)
        self._style = ""
        return end + 1

    def _table(self, lines: list[str], mark: str) -> None:
        """Rows of cells; cells on lines of their own are joined into rows as wide as the first line that tells."""
        if mark in ",:":
            self._builder.block("\n".join(line.replace(mark, " | ") for line in lines if line.strip()), whole=True)
            return
        told: list[list[list[str]]] = []  # per row, per cell: its lines
        for line in lines:
            line = line.replace("!", "|") if mark == "!" else line
            pieces = _CELL.split(line) if len(line) <= MAX_LINE_CHARS else line.split("|")
            if len(pieces) > 1:
                told.append([[piece] for piece in pieces[1:]])
            elif told and line.strip():
                told[-1][-1].append(line.strip())
        rows = [[" ".join(cell) for cell in row] for row in told]
        width = max(map(len, rows), default=1)
        if rows and len(rows[0]) == width and width > 1:
            rows = _filled(rows, width)
        self._builder.block(
            "\n".join(" | ".join(one_line(self._inline(cell.replace("\\|", "|"))) for cell in row) for row in rows),
            whole=True,
        )

    def _inline(self, text: str) -> str:
        text = _REFERENCE.sub(self._expanded, text)
        text = _ANCHOR.sub("", text)
        text = _MACRO.sub(_shown, text)
        text = _CROSS_REFERENCE.sub(r"\1", text)
        for _ in range(3):
            text, count = _MARKS.subn(r"\2", text)
            if not count:
                break
        return _BREAK.sub("", text)

    def _expanded(self, reference: re.Match[str]) -> str:
        value = self.attributes.get(reference.group(1).lower()) if self._left else None
        if value is None:
            return reference.group()
        self._left = max(0, self._left - len(value))
        return value

    def _add(self, text: str) -> None:
        self._flush()
        self._builder.block(text)

    def _flush(self) -> None:
        if self._lines:
            text = "\n".join(map(self._inline, self._lines))
            label = _ADMONITION.match(text)
            text = f"{label.group(1).capitalize()}: {text[label.end() :]}" if label else text
            self._builder.block(text, "\n" if self._item and self._after_item else "\n\n")
            self._after_item = self._item
            self._style = ""
        self._lines, self._item = [], False


def _filled(rows: list[list[str]], width: int) -> list[list[str]]:
    """Rows of `width` cells, where the source has a line for each cell."""
    filled: list[list[str]] = []
    for row in rows:
        if filled and len(filled[-1]) + len(row) <= width:
            filled[-1].extend(row)
        else:
            filled.append(list(row))
    return filled


def _shown(found: re.Match[str]) -> str:
    """What a reader sees of a macro: the text in its brackets, or the address if there is none."""
    text = found["text"].split(",")[0].strip('"') if found["target"] or found["named"] == "image" else found["text"]
    if found["named"] in ("indexterm", "anchor"):
        return ""
    if found["named"] in ("footnote", "footnoteref"):
        return f" ({text})" if text else ""
    return text.strip("^") or (found["target"] or "").removeprefix("link:").removeprefix("mailto:")
