"""Archives as folders: every file in them is unpacked by itself, parsed as if it lay on disk, and removed at once."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from studio.documents.chunking import HEADING_SEPARATOR
from studio.documents.frames import MemberBegins, Resume
from studio.documents.kinds import TABULAR_KINDS
from studio.documents.parsers.base import MAX_FILE_BYTES, Parser, corrupt, empty, encrypted, no_text
from studio.documents.parsers.containers import (
    BLOCK_BYTES,
    MAX_UNPACKED_BYTES,
    UNSOUND,
    Entry,
    Overfull,
    Way,
    beyond_limits,
    open_archive,
    unpacked_too_large,
)
from studio.documents.parsers.detect import detect
from studio.documents.parsers.faults import as_fault
from studio.domain import ParsedDocument, ParseProgress, ParserEvent, PartFailure, Span
from studio.errors import DocumentFault, FailureCode

KIND = "archive"
MAX_MEMBERS = 20_000
MAX_NESTING = 3
"""An archive in an archive in an archive is opened; one inside that is not."""
TOLD_ONE_BY_ONE = 50
REST = "…"
"""Names the part of an archive that has no name: what is missing, or (with a code) what was only counted."""

_SUMMED_UP: Mapping[FailureCode, str] = {
    FailureCode.UNSUPPORTED: "{} more files in this archive are of kinds that cannot be read.",
    FailureCode.EMPTY: "{} more files in this archive are empty.",
    FailureCode.NO_TEXT: "{} more files in this archive hold no text.",
    FailureCode.ENCRYPTED: "{} more files in this archive are protected by a password.",
    FailureCode.TOO_LARGE: "{} more files in this archive are too large or nested too deeply.",
}
"""Failures of which a person does not want thousands: photos in an archive, say."""

_UNSAFE = re.compile(r'[<>:"\\|?*\x00-\x1f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""Names that are devices on Windows."""

_resume = Resume()


@contextmanager
def resuming(place: Resume) -> Iterator[None]:
    """Inside, the next archive is read from `place` on."""
    global _resume
    before, _resume = _resume, place
    try:
        yield
    finally:
        _resume = before


def parse(path: Path, parsers: Mapping[str, Parser]) -> Iterator[ParserEvent]:
    """The documents of all files in an archive, `external_id` their path inside, `row` counting through.

    Rows of a table have the key `path#id`. What cannot be read is a PartFailure; the rest goes on. Raises DocumentFault
    if nothing of the archive can be read for a reason of its own.
    """
    walk = _Walk(parsers, _resume)
    try:
        yield from walk.archive(path, "", (), _resume.place)
    except Overfull as full:
        if not walk.found:
            raise full.fault from None
        yield PartFailure(REST, full.fault.code.value, full.fault.full_message)
    yield from walk.untold()
    if not walk.found:
        raise empty("There is no file in this archive.") if not walk.members else no_text("The archive holds no text.")


class _Walk:
    """One way through an archive and those inside it, with its limits."""

    def __init__(self, parsers: Mapping[str, Parser], resume: Resume) -> None:
        self._parsers = parsers
        self._row = resume.row
        self._untold = Counter(resume.untold)
        self._told = Counter(dict.fromkeys(resume.untold, TOLD_ONE_BY_ONE))
        self._unpacked = 0
        self._done = self._total = 0
        self.members = 0
        self.found = bool(resume.place)
        """Whether there was anything to say about it, good or bad."""

    def archive(
        self, path: Path, prefix: str, place: tuple[int, ...], resume: tuple[int, ...]
    ) -> Iterator[ParserEvent]:
        """Everything in one archive, from the position `resume` on."""
        with ExitStack() as files:
            entries, total = open_archive(path, files)
            if not place:
                self._total = total
            try:
                for position, entry in enumerate(entries):
                    if not place:
                        self._done = position
                    self.members += 1
                    if self.members > MAX_MEMBERS:
                        raise Overfull(
                            beyond_limits(
                                f"This archive holds more than {MAX_MEMBERS:,} files; the others were left out."
                            )
                        )
                    if resume and position < resume[0]:
                        continue
                    inside = resume[1:] if resume and position == resume[0] else ()
                    label = prefix + entry.name
                    here = (*place, position)
                    if not inside:
                        again = Resume(here, self._row, dict(self._untold))
                        yield MemberBegins(self._done, self._total, label, again)
                    yield from self._member(entry, label, here, inside)
            except DocumentFault as fault:  # the archive itself: members are dealt with one by one
                if not self.found or prefix:
                    raise
                yield from self._failed(REST, fault)

    def _member(
        self, entry: Entry, label: str, here: tuple[int, ...], inside: tuple[int, ...]
    ) -> Iterator[ParserEvent]:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            target = Path(folder) / file_name(entry.name)
            try:
                yield from self._unpack(entry, target)
                kind = detect(target)
                if kind != KIND:
                    yield from self._documents(target, kind, label)
                elif len(here) < MAX_NESTING:
                    yield from self.archive(target, f"{label}/", here, inside)
                else:
                    raise beyond_limits("This archive lies too deep inside other archives to be opened.")
            except (Overfull, MemoryError, GeneratorExit):
                raise
            except BaseException as error:  # a panic of a Rust library is no Exception
                yield from self._failed(label, as_fault(error))

    def _unpack(self, entry: Entry, target: Path) -> Iterator[ParseProgress]:
        if entry.fault is not None:
            raise entry.fault
        if entry.size == 0:
            raise empty()
        if entry.size > MAX_FILE_BYTES:
            raise _member_too_large()
        for way in entry.ways:
            try:
                yield from self._copy(way, target)
            except UNSOUND:
                continue
            except DocumentFault as fault:
                if fault.code is FailureCode.ENCRYPTED:
                    continue
                raise
            return
        raise encrypted("ZIP") if entry.guarded else corrupt("", "the part of the archive that holds it is damaged")

    def _copy(self, way: Way, target: Path) -> Iterator[ParseProgress]:
        size = 0
        with way() as stream, target.open("wb", buffering=0) as out:
            while block := stream.read(BLOCK_BYTES):
                size += len(block)
                self._unpacked += len(block)
                if size > MAX_FILE_BYTES:
                    raise _member_too_large()
                if self._unpacked > MAX_UNPACKED_BYTES:
                    raise unpacked_too_large()
                try:
                    out.write(block)
                except OSError as error:
                    raise DocumentFault(
                        FailureCode.TOO_LARGE,
                        f"There is no room to unpack this file ({error.strerror or error}).",
                        way_out="Free some space and add the archive again.",
                    ) from error
                yield ParseProgress(self._done, self._total)

    def _documents(self, path: Path, kind: str, label: str) -> Iterator[ParserEvent]:
        for event in self._parsers[kind](path):
            if isinstance(event, ParsedDocument):
                yield self._placed(event, label, kind in TABULAR_KINDS or bool(event.external_id))
            elif isinstance(event, PartFailure):
                yield replace(event, part=f"{label}/{event.part}")
                self.found = True
            else:
                yield ParseProgress(self._done, self._total)

    def _placed(self, parsed: ParsedDocument, label: str, is_row: bool) -> ParsedDocument:
        spans = tuple(
            Span(
                span.start, span.end, span.page, f"{label}{HEADING_SEPARATOR}{span.anchor}" if span.anchor else label,
                span.hard, span.whole,
            )
            for span in parsed.spans
        )  # fmt: skip
        key = f"{label}#{parsed.external_id or parsed.row}" if is_row else label
        placed = replace(parsed, spans=spans, external_id=key, row=self._row)
        self._row += 1
        self.found = True
        return placed

    def _failed(self, part: str, fault: DocumentFault) -> Iterator[PartFailure]:
        self.found = True
        if fault.code in _SUMMED_UP and self._told[fault.code] >= TOLD_ONE_BY_ONE:
            self._untold[fault.code] += 1
            return
        self._told[fault.code] += 1
        yield PartFailure(part, fault.code.value, fault.full_message)

    def untold(self) -> Iterator[PartFailure]:
        """How many more there were of failures that come in thousands."""
        for code, count in self._untold.items():
            yield PartFailure(f"{REST} {code}", code, _SUMMED_UP[FailureCode(code)].format(f"{count:,}"))


def _member_too_large() -> DocumentFault:
    limit = MAX_FILE_BYTES >> 20
    return beyond_limits(f"This file is larger than {limit} MB, too large for one in an archive.")


def file_name(name: str) -> str:
    """A name for the file on disk that tells parsers what the member's own name would, and that every system takes."""
    stem, dot, suffix = _UNSAFE.sub("_", name.rsplit("/", 1)[-1]).strip(" .").rpartition(".")
    name = f"{stem[:80]}{dot}{suffix[:20]}"
    return f"_{name}" if _RESERVED.match(name) else name or "_"
