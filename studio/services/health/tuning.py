"""Tuning: which vector index, searched how, is the cheapest that finds enough of a knowledge base's own vectors."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from studio.concurrency import run_to_end
from studio.domain import AnnIndex, AnnState, Generation, KnowledgeBase
from studio.errors import Busy, InvalidRequest, NotFound
from studio.index.files import try_lock
from studio.index.generations import Stores
from studio.index.vectors import TRAINING_ROWS, Scratch, grid, resolve
from studio.services.jobs import Requests

TARGET, SAMPLES = 0.95, 100
MAX_SAMPLES = 10_000
DEFAULT_INDEXES = (AnnIndex.FLAT, AnnIndex.IVF_RQ, AnnIndex.IVF_SQ, AnnIndex.IVF_FLAT)
"""Those that 100,000 rows build within seconds; PQ and the graphs take one or two minutes each."""
SAME_TIME = 1.1
"""Within a tenth two medians are the same, and the smaller index is the cheaper one."""

WORTHWHILE = 0.002
"""A wider search that raises recall by less has found what can be found without comparing more real vectors."""

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TuningRow:
    """One way to search, measured: recall@10 against exact search, milliseconds a query, and what the index costs."""

    index: AnnIndex
    nprobes: int
    refine_factor: int
    ef: int
    recall: float
    p50_ms: float
    p95_ms: float
    build_s: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was measured and chosen: None where nothing reached the target.

    `applied` says in a sentence what became of the choice; `generation` is the one that was built for it, if any.
    """

    kb: str
    rows: int
    target: float
    chosen: TuningRow | None
    table: tuple[TuningRow, ...]
    applied: str
    generation: int | None = None


class TuningService:
    """Measures vector indexes on a clone of the active generation, never on what is searched."""

    def __init__(self, stores: Stores, ingest: Requests) -> None:
        self._stores = stores
        self._ingest = ingest

    async def tune(
        self,
        kb: str,
        *,
        recall: float = TARGET,
        indexes: Sequence[AnnIndex] = DEFAULT_INDEXES,
        samples: int = SAMPLES,
        apply: bool = True,
        progress: Told | None = None,
    ) -> Tuning:
        """Try index types and search parameters, and with `apply` let the knowledge base use the best.

        Raises NotFound, InvalidRequest, Busy while it is being tuned or, with `apply`, changed, and StorageFault.
        """
        _check(recall, indexes, samples)
        base = await self._stores.knowledge_base(kb)
        if base.active_generation is None:
            raise NotFound(f"“{base.name}” is empty: nothing can be tuned.", way_out="Ingest some documents first.")
        async with self._stores.store(base.id).reading() as snapshot, self._cloned(snapshot.generation) as scratch:
            active = snapshot.generation
            table = await _measured(scratch, active, recall, indexes, samples, progress or _silent)
        tuning = Tuning(base.name, scratch.rows, recall, choose(table, recall), tuple(table), "Nothing was changed.")
        return await self._apply(base, active, tuning, samples) if apply and tuning.chosen is not None else tuning

    @contextlib.asynccontextmanager
    async def _cloned(self, generation: Generation) -> AsyncIterator[Scratch]:
        """A clone of a generation's table while the block runs; what a killed process left goes first."""
        store = self._stores.store(generation.kb_id)
        if generation.model is None or generation.chunks == 0:
            raise NotFound("There are no vectors to tune for.", way_out="Ingest some documents first.")
        lock = try_lock(store.paths.tuning_lock, shared=False)
        if lock is None:
            raise Busy("This knowledge base is being tuned already.", way_out="Wait for it to finish and try again.")
        with lock:
            await run_to_end(_remove, store.paths.tuning)
            try:
                scratch = await store.vectors.scratch(
                    generation.chunks_table, generation.chunks_version, store.paths.tuning / secrets.token_hex(4),
                    generation.settings.metric,
                )  # fmt: skip
                try:
                    yield scratch
                finally:
                    scratch.close()
            finally:
                await run_to_end(_remove, store.paths.tuning)

    async def _apply(self, base: KnowledgeBase, active: Generation, tuning: Tuning, samples: int) -> Tuning:
        assert tuning.chosen is not None
        chosen, catalog = tuning.chosen, self._stores.catalog
        state = AnnState(
            chosen.index, active.ann.trained_rows, chosen.nprobes, chosen.refine_factor, chosen.ef, chosen.recall,
            min(samples, tuning.rows),
        )  # fmt: skip
        number, applied = active.number, f"Generation {active.number} is searched like this from now on."
        if chosen.index is not active.ann.index:
            kb = await self._stores.knowledge_base(base.id)
            await catalog.update_settings(kb.id, replace(kb.settings, index=chosen.index))
            report = await self._ingest.build_index(kb.id)
            if report is None or report.generation is None:
                return replace(tuning, applied=f"The next build of “{base.name}” gets the index {chosen.index}.")
            number = report.generation
            applied = report.held or f"Generation {number} has the index {chosen.index} and is active."
            tuning = replace(tuning, generation=number)
            built = await catalog.generation(base.id, number)
            state = replace(state, trained_rows=built.ann.trained_rows)
            if built.ann.index is not chosen.index:  # documents were removed meanwhile
                return replace(tuning, applied=applied)
        if chosen.index is not AnnIndex.FLAT:
            await catalog.annotate(base.id, number, ann=state)
        self._stores.store(base.id).release()  # what is open still searches as before
        return replace(tuning, applied=applied)


def choose(table: Sequence[TuningRow], target: float) -> TuningRow | None:
    """The fastest way that reaches the target, by the median; of those as fast the one whose index is smallest."""
    good = [row for row in table if row.recall >= target]
    if not good:
        return None
    fastest = min(row.p50_ms for row in good)
    return min((row for row in good if row.p50_ms <= SAME_TIME * fastest), key=lambda row: (row.bytes, row.p50_ms))


async def _measured(
    scratch: Scratch, active: Generation, target: float, indexes: Sequence[AnnIndex], samples: int, told: Told
) -> list[TuningRow]:
    """Each index type with parameters from cheap to thorough, as far as they are needed to reach the target."""
    dimension = active.model.dimension if active.model is not None else 0
    kinds = dict.fromkeys(resolve(index, scratch.rows, dimension, active.ann.index) for index in indexes)
    if scratch.rows < TRAINING_ROWS:
        told(f"{scratch.rows} vectors are too few for an index; they are compared one by one.")
    told(f"Comparing {min(samples, scratch.rows)} sample queries with all {scratch.rows} vectors.")
    await scratch.look(samples)
    rows: list[TuningRow] = []
    for kind in kinds:
        build_s, size = 0.0, 0
        if kind is not AnnIndex.FLAT:
            told(f"Building {kind}.")
            build_s, size = await scratch.train(kind)
        for _, states in groupby(grid(kind, scratch.rows), key=lambda state: state.refine_factor):
            before = -1.0
            for state in states:
                row = await _row(scratch, state, build_s, size)
                rows.append(row)
                told(f"{kind}: recall {row.recall:.3f} in {row.p50_ms:.1f} ms")
                if row.recall >= target or row.recall < before + WORTHWHILE:
                    break  # the rest of these only takes longer
                before = row.recall
    return rows


async def _row(scratch: Scratch, state: AnnState, build_s: float, size: int) -> TuningRow:
    found = await scratch.measure(state)
    return TuningRow(
        state.index, state.nprobes, state.refine_factor, state.ef, round(found.recall, 4), round(found.at(50), 3),
        round(found.at(95), 3), round(build_s, 2), size,
    )  # fmt: skip


def _check(recall: float, indexes: Sequence[AnnIndex], samples: int) -> None:
    if not 0.0 < recall <= 1.0:
        raise InvalidRequest("The recall to reach must be above 0 and at most 1.")
    if not 1 <= samples <= MAX_SAMPLES:
        raise InvalidRequest(f"The number of samples must be between 1 and {MAX_SAMPLES}.")
    if not indexes:
        raise InvalidRequest("Name at least one index type.")


def _remove(folder: object) -> None:
    shutil.rmtree(str(folder), ignore_errors=True)


def _silent(_: str) -> None:
    """Progress that is not shown."""
