"""Whether searching is as quick, as complete and as fresh as it should be, from past searches and the index itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from studio.domain import AnnIndex, EmbedderProvider, KnowledgeBase, Vectors
from studio.errors import EnvironmentFault
from studio.index.catalog import KEPT, LoggedQuery, Outcome
from studio.index.clock import now_ms
from studio.index.generations import Snapshot, Stores
from studio.index.vectors import matrix_of
from studio.services.health.report import (
    Freshness,
    HealthReport,
    KbHealth,
    Level,
    Recall,
    judge,
    latency,
    summarise,
    warm,
)
from studio.services.search import SearchLog
from studio.services.watch import FolderStatus, WatchState

log = logging.getLogger(__name__)

LATENCIES_OF = 500
"""Searches that percentiles are taken from, the last ones: five beyond the 99th."""
SAMPLED_QUERIES = 30
"""300 places to hit: a recall of 0.95 is known to within 0.013 (one standard deviation)."""
FEW_QUERIES = 10
"""With fewer real ones the knowledge base's own passages say more."""
NEIGHBOURS = 10

_WAITING = (WatchState.CHANGED, WatchState.WAITING)
_GONE = (WatchState.MISSING, WatchState.FAILED)

Folders = Callable[[str | None], Awaitable[Sequence[FolderStatus]]]


class HealthService:
    """Makes the report. `folders` lists the watched folders of a knowledge base."""

    def __init__(self, stores: Stores, embedders: EmbedderProvider, searches: SearchLog, folders: Folders) -> None:
        self._stores = stores
        self._embedders = embedders
        self._searches = searches
        self._folders = folders
        self._recalls: dict[str, tuple[int, Recall]] = {}
        self._failed_files: dict[str, tuple[int, int]] = {}

    async def report(self, kb: str | None = None, *, measure: bool = True) -> HealthReport:
        """The health of one knowledge base, or of all. Raises NotFound.

        Recall costs up to 30 searches of every vector for each knowledge base with an index. Without `measure` it is
        the one measured last of this generation; one never measured is, if it was searched, else that of the index's
        build is taken; and the tables of what was never searched are not even opened.
        """
        catalog = self._stores.catalog
        bases = [await self._stores.knowledge_base(kb)] if kb is not None else await catalog.knowledge_bases()
        found = []
        times: list[float] = []
        for base in bases:
            entries = await self._searches.recent(base.id, KEPT)
            last = entries[-LATENCIES_OF:]
            times += [entry.took_ms for entry in warm(last)]
            found.append(await self._of(base, entries, last, measure))
        level = Level.ATTENTION if any(item.level is Level.ATTENTION for item in found) else Level.GOOD
        return HealthReport(level, latency(times), tuple(found), self._searches.remembers)

    async def forget_queries(self) -> None:
        """Remove what was searched for, if it is not to be remembered (any more)."""
        await self._searches.flush()

    async def _of(
        self, base: KnowledgeBase, entries: Sequence[LoggedQuery], last: Sequence[LoggedQuery], measure: bool
    ) -> KbHealth:
        searches = summarise(last, now_ms())
        index, recall, freshness = AnnIndex.FLAT, None, None
        if base.active_generation is not None and (measure or entries):
            try:
                async with self._stores.store(base.id).reading() as snapshot:
                    index = snapshot.generation.ann.index
                    recall = await self._recall(snapshot, entries, measure)
                    freshness = await self._freshness(snapshot)
            except EnvironmentFault as fault:  # what is damaged is doctor's to say
                log.warning("the health of %s is known in part only: %s", base.name, fault)
        findings = tuple(judge(base.name, index, searches, recall, freshness))
        return KbHealth(
            kb_id=base.id,
            name=base.name,
            level=Level.ATTENTION if findings else Level.GOOD,
            findings=findings,
            index=index,
            latency=searches.latency,
            sides=searches.sides,
            recent_searches=searches.recent,
            error_rate=searches.error_rate,
            degraded_rate=searches.degraded_rate,
            recall=recall,
            freshness=freshness,
        )

    # ------------------------------------------------------------ recall

    async def _recall(self, snapshot: Snapshot, entries: Sequence[LoggedQuery], measure: bool) -> Recall | None:
        generation = snapshot.generation
        if generation.ann.index is AnnIndex.FLAT:
            return Recall(1.0, 0, "exact")
        queries = _distinct(entries)
        number, known = self._recalls.get(generation.kb_id, (0, None))
        if measure or (number != generation.number and len(queries) >= FEW_QUERIES):
            known = await self._measured(snapshot, queries)
            if known is not None:
                number = generation.number
                self._recalls[generation.kb_id] = (number, known)
        if known is not None and number == generation.number:
            return known
        built = generation.ann.recall
        return Recall(built, generation.ann.sampled, "passages") if built is not None else None

    async def _measured(self, snapshot: Snapshot, queries: list[str]) -> Recall | None:
        vectors, of = await self._embedded(snapshot, queries), "searches"
        if vectors is None:
            vectors, of = await _own_vectors(snapshot), "passages"
        if not len(vectors):
            return None
        generation = snapshot.generation
        metric = generation.settings.metric
        hits = wanted = 0
        for vector in vectors:  # one after the other, so that a search in between waits for one at most
            exact = await snapshot.tables.nearest(vector, metric=metric, limit=NEIGHBOURS, exact=True)
            found = await snapshot.tables.nearest(vector, metric=metric, limit=NEIGHBOURS, ann=generation.ann)
            nearest = {candidate.chunk_id for candidate in exact}
            hits += len(nearest & {candidate.chunk_id for candidate in found})
            wanted += len(nearest)
        return Recall(round(hits / wanted, 4), len(vectors), of) if wanted else None

    async def _embedded(self, snapshot: Snapshot, queries: list[str]) -> Vectors | None:
        """Embeddings of a sample of real queries; None where there are too few or the model is another one now."""
        if len(queries) < FEW_QUERIES:
            return None
        chosen = _spread(len(queries), SAMPLED_QUERIES)
        try:
            embedder = await self._embedders.embedder(snapshot.generation.settings.model)
            model = snapshot.generation.model
            if model is None or embedder.model.sha256 != model.sha256:
                return None
            return await embedder.embed([queries[row] for row in chosen], query=True)
        except EnvironmentFault as fault:
            log.info("recall is measured with passages: %s", fault)
            return None

    # ------------------------------------------------------------ freshness

    async def _freshness(self, snapshot: Snapshot) -> Freshness:
        generation = snapshot.generation
        folders = await self._folders(generation.kb_id)
        number, failed = self._failed_files.get(generation.kb_id, (0, 0))
        if number != generation.number:  # a generation never changes
            failed = await snapshot.tables.failed_documents()
            self._failed_files[generation.kb_id] = (generation.number, failed)
        unindexed = await snapshot.tables.unindexed_rows() if generation.ann.index is not AnnIndex.FLAT else 0
        return Freshness(
            generation=generation.number,
            age_s=max(0.0, (now_ms() - generation.created_ms) / 1000),
            rows=generation.chunks,
            unindexed_rows=unindexed,
            failed_files=failed,
            folders_waiting=tuple(folder.path for folder in folders if folder.state in _WAITING),
            folders_gone=tuple(folder.path for folder in folders if folder.state in _GONE),
        )


def _distinct(entries: Sequence[LoggedQuery]) -> list[str]:
    """What was searched for, each once, the oldest first."""
    texts = (entry.query for entry in entries if entry.outcome is not Outcome.FAILED)
    return list(dict.fromkeys(text for text in texts if text.strip()))


def _spread(rows: int, wanted: int) -> list[int]:
    """`wanted` row numbers, evenly spaced, or all of them."""
    return np.unique(np.linspace(0, rows - 1, min(rows, wanted)).round().astype(int)).tolist() if rows else []


async def _own_vectors(snapshot: Snapshot) -> Vectors:
    """Some of the generation's own embeddings, shape (n, dimension), from its first thousands."""
    batches = snapshot.tables.batches(["embedding"])
    try:
        async for batch in batches:
            matrix = await asyncio.to_thread(matrix_of, batch.column("embedding"))
            return matrix[_spread(len(matrix), SAMPLED_QUERIES)]
    finally:
        await batches.aclose()
    return np.zeros((0, 0), np.float32)
