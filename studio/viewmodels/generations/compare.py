"""The difference of two generations: documents that came, went, changed and moved, and what queries find now."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

from PySide6.QtCore import QObject, Signal

from studio.domain import KnowledgeBase
from studio.errors import StudioError
from studio.services.generations import DocumentChanges, DocumentItem, HitChange, QueryChange
from studio.viewmodels.base import ItemListModel, ViewModel
from studio.viewmodels.ports import Compare
from studio.viewmodels.text import count
from studio.viewmodels.ways_out import clickable, sentences


class Change(StrEnum):
    """What became of a document or a hit; `query` is the heading above the hits of one."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"
    MOVED = "moved"
    GAINED = "gained"
    LOST = "lost"
    QUERY = "query"


DOCUMENT_CHANGES = (Change.ADDED, Change.CHANGED, Change.REMOVED, Change.MOVED)


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A document or a hit: what became of it, its name, a line of detail, and a short text at the right.

    `is_path`: the end of the detail says more than its middle.
    """

    change: Change
    name: str
    detail: str
    aside: str
    tip: str = ""
    is_path: bool = False


class ChangeModel(ItemListModel[ChangeRow]):
    """What changed, one row each."""

    def describe(self, row: int, item: ChangeRow) -> str:
        return ", ".join(part for part in (str(item.change), item.name, item.aside, item.detail) if part)

    def tip(self, item: ChangeRow) -> str:
        return item.tip


class CompareViewModel(ViewModel):
    """Compares two generations of a knowledge base, the older one first."""

    changed = Signal()
    """Counts, state or error changed; the rows are in place."""

    def __init__(self, compare: Compare, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.documents = ChangeModel(self)
        self.hits = ChangeModel(self)
        self._compare = compare
        self._kb: KnowledgeBase | None = None
        self._rows: dict[Change, tuple[ChangeRow, ...]] = {}
        self._shown: Change | None = None
        self.older = 0
        self.newer = 0
        self.unchanged = 0
        self.queries: tuple[str, ...] = ()
        self.busy = False
        self.error = ""

    @property
    def title(self) -> str:
        """`Compilers: generation 2 → 5`."""
        name = self._kb.name if self._kb is not None else ""
        return f"{name}: generation {self.older} → {self.newer}"

    @property
    def shown(self) -> Change | None:
        """The only kind of document that is listed; None: all."""
        return self._shown

    def total(self, change: Change) -> int:
        """How many documents this happened to."""
        return len(self._rows.get(change, ()))

    @property
    def summary(self) -> str:
        """What there is to say besides the lists."""
        if self.busy:
            return "Comparing…"
        if self.error:
            return ""
        same = f"{count(self.unchanged, 'document')} unchanged"
        return same if any(self._rows.values()) else f"Both hold the same documents · {same}"

    def open(self, kb: KnowledgeBase, one: int, other: int) -> None:
        """Compare two generations; queries asked before are forgotten."""
        self._kb, self.older, self.newer = kb, min(one, other), max(one, other)
        self._rows, self._shown, self.queries, self.unchanged = {}, None, (), 0
        self.documents.reset([])
        self.hits.reset([])
        self._start()

    def ask(self, text: str) -> None:
        """Compare what queries find, one a line."""
        self.queries = tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
        self._start()

    def show(self, change: Change | None) -> None:
        """List one kind of document only, or all."""
        self._shown = change
        self._list()
        self.changed.emit()

    def stop(self) -> None:
        """The dialog was closed."""
        self.cancel("compare")

    def _start(self) -> None:
        self.busy, self.error = True, ""
        self.changed.emit()
        self.launch("compare", self._run())

    async def _run(self) -> None:
        assert self._kb is not None
        try:
            found = await self._compare.compare(self._kb.id, self.older, self.newer, self.queries or None)
            rows = await asyncio.to_thread(_document_rows, found.documents)
        except StudioError as error:
            self.error = sentences(error)
        else:
            self._rows, self.unchanged = rows, found.documents.unchanged
            self._list()
            self.hits.reset(_hit_rows(found.queries))
        self.busy = False
        self.changed.emit()

    def report(self, error: BaseException) -> None:
        self.busy = False
        super().report(error)
        self.changed.emit()

    def _list(self) -> None:
        kinds = DOCUMENT_CHANGES if self._shown is None else (self._shown,)
        self.documents.reset([row for kind in kinds for row in self._rows.get(kind, ())])


def _document_rows(found: DocumentChanges) -> dict[Change, tuple[ChangeRow, ...]]:
    return {
        Change.ADDED: tuple(_row(Change.ADDED, item, count(item.chunks, "passage")) for item in found.added),
        Change.CHANGED: tuple(
            _row(Change.CHANGED, item, _passages(item.chunks_before, item.chunks)) for item in found.changed
        ),
        Change.REMOVED: tuple(_row(Change.REMOVED, item, count(item.chunks, "passage")) for item in found.removed),
        Change.MOVED: tuple(
            _row(Change.MOVED, item, count(item.chunks, "passage"), _way(item.path_before, item.path))
            for item in found.moved
        ),
    }


def _passages(before: int, after: int) -> str:
    return count(after, "passage") if before == after else f"{before:,} → {count(after, 'passage')}"


def _way(before: str, after: str) -> str:
    """`notes.txt → old/notes.txt`: both paths from the folder they have in common."""
    try:
        common = os.path.commonpath([PurePath(before).parent, PurePath(after).parent])
    except ValueError:  # on different drives
        return f"{before} → {after}"
    return f"{PurePath(before).relative_to(common)} → {PurePath(after).relative_to(common)}"


def _row(change: Change, item: DocumentItem, aside: str, detail: str = "") -> ChangeRow:
    detail = detail or item.path
    if item.key:
        detail = f"{detail} · row {item.key}"
    return ChangeRow(change, item.title, detail, aside, item.path, is_path=True)


def _hit_rows(queries: Iterable[QueryChange]) -> list[ChangeRow]:
    rows = []
    for query in queries:
        parts = [
            f"{len(hits):,} {word}"
            for word, hits in (("gained", query.gained), ("lost", query.lost), ("moved", query.moved))
            if hits
        ]
        if not parts:
            parts.append(f"{count(query.unchanged, 'hit')}, all as before" if query.unchanged else "no hits in either")
        elif query.unchanged:
            parts.append(f"{query.unchanged:,} at the same rank")
        degraded = clickable(query.degraded or "")
        rows.append(ChangeRow(Change.QUERY, query.query, degraded, " · ".join(parts), degraded))
        rows += _hits(Change.GAINED, query.gained)
        rows += _hits(Change.LOST, query.lost)
        rows += _hits(Change.MOVED, query.moved)
    return rows


def _hits(change: Change, hits: Sequence[HitChange]) -> list[ChangeRow]:
    rows = []
    for hit in hits:
        place = f"{hit.title}, p. {hit.page}" if hit.page is not None else hit.title
        was, now = hit.rank_before, hit.rank_after
        aside = f"now number {now}" if was is None else f"was number {was}" if now is None else f"{was} → {now}"
        rows.append(ChangeRow(change, place, " ".join(hit.snippet.split()), aside, hit.path))
    return rows
