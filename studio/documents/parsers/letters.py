"""What a message says: its headers, its text, and what is attached to it."""

from __future__ import annotations

import email
import email.header
import email.policy
import email.utils
import mimetypes
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.message import Message
from pathlib import Path

from studio.documents.parsers.base import TextBuilder, choose_title, make_document, no_text, one_line, too_large
from studio.documents.parsers.calendars import calendar_text
from studio.documents.parsers.encodings import decode
from studio.documents.parsers.html import html_text
from studio.domain import ParsedDocument
from studio.errors import DocumentFault

MAX_ATTACHMENTS = 200
MAX_HEADER_CHARS = 32_768
COVERED = 0.8
"""A part says what another one says if it holds so many of its words."""
FULLER = 3
"""Of two parts that say different things, the plain one is the message if it has so many times the words."""
OWN_WORDS = 25
"""A part with so many words of its own is worth reading beside the better one."""
_HEADERS = ("From", "To", "Cc", "Date", "Subject")
_FORWARDED = ("From", "To", "Date", "Subject")
_BODIES = frozenset({"text/plain", "text/html", "text/enriched", "text/richtext"})
_UNREAD = re.compile(
    r"image/.*|audio/.*|video/.*|application/(x-)?pkcs7-.*|application/pgp-(signature|encrypted|keys)"
    r"|application/(vnd\.)?ms-tnef|message/(partial|external-body)"
)
"""What is named among the attachments but not read: pictures of the text, signatures, sound."""
_ENRICHED = re.compile(r"<param>.*?</param>|</?[a-zA-Z]+>", re.IGNORECASE | re.DOTALL)
_ADDRESS = re.compile(r"\b(?:https?://|www\.|mailto:)\S+", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_MALFORMED = (ValueError, LookupError, AttributeError, TypeError, AssertionError, HeaderParseError)
"""What the header parsers of the standard library raise on malformed headers."""


class _ShortHeaders(email.policy.Compat32):
    """The lenient policy, with a limit: the library takes quadratic time for the parameters of a header."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:MAX_HEADER_CHARS]


_SHORT_HEADERS = _ShortHeaders()


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that came with a message; `read` gives its content, None where there is nothing to read in it."""

    name: str
    read: Callable[[], bytes] | None = None


@dataclass(slots=True)
class Letter:
    """A message as a reader sees it."""

    headers: dict[str, str]
    body: str
    attachments: list[Attachment] = field(default_factory=list)


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


def read_letter(message: Message) -> Letter:
    """What a message says. Raises DocumentFault TOO_LARGE when its parts are nested too deeply."""
    reader = _Reader()
    try:
        body = reader.text(message)
    except RecursionError as error:
        raise _too_deep() from error
    return Letter({name: header(message, name) for name in _HEADERS}, body, reader.attachments)


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
        named = ", ".join(attachment.name for attachment in letter.attachments[:MAX_ATTACHMENTS])
        builder.block(f"Attachments: {named}{more}")
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


def forwarded(headers: dict[str, str], body: str) -> str:
    """A message within another one, as text."""
    said = "\n".join(f"{name}: {headers[name]}" for name in _FORWARDED if headers.get(name))
    return f"{said}\n\n{body}".strip()


def better_of(plain: str, html: str) -> str:
    """What is to be read of a message that is given in two forms.

    Plain text where it says what the other says. A note that there is another form, a greeting or the footer of a list
    says little of it; where each has much of its own, both are read.
    """
    of_plain, of_html = _words(plain), _words(html)
    if not of_html or len(of_html & of_plain) >= COVERED * len(of_html):
        return plain if of_plain else html
    first, second, own = (html, plain, of_plain - of_html)
    if len(of_plain) >= FULLER * len(of_html):
        first, second, own = (plain, html, of_html - of_plain)
    return f"{first}\n\n{second}" if len(own) >= OWN_WORDS else first


def _words(text: str) -> set[str]:
    return set(_WORD.findall(_ADDRESS.sub(" ", text.casefold())))


class _Reader:
    """Reads the parts of a message, and collects what is attached."""

    def __init__(self) -> None:
        self.attachments: list[Attachment] = []

    def text(self, part: Message) -> str:
        """What there is to read in a part and those inside it, in their order."""
        kind = part.get_content_type()
        if not part.is_multipart():
            return self._leaf(part, kind)
        parts = [inner for inner in part.get_payload() if isinstance(inner, Message)]
        if kind == "message/rfc822":
            return "\n\n".join(
                forwarded({name: header(inner, name) for name in _FORWARDED}, self.text(inner)) for inner in parts
            )
        if kind.startswith("message/"):  # a report: groups of headers
            return "\n\n".join(
                "\n".join(f"{name}: {decoded_header(str(value))}" for name, value in inner.raw_items())
                for inner in parts
            )
        if kind == "multipart/alternative":
            return self._alternative(parts)
        return "\n\n".join(filter(str.strip, map(self.text, parts)))

    def _alternative(self, parts: list[Message]) -> str:
        plain: list[str] = []
        rich = ""
        beside: list[str] = []
        for part in parts:
            kind, text = part.get_content_type(), self.text(part)
            if kind == "text/calendar":
                beside.append(text)
            elif kind in _BODIES and kind != "text/html":
                plain.append(text)
            elif text.strip():
                rich = text  # the last one is the richest
        return "\n\n".join(filter(str.strip, (better_of("\n\n".join(plain), rich), *beside)))

    def _leaf(self, part: Message, kind: str) -> str:
        name, attached = _file_name(part), _disposition(part) == "attachment"
        if kind == "text/calendar" and not attached:
            return calendar_text(content(part))
        if not attached and (kind in _BODIES or kind.startswith("multipart/")):
            return _shown(part, kind)
        if not attached and not name and kind.startswith("text/"):
            return content(part)
        read = None
        if not _UNREAD.fullmatch(kind):
            text = kind.startswith("text/") and part.get_content_charset() is not None

            def read(part: Message = part, text: bool = text) -> bytes:
                return content(part).encode("utf-8", "replace") if text else payload(part)

        self.attachments.append(Attachment(name or _made_up(kind), read))
        return ""


def _shown(part: Message, kind: str) -> str:
    text = content(part)
    if kind == "text/html":
        return html_text(text)
    return _ENRICHED.sub("", text) if kind in ("text/enriched", "text/richtext") else text


def _made_up(kind: str) -> str:
    """A name for what has none, with the ending of its kind."""
    ending = mimetypes.guess_extension(kind)
    return f"attachment{ending}" if ending else kind


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
