"""Stand-ins for what is done with generations: comparing them, trying them, writing them to files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.domain import ModelIdentity, PinnedQuery, SearchMode
from studio.services.generations import (
    BundleInfo,
    Comparison,
    DocumentChanges,
    DocumentItem,
    HitChange,
    Imported,
    QueryChange,
)
from studio.services.generations.bundles import ByteProgress
from studio.services.generations.compare import ChangedDocument, MovedDocument
from studio.services.quality import GateReport, MissingDocument, PinOutcome


class FakeCompare:
    """One document of each kind, and for each query one hit gained, lost and moved; waits at `gate`."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, tuple[str, ...]]] = []
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None

    async def compare(
        self,
        kb: str,
        a: int,
        b: int,
        queries: Path | Sequence[str] | None = None,
        mode: SearchMode = SearchMode.HYBRID,
        limit: int = 10,
    ) -> Comparison:
        assert not isinstance(queries, Path)
        self.asked.append((a, b, tuple(queries or ())))
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        documents = DocumentChanges(
            added=(DocumentItem("/new.md", "", "d1", "New", 3), DocumentItem("/table.csv", "7", "d5", "Row", 1)),
            changed=(ChangedDocument("/edited.md", "", "d2", "Edited", 4, "d0", 6),),
            removed=(DocumentItem("/old.md", "", "d3", "Old", 1),),
            moved=(MovedDocument("/b/same.md", "", "d4", "Same", 2, "/a/same.md"),),
            unchanged=12,
        )
        changes = tuple(_query_change(number, text) for number, text in enumerate(queries or (), start=1))
        return Comparison("Compilers", a, b, documents, changes)


def _query_change(number: int, text: str) -> QueryChange:
    def hit(name: str, before: int | None, after: int | None) -> HitChange:
        return HitChange(f"/{name}.md", name, name, 2, before, after, None, None, f"Snippet\nof {name}.")

    gained, lost, moved = hit("new", None, 1), hit("old", 2, None), hit("same", 1, 3)
    return QueryChange(str(number), text, (gained,), (lost,), (moved,), 5, None)


class FakeGate:
    """Pinned queries in memory; a query passes when it is in `passing`, unless `degraded` says why none is judged."""

    def __init__(self) -> None:
        self.items: list[PinnedQuery] = []
        self.passing: set[str] = set()
        self.degraded: str | None = None
        self.checked: list[int | None] = []
        self.error: Exception | None = None

    async def pins(self, kb: str) -> list[PinnedQuery]:
        return list(self.items)

    async def add(self, kb: str, query: str, must_find: Sequence[str], top: int = 10) -> PinnedQuery:
        if self.error is not None:
            raise self.error
        self.items.append(PinnedQuery(len(self.items) + 1, query, tuple(must_find), top))
        return self.items[-1]

    async def remove(self, kb: str, number: int) -> None:
        self.items = [item for item in self.items if item.id != number]

    async def check(self, kb: str, number: int | None = None) -> GateReport:
        self.checked.append(number)
        outcomes = []
        for pin in self.items:
            passed = pin.query in self.passing and self.degraded is None
            found = dict.fromkeys(pin.must_find, 2) if passed else {}
            missing = () if passed else tuple(MissingDocument(name, 14, True) for name in pin.must_find)
            outcomes.append(PinOutcome(pin.id, pin.query, pin.top, passed, found, missing, self.degraded))
        return GateReport("Compilers", number or 1, all(item.passed for item in outcomes), tuple(outcomes))


class FakeBundles:
    """Remembers what was asked for; goes half way, then waits at `gate`."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.exported: list[tuple[str, Path, int | None]] = []
        self.loaded: list[tuple[Path, str | None]] = []
        self.cancelled: list[str] = []
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None
        self.note = ""

    async def export(
        self,
        kb: str,
        file: Path,
        generation: int | None = None,
        *,
        overwrite: bool = False,
        progress: ByteProgress | None = None,
    ) -> BundleInfo:
        self.exported.append((kb, file, generation))
        await self._go("export", progress)
        return bundle(file)

    async def load(self, file: Path, name: str | None = None, progress: ByteProgress | None = None) -> Imported:
        self.loaded.append((file, name))
        await self._go("import", progress)
        return Imported(bundle(file), self._library.add(name or "Bundle"), 1, not self.note, self.note)

    async def _go(self, what: str, progress: ByteProgress | None) -> None:
        if self.error is not None:
            raise self.error
        assert progress is not None
        progress(50, 100)
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled.append(what)
                raise


def bundle(file: Path) -> BundleInfo:
    """What is said of a bundle."""
    model = ModelIdentity("all-MiniLM-L6-v2", "0" * 64, 384, "mean")
    return BundleInfo(file, 3_200_000, "0" * 64, 1, "0.1", 0, "Compilers", 1, 3, 40, model, 0)
