"""EPUB books: own reader over the package and the HTML parser."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path

from studio.documents.parsers.base import (
    MAX_HEADING_CHARS,
    TextBuilder,
    choose_title,
    corrupt,
    make_document,
    no_text,
    one_line,
)
from studio.documents.parsers.html import add_html, decode_html, page_tree
from studio.documents.parsers.package import Package, XmlHandler, open_package, resolve
from studio.documents.parsers.properties import Fields
from studio.domain import ParserEvent, PartFailure
from studio.errors import DocumentFault, FailureCode

WHAT = "EPUB"


def parse(path: Path) -> Iterator[ParserEvent]:
    """One document: the chapters in reading order, spans by their headings or, without, by the table of contents.

    A damaged chapter is named; the rest is read.
    """
    builder = TextBuilder()
    failed: DocumentFault | None = None
    with open_package(path, WHAT) as package:
        name = _package_document(package)
        book = _Book()
        package.parse(name, book)
        fields = Fields()
        package.parse(name, fields)
        locked = _encrypted_members(package)
        folder = posixpath.dirname(name)
        titles = _titles(package, folder, book)
        for key in dict.fromkeys(book.spine):
            href, media = book.items.get(key, ("", ""))
            member = resolve(folder, href)
            if member in locked:
                raise DocumentFault(
                    FailureCode.ENCRYPTED,
                    "This book is under copy protection; its text can be read with the seller's program only.",
                    way_out="Add a copy without protection, if you have one.",
                )
            if "html" not in media and not member.endswith((".xhtml", ".html", ".htm")):
                continue
            try:
                page = package.read(member)
            except DocumentFault as fault:
                if fault.code is not FailureCode.CORRUPT:
                    raise
                failed = fault
                yield PartFailure(member, fault.code.value, fault.full_message)
                continue
            if member in titles:
                builder.begin(anchor=titles[member])
            add_html(builder, page_tree(decode_html(page)))
    text, spans = builder.build()
    if not text and failed is not None:
        raise failed
    if not text:
        raise no_text("This book holds no text, perhaps only pictures.")
    yield make_document(
        text,
        spans,
        "epub",
        title=choose_title(fields.found.get("title"), builder.first_heading, path),
        author=fields.found.get("creator", ""),
        licence=fields.found.get("rights", ""),
        created=fields.found.get("date", "")[:10],
        metadata={name: fields.all(name) for name in ("subject", "publisher", "language")},
    )


def _titles(package: Package, folder: str, book: _Book) -> dict[str, str]:
    """Titles of chapters by their members: of EPUB 3's page of navigation, else of EPUB 2's table."""
    for member in (resolve(folder, href) for href in (book.navigation, book.table) if href):
        if member not in package:
            continue
        contents = _Contents()
        try:
            package.parse(member, contents)
        except DocumentFault:
            continue
        found: dict[str, str] = {}
        for href, title in contents.found:
            if title:
                found.setdefault(resolve(posixpath.dirname(member), href), title)
        if found:
            return found
    return {}


def _package_document(package: Package) -> str:
    container = "META-INF/container.xml"
    if container in package:
        rootfile = _Rootfile()
        package.parse(container, rootfile)
        if rootfile.path in package:
            return rootfile.path
    for name in package.names:
        if name.endswith(".opf"):
            return name
    raise corrupt(WHAT, "its table of parts is missing")


def _encrypted_members(package: Package) -> set[str]:
    """Members under copy protection. Obfuscated fonts appear here too, which is why only chapters count."""
    found = _References()
    if "META-INF/encryption.xml" in package:
        package.parse("META-INF/encryption.xml", found)
    return {resolve("", uri) for uri in found.uris}


class _Rootfile(XmlHandler):
    path = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "rootfile" and not self.path:
            self.path = attributes.get("full-path", "")


class _References(XmlHandler):
    def __init__(self) -> None:
        self.uris: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "CipherReference":
            self.uris.append(attributes.get("URI", ""))


class _Book(XmlHandler):
    """Parts of the book, their reading order, and where its tables of contents are."""

    def __init__(self) -> None:
        self.items: dict[str, tuple[str, str]] = {}
        self.spine: list[str] = []
        self.navigation = self.table = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "item":
            href, media = attributes.get("href", ""), attributes.get("media-type", "")
            self.items[attributes.get("id", "")] = (href, media)
            if "nav" in attributes.get("properties", "").split():
                self.navigation = href
            elif media == "application/x-dtbncx+xml":
                self.table = href
        elif name == "itemref":
            self.spine.append(attributes.get("idref", ""))


class _Contents(XmlHandler):
    """Entries of a table of contents: (link, title), of both kinds."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self._parts: list[str] = []
        self._href = ""
        self._title = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name in ("a", "text"):
            self._href = attributes.get("href", "")
            self._parts = []
        elif name == "content":
            self.found.append((attributes.get("src", ""), self._title))

    def text(self, data: str) -> None:
        self._parts.append(data)

    def end(self, name: str) -> None:
        if name in ("a", "text"):
            self._title = one_line("".join(self._parts))[:MAX_HEADING_CHARS]
            if name == "a":
                self.found.append((self._href, self._title))
