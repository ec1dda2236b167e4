"""Mail: a single message (.eml) and mailboxes (.mbox, one document a message)."""

from __future__ import annotations

import email
import email.header
import email.policy
import email.utils
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.message import Message
from pathlib import Path

from studio.documents.parsers.base import TextBuilder, choose_title, make_document, no_text, one_line, too_large
from studio.documents.parsers.encodings import bom_encoding, decode
from studio.documents.parsers.html import html_text
from studio.domain import ParsedDocument
from studio.errors import DocumentFault, FailureCode

MAX_MESSAGE_BYTES = 32 << 20
"""What is read of a message; its text comes first, only attachments are larger."""
MAX_ATTACHMENTS = 200
MAX_HEADER_CHARS = 32_768
_HEADERS = ("From", "To", "Cc", "Date", "Subject")
_MALFORMED = (ValueError, LookupError, AttributeError, TypeError, AssertionError, HeaderParseError)
"""What the header parsers of the standard library raise on malformed headers."""


class _ShortHeaders(email.policy.Compat32):
    """The lenient policy, with a limit: the library takes quadratic time for the parameters of a header."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:MAX_HEADER_CHARS]


_SHORT_HEADERS = _ShortHeaders()


@dataclass(slots=True)
class Letter:
    """A message as a reader sees it."""

    headers: dict[str, str]
    body: str
    attachments: list[str] = field(default_factory=list)


def parse_eml(path: Path) -> Iterator[ParsedDocument]:
    """One document: the usual headers, then the text. Raises DocumentFault TOO_LARGE when nested too deeply."""
    with path.open("rb") as stream:
        raw = stream.read(MAX_MESSAGE_BYTES)
    if bom_encoding(raw):
        raw = decode(raw).removeprefix("\ufeff").encode("utf-8", "replace")
    message, letter = _read(raw)
    yield letter_document(letter, "eml", path, created=iso_date(header(message, "Date")))


def parse_mbox(path: Path) -> Iterator[ParsedDocument]:
    """One document a message. Messages without text are left out, damaged ones are reported at the end."""
    found = 0
    bad: list[int] = []
    for row, raw in enumerate(_messages(path)):
        try:
            message, letter = _read(raw)
            external_id = header(message, "Message-ID").strip("<>")[:200]
            created = iso_date(header(message, "Date"))
            yield letter_document(letter, "mbox", path, created=created, external_id=external_id, row=row)
            found += 1
        except DocumentFault as fault:
            if fault.code is not FailureCode.NO_TEXT:
                bad.append(row + 1)
    if bad:
        count = "1 message is" if len(bad) == 1 else f"{len(bad)} messages are"
        read = f"; the other {found:,} were read" if found else ""
        raise DocumentFault(
            FailureCode.CORRUPT,
            f"{count} too large or nested too deeply to be read (first: message {bad[0]}){read}.",
            way_out="Delete it in the mail program and export the mailbox again.",
        )
    if not found:
        raise no_text("The mailbox holds no messages with text.")


def _messages(path: Path) -> Iterator[bytes]:
    """Messages of a mailbox, split at "From " lines that follow a blank line; the end of very long ones is dropped."""
    lines: list[bytes] = []
    size = 0
    blank = True
    with path.open("rb") as stream:
        while line := stream.readline(MAX_MESSAGE_BYTES):
            if line.startswith(b"From ") and blank:
                if lines:
                    yield b"".join(lines)
                lines, size = [], 0
            elif size + len(line) <= MAX_MESSAGE_BYTES:
                lines.append(line)
                size += len(line)
            blank = not line.strip()
    if lines:
        yield b"".join(lines)


def parse_message(raw: bytes) -> Message:
    """The parts of a message. Raises DocumentFault TOO_LARGE when they are nested too deeply."""
    try:
        # The lenient policy: the other one parses every header at once and raises on malformed ones.
        return email.message_from_bytes(raw, policy=_SHORT_HEADERS)
    except RecursionError as error:
        raise _too_deep() from error


def walk(message: Message) -> Iterator[Message]:
    """A message and all its parts. Raises DocumentFault TOO_LARGE when they are nested too deeply."""
    try:
        yield from message.walk()
    except RecursionError as error:
        raise _too_deep() from error


def _too_deep() -> DocumentFault:
    return too_large("The parts of this message are nested too deeply to be read.")


def _read(raw: bytes) -> tuple[Message, Letter]:
    message = parse_message(raw)
    body, attachments = _body(message)
    return message, Letter({name: header(message, name) for name in _HEADERS}, body, attachments)


def letter_document(
    letter: Letter, kind: str, path: Path, *, created: str, external_id: str = "", row: int = 0
) -> ParsedDocument:
    """A message as a document: headers, text, names of attachments. Raises DocumentFault NO_TEXT."""
    builder = TextBuilder()
    for name, value in letter.headers.items():
        if value:
            builder.line(f"{name}: {value}")
    builder.block(letter.body)
    if letter.attachments:
        more = ", …" if len(letter.attachments) > MAX_ATTACHMENTS else ""
        builder.block("Attachments: " + ", ".join(letter.attachments[:MAX_ATTACHMENTS]) + more)
    text, spans = builder.build()
    if not letter.body.strip() and not letter.headers.get("Subject") and not letter.attachments:
        raise no_text("The message holds no text.")
    return make_document(
        text,
        spans,
        kind,
        title=choose_title(letter.headers.get("Subject"), "", path),
        author=letter.headers.get("From", ""),
        created=created,
        external_id=external_id,
        row=row,
        metadata={**{name.lower(): value for name, value in letter.headers.items()}, "date": created},
    )


def header(message: Message, name: str) -> str:
    """The decoded value of the first header of that name, "" if there is none."""
    wanted = name.lower()
    for known, value in message.raw_items():
        if known.lower() == wanted:
            return decoded_header(str(value))
    return ""


def decoded_header(value: str) -> str:
    """A header's text: encoded words are decoded, bare bytes are taken for what they look like."""
    value = decode(value.encode("utf-8", "surrogateescape"))
    try:
        pieces = email.header.decode_header(value)
    except _MALFORMED:
        return one_line(value)
    return one_line(
        "".join(
            piece if isinstance(piece, str) else decode(piece, charset) if charset else piece.decode("latin-1")
            for piece, charset in pieces
        )
    )


def iso_date(date: str) -> str:
    """The day of a mail date, YYYY-MM-DD; "" if it is none."""
    try:
        return email.utils.parsedate_to_datetime(date).date().isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""


def _body(message: Message) -> tuple[str, list[str]]:
    """Visible text of a message and the names of its attachments; plain text is preferred to HTML."""
    plain: list[str] = []
    html: list[str] = []
    attachments: list[str] = []
    for part in walk(message):
        if part.is_multipart():
            continue
        kind = part.get_content_type()
        name = _file_name(part)
        if name or _disposition(part) == "attachment":
            attachments.append(name or kind)
        elif kind == "text/plain":
            plain.append(content(part))
        elif kind == "text/html":
            html.append(content(part))
    if any(text.strip() for text in plain):
        return "\n\n".join(plain), attachments
    return "\n\n".join(html_text(markup) for markup in html), attachments


def _disposition(part: Message) -> str:
    return str(part.get("Content-Disposition") or "").split(";")[0].strip().lower()


def _file_name(part: Message) -> str:
    try:
        return decoded_header(part.get_filename() or "")
    except _MALFORMED:
        return ""


def payload(part: Message) -> bytes:
    """The bytes of a part without their transfer encoding."""
    try:
        found = part.get_payload(decode=True)
    except _MALFORMED:
        return b""
    return found if isinstance(found, bytes) else b""


def content(part: Message) -> str:
    """The text of a part in whatever encoding it is."""
    try:
        charset = part.get_content_charset()
    except _MALFORMED:
        charset = None
    return decode(payload(part), charset)
