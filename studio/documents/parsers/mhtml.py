"""Saved web pages (.mht, .mhtml): the page itself, without its pictures and frames."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message
from pathlib import Path

from studio.documents.parsers.base import clean, corrupt, no_text, read_all
from studio.documents.parsers.encodings import bom_encoding, decode
from studio.documents.parsers.html import decode_html, page_document
from studio.documents.parsers.letters import content, header, iso_date, parse_message, payload, walk
from studio.domain import ParsedDocument

_PAGES = ("text/html", "application/xhtml+xml")


def parse(path: Path) -> Iterator[ParsedDocument]:
    """One document; its metadata names the address it was saved from as "source"."""
    raw = read_all(path)
    if bom_encoding(raw):
        raw = decode(raw).removeprefix("\ufeff").encode("utf-8", "replace")
    message = parse_message(raw)
    if not message.keys():
        raise corrupt("MHTML", "it does not begin as a saved web page does")
    page = _page(message)
    if page is None:
        raise no_text("This saved web page holds no page, only pictures or scripts.")
    address = header(message, "Snapshot-Content-Location") or header(page, "Content-Location")
    yield page_document(
        decode_html(payload(page)) if page.get_content_charset() is None else clean(content(page)),
        "mhtml",
        path,
        title=header(message, "Subject"),
        created=iso_date(header(message, "Date")),
        metadata={"source": address} if address else {},
    )


def _page(message: Message) -> Message | None:
    """The first part that is a page. Raises DocumentFault TOO_LARGE when the parts are nested too deeply."""
    page = next((part for part in walk(message) if part.get_content_type() in _PAGES), None)
    if page is None and not message.is_multipart() and b"<html" in payload(message)[:65536].lower():
        return message  # the line between its parts is damaged, or it is a bare page
    return page
