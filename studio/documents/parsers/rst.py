"""reStructuredText as readable text (the only importer of docutils).

Nothing outside the file is read and no raw output is passed on. Directives and roles that docutils does not know
(those of Sphinx, mostly) are taken for what they look like, so that their content is not lost.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst import Directive, Parser, directives, roles
from docutils.parsers.rst.languages import en as english

from studio.documents.parsers.base import TextBuilder, choose_title, clean, make_document, one_line, read_all
from studio.documents.parsers.encodings import decode
from studio.domain import ParsedDocument

MAX_SOURCE_CHARS = 4_000_000
"""Longer sources are taken as plain text: docutils reads 100 to 300 thousand characters a second."""
MAX_SOURCE_LINES = 50_000
"""A line that is an item or a field of its own takes some kilobytes of memory."""
TIME_LIMIT_S = 15.0
"""Processor time after which the source is taken as plain text."""
MAX_REFERENCES = 5000
"""Footnotes, citations and links by name; docutils resolves them in quadratic time."""
MAX_MULTIPLYING = 10
MAX_NEW_NAMES = 300

_SETTINGS = {
    "_disable_config": True,
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "report_level": 5,
    "halt_level": 6,
    "warning_stream": False,
    "syntax_highlight": "none",
    "smart_quotes": False,
    "line_length_limit": 10_000_000,
    "input_encoding": "unicode",
}
_DIRECTIVE = re.compile(
    r"^[ \t]*\.\.[ \t]+(?:\|[^|\n]+\|[ \t]+)?([a-zA-Z0-9][\w:+.-]{0,60}?)[ \t]?::(?=\s|$)", re.MULTILINE
)
_ROLE = re.compile(r":([a-zA-Z0-9][\w:+.-]{0,60}?):`")
_WIDE_TABLE = re.compile(r"^[ \t]*(?:={2,} |\+-)[^\n]{800}", re.MULTILINE)
"""Docutils reads the cells of a table in quadratic time."""
_MULTIPLYING = re.compile(r"^[ \t]*\.\.[ \t]+\|[^|\n]+\|[ \t]+replace::[^|\n]*\|[^|\n]+\|[^|\n]*\|", re.MULTILINE)
"""A replacement made of two others: a chain of thirty makes a billion."""
_UNDERLINE = re.compile(r"^([=\-~^*#\"'`+:.])\1{2,}\s*$")
_TITLED_TARGET = re.compile(r"(.*?)\s*<[^<>]*>\Z", re.DOTALL)

_VERBATIM_WORDS = """
    sourcecode ipython testcode testsetup testoutput testcleanup doctest productionlist graphviz mermaid plantuml
    prompt program-output command-output digraph graph terminal console
"""
_VERBATIM = frozenset(_VERBATIM_WORDS.split())
_SILENT_WORDS = """
    date toctree index highlight highlightlang currentmodule tabularcolumns literalinclude include raw
    bibliography sectionauthor codeauthor autosummary default-domain contents sectnum
"""
_SILENT = frozenset(_SILENT_WORDS.split())
_REPLACED = _SILENT | {"class"}
"""Names that docutils knows but that would read files, tell today's date or hide text."""
_TOLD = frozenset({"title", "author", "license", "licence", "copyright"})
"""Fields of a document that its record has a place of its own for."""
_INVISIBLE = (
    nodes.comment, nodes.system_message, nodes.substitution_definition, nodes.target, nodes.pending, nodes.raw,
    nodes.decoration, nodes.meta, nodes.generated,
)  # fmt: skip


class _AnyOption(dict[str, Any]):
    """An option table that accepts every option."""

    def __missing__(self, name: str) -> Any:
        return directives.unchanged


class _Unknown(Directive):  # type: ignore[misc, unused-ignore]
    """A directive of an extension: its argument is a line of text, its content is read on."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec = _AnyOption(name=directives.unchanged)

    def run(self) -> list[nodes.Node]:
        name = self.name.rpartition(":")[2].lower()
        argument = self.arguments[0] if self.arguments else ""
        if name in _SILENT or name.startswith("auto"):
            return []
        if name == "class" and "(" not in argument and not self.content:
            return []  # docutils' own, which styles what follows
        if name in _VERBATIM:
            return [nodes.literal_block(text="\n".join(self.content))]
        container = nodes.container()
        if argument and name not in ("only", "ifconfig", "module", "container"):
            shown, _ = self.state.inline_text(argument, self.lineno)
            container += nodes.paragraph("", "", *shown)
        self.state.nested_parse(self.content, self.content_offset, container)
        return [container]


def _unknown_role(
    name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = None
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """What a reader sees of a cross-reference: its title, or the last part of "~package.Name"."""
    text = text.replace("\0", "\\")
    titled = _TITLED_TARGET.match(text)
    shown = titled.group(1) if titled and titled.group(1) else text.lstrip("!")
    return [nodes.literal(text=shown.rpartition(".")[2] if shown.startswith("~") else shown)], []


class _OutOfTime(Exception):
    """The source takes too long."""


class _LimitedParser(Parser):  # type: ignore[misc, unused-ignore]
    """The parser of docutils, which gives up when its time is over."""

    def parse(self, inputstring: str, document: nodes.document) -> None:
        end = time.process_time() + TIME_LIMIT_S

        def on_line(source: str, offset: int) -> None:
            document.current_source, document.current_line = source, offset
            if time.process_time() > end:
                raise _OutOfTime

        document.note_source = on_line
        super().parse(inputstring, document)


def parse(path: Path) -> Iterator[ParsedDocument]:
    """One document; spans follow the headings. A source that docutils cannot read is taken as it stands."""
    source = clean(decode(read_all(path)))
    builder = TextBuilder()
    about: dict[str, str] = {}
    try:
        if (
            len(source) > MAX_SOURCE_CHARS
            or source.count("\n") > MAX_SOURCE_LINES
            or _WIDE_TABLE.search(source)
            or len(_MULTIPLYING.findall(source)) > MAX_MULTIPLYING
            or sum(map(source.count, ("]_", "_ ", "_\n"))) > MAX_REFERENCES
        ):
            raise _OutOfTime
        _Walker(builder, about).children(read_tree(source), 1)
    except MemoryError:
        raise
    except Exception:  # docutils raises whatever it likes on damaged sources; they are text all the same
        builder, about = TextBuilder(), {"title": _underlined(source)}
        builder.block(source)
    text, spans = builder.build()
    yield make_document(
        text,
        spans,
        "rst",
        title=choose_title(about.get("title"), builder.first_heading, path),
        author=about.get("author", ""),
        licence=about.get("license", about.get("licence", about.get("copyright", ""))),
        created=about.get("date", ""),
        metadata={name: value for name, value in about.items() if name not in _TOLD},
    )


def read_tree(source: str) -> nodes.document:
    """The document tree of a source. Raises whatever docutils raises."""
    for name in list(dict.fromkeys(_DIRECTIVE.findall(source)))[:MAX_NEW_NAMES]:
        if name.lower() not in english.directives or name.lower() in _REPLACED:
            directives.register_directive(name.lower(), _Unknown)
    for name in list(dict.fromkeys(_ROLE.findall(source)))[:MAX_NEW_NAMES]:
        if name.lower() not in english.roles:
            roles.register_local_role(name, _unknown_role)
    return publish_doctree(source, parser=_LimitedParser(), settings_overrides=_SETTINGS)


class _Walker:
    """Adds the visible text of a document tree to a text under construction."""

    def __init__(self, builder: TextBuilder, about: dict[str, str]) -> None:
        self._builder = builder
        self._about = about
        self._prefix = ""
        self._tight = False

    def children(self, node: nodes.Element, level: int) -> None:
        """Add all children of a node; `level` is that of the headings directly below it."""
        for child in node.children:
            self._add(child, level)

    def _add(self, node: nodes.Node, level: int) -> None:
        if isinstance(node, _INVISIBLE) or (isinstance(node, nodes.topic) and "contents" in node["classes"]):
            return
        if isinstance(node, nodes.section):
            self.children(node, level + 1)
        elif isinstance(node, nodes.title) and isinstance(node.parent, (nodes.section, nodes.document)):
            self._builder.heading(level, _text(node))
            if isinstance(node.parent, nodes.document):
                self._about["title"] = _text(node)
        elif isinstance(node, nodes.docinfo):
            self._docinfo(node)
        elif isinstance(node, (nodes.literal_block, nodes.doctest_block, nodes.math_block)):
            self._builder.block(node.astext(), whole=True)
        elif isinstance(node, nodes.table):
            self._table(node)
        elif isinstance(node, (nodes.bullet_list, nodes.enumerated_list)):
            self._list(node, level)
        elif isinstance(node, (nodes.footnote, nodes.citation)):
            self._labelled(node, level)
        elif isinstance(node, nodes.field):
            self._prefix += f"{_text(node[0])}: "
            self.children(node[1], level)
            self._prefix = ""
        elif isinstance(node, nodes.image):
            self._paragraph(node.get("alt", ""))
        elif isinstance(node, nodes.line_block):
            self._paragraph("\n".join(_text(line) for line in node.findall(nodes.line)))
        elif isinstance(node, (nodes.Text, nodes.Inline, nodes.TextElement)):
            self._paragraph(_text(node))
        elif isinstance(node, nodes.Element):
            if isinstance(node, nodes.Admonition) and not isinstance(node, nodes.admonition):
                self._prefix = f"{node.tagname.capitalize()}: "
            self.children(node, level)
            self._prefix = ""

    def _paragraph(self, text: str) -> None:
        if text.strip():
            self._builder.block(self._prefix + text, gap="\n" if self._tight and self._prefix else "\n\n")
            self._prefix = ""

    def _docinfo(self, node: nodes.Element) -> None:
        for child in node.children:
            if isinstance(child, nodes.field):
                name, value = _text(child[0]), _text(child[1])
            elif isinstance(child, nodes.authors):
                name, value = "author", ", ".join(_text(author) for author in child.children)
            else:
                name, value = child.tagname, _text(child)
            self._about.setdefault(name.strip().lower(), value)
            self._builder.line(f"{name.capitalize()}: {value}")

    def _list(self, node: nodes.Element, level: int) -> None:
        number = int(node.get("start", 1)) if isinstance(node, nodes.enumerated_list) else None
        tight = self._tight
        for i, item in enumerate(node.children):
            self._prefix = "- " if number is None else f"{number + i}. "
            self._tight = tight or i > 0
            self.children(item, level)
        self._prefix, self._tight = "", tight

    def _labelled(self, node: nodes.Element, level: int) -> None:
        for child in node.children:
            if isinstance(child, nodes.label):
                self._prefix = f"[{_text(child)}] "
            else:
                self._add(child, level)
        self._prefix = ""

    def _table(self, table: nodes.Element) -> None:
        for title in table.findall(nodes.title):
            self._builder.block(_text(title))
        rows = [
            " | ".join(one_line(" ".join(_text(part) for part in entry.children)) for entry in row.children)
            for row in table.findall(nodes.row)
        ]
        self._builder.block("\n".join(rows), whole=True)


def _text(node: nodes.Node) -> str:
    """The text of a node without what a reader does not see."""
    if isinstance(node, nodes.Text):
        return str(node.astext())
    if isinstance(node, _INVISIBLE):
        return ""
    if isinstance(node, nodes.image):
        return str(node.get("alt", ""))
    return str(getattr(node, "child_text_separator", "") if not isinstance(node, nodes.TextElement) else "").join(
        filter(None, (_text(child) for child in node.children))
    )


def _underlined(source: str) -> str:
    """The first line with a line of marks below it that is as long."""
    lines = source[:20_000].split("\n", 200)[:200]
    for line, below in pairwise(lines):
        if line.strip() and not _UNDERLINE.match(line) and _UNDERLINE.match(below) and len(below) >= len(line.rstrip()):
            return line
    return ""
