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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studio.confinement import Allowed
from studio.domain import PageCounts, ParsedDocument, ParseProgress, PartFailure, Span
from studio.errors import DocumentFault, FailureCode

PARSE = 1
"""Parent to child: a `Request`."""
STARTED = 2
"""Child to parent: the request was understood; from here on a death is the file's doing. Holds the bytes of real
memory the process took before its first file, as 8 bytes."""
DOCUMENTS = 3
"""Child to parent: some documents of the file."""
DONE = 4
"""Child to parent: the file has been read to its end."""
FAULT = 5
"""Child to parent: the file cannot be read (further); nothing follows."""
PROGRESS = 6
"""Child to parent: a sign of life."""
MEMBER = 7
"""Child to parent: a member of an archive begins; everything of those before it has been sent."""
FAILURE = 8
"""Child to parent: a part of the file that cannot be read."""
CONFINE = 9
"""Parent to child, before the first file: what the process may reach from now on."""

MAX_PROPERTY_CHARS = 4_096
"""Longest text that a document says about itself, or that is said about it. Parsers stay far below, but for the paths
of members of archives."""
MAX_TITLE_CHARS = 300
MAX_NUMBER = 2**31 - 1
"""Of pages and rows; what is beyond it is no count, and some column would not take it."""

_LENGTH = struct.Struct("<I")
_MEMORY = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Resume:
    """Where an archive goes on.

    `place` is the position of a member, inside each of the archives that lie in one another, outermost first; `row` the
    number of its next document; `untold` how many failures of each code have been counted and not reported one by one.
    """

    place: tuple[int, ...] = ()
    row: int = 0
    untold: Mapping[str, int] = field(default_factory=dict)

    def after(self, row: int) -> Resume:
        """The same archive, one member later; `row` documents have been read."""
        return Resume((*self.place[:-1], self.place[-1] + 1), row, self.untold)


@dataclass(frozen=True, slots=True)
class MemberBegins(ParseProgress):
    """An archive comes to a member, `part` by its path inside. `resume` leads back to it."""

    part: str
    resume: Resume


@dataclass(frozen=True, slots=True)
class Request:
    """A file to be read, from its beginning or, an archive, from a member on. Never printed: it holds passwords."""

    path: Path
    passwords: tuple[str, ...] = field(default=(), repr=False)
    resume: Resume = Resume()


@dataclass(frozen=True, slots=True)
class Progress:
    """A sign of life with the number of pages (or the like) the parser got through since the last one."""

    event: ParseProgress
    steps: int


def encode_request(request: Request) -> bytes:
    """A request as bytes, undecodable file names included."""
    return json.dumps([str(request.path), request.passwords, _resume(request.resume)]).encode()


def decode_request(body: bytes) -> Request:
    """The request `encode_request` wrote."""
    path, passwords, resume = json.loads(body)
    return Request(Path(path), tuple(passwords), _resumed(*resume))


def encode_allowed(allowed: Allowed) -> bytes:
    """What a worker may reach, as bytes."""
    return json.dumps([allowed.read, allowed.write, allowed.program]).encode()


def decode_allowed(body: bytes) -> Allowed:
    """What `encode_allowed` wrote."""
    read, write, program = json.loads(body)
    return Allowed(tuple(read), tuple(write), program)


def encode_memory(size: int) -> bytes:
    """The body of STARTED."""
    return _MEMORY.pack(size)


def decode_memory(body: bytes) -> int:
    """The size `encode_memory` wrote."""
    return int(_MEMORY.unpack(body)[0])


def encode_progress(event: ParseProgress, steps: int) -> bytes:
    """A sign of life as bytes."""
    return json.dumps([event.done, event.total, steps]).encode()


def decode_progress(body: bytes) -> Progress:
    """The sign of life `encode_progress` wrote."""
    done, total, steps = json.loads(body)
    return Progress(ParseProgress(done, total), steps)


def encode_member(event: MemberBegins) -> bytes:
    """The beginning of a member as bytes."""
    return json.dumps([event.done, event.total, event.part, _resume(event.resume)]).encode()


def decode_member(body: bytes) -> MemberBegins:
    """The beginning `encode_member` wrote."""
    done, total, part, resume = json.loads(body)
    return MemberBegins(done, total, _sound(part), _resumed(*resume))


def encode_failure(failure: PartFailure) -> bytes:
    """A part that failed, as bytes."""
    return json.dumps([failure.part, failure.error, failure.reason]).encode()


def decode_failure(body: bytes) -> PartFailure:
    """The failure `encode_failure` wrote."""
    part, error, reason = json.loads(body)
    return PartFailure(_sound(part), error, _sound(reason))


def out_of_memory() -> DocumentFault:
    """A file that takes more memory than one may; either side may be the one to notice."""
    return DocumentFault(
        FailureCode.OUT_OF_MEMORY,
        "Reading this file takes more memory than a document may use.",
        way_out="Split it into smaller files.",
    )


def encode_fault(fault: DocumentFault) -> bytes:
    """A fault as bytes."""
    return json.dumps([fault.code.value, str(fault), fault.way_out]).encode()


def decode_fault(body: bytes) -> DocumentFault:
    """The fault `encode_fault` wrote."""
    code, message, way_out = json.loads(body)
    return DocumentFault(FailureCode(code), _sound(message), way_out=_sound(way_out))


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
    """The batch `encode_documents` wrote, every property such that it can be stored.

    A file may say whatever it likes of itself: what is no text or no count there must not stop the others.
    """
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
        spans = tuple(_sound_span(*span) for span in head.pop("spans"))
        pages = PageCounts(*map(_count, head.pop("pages")))
        metadata = {_sound(name): _sound(value) for name, value in head.pop("metadata").items()}
        row, title = _count(head.pop("row")), _sound(head.pop("title"))[:MAX_TITLE_CHARS]
        said = {name: _sound(value) for name, value in head.items()}
        documents.append(
            ParsedDocument(
                text=text, spans=spans, segments=segments, pages=pages, metadata=metadata, row=row, title=title, **said
            )
        )
    return documents


def _sound(text: str) -> str:
    """A text as every store takes it: of bounded length, without lone surrogates and null characters."""
    text = text[:MAX_PROPERTY_CHARS]
    if text.isprintable():
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _count(number: int) -> int:
    return max(0, min(MAX_NUMBER, number))


def _sound_span(start: int, end: int, page: int | None, anchor: str, hard: bool, whole: bool) -> Span:
    page = page if page is not None and 0 <= page <= MAX_NUMBER else None
    return Span(start, end, page, _sound(anchor), hard, whole)


def _resume(resume: Resume) -> tuple[object, ...]:
    return (resume.place, resume.row, dict(resume.untold))


def _resumed(place: Sequence[int], row: int, untold: Mapping[str, int]) -> Resume:
    return Resume(tuple(place), row, untold)


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
