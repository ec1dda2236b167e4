"""The gate of a knowledge base: queries that must find certain documents before a generation may be promoted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from PySide6.QtCore import QObject, Signal

from studio.documents.kinds import TABULAR_KINDS
from studio.domain import DocumentRecord, DocumentStatus, KnowledgeBase, PinnedQuery, SearchResult
from studio.errors import StudioError
from studio.services.quality import PinOutcome, quality_sentence
from studio.viewmodels.base import ItemListModel, ViewModel
from studio.viewmodels.ports import Gate, Library
from studio.viewmodels.text import document_title
from studio.viewmodels.ways_out import clickable, sentences

DEFAULT_TOP = 10


@dataclass(frozen=True, slots=True)
class PinRow:
    """A pinned query. `passed` is None until it was tried."""

    id: int
    query: str
    demand: str
    passed: bool | None
    verdict: str


class PinModel(ItemListModel[PinRow]):
    """Oldest first."""

    def describe(self, row: int, item: PinRow) -> str:
        return ", ".join(part for part in (item.query, item.demand, item.verdict) if part)

    def tip(self, item: PinRow) -> str:
        return "\n".join(part for part in (item.demand, item.verdict) if part)


class GateViewModel(ViewModel):
    """Lists, adds, removes and tries pinned queries."""

    changed = Signal()
    """Rows, choices, summary or state changed."""
    done = Signal(str)
    """Something was pinned, in words."""
    added = Signal()
    """What was asked for in the dialog is pinned."""

    def __init__(self, gate: Gate, library: Library, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows = PinModel(self)
        self._gate = gate
        self._library = library
        self._kb: KnowledgeBase | None = None
        self._outcomes: dict[int, PinOutcome] = {}
        self.documents: tuple[str, ...] = ()
        self.summary = ""
        self.error = ""
        self.checking = False

    @property
    def kb(self) -> KnowledgeBase | None:
        """The knowledge base whose pins are shown."""
        return self._kb

    def open(self, kb: KnowledgeBase, check: int | None = None) -> None:
        """Show the pins of a knowledge base; `check`: and try them on this generation."""
        self._kb, self._outcomes, self.documents = kb, {}, ()
        self.summary, self.error = "", ""
        self.rows.reset([])
        self.launch("documents", self._read_documents(kb))
        if check is None:
            self.launch("read", self._read(kb.id))
        else:
            self.check(check)

    def add(self, query: str, document: str, top: int = DEFAULT_TOP) -> None:
        """Pin a query of the shown knowledge base."""
        if self._kb is not None:
            self.launch("add", self._add(self._kb.id, query, document, top))

    def remove(self, number: int) -> None:
        """Unpin a query."""
        if self._kb is not None:
            self.launch(f"remove {number}", self._remove(self._kb.id, number))

    def check(self, number: int | None = None) -> None:
        """Try all of them, on the active generation or on another."""
        if self._kb is not None:
            self.checking, self.error = True, ""
            self.changed.emit()
            self.launch("check", self._check(self._kb.id, number))

    def pin(self, query: str, result: SearchResult) -> None:
        """Pin a query to a document it found just now."""
        self.launch("pin", self._pin(query, result))

    def report(self, error: BaseException) -> None:
        self.checking = False
        super().report(error)
        self.changed.emit()

    async def _pin(self, query: str, result: SearchResult) -> None:
        # A path outlives an edit of its file, an id does not; but all rows of a table have one path.
        is_row = result.metadata.get("type") in TABULAR_KINDS
        pinned = await self._gate.add(
            result.kb_id, query, [result.document_id if is_row else result.citation.source_path], DEFAULT_TOP
        )
        self.done.emit(f"Pinned: “{pinned.query}” must find {document_title(result)}.")

    async def _add(self, kb_id: str, query: str, document: str, top: int) -> None:
        try:
            await self._gate.add(kb_id, query, [document], top)
        except StudioError as error:
            self.error = sentences(error)
            self.changed.emit()
            return
        self.error = ""
        self.added.emit()
        await self._read(kb_id)

    async def _remove(self, kb_id: str, number: int) -> None:
        await self._gate.remove(kb_id, number)
        await self._read(kb_id)

    async def _check(self, kb_id: str, number: int | None) -> None:
        report = await self._gate.check(kb_id, number)
        self._outcomes = {outcome.id: outcome for outcome in report.queries}
        passed = sum(outcome.passed for outcome in report.queries)
        self.summary = f"Generation {report.generation}: {passed} of {len(report.queries)} passed"
        if report.quality is not None:
            self.summary += f". {clickable(quality_sentence(report.quality))}"
        self.checking = False
        await self._read(kb_id)

    async def _read(self, kb_id: str) -> None:
        pins = await self._gate.pins(kb_id)
        if self._kb is not None and self._kb.id == kb_id:
            self.rows.replace([_row(pin, self._outcomes.get(pin.id)) for pin in pins])
        self.changed.emit()

    async def _read_documents(self, kb: KnowledgeBase) -> None:
        records = await self._library.documents(kb.id)
        self.documents = await asyncio.to_thread(_paths, records)
        self.changed.emit()


def _paths(records: Sequence[DocumentRecord]) -> tuple[str, ...]:
    indexed = {record.source_path for record in records if record.status is DocumentStatus.INDEXED}
    return tuple(sorted(indexed, key=lambda path: (PurePath(path).name, path)))


def _row(pin: PinnedQuery, outcome: PinOutcome | None) -> PinRow:
    names = " and ".join(PurePath(name).name or name for name in pin.must_find)
    return PinRow(
        id=pin.id,
        query=pin.query,
        demand=f"must find {names} {'first' if pin.top == 1 else f'in the first {pin.top} documents'}",
        passed=outcome.passed if outcome is not None else None,
        verdict=_verdict(outcome) if outcome is not None else "",
    )


def _verdict(outcome: PinOutcome) -> str:
    if outcome.degraded is not None:
        return f"cannot be judged: {clickable(outcome.degraded)}"
    if outcome.passed:
        return f"found as number {max(outcome.found.values())}"
    parts = []
    for item in outcome.missing:
        name = PurePath(item.reference).name or item.reference
        if not item.in_generation:
            parts.append(f"{name} is not in this generation")
        else:
            parts.append(f"{name} is number {item.rank}" if item.rank is not None else f"{name} is not found")
    return ", ".join(parts)
