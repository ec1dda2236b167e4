"""What is attached to a message: each file a document of its own, as if it lay on disk in a folder named after it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from studio.documents.chunking import HEADING_SEPARATOR
from studio.documents.frames import MemberBegins, Resume
from studio.documents.kinds import TABULAR_KINDS
from studio.documents.parsers.archive import file_name, resuming
from studio.documents.parsers.base import Parser
from studio.documents.parsers.detect import detect
from studio.documents.parsers.faults import as_fault
from studio.documents.parsers.letters import MAX_ATTACHMENTS, Attachment
from studio.domain import ParsedDocument, ParserEvent, PartFailure, Span
from studio.errors import DocumentFault, FailureCode

MAX_NESTING = 3
"""Messages in messages whose attachments are read."""
_UNTOLD = frozenset({FailureCode.UNSUPPORTED, FailureCode.EMPTY})
"""Pictures and programs come with messages by the thousand; their names stand in the message."""

_depth = 0


def attached(
    attachments: Sequence[Attachment], parsers: Mapping[str, Parser], *, row: int, key: str = ""
) -> Iterator[ParserEvent]:
    """The documents of what is attached, from `row` on, their `external_id` the name below `key`.

    What cannot be read is a PartFailure, but for files of a kind that holds no text.
    """
    with _nested() as depth:
        seen: set[str] = set()
        for number, attachment in enumerate(attachments[:MAX_ATTACHMENTS], 1):
            name = attachment.name if attachment.name not in seen else f"{number} {attachment.name}"
            seen.add(name)
            if attachment.read is None or depth > MAX_NESTING:
                continue
            for event in _documents(attachment, name, parsers):
                if isinstance(event, ParsedDocument):
                    yield replace(
                        event, row=row, external_id=f"{key}/{event.external_id}" if key else event.external_id
                    )
                    row += 1
                else:
                    yield event


def _documents(attachment: Attachment, name: str, parsers: Mapping[str, Parser]) -> Iterator[ParserEvent]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            target = Path(folder) / file_name(attachment.name)
            target.write_bytes(attachment.read() if attachment.read else b"")
            kind = detect(target)
            with resuming(Resume()):
                for event in parsers[kind](target):
                    if isinstance(event, ParsedDocument):
                        yield _placed(event, name, kind in TABULAR_KINDS or bool(event.external_id))
                    elif isinstance(event, PartFailure):
                        yield replace(event, part=f"{name}/{event.part}")
                    elif not isinstance(event, MemberBegins):
                        yield event
        except (MemoryError, GeneratorExit):
            raise
        except BaseException as error:  # a panic of a Rust library is no Exception
            fault: DocumentFault = as_fault(error)
            if fault.code not in _UNTOLD:
                yield PartFailure(name, fault.code.value, fault.full_message)


def _placed(parsed: ParsedDocument, name: str, is_row: bool) -> ParsedDocument:
    spans = tuple(
        Span(
            span.start, span.end, span.page, f"{name}{HEADING_SEPARATOR}{span.anchor}" if span.anchor else name,
            span.hard, span.whole,
        )
        for span in parsed.spans
    )  # fmt: skip
    return replace(parsed, spans=spans, external_id=f"{name}#{parsed.external_id or parsed.row}" if is_row else name)


@contextmanager
def _nested() -> Iterator[int]:
    global _depth
    _depth += 1
    try:
        yield _depth
    finally:
        _depth -= 1
