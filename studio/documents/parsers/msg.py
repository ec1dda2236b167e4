"""Outlook messages (.msg; the only importer of oxmsg and its olefile)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from olefile import OleFileIO
from oxmsg import Message
from oxmsg.storage import Storage

from studio.documents.parsers.attachments import attached
from studio.documents.parsers.base import Parser, corrupt, one_line, read_all
from studio.documents.parsers.encodings import SAMPLE_BYTES, decode, guess_encoding
from studio.documents.parsers.html import decode_html, html_text
from studio.documents.parsers.letters import (
    Attachment,
    Letter,
    better_of,
    decoded_header,
    forwarded,
    letter_document,
)
from studio.documents.parsers.rtf import rtf_text
from studio.domain import ParserEvent

MAX_RTF_CHARS = 16 << 20
STUB_CHARS = 2000
"""A longer plain text is the message; a shorter one may say no more than that there is another form of it."""

_SUBJECT, _BODY, _HTML, _RTF = 0x0037, 0x1000, 0x1013, 0x1009
_SENDER, _SENDER_ADDRESS, _TO, _CC = 0x0C1A, 0x0C1F, 0x0E04, 0x0E03
_SENT, _RECEIVED, _CREATED = 0x0039, 0x0E06, 0x3007
_NAMES = (0x3707, 0x3704, 0x3001)
_CONTENT, _CONTENT_ID = 0x3701, 0x3712
_MESSAGE = "__substg1.0_3701000D"
"""The storage of an attached message: [MS-OXMSG] 2.2.2.1."""
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".wmf", ".emf")
_BODY_CODE_PAGE, _CODE_PAGE = 0x3FDE, 0x3FFD
"""Property tags: [MS-OXPROPS] 2; those of names are of attachments."""
_UTF16, _EIGHT_BIT, _BINARY = 0x001F, 0x001E, 0x0102
"""Property types: [MS-OXCDATA] 2.11.1."""
_ENCODINGS = {
    1200: "utf-16-le", 20127: "ascii", 20866: "koi8-r", 21866: "koi8-u", 20932: "euc_jp", 51932: "euc_jp",
    50220: "iso2022_jp", 50221: "iso2022_jp", 50222: "iso2022_jp", 51949: "euc_kr", 51936: "gb2312",
    54936: "gb18030", 52936: "hz", 65000: "utf-7", 65001: "utf-8", **{28590 + n: f"iso8859-{n}" for n in range(1, 16)},
}  # fmt: skip
"""Code pages whose encodings have other names here."""

_RTF_DICTIONARY = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor "
    b"MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par "
    b"\\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)
"""What the window of compressed RTF holds at the start: [MS-OXRTFCP] 2.1.2.1."""


def parse(path: Path, parsers: Mapping[str, Parser]) -> Iterator[ParserEvent]:
    """The message: the usual headers, then the text, messages in it included; then what is attached to it."""
    raw = read_all(path)
    try:
        with OleFileIO(raw) as container:
            storage = Storage.from_ole(container)
        message = Message(storage)
        properties = {item.pid: item for item in message.properties}
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # the readers of the container raise whatever a broken file provokes
        raise corrupt("Outlook message", "its parts cannot be found") from error
    sender = decoded_header(_tried(lambda: message.message_headers.get("From", ""), ""))
    letter = _letter(storage, properties, sender)
    yield letter_document(letter, "msg", path, created=letter.headers["Date"])
    yield from attached(letter.attachments, parsers, row=1)


def _letter(storage: Storage, properties: Mapping[int, Any], author: str = "") -> Letter:
    strings = _Strings(storage, properties)
    text = strings.text
    sender, address = one_line(text(_SENDER)), one_line(text(_SENDER_ADDRESS))
    dates = (_day(_value(properties, tag)) for tag in (_SENT, _RECEIVED, _CREATED))
    letter = Letter(
        {
            "From": author or (f"{sender} <{address}>" if "@" in address and address != sender else sender or address),
            "To": one_line(text(_TO).replace(";", ", ")),
            "Cc": one_line(text(_CC).replace(";", ", ")),
            "Date": next(filter(None, dates), ""),
            "Subject": one_line(text(_SUBJECT)),
        },
        _body(storage, strings),
    )
    for item in storage.iter_attachment_storages():
        inner = next((inner for inner in item.storages if inner.name == _MESSAGE), None)
        if inner is not None and _stream_names(inner):
            _add_message(letter, inner)
        elif name := next(filter(None, (one_line(strings.of(item, tag)) for tag in _NAMES)), ""):
            data = _stream(item, _CONTENT, _BINARY)
            shown = one_line(strings.of(item, _CONTENT_ID)) and name.lower().endswith(_PICTURES)
            letter.attachments.append(Attachment(name, None if shown or not data else partial(bytes, data)))
    return letter


def _add_message(letter: Letter, storage: Storage) -> None:
    """Add a message that is attached to another one: its text to that one's text, its attachments to those."""
    properties = _tried(lambda: {item.pid: item for item in Message(storage).properties}, {})
    inner = _letter(storage, properties)
    letter.body = f"{letter.body}\n\n{forwarded(inner.headers, inner.body)}".strip()
    letter.attachments += inner.attachments


def _stream_names(storage: Storage) -> list[str]:
    return [stream.name for stream in storage.streams]


def _body(storage: Storage, strings: _Strings) -> str:
    plain, rich = strings.text(_BODY), ""
    if len(plain) < STUB_CHARS:
        rich = _tried(lambda: _rich_body(storage, strings), "")
    return better_of(plain, rich) if rich else plain


def _tried(read: Callable[[], Any], otherwise: Any) -> Any:
    """What `read` returns, or `otherwise`: one broken property must not cost the message."""
    try:
        return read()
    except (MemoryError, RecursionError):
        raise
    except Exception:  # every accessor of the library can raise on a damaged file
        return otherwise


def _value(properties: Mapping[int, Any], tag: int) -> Any:
    return _tried(lambda: properties[tag].value, None)


class _Strings:
    """The text properties of a message, in UTF-16 or in the code page it states (if any)."""

    def __init__(self, storage: Storage, properties: Mapping[int, Any]) -> None:
        self._storage = storage
        numbers = (_value(properties, tag) for tag in (_BODY_CODE_PAGE, _CODE_PAGE))
        number = next((number for number in numbers if isinstance(number, int)), 0)
        self._encoding = _ENCODINGS.get(number, f"cp{number}") if number else None

    def text(self, tag: int) -> str:
        """A property of the message, "" if it has none."""
        return self.of(self._storage, tag)

    def of(self, storage: Storage, tag: int) -> str:
        """A property of the message or of an attachment."""
        wide = _stream(storage, tag, _UTF16)
        if wide:
            return wide.decode("utf-16-le", "replace").rstrip("\0")
        narrow = _stream(storage, tag, _EIGHT_BIT).rstrip(b"\0")
        encoding = self._encoding or guess_encoding(
            _stream(self._storage, _BODY, _EIGHT_BIT)[:SAMPLE_BYTES].rstrip(b"\0")
        )
        return decode(narrow, encoding)


def _stream(storage: Storage, tag: int, form: int) -> bytes:
    """The bytes of a property of variable length, b"" if it is not there."""
    found = _tried(lambda: storage.property_stream_bytes(tag, form), b"")
    return found if isinstance(found, bytes) else b""


def _rich_body(storage: Storage, strings: _Strings) -> str:
    """The text of the HTML body, else of the RTF body."""
    html = _stream(storage, _HTML, _BINARY)
    if html or strings.text(_HTML):
        return html_text(decode_html(html) if html else strings.text(_HTML))
    return rtf_text(unpacked_rtf(_stream(storage, _RTF, _BINARY)).decode("latin-1"))


def unpacked_rtf(packed: bytes) -> bytes:
    """RTF from its compressed form ([MS-OXRTFCP] 2.2); what can be read of it where it is damaged."""
    if len(packed) < 16:
        return b""
    compressed, size, kind = struct.unpack_from("<II4s", packed)
    if kind == b"MELA":
        return packed[16 : 16 + size]
    if kind != b"LZFu":
        return b""
    window = bytearray(_RTF_DICTIONARY.ljust(4096, b"\0"))
    write = len(_RTF_DICTIONARY)
    out = bytearray()
    at, end = 16, min(len(packed), compressed + 4)
    while at < end and len(out) < MAX_RTF_CHARS:
        control, at = packed[at], at + 1
        for bit in range(8):
            if control >> bit & 1:
                if at + 2 > end:
                    return bytes(out)
                offset, length = packed[at] << 4 | packed[at + 1] >> 4, (packed[at + 1] & 15) + 2
                at += 2
                if offset == write:
                    return bytes(out)
                for step in range(length):
                    byte = window[(offset + step) % 4096]
                    window[write] = byte
                    write = (write + 1) % 4096
                    out.append(byte)
            elif at < end:
                window[write] = packed[at]
                write = (write + 1) % 4096
                out.append(packed[at])
                at += 1
    return bytes(out)


def _day(value: Any) -> str:
    return value.date().isoformat() if isinstance(value, datetime) and 1970 < value.year < 2200 else ""
