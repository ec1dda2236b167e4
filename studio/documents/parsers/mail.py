"""Mail: a single message (.eml) and mailboxes (.mbox, one document a message)."""

from __future__ import annotations

import email
import email.policy
import email.utils
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

from studio.documents.parsers.base import (
    TextBuilder,
    choose_title,
    make_document,
    no_text,
    one_line,
    read_all,
    too_large,
)
from studio.documents.parsers.encodings import bom_encoding, decode
from studio.documents.parsers.html import html_text
from studio.domain import ParsedDocument
from studio.errors import DocumentFault, FailureCode

MAX_MESSAGE_BYTES = 64 << 20
_HEADERS = ("From", "To", "Cc", "Date", "Subject")


def parse_eml(path: Path) -> Iterator[ParsedDocument]:
    """One document: the usual headers, then the text."""
    raw = read_all(path)
    if bom_encoding(raw):
        raw = decode(raw).removeprefix("\ufeff").encode()
    yield _document(raw, "eml", path)


def parse_mbox(path: Path) -> Iterator[ParsedDocument]:
    """One document a message; messages without text are left out."""
    found = False
    for row, raw in enumerate(_messages(path)):
        try:
            yield _document(raw, "mbox", path, row)
            found = True
        except DocumentFault as fault:
            if fault.code is not FailureCode.NO_TEXT:
                raise
    if not found:
        raise no_text("The mailbox holds no messages with text.")


def _messages(path: Path) -> Iterator[bytes]:
    """Messages of a mailbox, split at "From " lines that follow a blank line."""
    lines: list[bytes] = []
    size = 0
    blank = True
    with path.open("rb") as stream:
        while line := stream.readline(MAX_MESSAGE_BYTES):
            if line.startswith(b"From ") and blank:
                if lines:
                    yield b"".join(lines)
                lines, size = [], 0
            else:
                lines.append(line)
                size += len(line)
                if size > MAX_MESSAGE_BYTES:
                    raise too_large(f"A message of this mailbox is larger than {MAX_MESSAGE_BYTES >> 20} MB.")
            blank = not line.strip()
    if lines:
        yield b"".join(lines)


def _document(raw: bytes, kind: str, path: Path, row: int = 0) -> ParsedDocument:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    builder = TextBuilder()
    headers = {name: _header(message, name) for name in _HEADERS}
    for name, value in headers.items():
        if value:
            builder.line(f"{name}: {value}")
    body, attachments = _body(message)
    builder.block(body)
    if attachments:
        builder.block("Attachments: " + ", ".join(attachments))
    text, spans = builder.build()
    if not body.strip() and not headers["Subject"]:
        raise no_text("The message holds no text.")
    return make_document(
        text,
        spans,
        kind,
        title=choose_title(headers["Subject"], "", path),
        author=headers["From"],
        created=_iso_date(headers["Date"]),
        external_id=_header(message, "Message-ID").strip("<>")[:200] if kind == "mbox" else "",
        row=row,
    )


def _header(message: Message, name: str) -> str:
    try:
        return one_line(str(message.get(name) or ""))
    except (ValueError, LookupError, AttributeError, IndexError, TypeError):
        return ""  # the header parser of the standard library trips over some malformed headers


def _iso_date(date: str) -> str:
    try:
        return email.utils.parsedate_to_datetime(date).date().isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""


def _body(message: Message) -> tuple[str, list[str]]:
    """Visible text of a message and the names of its attachments; plain text is preferred to HTML."""
    plain: list[str] = []
    html: list[str] = []
    attachments: list[str] = []
    for part in message.walk():
        if part.is_multipart():
            continue
        name = _file_name(part)
        if name or part.get_content_disposition() == "attachment":
            attachments.append(name or part.get_content_type())
        elif part.get_content_type() == "text/plain":
            plain.append(_content(part))
        elif part.get_content_type() == "text/html":
            html.append(_content(part))
    if any(text.strip() for text in plain):
        return "\n\n".join(plain), attachments
    return "\n\n".join(html_text(markup) for markup in html), attachments


def _file_name(part: Message) -> str:
    try:
        return one_line(part.get_filename() or "")
    except (ValueError, LookupError, AttributeError, IndexError, TypeError):
        return ""


def _content(part: Message) -> str:
    payload = part.get_payload(decode=True)
    return decode(payload, part.get_content_charset()) if isinstance(payload, bytes) else ""
