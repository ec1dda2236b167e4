"""Stand-ins for the services, for what real ones cannot be made to do on demand: wait, fail, overtake."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from studio.concurrency import Attention
from studio.domain import (
    Citation,
    DocumentRecord,
    Explanation,
    Generation,
    GenerationState,
    KbSettings,
    KnowledgeBase,
    ModelIdentity,
    ModelInfo,
    ProgressSink,
    Retention,
    SearchRequest,
    SearchResponse,
    SearchResult,
    Span,
    StoredText,
)
from studio.errors import Conflict, NotFound, StorageFault
from studio.index.upkeep import GcReport
from studio.memory import GIB, Holding, MemorySnapshot
from studio.services.health import HealthReport
from studio.services.health.report import Level
from studio.services.library import TagCount
from studio.services.search import Verification, VerificationStatus
from studio.services.search.citations import locator
from studio.services.search.verification import Place
from tests.gui.generations.fake_generations import FakeBundles, FakeCompare, FakeGate
from tests.gui.ingest.fake_queue import FakePreflight, FakeQueue
from tests.gui.ingest.fake_watch import FakeWatch
from tests.gui.quality.fake_quality import FakeQuality


def result(number: int = 1, **changes: Any) -> SearchResult:
    """A search result with plausible contents."""
    base = SearchResult(
        chunk_id=f"chunk-{number}",
        document_id=f"document-{number}",
        kb_id="kb1",
        kb_name="Compilers",
        generation=1,
        score=0.9 - number / 100,
        content=f"Passage number {number} about nested loops.",
        snippet=f"Passage number {number} about nested loops.",
        highlights=((23, 29),),
        metadata={},
        citation=Citation(f"Title {number}", f"/nowhere/file{number}.md", "", "", "1 Introduction", None, 0, 39),
        explanation=Explanation("minmax", 0.5, 1, 0.8, 1.0, 1, 12.0, 1.0, ("nested",)),
    )
    return replace(base, **changes)


def generation(number: int, state: GenerationState, **changes: Any) -> Generation:
    """A generation of the fake knowledge base."""
    base = Generation(
        kb_id="kb1", number=number, state=state, parent=None, settings=KbSettings(),
        model=ModelIdentity("all-MiniLM-L6-v2", "0" * 64, 384, "mean"), chunks_table="chunks", chunks_version=1,
        documents_version=1, documents=3, chunks=40, size_bytes=12_000, own_bytes=2_000, rows_version=1,
        lexical_version=1, created_ms=1_700_000_000_000, ready_ms=1_700_000_000_000, promoted_ms=1_700_000_000_000,
        archived_ms=1_700_000_000_000 if state is GenerationState.ARCHIVED else None, note="", held="", error="",
    )  # fmt: skip
    return replace(base, **changes)


class FakeLibrary:
    """Knowledge bases in memory."""

    def __init__(self) -> None:
        self.bases: list[KnowledgeBase] = []
        self.records: list[DocumentRecord] = []
        self.changes = 0
        self.read_only: str | None = None
        self.still_read_only = ""

    def add(self, name: str, *, active: int | None = 1, chunks: int = 40) -> KnowledgeBase:
        kb = KnowledgeBase(f"kb{len(self.bases) + 1}", name, KbSettings(), active, 3, chunks, 12_000, 0)
        self.bases.append(kb)
        self.changes += 1
        return kb

    async def list(self) -> list[KnowledgeBase]:
        return list(self.bases)

    async def create(self, name: str, settings: KbSettings | None = None) -> KnowledgeBase:
        if any(kb.name == name for kb in self.bases):
            raise Conflict(f"There is a knowledge base “{name}” already.", way_out="Choose another name.")
        return self.add(name, active=None, chunks=0)

    async def rename(self, name_or_id: str, new_name: str) -> KnowledgeBase:
        row = self._row(name_or_id)
        self.bases[row] = replace(self.bases[row], name=new_name)
        self.changes += 1
        return self.bases[row]

    async def delete(self, name_or_id: str) -> None:
        del self.bases[self._row(name_or_id)]
        self.changes += 1

    async def documents(self, name_or_id: str, generation: int | None = None) -> Sequence[DocumentRecord]:
        return self.records

    async def stamp(self) -> int:
        return self.changes

    async def require_writable(self) -> None:
        if self.still_read_only:
            raise StorageFault(self.still_read_only)
        self.read_only = None

    async def retention(self, name_or_id: str) -> Retention:
        return self.bases[self._row(name_or_id)].retention or Retention()

    async def set_retention(self, name_or_id: str, retention: Retention | None) -> Retention:
        row = self._row(name_or_id)
        self.bases[row] = replace(self.bases[row], retention=retention)
        return retention or Retention()

    def _row(self, name_or_id: str) -> int:
        for row, kb in enumerate(self.bases):
            if name_or_id in (kb.id, kb.name):
                return row
        raise NotFound(f"There is no knowledge base “{name_or_id}”.")


class FakeSearch:
    """Answers at once, or when the test says so: `gates` holds an event for a query."""

    def __init__(self) -> None:
        self.asked: list[SearchRequest] = []
        self.cancelled: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.answers: Callable[[SearchRequest], list[SearchResult]] = lambda request: [result(1), result(2)]
        self.total: int | None = None
        self.degraded: str | None = None
        self.weight = 0.62
        self.notes: tuple[str, ...] = ()
        self.reranker = ""
        self.rerankers_there: list[str] = []
        self.error: Exception | None = None
        self.text: StoredText | Exception = StoredText("Passage number 1 about nested loops.", (Span(0, 36),))

    async def search(self, request: SearchRequest) -> SearchResponse:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        if request.query in self.gates:
            try:
                await self.gates[request.query].wait()
            except asyncio.CancelledError:
                self.cancelled.append(request.query)
                raise
        found = self.answers(request)
        total = len(found) if self.total is None else self.total
        weight = self.weight if request.weight is None else request.weight
        return SearchResponse(
            request.query, request.mode, self.degraded, {"kb1": 1}, 31.4, {}, total, tuple(found), weight, self.notes
        )

    async def rerankers(self) -> tuple[str, list[str]]:
        return self.reranker, self.rerankers_there

    async def document_text(self, kb: str, generation: int, document_id: str) -> StoredText:
        if isinstance(self.text, Exception):
            raise self.text
        return self.text

    async def warm_up(self) -> None:
        return None


class FakeTags:
    """Tags of the documents, the same in every knowledge base."""

    def __init__(self) -> None:
        self.items: list[TagCount] = []

    async def counts(self, name_or_id: str) -> Sequence[TagCount]:
        return self.items


class FakeCiting:
    """Finds every cited passage where it was, unless told otherwise."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status = VerificationStatus.SAME
        self.detail = "The passage stands where it was cited."

    async def verify(self, text: str) -> Verification:
        self.asked.append(text)
        there = self.status in (VerificationStatus.SAME, VerificationStatus.MOVED)
        place = Place("/nowhere/file1.md", None, "1 Introduction", 0, 39) if there else None
        return Verification(self.status, self.detail, place, locator(result()))


class FakeMaintenance:
    """Generations in memory. `refusal` is what the gate says to a promotion without force."""

    def __init__(self) -> None:
        self.items: list[Generation] = []
        self.error: Exception | None = None
        self.refusal = ""
        self.asked: list[tuple[str, int | None]] = []
        self.collected = GcReport()

    async def generations(self, kb: str) -> list[Generation]:
        return list(self.items)

    async def promote(self, kb: str, number: int, *, force: bool = False) -> Generation:
        self.asked.append(("force" if force else "promote", number))
        if self.refusal and not force:
            self.items = [replace(item, held=self.refusal) if item.number == number else item for item in self.items]
            raise Conflict(self.refusal)
        return self._activate(number)

    async def rollback(self, kb: str, number: int | None = None) -> Generation:
        self.asked.append(("rollback", number))
        older = [item.number for item in self.items if item.state is GenerationState.ARCHIVED]
        return self._activate(number if number is not None else max(older))

    async def roll_forward(self, kb: str) -> Generation:
        self.asked.append(("roll_forward", None))
        return self._activate(min(item.number for item in self.items if item.state is GenerationState.ARCHIVED))

    async def annotate(self, kb: str, number: int, note: str) -> Generation:
        self.items = [replace(item, note=note) if item.number == number else item for item in self.items]
        return next(item for item in self.items if item.number == number)

    async def collect(self, kb: str | None = None, *, dry_run: bool = False) -> GcReport:
        self.asked.append(("dry run" if dry_run else "collect", None))
        if not dry_run:
            report, self.collected = self.collected, GcReport()
            return report
        return self.collected

    def _activate(self, number: int) -> Generation:
        if self.error is not None:
            raise self.error
        was, now = GenerationState.ARCHIVED, GenerationState.ACTIVE
        self.items = [replace(item, state=was) if item.state is now else item for item in self.items]
        self.items = [replace(item, state=now, held="") if item.number == number else item for item in self.items]
        return next(item for item in self.items if item.number == number)


class FakeConfig:
    """Settings in memory."""

    def __init__(self) -> None:
        self.values = {
            "theme": "light",
            "window_geometry": "",
            "model": "all-MiniLM-L6-v2",
            "memory_budget_mib": "0",
            "model_idle_minutes": "15",
            "remember_queries": True,
        }
        self.listeners: list[Callable[[frozenset[str]], None]] = []

    def subscribe(self, listener: Callable[[frozenset[str]], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def get(self, key: str) -> object:
        return self.values[key]

    async def save(self, key: str, value: str) -> None:
        self.values[key] = value
        for listener in self.listeners:
            listener(frozenset({key}))


class FakeModels:
    """One model."""

    async def list(self) -> list[ModelInfo]:
        return [ModelInfo("all-MiniLM-L6-v2", "0" * 64, 384, 256, "mean", 45_000_000, "Apache-2.0", True, None)]


class FakeHealth:
    """A report to order; `measured` are the calls that asked for the recall to be measured, in order."""

    def __init__(self) -> None:
        self.answer = HealthReport(Level.GOOD, None)
        self.measured: list[bool] = []

    async def report(self, kb: str | None = None, *, measure: bool = True) -> HealthReport:
        self.measured.append(measure)
        return self.answer

    async def forget_queries(self) -> None:
        pass


def held(*holdings: Holding, budget: int = 4_000_000_000, **changes: Any) -> MemorySnapshot:
    """A reading of the memory in which these parts hold something."""
    parts = {holding.name: holding.counted for holding in holdings}
    return replace(MemorySnapshot(sum(parts.values()), budget, parts, holdings), **changes)


class FakeMemory:
    """Reads what the test says; on a computer of 16 GiB."""

    def __init__(self) -> None:
        self.reading = held(Holding("application", 1_000_000_000), Holding("model", 40_000_000, 200_000_000))
        self.budget = SimpleNamespace(total=8 * GIB, ceiling=16 * GIB)
        self.listeners: list[Callable[[], None]] = []
        self.sources: dict[str, Callable[[], int]] = {}

    def register(self, name: str, held: Callable[[], int]) -> Callable[[], None]:
        self.sources[name] = held
        return lambda: self.sources.__delitem__(name)

    def snapshot(self) -> MemorySnapshot:
        return self.reading

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def tell(self, reading: MemorySnapshot) -> None:
        """The memory is so now, and who asked to be told is."""
        self.reading = reading
        for listener in list(self.listeners):
            listener()


class FakeMemoryCare:
    """Counts how often the settings were read anew, and keeps what they were."""

    def __init__(self, config: FakeConfig) -> None:
        self._config = config
        self.read: list[tuple[object, object]] = []
        config.subscribe(self._settings_changed)

    def _settings_changed(self, changed: frozenset[str]) -> None:
        self.read.append((self._config.get("memory_budget_mib"), self._config.get("model_idle_minutes")))


class FakeServices:
    """Everything a workspace asks for."""

    def __init__(self) -> None:
        self.paths = SimpleNamespace(root=Path("/data"))
        self.config = FakeConfig()
        self.library = FakeLibrary()
        self.queue = FakeQueue()
        self.preflight = FakePreflight()
        self.watch = FakeWatch()
        self.search = FakeSearch()
        self.tags = FakeTags()
        self.citing = FakeCiting()
        self.maintenance = FakeMaintenance()
        self.compare = FakeCompare()
        self.gate = FakeGate()
        self.quality = FakeQuality()
        self.bundles = FakeBundles(self.library)
        self.models = FakeModels()
        self.health = FakeHealth()
        self.attention = Attention()
        self.memory = FakeMemory()
        self.memory_care = FakeMemoryCare(self.config)
        self.sample = SimpleNamespace(ensure=self._ensure_sample)

    async def _ensure_sample(self, progress: ProgressSink | None = None) -> KnowledgeBase:
        return self.library.add("Sample library")
