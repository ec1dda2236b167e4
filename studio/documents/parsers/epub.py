"""EPUB books: own reader over the package and the HTML parser."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser

from studio.documents.parsers.base import TextBuilder, choose_title, corrupt, encrypted, make_document, no_text
from studio.documents.parsers.html import add_html, decode_html
from studio.documents.parsers.package import Package, XmlHandler, open_package, resolve
from studio.documents.parsers.word import Fields
from studio.domain import ParsedDocument

WHAT = "EPUB"


def parse(path: Path) -> Iterator[ParsedDocument]:
    """One document: the chapters in reading order, spans by their headings."""
    with open_package(path, WHAT) as package:
        name = _package_document(package)
        book = _Book()
        package.parse(name, book)
        fields = Fields()
        package.parse(name, fields)
        locked = _encrypted_members(package)
        builder = TextBuilder()
        folder = posixpath.dirname(name)
        for key in book.spine:
            href, media = book.items.get(key, ("", ""))
            member = resolve(folder, href)
            if member in locked:
                raise encrypted(WHAT)
            if member in package and ("html" in media or member.endswith((".xhtml", ".html", ".htm"))):
                add_html(builder, LexborHTMLParser(decode_html(package.read(member))))
        text, spans = builder.build()
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
    )


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
    def __init__(self) -> None:
        self.items: dict[str, tuple[str, str]] = {}
        self.spine: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "item":
            self.items[attributes.get("id", "")] = (attributes.get("href", ""), attributes.get("media-type", ""))
        elif name == "itemref":
            self.spine.append(attributes.get("idref", ""))
