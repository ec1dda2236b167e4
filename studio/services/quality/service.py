"""Evaluation: how well each way to search finds what judgments say it should.

Queries and judgments are the saved ones, or files in BEIR or TREC form. A document is named by its external id (the
`_id` of its row), its path, its file name or its file stem, and it ranks by its best chunk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from studio.domain import DocumentRecord, Fusion, KnowledgeBase, SearchMode, SearchRequest
from studio.errors import EnvironmentFault, InvalidRequest, NotFound
from studio.index.catalog import Renaming
from studio.index.generations import Snapshot, Stores
from studio.services.quality import measures
from studio.services.quality.evaluation import (
    DEPTH,
    AbReport,
    Difference,
    Evaluation,
    Judgments,
    Measured,
    QueryMove,
    RunSummary,
    Setting,
    grid,
    loaded,
    report_text,
    summary,
)
from studio.services.quality.judged_files import read_qrels, read_queries, write_run
from studio.services.quality.judging import JudgingService, names_of, short_name
from studio.services.search import MAX_LIMIT, SearchService
from studio.ways_out import BothFiles, JudgedQueries

Progress = Callable[[int, int], None]
Values = NDArray[np.float64]
Rankings = dict[str, tuple[tuple[str, float], ...]]


@dataclass(slots=True)
class _Trial:
    """What one setting has answered so far. `timings_ms` has no sides where the search knew the candidates already."""

    setting: Setting
    snapshot: Snapshot
    renaming: Renaming
    rankings: Rankings = field(default_factory=dict)
    took_ms: list[float] = field(default_factory=list)
    timings_ms: list[Mapping[str, float]] = field(default_factory=list)

    @property
    def sides(self) -> tuple[object, ...]:
        """Settings with the same sides have the same candidates of a query."""
        item = self.setting
        return item.mode, item.exact, item.candidates, self.snapshot.generation.number


class QualityService:
    """Runs judged queries against a knowledge base. Cancel the task to stop a run; then nothing of it is stored."""

    def __init__(self, stores: Stores, search: SearchService) -> None:
        self._stores = stores
        self._search = search
        self.judging = JudgingService(stores)
        """The saved queries and their judgments."""

    async def evaluate(
        self,
        kb: str,
        queries: Path | None = None,
        qrels: Path | None = None,
        *,
        modes: Sequence[SearchMode] = tuple(SearchMode),
        settings: Sequence[Setting] = (),
        k: int = 10,
        weight: float | None = None,
        fusion: Fusion = Fusion.MINMAX,
        store: bool = False,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Search every judged query with every setting, by default one for each mode.

        Without files the saved queries are asked. `store` keeps the report in the catalog. Every setting is compared
        with the first; p-values are those of each test alone. Raises NotFound, InvalidRequest, and EnvironmentFault
        when a side of a search cannot answer.
        """
        chosen = list(settings) or grid(modes, (weight,), (fusion,))
        if not 1 <= k <= MAX_LIMIT:
            raise InvalidRequest(f"k must be between 1 and {MAX_LIMIT}.")
        if len({setting.name for setting in chosen}) < len(chosen):
            raise InvalidRequest("Two settings have the same name.", way_out="Give each a name of its own.")
        base = await self._stores.knowledge_base(kb)
        texts, judgments = await self._judged(base, queries, qrels)
        trials = await self._tried(base, chosen, texts, judgments, k, progress)
        evaluation = await asyncio.to_thread(_measured, trials, texts, judgments, k)
        return await self._stored(base, evaluation) if store else evaluation

    async def compare(
        self,
        kb: str,
        a: Setting,
        b: Setting,
        *,
        queries: Path | None = None,
        qrels: Path | None = None,
        k: int = 10,
        top: int = 10,
        store: bool = False,
        progress: Progress | None = None,
    ) -> AbReport:
        """Two settings on the same queries: differences with tests, and the `top` queries that gain and lose most.

        Raises like `evaluate`.
        """
        evaluation = await self.evaluate(
            kb, queries, qrels, settings=(a, b), k=k, store=store, progress=progress
        )  # fmt: skip
        return await asyncio.to_thread(side_by_side, evaluation, a.name, b.name, top)

    async def mean_ndcg(self, kb: str, generation: int, queries: int) -> tuple[float, int]:
        """(mean nDCG@10 of the ordinary search over the saved queries in a generation, number of those queries).

        (0.0, n) when only n < `queries` are judged; nothing is searched then. Raises like `evaluate`.
        """
        base = await self._stores.knowledge_base(kb)
        texts, judgments = await self._saved(base)
        if len(texts) < queries:
            return 0.0, len(texts)
        setting = Setting("hybrid", generation=generation)
        (trial,) = await self._tried(base, [setting], texts, judgments, 10, None)
        rankings = {query: [name for name, _ in ranking] for query, ranking in trial.rankings.items()}
        values = await asyncio.to_thread(measures.measure, rankings, judgments, 10)
        return float(values["ndcg"].mean()), len(texts)

    async def runs(self, kb: str) -> list[RunSummary]:
        """The stored evaluations, newest first. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        rows = await self._stores.catalog.runs.list(base.id)
        return await asyncio.to_thread(lambda: [summary(loaded(*row)) for row in rows])

    async def run(self, kb: str, run_id: int) -> Evaluation:
        """A stored evaluation, without rankings. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        row = await self._stores.catalog.runs.get(base.id, run_id)
        return await asyncio.to_thread(loaded, *row)

    async def delete_run(self, kb: str, run_id: int) -> None:
        """Forget a stored evaluation. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        await self._stores.catalog.runs.remove(base.id, run_id)

    async def export_run(self, evaluation: Evaluation, name: str, path: Path) -> Path:
        """Write what one setting of an evaluation just made has found as a TREC run. Raises NotFound, StorageFault."""
        measured = evaluation.modes.get(name)
        if measured is None or not measured.rankings:
            raise NotFound(f"This evaluation holds no rankings of “{name}”.", way_out="Run it again.")
        return await asyncio.to_thread(write_run, path, measured.rankings, name)

    # ------------------------------------------------------------ running

    async def _judged(
        self, base: KnowledgeBase, queries: Path | None, qrels: Path | None
    ) -> tuple[dict[str, str], Judgments]:
        """(query id → text, judgments) of the queries that have a relevant document."""
        if queries is None and qrels is None:
            texts, judgments = await self._saved(base)
            if not texts:
                raise InvalidRequest(
                    f"No saved query of “{base.name}” has a relevant document.",
                    way_out=JudgedQueries(),
                )
            return texts, judgments
        if queries is None or qrels is None:
            raise InvalidRequest("Queries and judgments come in two files.", way_out=BothFiles())
        texts = await asyncio.to_thread(read_queries, queries)
        judgments = await asyncio.to_thread(read_qrels, qrels)
        judged = {query: text for query, text in texts.items() if _relevant(judgments.get(query, {}))}
        if not judged:
            raise InvalidRequest("No query has a judgment.", way_out="Check that both files use the same query ids.")
        return judged, judgments

    async def _saved(self, base: KnowledgeBase) -> tuple[dict[str, str], Judgments]:
        saved = [query for query in await self.judging.queries(base.id) if query.relevant]
        return {query.name: query.query for query in saved}, {query.name: dict(query.judgments) for query in saved}

    async def _tried(
        self,
        base: KnowledgeBase,
        settings: Sequence[Setting],
        texts: Mapping[str, str],
        judgments: Judgments,
        k: int,
        progress: Progress | None,
    ) -> list[_Trial]:
        """Ask every query with every setting, query by query: a machine that slows down slows them all alike."""
        self._search.forget()  # what is known already would look quick
        async with AsyncExitStack() as stack:
            trials = [await self._pinned(stack, base, setting) for setting in settings]
            done, total = 0, len(texts) * len(trials)
            for query, text in texts.items():
                for trial in trials:
                    if progress is not None:
                        progress(done, total)
                    await self._ask(base, trial, query, text, judgments[query], max(k, DEPTH), k)
                    done += 1
            if progress is not None:
                progress(total, total)
        return trials

    async def _pinned(self, stack: AsyncExitStack, base: KnowledgeBase, setting: Setting) -> _Trial:
        """A generation that is promoted or collected meanwhile must not change what is measured."""
        snapshot = await stack.enter_async_context(self._stores.store(base.id).reading(setting.generation))
        renaming = await self._stores.catalog.names.renaming(base.id, snapshot.generation.number)
        return _Trial(setting, snapshot, renaming)

    async def _ask(
        self,
        base: KnowledgeBase,
        trial: _Trial,
        query: str,
        text: str,
        judged: Mapping[str, int],
        depth: int,
        k: int,
    ) -> None:
        request = replace(trial.setting.request(base.id, text, k), generation=trial.snapshot.generation.number)
        try:
            found = await self._found(trial, request, depth)
        except EnvironmentFault as fault:
            raise EnvironmentFault(f"The evaluation stopped at “{query}”. {fault}", way_out=fault.way_out) from fault
        tables = trial.snapshot.tables
        documents = await tables.document_ids_of([chunk_id for chunk_id, _ in found])
        records = await tables.documents(sorted(set(documents.values())))
        trial.rankings[query] = _by_document(found, documents, records, judged, depth, trial.renaming)

    async def _found(self, trial: _Trial, request: SearchRequest, depth: int) -> list[tuple[str, float]]:
        """(chunk id, score), best first. Raises EnvironmentFault when it is not what the setting asks for."""
        begun = time.perf_counter()
        if request.reranker:
            response = await self._search.answer(replace(request, limit=depth))
            if response.degraded or response.notes:
                raise EnvironmentFault(response.degraded or " ".join(response.notes))
            trial.took_ms.append(response.took_ms)
            trial.timings_ms.append(response.timings_ms)
            return [(result.chunk_id, result.score) for result in response.results]
        async with self._search.ranking(request) as ranking:
            trial.took_ms.append((time.perf_counter() - begun) * 1000)
            trial.timings_ms.append(dict(ranking.timings_ms))
            if ranking.degraded:
                raise EnvironmentFault(ranking.degraded)
            return [(item.chunk.chunk_id, item.score) for item in ranking.fused]

    async def _stored(self, base: KnowledgeBase, evaluation: Evaluation) -> Evaluation:
        report = await asyncio.to_thread(report_text, evaluation)
        number, created = await self._stores.catalog.runs.add(base.id, report)
        return replace(evaluation, id=number, created_ms=created)


def _relevant(grades: Mapping[str, int]) -> bool:
    return any(grade > 0 for grade in grades.values())


def _by_document(
    found: Sequence[tuple[str, float]],
    documents: Mapping[str, str],
    records: Sequence[DocumentRecord],
    judged: Mapping[str, int],
    depth: int,
    renaming: Renaming,
) -> tuple[tuple[str, float], ...]:
    """(document name, score of its best chunk), best first. A judged document has the name that judges it."""
    names: dict[str, str] = {}
    for record in records:
        name = next((name for name in names_of(record, renaming) if name in judged), None)
        if name is not None:
            names[record.document_id] = name
        names.setdefault(record.document_id, short_name(record))
    ranked: dict[str, float] = {}
    for chunk_id, score in found:
        document = documents.get(chunk_id)
        if document in names:
            ranked.setdefault(names[document], score)
    return tuple(ranked.items())[:depth]


def _measured(trials: Sequence[_Trial], texts: Mapping[str, str], judgments: Judgments, k: int) -> Evaluation:
    values = []
    for trial in trials:
        rankings = {query: [name for name, _ in trial.rankings[query]] for query in texts}
        values.append(measures.measure(rankings, judgments, k))
    latencies = _latencies(trials)
    modes = {
        trial.setting.name: _summed_up(trial, columns, latency_ms)
        for trial, columns, latency_ms in zip(trials, values, latencies, strict=True)
    }
    differences = []
    if len(texts) > 1:
        for trial, columns in zip(trials[1:], values[1:], strict=True):
            differences.append(_difference(trials[0].setting.name, trial.setting.name, "ndcg", values[0], columns))
    return Evaluation(k, len(texts), modes, tuple(differences), tuple(texts), tuple(texts.values()))


def _latencies(trials: Sequence[_Trial]) -> list[Values]:
    """Milliseconds of each query by trial, as if no setting had found the work of another one done.

    The search keeps embeddings, and the candidates of its last queries: what they cost where they were made is added
    where they were found.
    """
    return [np.array([_latency(trial, at, trials) for at in range(len(trial.took_ms))], np.float64) for trial in trials]


def _latency(trial: _Trial, at: int, trials: Sequence[_Trial]) -> float:
    embeds = trial.setting.mode is not SearchMode.KEYWORD
    model = trial.snapshot.generation.model
    alike = [other.timings_ms[at] for other in trials if other.snapshot.generation.model == model]
    embedding = max(timings.get("embed", 0.0) for timings in alike) if embeds else 0.0
    timings, took = trial.timings_ms[at], trial.took_ms[at]
    if "keyword" in timings or "vector" in timings:
        return took + embedding - timings.get("embed", 0.0)
    twins = (other.timings_ms[at] for other in trials if other.sides == trial.sides)
    made = next((other for other in twins if "keyword" in other or "vector" in other), {})
    return took + max(made.get("keyword", 0.0), embedding + made.get("vector", 0.0))


def _summed_up(trial: _Trial, values: Mapping[str, Values], latency_ms: Values) -> Measured:
    columns = [values[name] for name in measures.MEASURES]
    ranges = measures.intervals(columns) if len(latency_ms) > 1 else []
    p50, p95, p99 = (float(value) for value in np.percentile(latency_ms, (50, 95, 99)))
    return Measured(
        trial.setting,
        **{name: float(column.mean()) for name, column in zip(measures.MEASURES, columns, strict=True)},
        latency_ms={"p50": p50, "p95": p95, "p99": p99},
        intervals=dict(zip(measures.MEASURES, ranges, strict=False)),
        per_query={name: tuple(column.tolist()) for name, column in values.items()},
        rankings=trial.rankings,
    )


def _difference(a: str, b: str, name: str, before: Mapping[str, Values], after: Mapping[str, Values]) -> Difference:
    found = measures.paired(before[name], after[name])
    return Difference(a, b, name, found.difference, found.interval, found.p_value)


def side_by_side(evaluation: Evaluation, a: str, b: str, top: int) -> AbReport:
    """Two settings of an evaluation against each other, with the `top` queries that gain and lose most."""
    columns = [
        {name: np.array(values) for name, values in evaluation.modes[setting].per_query.items()} for setting in (a, b)
    ]
    differences = [_difference(a, b, name, *columns) for name in measures.MEASURES if evaluation.queries > 1]
    before, after = (column["ndcg"].tolist() for column in columns)
    moves = [
        QueryMove(query, text, old, new, new - old)
        for query, text, old, new in zip(evaluation.query_ids, evaluation.texts, before, after, strict=True)
    ]
    gained = sorted((move for move in moves if move.difference > 0), key=lambda move: -move.difference)
    lost = sorted((move for move in moves if move.difference < 0), key=lambda move: move.difference)
    unchanged = len(moves) - len(gained) - len(lost)
    return AbReport(evaluation, a, b, tuple(differences), tuple(gained[:top]), tuple(lost[:top]), unchanged)
