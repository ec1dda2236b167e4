"""How far the reading of one file has come, how often it was begun anew, and how long it may go on."""

from __future__ import annotations

import time
from pathlib import Path

from studio.documents import frames
from studio.domain import ParsedDocument, ParseProgress, ParserEvent, PartFailure
from studio.errors import DocumentFault

CEILING = 20
"""Time limits a file may take in all, however many signs of life it gives; a tenth of one more for each page or row."""
RESTARTS = 5
"""Members of an archive that may end a worker before the archive is given up."""
PROGRESS_SECONDS = 0.1


class Reading:
    """How far a file has come, over all attempts to read it."""

    def __init__(self, path: Path, passwords: tuple[str, ...]) -> None:
        self.request = frames.Request(path, passwords)
        self.member: frames.MemberBegins | None = None
        self.alone = False
        """Whether the next attempt has all the memory for itself."""
        self.ended = False
        self._to_the_end = False
        """Whether it is to stay alone: what takes the memory is no member of an archive."""
        self._documents = self._failures = 0
        self._here = frames.Resume()
        self._documents_before = self._failures_before = 0
        """How many there were when the member, or the file, began."""
        self._skip_documents = self._skip_failures = 0
        self._restarts = 0
        self._told = 0.0

    def take(self, event: ParserEvent) -> ParserEvent | None:
        """What the consumer gets of an event: nothing of what it has had before."""
        if isinstance(event, ParsedDocument):
            if self._skip_documents:
                self._skip_documents -= 1
                return None
            self._documents += 1
        elif isinstance(event, PartFailure):
            if self._skip_failures:
                self._skip_failures -= 1
                return None
            self._failures += 1
        elif isinstance(event, frames.MemberBegins):
            if self.member is None or self.member.resume.place != event.resume.place:
                self._begin(event.resume)
            self.member = event
            now = time.monotonic()
            if now - self._told < PROGRESS_SECONDS:
                return None
            self._told = now
            return ParseProgress(event.done, event.total)
        return event

    def again_alone(self) -> None:
        """The next attempt repeats the member, or the file, with more memory."""
        self.alone, self._to_the_end = True, self.member is None
        self._skip_documents = self._documents - self._documents_before
        self._skip_failures = self._failures - self._failures_before
        self._from(self._here)

    def _begin(self, resume: frames.Resume) -> None:
        """Another member than before."""
        self.alone = self.alone and self._to_the_end
        self._here = resume
        self._documents_before, self._failures_before = self._documents, self._failures
        self._skip_documents = self._skip_failures = 0
        self._from(resume)

    def pass_over(self, fault: DocumentFault) -> PartFailure:
        """The next attempt begins after the member that ended this one. Raises DocumentFault after too many."""
        assert self.member is not None
        part = self.member.part
        self._restarts += 1
        if self._restarts > RESTARTS:
            raise DocumentFault(
                fault.code,
                f"{self._restarts} files in this archive could not be read without harm, the last is “{part}”; "
                "the rest was left out.",
                way_out="Unpack the archive and add the folder.",
            )
        self._failures += 1
        self._begin(self.member.resume.after(self._documents))
        return PartFailure(part, fault.code.value, fault.full_message)

    def _from(self, resume: frames.Resume) -> None:
        self.request = frames.Request(self.request.path, self.request.passwords, resume)


class Clock:
    """The time a file, or a member of an archive, has made the consumer wait."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since = 0.0
        self._spent_s = 0.0
        self._steps = 0

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._spent_s += time.monotonic() - self._since

    @property
    def _left_s(self) -> float:
        return self._limit_s * (CEILING + self._steps / 10) - self._spent_s

    @property
    def patience_s(self) -> float:
        """How long to wait for the next frame."""
        return max(0.0, min(self._limit_s, self._left_s))

    @property
    def complaint(self) -> str:
        """What took too long, to follow "Reading this file"."""
        if self._left_s <= 0:
            return f"took longer than {self._spent_s:.0f} seconds"
        return f"made no progress for {self._limit_s:g} seconds"

    def advance(self, steps: int) -> None:
        """So many pages or rows are through."""
        self._steps += steps

    def restart(self) -> None:
        """A member of an archive begins: it has the time of a file."""
        self._spent_s, self._steps = 0.0, 0
