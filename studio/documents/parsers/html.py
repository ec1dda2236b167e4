"""HTML and XHTML as a reader sees them (the only importer of selectolax)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

from studio.documents.parsers.base import (
    TextBuilder,
    choose_title,
    clean,
    make_document,
    one_line,
    read_all,
    too_large,
)
from studio.documents.parsers.encodings import decode
from studio.documents.parsers.raised import raised
from studio.documents.parsers.table_rows import TableRows
from studio.domain import ParsedDocument

MAX_ATTRIBUTES = 10_000
MAX_OPEN_TAGS = 20_000
"""Beyond these the library takes quadratic time: 16 s for 100 thousand nested tags."""
_LONG_TAG_CHARS = 2 * MAX_ATTRIBUTES

LONG_CELL_CHARS = 300
"""A table row with a longer cell is layout, not data: its cells become paragraphs."""

_CHARSET = re.compile(
    rb"""<meta[^>]+charset\s*=\s*["']?\s*([\w.:-]+)|<\?xml[^>]+encoding\s*=\s*["']([\w.:-]+)""", re.IGNORECASE
)
_DROPPED = frozenset(
    {
        "script",
        "style",
        "noscript",
        "template",
        "nav",
        "svg",
        "iframe",
        "object",
        "embed",
        "canvas",
        "audio",
        "video",
        "button",
        "select",
        "option",
        "input",
        "head",
    }
)
_BLOCKS = frozenset(
    {
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "center",
        "dd",
        "details",
        "dialog",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "header",
        "hgroup",
        "hr",
        "legend",
        "li",
        "main",
        "ol",
        "p",
        "section",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "caption",
        "ul",
    }
)
_BANNER = re.compile(r"(?:^|[\s_-])(?:cookies?|consent|gdpr|onetrust|cookiebot|cmp)(?:$|[\s_-])", re.IGNORECASE)
"""Names of what asks for consent before a page is read; no part of it when it is short."""
_MAX_BANNER_CHARS = 1500
_FILE_TARGET = re.compile(r"[^/?#]*\.(?!html?\b|php\b|aspx?\b|jsp\b)[a-zA-Z0-9]{2,5}$")
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_DROPPED_ROLES = frozenset({"navigation", "search", "menu", "menubar"})
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_TITLES = ("og:title", "dc.title", "dcterms.title", "citation_title")
_AUTHORS = ("author", "dc.creator", "dcterms.creator", "citation_author", "article:author")
_DATES = (
    "date", "dc.date", "dc.date.issued", "dcterms.issued", "dcterms.created", "dcterms.date",
    "citation_publication_date", "citation_date", "article:published_time", "datepublished", "pubdate",
)  # fmt: skip
_LICENCES = ("license", "licence", "dcterms.license", "dc.rights.license", "dc.rights", "dcterms.rights")
_TAGS = ("keywords", "article:tag", "citation_keywords", "dc.subject")
_DESCRIPTIONS = ("description", "og:description", "dc.description", "dcterms.abstract")
_NESTING_TAG = re.compile(
    r"<(/?)(?!(?:area|base|br|col|embed|hr|img|input|link|meta|option|param|source|track|wbr"
    r"|p|li|dt|dd|tr|td|th|rp|rt|tbody|thead|tfoot|optgroup)\b)[a-zA-Z]",
    re.IGNORECASE,
)
"""Tags that lie in each other; those that are empty or that the next of their kind ends do not."""
_INLINE_SPACE = re.compile(r"[ \t\r\n\f]+")


def parse(path: Path) -> Iterator[ParsedDocument]:
    """One document; spans follow the headings."""
    yield page_document(decode_html(read_all(path)), "html", path)


def page_document(
    markup: str, kind: str, path: Path, *, title: str = "", created: str = "", metadata: Mapping[str, str] | None = None
) -> ParsedDocument:
    """A page as a document; `title` and `created` are for pages that state none."""
    tree = page_tree(markup)
    builder = TextBuilder()
    add_html(builder, tree)
    text, spans = builder.build()
    meta = _meta(tree)
    tags = ", ".join(_all(meta, _TAGS))
    return make_document(
        text,
        spans,
        kind,
        title=choose_title(
            one_line(_first_text(tree, "head title, title")) or _first(meta, _TITLES) or title,
            builder.first_heading,
            path,
        ),
        author=", ".join(name for name in _all(meta, _AUTHORS) if "://" not in name),
        licence=_first(meta, _LICENCES) or _licence_link(tree),
        created=_first(meta, _DATES) or created,
        metadata={**(metadata or {}), "tags": tags, "description": _first(meta, _DESCRIPTIONS)},
    )


def decode_html(raw: bytes) -> str:
    """Markup as text, by byte order mark, `<meta charset>` or XML declaration, else by guessing."""
    declared = _CHARSET.search(raw[:8192])
    name = next(filter(None, declared.groups()), b"").decode("ascii", "replace") if declared else None
    return clean(decode(raw, name))


def html_text(markup: str) -> str:
    """The visible text of a piece of markup."""
    builder = TextBuilder()
    add_html(builder, page_tree(clean(markup)))
    return builder.build()[0]


def page_tree(markup: str) -> LexborHTMLParser:
    """The tree of some markup. Raises DocumentFault TOO_LARGE where building it would take minutes."""
    if markup.count("<") - 2 * markup.count("</") > MAX_OPEN_TAGS and _depth(markup) > MAX_OPEN_TAGS:
        raise too_large("The content of this page is nested too deeply to be read.")
    if len(markup) > _LONG_TAG_CHARS and any(
        len(tag) > _LONG_TAG_CHARS and tag.partition(">")[0].count("=") > MAX_ATTRIBUTES for tag in markup.split("<")
    ):
        raise too_large(f"This page has a tag with more than {MAX_ATTRIBUTES:,} attributes.")
    return LexborHTMLParser(markup)


def _depth(markup: str) -> int:
    """How many tags are open at once at most, as far as a look at them tells."""
    depth = most = 0
    for found in _NESTING_TAG.finditer(markup):
        depth = max(0, depth - 1) if found.group(1) else depth + 1
        most = max(most, depth)
    return most


def add_html(builder: TextBuilder, tree: LexborHTMLParser) -> None:
    """Add the visible text of a page to a text under construction."""
    root = tree.css_first("main, [role=main]") or tree.body or tree.root
    if tree.body is not None and root is not None and 2 * len(root.text()) < len(tree.body.text()):
        root = tree.body  # not the main part after all
    if root is not None:
        _Walker(builder).walk(root)


def _first_text(tree: LexborHTMLParser, selector: str) -> str:
    node = tree.css_first(selector)
    return node.text() if node is not None else ""


def _meta(tree: LexborHTMLParser) -> dict[str, list[str]]:
    """What the page says about itself: values by name (Dublin Core, Open Graph, citation tags, microdata)."""
    found: dict[str, list[str]] = {}
    for node in tree.css("meta"):
        attributes = node.attributes
        name = attributes.get("name") or attributes.get("property") or attributes.get("itemprop") or ""
        value = one_line(attributes.get("content") or "")
        if name and value:
            found.setdefault(name.lower(), []).append(value)
    return found


def _all(meta: dict[str, list[str]], names: Sequence[str]) -> list[str]:
    """The values of the first of these names that there is, each once."""
    return list(dict.fromkeys(next((meta[name] for name in names if name in meta), ())))


def _first(meta: dict[str, list[str]], names: Sequence[str]) -> str:
    return next(iter(_all(meta, names)), "")


def _licence_link(tree: LexborHTMLParser) -> str:
    node = tree.css_first('link[rel="license"], a[rel="license"]')
    return (node.attributes.get("href") or "") if node is not None else ""


def _is_banner(node: LexborNode, attributes: Mapping[str, str | None]) -> bool:
    named = f"{attributes.get('class') or ''} {attributes.get('id') or ''}"
    large = node.tag in ("html", "body", "main", "article")
    return bool(_BANNER.search(named)) and not large and len(node.text()) <= _MAX_BANNER_CHARS


class _Walker:
    """Depth-first over the tree without recursion: pages nest deeper than Python's stack."""

    def __init__(self, builder: TextBuilder) -> None:
        self._builder = builder
        self._inline: list[str] = []
        self._apart: list[tuple[str, list[str]]] = []  # open tags of raised text, each with the text before it
        self._readings: list[str] = []
        self._rows: list[list[list[str]]] = []  # per open table row: cells, each a list of paragraphs
        self._named: list[bool] = []  # per open table row: whether its cells are names of columns
        self._table = TableRows(builder)
        self._prefix = ""
        self._pre = 0
        self._gap = "\n\n"  # before what comes next in a table or in preformatted text

    def walk(self, root: LexborNode) -> None:
        node: LexborNode | None = root
        open_nodes: list[tuple[LexborNode, str]] = []
        while node is not None:
            tag = node.tag or ""
            child = None
            if tag == "-text":
                self._text(node.text_content or "")
            elif tag not in _DROPPED and not tag.startswith(("-", "!", "_")) and not self._hidden(node):
                if tag == "img":
                    self._described(node.attributes)
                self._enter(tag)
                child = node.child
                if child is None:
                    self._leave(tag, node)
            if child is not None:
                open_nodes.append((node, tag))
                node = child
                continue
            following = node.next if open_nodes else None
            while following is None and open_nodes:
                node, tag = open_nodes.pop()
                self._leave(tag, node)
                following = node.next if open_nodes else None
            node = following
        self._flush()

    @staticmethod
    def _hidden(node: LexborNode) -> bool:
        attributes = node.attributes
        return bool(attributes) and (
            "hidden" in attributes
            or attributes.get("aria-hidden") == "true"
            or attributes.get("role") in _DROPPED_ROLES
            or bool(_HIDDEN_STYLE.search(attributes.get("style") or ""))
            or _is_banner(node, attributes)
        )

    def _text(self, text: str) -> None:
        self._inline.append(text if self._pre else _INLINE_SPACE.sub(" ", text))

    def _described(self, attributes: Mapping[str, str | None]) -> None:
        """A picture by what it is said to show."""
        if said := one_line(attributes.get("alt") or ""):
            self._inline.append(f" {said} ")

    def _enter(self, tag: str) -> None:
        if tag == "br":
            self._inline.append("\n")
        elif tag in ("sup", "rt", "rp"):
            self._apart.append((tag, self._inline))
            self._inline = []
        elif tag == "pre":
            self._flush()
            self._pre += 1
            if not self._rows:
                self._gap = "\n\n"
        elif tag == "tr":
            self._flush()
            self._rows.append([])
            self._named.append(True)
        elif tag in ("td", "th"):
            self._flush()
            if self._rows:
                self._rows[-1].append([])
                self._named[-1] &= tag == "th"
        elif tag in _BLOCKS or tag in _HEADINGS:
            self._flush()
            if tag == "li":
                self._prefix = "- "
            elif tag == "table" and not self._rows:
                self._gap = "\n\n"
                self._table.begin()

    def _set_apart(self) -> None:
        """What stands above the line, behind the word it belongs to and not as a part of it."""
        tag, before = self._apart.pop()
        said, self._inline = one_line("".join(self._inline)), before
        if tag == "rt" and said:
            self._readings.append(said)
        elif tag == "sup" and said:
            self._inline.append(raised("".join(before[-2:]), said))

    def _leave(self, tag: str, node: LexborNode) -> None:
        if self._apart and self._apart[-1][0] == tag:
            self._set_apart()
        elif tag == "a":
            name = _FILE_TARGET.search(node.attributes.get("href") or "")
            if name and name.group() not in node.text():
                self._inline.append(f" ({name.group()})")
        elif tag == "pre":
            self._flush()
            self._pre -= 1
        elif tag == "tr":
            self._flush()
            self._end_row()
        elif tag in _HEADINGS:
            self._heading(_HEADINGS[tag])
        elif tag in _BLOCKS or tag in ("td", "th"):
            self._flush()
            if tag == "li":
                self._prefix = ""

    def _take(self) -> str:
        while self._apart:  # a block begins or ends within it
            self._set_apart()
        text = "".join(self._inline)
        if self._readings:  # how its characters are read, behind the text that they would tear apart
            text = f"{text} ({' '.join(self._readings)})"
            self._readings.clear()
        self._inline.clear()
        if self._pre:
            return text.strip("\n")
        return "\n".join(_INLINE_SPACE.sub(" ", line).strip() for line in text.split("\n")).strip()

    def _flush(self) -> None:
        text = self._take()
        if text.strip():
            self._emit(self._prefix + text, gap="\n" if self._prefix else "\n\n", whole=self._pre > 0)
            self._prefix = ""

    def _emit(self, text: str, gap: str = "\n\n", *, whole: bool = False) -> None:
        """Add a paragraph, or a row or preformatted text (`whole`); in a cell it waits for the end of the row."""
        if self._rows and self._rows[-1]:
            self._rows[-1][-1].append(text)
        elif whole:
            self._builder.block(text, self._gap, whole=True)
            self._gap = "\n"
        else:
            self._builder.block(text, gap)

    def _heading(self, level: int) -> None:
        if self._rows:
            self._flush()
        else:
            self._builder.heading(level, self._take())

    def _end_row(self) -> None:
        if not self._rows:
            return
        cells, named = self._rows.pop(), self._named.pop()
        if any(sum(map(len, cell)) > LONG_CELL_CHARS for cell in cells):
            for cell in cells:
                for paragraph in cell:
                    self._emit(paragraph)
        else:
            text = " | ".join(one_line(" ".join(cell)) for cell in cells)
            if text.strip(" |") and self._rows:
                self._emit(text, whole=True)
            elif text.strip(" |"):
                self._table.add(text, names=named)
                self._gap = "\n"
