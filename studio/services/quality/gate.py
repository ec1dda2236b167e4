"""The gate: what a generation must find before it becomes active.

Pinned queries must find certain documents. Where a person has switched that on, the saved queries with judgments must
also be answered about as well as by the active generation.
"""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from studio.domain import DocumentRecord, DocumentStatus, KnowledgeBase, PinnedQuery, SearchRequest
from studio.errors import EnvironmentFault, InvalidRequest, NotFound
from studio.index.generations import Snapshot, Stores
from studio.services.library import Naming, naming
from studio.services.quality.service import QualityService
from studio.services.search import MAX_QUERY_CHARS, SearchService

MAX_TOP = 100

MIN_JUDGED = 5
"""Saved queries with a relevant document below which the quality rule says nothing: one of them would decide."""

DEPTHS = (100, 1000)
"""Passages a side that are looked at: as many as an ordinary search takes; more only where those belong to fewer
documents than the pinned query counts."""


@dataclass(frozen=True, slots=True)
class MissingDocument:
    """A document that is not among the first ones. `rank` counts documents from 1; None: not found at all."""

    reference: str
    rank: int | None
    in_generation: bool


@dataclass(frozen=True, slots=True)
class PinOutcome:
    """What became of one pinned query. `found` maps references to ranks.

    `degraded` says why the query cannot be judged; it has then failed, whatever was found.
    """

    id: int
    query: str
    top: int
    passed: bool
    found: Mapping[str, int]
    missing: tuple[MissingDocument, ...]
    degraded: str | None


@dataclass(frozen=True, slots=True)
class QualityOutcome:
    """Mean nDCG@10 over the judged saved queries, in the active generation and in the one that was tried.

    `problem` says why they could not be compared, "" if they were; whether that is a failure says `passed`.
    """

    queries: int
    max_drop: float
    active: float
    candidate: float
    passed: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class GateReport:
    """The pinned queries and the quality rule against one generation; passed when there are none.

    `quality` is None where the rule is off or the generation is the active one.
    """

    kb: str
    generation: int | None
    passed: bool
    queries: tuple[PinOutcome, ...]
    quality: QualityOutcome | None = None


class GateService:
    """Keeps pinned queries and tries them. Needs no lock but the reader's lease, so a writer may call it."""

    def __init__(self, stores: Stores, search: SearchService) -> None:
        self._stores = stores
        self._search = search
        self._quality = QualityService(stores, search)

    async def pins(self, kb: str) -> list[PinnedQuery]:
        """The pinned queries of a knowledge base, oldest first. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        return await self._stores.catalog.pins.list(base.id)

    async def add(self, kb: str, query: str, must_find: Sequence[str], top: int = 10) -> PinnedQuery:
        """Pin a query that must find documents of the active generation among its first `top`.

        `must_find` are names as `naming` reads them. Where one means several documents, as a folder and a pattern do,
        one of them is enough. Raises InvalidRequest, NotFound.
        """
        query = query.strip()
        if not query or len(query) > MAX_QUERY_CHARS:
            raise InvalidRequest(f"A pinned query needs 1 to {MAX_QUERY_CHARS:,} characters.")
        if not 1 <= top <= MAX_TOP:
            raise InvalidRequest(f"A pinned query looks at the first 1 to {MAX_TOP} documents, not {top}.")
        references = list(filter(None, (name.strip() for name in must_find)))
        if not references:
            raise InvalidRequest(f"Name at least one document that “{query}” must find.")
        base = await self._stores.knowledge_base(kb)
        async with self._stores.store(base.id).reading() as snapshot:
            documents = await self._naming(base, snapshot)
        found = await asyncio.to_thread(lambda: [documents.meant(name) for name in references])
        names = dict.fromkeys(item.name for item in found)
        return await self._stores.catalog.pins.add(base.id, query, list(names), top)

    async def remove(self, kb: str, number: int) -> None:
        """Unpin a query. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        await self._stores.catalog.pins.remove(base.id, number)

    async def rule(self, kb: str) -> float | None:
        """How far mean nDCG@10 of the saved queries may fall at a promotion; None: the rule is off. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        return await self._stores.catalog.pins.max_drop(base.id)

    async def set_rule(self, kb: str, max_ndcg_drop: float | None) -> None:
        """Switch the quality rule on, or off with None. Raises InvalidRequest, NotFound."""
        if max_ndcg_drop is not None and not 0.0 <= max_ndcg_drop <= 1.0:
            raise InvalidRequest("nDCG lies between 0 and 1, and so does the drop that is allowed.")
        base = await self._stores.knowledge_base(kb)
        await self._stores.catalog.pins.set_max_drop(base.id, max_ndcg_drop)

    async def check(self, kb: str, number: int | None = None) -> GateReport:
        """Try the pinned queries on the active generation, or on `number`. Raises NotFound, StorageFault.

        `number` is also measured by the quality rule, if that is on. Without queries nothing is read.
        """
        base = await self._stores.knowledge_base(kb)
        if number is not None:
            await self._stores.catalog.generation(base.id, number)
        quality = await self._measured(base, number) if number is not None else None
        good = quality is None or quality.passed
        pins = await self.pins(base.id)
        if not pins:
            return GateReport(base.name, number if number is not None else base.active_generation, good, (), quality)
        async with self._stores.store(base.id).reading(number) as snapshot:
            documents = await self._naming(base, snapshot)
            names = {name for pin in pins for name in pin.must_find}
            named = await asyncio.to_thread(lambda: {name: documents.find(name).ids for name in names})
            outcomes = tuple([await self._outcome(base.id, snapshot, pin, named) for pin in pins])
        passed = good and all(outcome.passed for outcome in outcomes)
        return GateReport(base.name, snapshot.generation.number, passed, outcomes, quality)

    async def _measured(self, base: KnowledgeBase, number: int) -> QualityOutcome | None:
        """A generation against the active one. A faulty active one holds nothing back: it is to be replaced."""
        drop = await self.rule(base.id)
        if drop is None or base.active_generation is None or number == base.active_generation:
            return None
        try:
            candidate, queries = await self._quality.mean_ndcg(base.id, number, MIN_JUDGED)
        except EnvironmentFault as fault:
            return QualityOutcome(0, drop, 0.0, 0.0, False, fault.full_message)
        if queries < MIN_JUDGED:
            return QualityOutcome(
                queries, drop, 0.0, 0.0, True, f"{queries} of at least {MIN_JUDGED} saved queries are judged."
            )
        try:
            active, _ = await self._quality.mean_ndcg(base.id, base.active_generation, MIN_JUDGED)
        except (EnvironmentFault, NotFound) as fault:
            problem = f"The active generation cannot be measured. {fault.full_message}"
            return QualityOutcome(queries, drop, 0.0, candidate, True, problem)
        # 0.80 − 0.78 is a little more than 0.02 in floating point.
        return QualityOutcome(queries, drop, active, candidate, active - candidate <= drop + 1e-9)

    async def _naming(self, base: KnowledgeBase, snapshot: Snapshot) -> Naming[DocumentRecord]:
        """Reads names of the documents that a search can find."""
        records = await snapshot.tables.documents()
        indexed = [record for record in records if record.status is DocumentStatus.INDEXED]
        return await naming(self._stores, base, indexed, snapshot.generation.number)

    async def _outcome(
        self, kb_id: str, snapshot: Snapshot, pin: PinnedQuery, named: Mapping[str, AbstractSet[str]]
    ) -> PinOutcome:
        ranks, degraded = await self._ranks(kb_id, snapshot, pin)
        found: dict[str, int] = {}
        missing = []
        for name in pin.must_find:
            documents = named[name]
            rank = min((ranks[document] for document in documents if document in ranks), default=None)
            if rank is not None and rank <= pin.top:
                found[name] = rank
            else:
                missing.append(MissingDocument(name, rank, bool(documents)))
        passed = not missing and degraded is None
        return PinOutcome(pin.id, pin.query, pin.top, passed, found, tuple(missing), degraded)

    async def _ranks(self, kb_id: str, snapshot: Snapshot, pin: PinnedQuery) -> tuple[dict[str, int], str | None]:
        """(document id → rank by its best passage, why the vector side did not answer)."""
        ranks: dict[str, int] = {}
        degraded = None
        for depth in DEPTHS:
            request = SearchRequest((kb_id,), pin.query, generation=snapshot.generation.number, candidates=depth)
            async with self._search.ranking(request) as ranking:
                ids = [item.chunk.chunk_id for item in ranking.fused]
                degraded = ranking.degraded
                chunks = await snapshot.tables.chunks(ids)
            documents = dict.fromkeys(chunks[chunk_id].document_id for chunk_id in ids if chunk_id in chunks)
            ranks = {document: rank for rank, document in enumerate(documents, start=1)}
            if len(ranks) >= pin.top or depth >= snapshot.generation.chunks:
                break
        return ranks, degraded


def held_sentence(report: GateReport) -> str:
    """Why a generation that failed its gate is held back, for a person: the first reason and the number of others."""
    reasons = [reason for outcome in report.queries if not outcome.passed for reason in _reasons(outcome)]
    if report.quality is not None and not report.quality.passed:
        reasons.append(quality_sentence(report.quality))
    others = len(reasons) - 1
    more = f" {others} other {'demand is' if others == 1 else 'demands are'} not met either." if others else ""
    return f"Held back: {reasons[0]}{more}"


def quality_sentence(outcome: QualityOutcome) -> str:
    """The outcome of the quality rule, for a person."""
    if outcome.problem:
        return outcome.problem if outcome.passed else f"The saved queries cannot be judged. {outcome.problem}"
    change = "falls" if outcome.candidate < outcome.active else "rises"
    if outcome.candidate == outcome.active:
        return f"Mean nDCG@10 over {outcome.queries} saved queries stays at {outcome.active:.3f}."
    measured = (
        f"Mean nDCG@10 over {outcome.queries} saved queries {change} from {outcome.active:.3f} to "
        f"{outcome.candidate:.3f}"
    )
    return f"{measured}." if outcome.passed else f"{measured}, by more than the {outcome.max_drop:g} allowed."


def _reasons(outcome: PinOutcome) -> Iterable[str]:
    query = textwrap.shorten(outcome.query, 80, placeholder="…")
    if outcome.degraded is not None:
        yield f"“{query}” cannot be judged. {outcome.degraded}"
        return
    for item in outcome.missing:
        if not item.in_generation:
            why = "it is not in this generation"
        else:
            why = f"it is number {item.rank}" if item.rank is not None else "it is not found at all"
        where = f"among its first {outcome.top} documents" if outcome.top > 1 else "first"
        yield f"“{query}” does not find {item.reference} {where} ({why})."
