"""Mail: a single message (.eml, .emlx, a file of a Maildir) and mailboxes (.mbox, one document a message)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from studio.documents.kinds import TABULAR_KINDS, file_kind
from studio.documents.parsers.attachments import attached
from studio.documents.parsers.base import Parser, no_text
from studio.documents.parsers.encodings import bom_encoding, decode
from studio.documents.parsers.letters import header, iso_date, letter_document, parse_message, read_letter
from studio.domain import ParsedDocument, ParserEvent, PartFailure
from studio.errors import DocumentFault, FailureCode

MAX_MESSAGE_BYTES = 32 << 20
"""What is read of a message; its text comes first, only attachments are larger."""

_COUNT = re.compile(rb"[ \t]*(\d{1,10})[ \t]*\r?\n")
"""What Apple Mail writes before a message: its length; a property list follows it."""
_HEADER = re.compile(rb"[!-9;-~]+[ \t]*:|>From ")
_SENDER = re.compile(rb"From [ \t]*(?:\S+@\S+|-|\S+[ \t].*\d\d?:\d\d.*|\S+)[ \t]*\r?$")
"""A line between two messages: sender and date, or the sender alone (RFC 4155). Not every program writes both."""
_DATED = re.compile(rb"From .*\b\d\d?:\d\d(?::\d\d)?\b.*\b(?:19|20)\d\d\b")
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)


def parse_eml(path: Path, parsers: Mapping[str, Parser]) -> Iterator[ParserEvent]:
    """The message: the usual headers, then the text; then what is attached to it, each a document of its own.

    Raises DocumentFault TOO_LARGE when nested too deeply.
    """
    with path.open("rb") as stream:
        raw = stream.read(MAX_MESSAGE_BYTES)
        cut = bool(stream.read(1))
    if bom_encoding(raw):
        raw = decode(raw).removeprefix("\ufeff").encode("utf-8", "replace")
    if counted := _COUNT.match(raw):
        raw = raw[counted.end() : counted.end() + int(counted.group(1))]
    message = parse_message(raw)
    letter = read_letter(message)
    yield letter_document(letter, "eml", path, created=iso_date(header(message, "Date")))
    yield from attached(letter.attachments, parsers, row=1)
    if cut:
        yield _rest_left_out()


def parse_mbox(path: Path, parsers: Mapping[str, Parser]) -> Iterator[ParserEvent]:
    """One document a message, what is attached to it after it. Messages without text are left out, damaged ones are
    reported at the end."""
    found = row = 0
    bad: list[int] = []
    keyed = file_kind(path) in TABULAR_KINDS
    keys: set[str] = set()
    for number, raw in enumerate(_messages(path)):
        try:
            message = parse_message(raw)
            letter = read_letter(message)
            own = header(message, "Message-ID").strip("<>")[:200]
            key = own or f"message {number + 1}"
            key = key if key not in keys else f"{key} {number + 1}"
            keys.add(key)
            created = iso_date(header(message, "Date"))
            external_id = own if keyed else key
            yield letter_document(letter, "mbox", path, created=created, external_id=external_id, row=row)
            found += 1
        except DocumentFault as fault:
            if fault.code is not FailureCode.NO_TEXT:
                bad.append(number + 1)
            continue
        row += 1
        for event in attached(letter.attachments, parsers, row=row, key=key):
            row += isinstance(event, ParsedDocument)
            yield event
        if len(raw) >= MAX_MESSAGE_BYTES:
            yield _rest_left_out(key)
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


def _rest_left_out(message: str = "") -> PartFailure:
    return PartFailure(
        f"{message}/…" if message else "…",
        FailureCode.TOO_LARGE.value,
        f"The message is larger than {MAX_MESSAGE_BYTES >> 20} MB; what is attached beyond that was left out.",
    )


def _messages(path: Path) -> Iterator[bytes]:
    """Messages of a mailbox; the end of very long ones is dropped."""
    lines: list[bytes] = []
    size = 0
    blank = first = True
    with path.open("rb") as stream:
        line = stream.readline(MAX_MESSAGE_BYTES)
        while line:
            following = stream.readline(MAX_MESSAGE_BYTES)
            if line.startswith(b"From ") and (first or _separates(line, following, blank)):
                if lines:
                    yield _unquoted(lines)
                lines, size = [], 0
            elif size + len(line) <= MAX_MESSAGE_BYTES:
                lines.append(line)
                size += len(line)
            blank, first = not line.strip(), False
            line = following
    if lines:
        yield _unquoted(lines)


def _separates(line: bytes, following: bytes, blank: bool) -> bool:
    """Whether a line "From …" begins a message, and is no sentence that begins so: the headers come next."""
    return bool(_HEADER.match(following)) and bool(_DATED.match(line) or (blank and _SENDER.match(line)))


def _unquoted(lines: list[bytes]) -> bytes:
    """A message without the marks that keep its own lines from being taken for the next one."""
    raw = b"".join(lines)
    return _QUOTED.sub(rb"\1", raw) if b"\n>" in raw else raw
