"""Stand-ins for saved queries and evaluations: in memory, at once or when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from studio.domain import SavedQuery
from studio.errors import InvalidRequest, NotFound
from studio.services.quality import Evaluation, Loaded, Measured, RunSummary, Setting
from studio.services.quality.evaluation import summary
from studio.services.quality.measures import MEASURES


class FakeJudging:
    """Saved queries in memory; a document is named by its id."""

    def __init__(self) -> None:
        self.items: list[SavedQuery] = []
        self.error: Exception | None = None
        self.asked: list[tuple[str, object]] = []

    async def queries(self, kb: str) -> list[SavedQuery]:
        return list(self.items)

    async def save(self, kb: str, query: str, name: str = "") -> SavedQuery:
        found = next((item for item in self.items if item.query == query), None)
        if found is None:
            found = SavedQuery(len(self.items) + 1, name or query, query, {}, 0)
            self.items.append(found)
        return found

    async def rename(self, kb: str, query_id: int, name: str) -> SavedQuery:
        self.items = [replace(item, name=name) if item.id == query_id else item for item in self.items]
        return next(item for item in self.items if item.id == query_id)

    async def delete(self, kb: str, query_id: int) -> None:
        self.items = [item for item in self.items if item.id != query_id]

    async def judge(self, kb: str, query: str, document: str, grade: int = 1) -> SavedQuery:
        if self.error is not None:
            raise self.error
        saved = await self.save(kb, query)
        return self._put(replace(saved, judgments={**saved.judgments, document: grade}))

    async def unjudge(self, kb: str, query: str, document: str) -> SavedQuery:
        saved = await self.save(kb, query)
        return self._put(replace(saved, judgments={k: v for k, v in saved.judgments.items() if k != document}))

    def _put(self, saved: SavedQuery) -> SavedQuery:
        self.items = [saved if item.id == saved.id else item for item in self.items]
        return saved

    async def grades(
        self, kb: str, query: str, document_ids: Sequence[str], generation: int | None = None
    ) -> dict[str, int]:
        found = next((item for item in self.items if item.query == query), None)
        return {name: grade for name, grade in found.judgments.items() if name in document_ids} if found else {}

    async def load(self, kb: str, queries: Path, qrels: Path | None = None) -> Loaded:
        self.asked.append(("load", (queries, qrels)))
        self.items.append(SavedQuery(90, "q90", "imported query", {"a": 1}, 0))
        return Loaded(1, 1, 2)

    async def export(self, kb: str, folder: Path, form: str = "beir") -> list[Path]:
        self.asked.append((form, folder))
        return [folder / "queries.jsonl", folder / "qrels.tsv"]


def measured(setting: Setting, ndcg: Sequence[float]) -> Measured:
    """A setting that answers each query with this nDCG, and likewise by every measure."""
    mean = sum(ndcg) / len(ndcg)
    interval = (max(0.0, mean - 0.1), min(1.0, mean + 0.1))
    values = tuple(ndcg)
    return Measured(
        setting, mean, mean, mean, mean, mean, {"p50": 3.1, "p95": 5.0, "p99": 140.4},
        dict.fromkeys(MEASURES, interval), dict.fromkeys(MEASURES, values),
    )  # fmt: skip


class FakeQuality:
    """Evaluations by `answer`, which gives each setting's nDCG by query. A `gate` holds a run until it is set."""

    def __init__(self) -> None:
        self.judging = FakeJudging()
        self.kept: list[Evaluation] = []
        self.ran: list[list[Setting]] = []
        self.stored: list[bool] = []
        self.gate: asyncio.Event | None = None
        self.cancelled = 0
        self.answer: Callable[[Setting], Sequence[float]] = lambda setting: [0.5] * 12

    async def evaluate(
        self,
        kb: str,
        *,
        settings: Sequence[Setting] = (),
        store: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Evaluation:
        self.ran.append(list(settings))
        self.stored.append(store)
        if not any(item.relevant for item in self.judging.items):
            raise InvalidRequest("No saved query has a relevant document.", way_out="Mark results as relevant.")
        if progress is not None:
            progress(5, 36)
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        modes = {setting.name: measured(setting, self.answer(setting)) for setting in settings}
        queries = len(next(iter(modes.values())).per_query["ndcg"])
        names = tuple(f"query {number}" for number in range(queries))
        found = Evaluation(10, queries, modes, (), names, names, len(self.kept) + 1 if store else 0, 1_764_000_000_000)
        if store:
            self.kept.append(found)
        return found

    async def runs(self, kb: str) -> list[RunSummary]:
        return [summary(item) for item in reversed(self.kept)]

    async def run(self, kb: str, run_id: int) -> Evaluation:
        found = next((item for item in self.kept if item.id == run_id), None)
        if found is None:
            raise NotFound("There is no such run.")
        return found

    async def delete_run(self, kb: str, run_id: int) -> None:
        self.kept = [item for item in self.kept if item.id != run_id]
