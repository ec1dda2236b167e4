"""What parser worker and parser pool say to each other (bodies of `studio.workers` frames).

A batch of documents travels as one JSON header followed by the raw texts and segment tables, so
that neither side escapes or scans the text.
"""

from __future__ import annotations

import dataclasses
import json
import struct
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path

from studio.domain import PageCounts, ParsedDocument, Span
from studio.errors import DocumentFault, FailureCode

PARSE = 1
"""Parent to child: the path of a file."""
STARTED = 2
"""Child to parent: the request was understood; from here on a death is the file's doing."""
DOCUMENTS = 3
"""Child to parent: some documents of the file."""
DONE = 4
"""Child to parent: the file has been read to its end."""
FAULT = 5
"""Child to parent: the file cannot be read (further); nothing follows."""

_LENGTH = struct.Struct("<I")


def encode_path(path: Path) -> bytes:
    """A path as bytes, undecodable names included."""
    return str(path).encode("utf-8", "surrogateescape")


def decode_path(body: bytes) -> Path:
    """The path `encode_path` wrote."""
    return Path(body.decode("utf-8", "surrogateescape"))


def encode_fault(fault: DocumentFault) -> bytes:
    """A fault as bytes."""
    return json.dumps([fault.code.value, str(fault), fault.way_out]).encode()


def decode_fault(body: bytes) -> DocumentFault:
    """The fault `encode_fault` wrote."""
    code, message, way_out = json.loads(body)
    return DocumentFault(FailureCode(code), message, way_out=way_out)


def encode_documents(documents: Sequence[ParsedDocument]) -> tuple[bytes, ...]:
    """A batch as the parts of one frame body. Texts must be free of lone surrogates."""
    heads: list[object] = []
    bodies: list[bytes] = []
    for parsed in documents:
        text = parsed.text.encode()
        table = _segment_table(parsed.segments)
        bodies += [table, text]
        heads.append(
            {
                "text": len(text),
                "segments": len(table),
                "spans": [(s.start, s.end, s.page, s.anchor, s.hard, s.whole) for s in parsed.spans],
                "kind": parsed.kind,
                "title": parsed.title,
                "author": parsed.author,
                "licence": parsed.licence,
                "created": parsed.created,
                "external_id": parsed.external_id,
                "row": parsed.row,
                "pages": dataclasses.astuple(parsed.pages),
                "metadata": dict(parsed.metadata),
            }
        )
    header = json.dumps(heads).encode()
    return (_LENGTH.pack(len(header)), header, *bodies)


def decode_documents(body: bytes) -> list[ParsedDocument]:
    """The batch `encode_documents` wrote."""
    view = memoryview(body)
    (length,) = _LENGTH.unpack_from(body)
    at = _LENGTH.size + length
    documents = []
    for head in json.loads(bytes(view[_LENGTH.size : at])):
        middle = at + head.pop("segments")
        end = middle + head.pop("text")
        text = str(view[middle:end], "utf-8")
        segments = _segments(bytes(view[at:middle]))
        at = end
        spans = tuple(Span(*span) for span in head.pop("spans"))
        pages = PageCounts(*head.pop("pages"))
        documents.append(ParsedDocument(text=text, spans=spans, segments=segments, pages=pages, **head))
    return documents


def _segment_table(segments: Sequence[tuple[int, int]]) -> bytes:
    """Segments cover the text without a gap, so their ends are enough: unsigned 32-bit little-endian."""
    ends = array("I", [end for _, end in segments])
    if sys.byteorder == "big":
        ends.byteswap()
    return ends.tobytes()


def _segments(table: bytes) -> tuple[tuple[int, int], ...]:
    ends = array("I", table)
    if sys.byteorder == "big":
        ends.byteswap()
    return tuple(zip([0, *ends[:-1]], ends, strict=True)) if ends else ()
