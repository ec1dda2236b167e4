"""The look ahead: what dropped files would take, shown before anything begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.domain import IngestOptions, KnowledgeBase, Preflight
from studio.errors import StudioError
from studio.services.preflight import NEEDS_OCR, NEEDS_PASSWORD
from studio.viewmodels.base import ViewModel
from studio.viewmodels.ingest.model import IngestViewModel
from studio.viewmodels.ports import Preflights
from studio.viewmodels.text import about, count, size
from studio.viewmodels.ways_out import sentences

SMALL_FILES = 20
SMALL_S = 30.0
"""A drop of at most so many files and seconds begins by itself, when there is nothing to warn about."""

_OPTIONS = IngestOptions()
_KINDS_NAMED = 4


@dataclass(frozen=True, slots=True)
class Offer:
    """Files that wait for a yes. `kb_id` is None when they shall make their own knowledge base."""

    kb_id: str | None
    kb_name: str
    paths: tuple[Path, ...]


class PreflightViewModel(ViewModel):
    """Looks at what is dropped, one knowledge base after the other, and begins the job when it may."""

    changed = Signal()
    """What is looked at, found, or said changed."""

    def __init__(self, preflight: Preflights, ingest: IngestViewModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._preflight = preflight
        self._ingest = ingest
        self._offers: list[Offer] = []
        self._problem = ""
        self.result: Preflight | None = None
        """What the files at hand would take; None while they are looked at."""
        self.note = ""
        """What was found out about files whose job began by itself."""
        ingest.finished.connect(self._forget_note)

    # ------------------------------------------------------------ what the card shows

    @property
    def offer(self) -> Offer | None:
        """The files at hand."""
        return self._offers[0] if self._offers else None

    @property
    def looking(self) -> bool:
        """Whether the files at hand are being looked at."""
        return self.offer is not None and not self.asking

    @property
    def asking(self) -> bool:
        """Whether the card waits for an answer."""
        return self.offer is not None and (self.result is not None or bool(self._problem))

    @property
    def looking_at(self) -> str:
        """`Looking at Papers and 2 more…`."""
        if self.offer is None:
            return ""
        first, more = self.offer.paths[0], len(self.offer.paths) - 1
        return f"Looking at {first.name or first}{f' and {more:,} more' if more else ''}…"

    @property
    def title(self) -> str:
        """`Add 212 files to “Compilers”?`."""
        if self.offer is None:
            return ""
        where = f"“{self.offer.kb_name}”" if self.offer.kb_name else "a new knowledge base"
        if self.result is None:
            return f"Add {count(len(self.offer.paths), 'item')} to {where}?"
        return f"Add {'' if self.result.complete else 'more than '}{count(self.result.files, 'file')} to {where}?"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """(what, how much), for the row of numbers."""
        found = self.result
        if found is None:
            return []
        return [
            ("Files", f"{found.files:,} · {size(found.bytes)}"),
            ("Passages", f"about {_rounded(found.chunks):,}"),
            ("Time", about(found.seconds)),
            ("Disk", f"{size(found.disk_bytes)} of {size(found.free_disk_bytes)} free"),
            ("Peak memory", size(found.peak_memory_bytes)),
        ]

    @property
    def news(self) -> str:
        """What of it is new: only that is read."""
        found = self.result
        if found is None:
            return ""
        kept = sum(item.count for item in found.held_removals)
        if not found.unchanged and not found.changed and not found.removed and not kept:
            return _kinds(found)
        parts = [f"Only new and changed: {found.new + found.changed:,}"]
        if found.unchanged:
            parts.append(f"{found.unchanged:,} indexed already")
        if found.removed:
            parts.append(f"{found.removed:,} no longer there, will be removed")
        if kept:
            parts.append(f"{kept:,} no longer there, will be kept")
        return " · ".join(parts)

    @property
    def skipped(self) -> str:
        """`Skipped: 14 hidden or system files, 2 damaged`, "" when nothing is."""
        found = self.result
        if found is None or not found.skipped:
            return ""
        return f"Skipped: {', '.join(f'{item.count:,} {item.reason}' for item in found.skipped)}"

    @property
    def skipped_names(self) -> str:
        """A few of the skipped files for every reason."""
        held = self.result.skipped if self.result is not None else ()
        return "\n\n".join("\n".join([f"{item.reason}:", *item.examples]) for item in held)

    @property
    def needs_password(self) -> bool:
        """Whether protected files are among those at hand."""
        return self.result is not None and _has(self.result, NEEDS_PASSWORD)

    @property
    def warnings(self) -> list[str]:
        """What may go wrong."""
        if self._problem:
            return [self._problem]
        return _warnings(self.result) if self.result is not None else []

    # ------------------------------------------------------------ gestures

    def look_at(self, paths: Sequence[Path], kb: KnowledgeBase | None) -> None:
        """Look at files and folders for a knowledge base, None for a new one; they join those that wait for it."""
        if not paths:
            return
        kb_id, name = (kb.id, kb.name) if kb is not None else (None, "")
        self.note = ""
        for place, offer in enumerate(self._offers):
            if offer.kb_id == kb_id:
                together = tuple(dict.fromkeys((*offer.paths, *paths)))
                self._offers[place] = Offer(kb_id, name, together)
                break
        else:
            place = len(self._offers)
            self._offers.append(Offer(kb_id, name, tuple(paths)))
        if place == 0:
            self._look()
        self.changed.emit()

    def accept(self) -> None:
        """Begin."""
        if self.offer is not None and self.asking:
            found = self.result
            more = "" if found is None or found.complete else "more than "
            what = f"{more}{count(found.files, 'file')}" if found is not None and found.files else ""
            self._ingest.add(self.offer.paths, self.offer.kb_id, what)
            self._next()

    def unlock(self, password: str) -> None:
        """Look again with a password, which is then tried on the files of the job too."""
        if self.offer is not None:
            self._ingest.jobs.passwords.add(self.offer.kb_id, password)
            self._look()
            self.changed.emit()

    def dismiss(self) -> None:
        """Leave it."""
        if self.offer is not None:
            self.cancel("look")
            self._next()

    # ------------------------------------------------------------ work

    def _next(self) -> None:
        self._offers.pop(0)
        self.result, self._problem = None, ""
        if self._offers:
            self._look()
        self.changed.emit()

    def _look(self) -> None:
        self.result, self._problem = None, ""
        self.launch("look", self._look_now(self._offers[0]))

    async def _look_now(self, offer: Offer) -> None:
        passwords = self._ingest.jobs.passwords.of(offer.kb_id)
        try:
            found = await self._preflight.look(offer.kb_id, offer.paths, _OPTIONS, passwords=passwords)
        except StudioError as error:
            self._problem = sentences(error)
        else:
            self.result = found
            if is_small(found):
                self.note = _note(found)
                self.accept()
                return
        self.changed.emit()

    def _forget_note(self) -> None:
        if self.note:
            self.note = ""
            self.changed.emit()


def is_small(found: Preflight) -> bool:
    """Whether a job is too small to ask about, and has nothing to warn of."""
    return found.complete and found.files <= SMALL_FILES and found.seconds < SMALL_S and not _warnings(found)


def _note(found: Preflight) -> str:
    parts = [f"{count(found.files, 'file')}, {size(found.bytes)}"]
    if found.unchanged:
        parts.append(f"only new and changed: {found.new + found.changed:,}")
    if found.chunks:
        parts.append(f"about {count(_rounded(found.chunks), 'passage')}")
    if found.skipped:
        parts.append(f"skipped: {', '.join(f'{item.count:,} {item.reason}' for item in found.skipped)}")
    return " · ".join(parts)


def _warnings(found: Preflight) -> list[str]:
    said = []
    if found.disk_bytes > found.free_disk_bytes:
        said.append(
            f"The disk is too full: about {size(found.disk_bytes)} are needed, {size(found.free_disk_bytes)} are free. "
            "Free some space before you start."
        )
    if _has(found, NEEDS_PASSWORD):
        said.append("Some files are protected by a password. Enter it now, or later in the list of what failed.")
    if _has(found, NEEDS_OCR):
        said.append("Some files have no text of their own. Scans can only be read when Tesseract is installed.")
    if not found.complete:
        said.append("There are too many files to look at all of them: these numbers are of those that were seen.")
    return said


def _has(found: Preflight, reason: str) -> bool:
    return any(item.reason.startswith(reason) for item in found.skipped)


def _rounded(number: int) -> int:
    """Two digits that count, for what is only estimated."""
    return number if number < 100 else int(float(f"{number:.2g}"))


def _kinds(found: Preflight) -> str:
    """`180 pdf, 20 markdown, 12 others`."""
    ranked = sorted(found.kinds.items(), key=lambda item: -item[1])
    parts = [f"{number:,} {kind}" for kind, number in ranked[:_KINDS_NAMED]]
    others = sum(number for _, number in ranked[_KINDS_NAMED:])
    return ", ".join([*parts, *([count(others, "other")] if others else [])])
