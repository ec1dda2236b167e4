"""Health: what is remembered of searches, recall of the vector index, what needs attention."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studio.cli.ways_out import typed
from studio.config import Config
from studio.domain import AnnIndex, DocumentStatus, Embedder, Generation, KbSettings, ModelInfo, Vectors
from studio.errors import ModelFault, NotFound
from studio.index.catalog import KEPT, LoggedQuery, Outcome
from studio.index.generations import Stores
from studio.paths import DataPaths
from studio.services.health import HealthService, text_of
from studio.services.health.report import MIN_SEARCHES, Freshness, Level, Recall, judge, latency, summarise
from studio.services.search import SearchLog, search_log
from studio.services.search.search_log import FLUSH_AT
from studio.services.watch import FolderStatus, WatchState
from studio.ways_out import RunRepair, SeeWhatIsMissing, Tune, WayOut, ways_in
from tests.helpers import toy

PARTS = {"embed": 4.0, "vector": 6.0, "keyword": 2.0, "fetch": 3.0}
DAY_MS = 24 * 3600 * 1000


class ToyEmbedder:
    """The vectors the toy knowledge base is made with."""

    model = ModelInfo("toy", toy.MODEL.sha256, toy.DIMENSION, 64, "mean", 1, "", True, None)
    gone = False

    async def embed(self, texts: Sequence[str], *, interactive: bool = False, query: bool = False) -> Vectors:
        return np.stack([toy.vector_of(text) for text in texts])

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    async def close(self) -> None:
        pass

    async def embedder(self, model: str) -> Embedder:
        if self.gone:
            raise ModelFault("The model toy is not installed.")
        return self


class Clinic:
    """Everything the report is made from, over a real data directory."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.config = Config(stores.paths.config)
        self.embedder = ToyEmbedder()
        self.log = SearchLog(stores, self.config)
        self.watched: list[FolderStatus] = []
        self.health = HealthService(stores, self.embedder, self.log, self.folders)

    async def folders(self, kb: str | None) -> list[FolderStatus]:
        return [folder for folder in self.watched if folder.kb_id == kb]

    async def base(self, name: str, index: AnnIndex = AnnIndex.AUTO) -> toy.Bench:
        kb = await self.stores.catalog.create_kb(name, KbSettings(index=index))
        self.stores.paths.kb(kb.id).create()
        return toy.Bench(self.stores, kb)

    async def filled(self, name: str, index: AnnIndex = AnnIndex.AUTO, chunks: int = 3) -> toy.Bench:
        bench = await self.base(name, index)
        await bench.promote(await bench.built({"doc": [f"passage {number}" for number in range(chunks)]}))
        return bench

    async def logged(self, kb_id: str) -> list[LoggedQuery]:
        """What the catalog holds, without what waits in memory."""
        return await self.stores.catalog.queries.recent(kb_id, 10_000)


@pytest.fixture
async def clinic(tmp_path: Path) -> AsyncIterator[Clinic]:
    stores = await Stores.open(DataPaths(tmp_path / "data"))
    opened = Clinic(stores)
    yield opened
    await opened.log.close()
    await stores.close()


# ---------------------------------------------------------------- the log


async def test_searches_are_written_in_batches_and_at_the_end(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_log, "FLUSH_AFTER_S", 3600.0)
    kb = (await clinic.base("Papers")).kb.id
    stamp = await clinic.stores.catalog.stamp()
    for number in range(FLUSH_AT - 1):
        clinic.log.record(kb, f"query {number}", 10.0 + number, Outcome.ANSWERED, PARTS)
        await asyncio.sleep(0)
    assert await clinic.stores.catalog.stamp() == stamp, "nothing is written for a few searches"
    assert len(await clinic.log.recent(kb, 1000)) == FLUSH_AT - 1, "yet they are known"
    clinic.log.record(kb, "the last one", 1.0, Outcome.DEGRADED, PARTS)
    async with asyncio.timeout(60):
        while len(written := await clinic.logged(kb)) < FLUSH_AT:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)
    assert (written[-1].query, written[-1].outcome, written[-1].timings_ms) == ("the last one", "degraded", PARTS)
    assert [entry.first for entry in written] == [True] + [False] * (FLUSH_AT - 1)
    clinic.log.record(kb, "after all", 1.0, Outcome.FAILED)
    await clinic.log.close()
    assert [entry.query for entry in (await clinic.logged(kb))[-2:]] == ["the last one", "after all"]
    assert [entry.query for entry in await clinic.log.recent(kb, 2)] == ["the last one", "after all"]


async def test_few_searches_are_written_after_a_while(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_log, "FLUSH_AFTER_S", 0.05)
    kb = (await clinic.base("Papers")).kb.id
    for number in range(2):
        clinic.log.record(kb, f"query {number}", 1.0, Outcome.ANSWERED)
        while len(await clinic.logged(kb)) <= number:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def test_the_oldest_are_dropped_for_each_knowledge_base_by_itself(clinic: Clinic) -> None:
    many, few = (await clinic.base("Many")).kb.id, (await clinic.base("Few")).kb.id
    clinic.log.record(few, "only one", 1.0, Outcome.ANSWERED)
    for number in range(KEPT + 25):
        clinic.log.record(many, f"query {number}", 1.0, Outcome.ANSWERED)
    clinic.log.record("deleted", "of a knowledge base that is gone", 1.0, Outcome.ANSWERED)
    await clinic.log.flush()
    kept = await clinic.logged(many)
    assert (len(kept), kept[0].query, kept[-1].query) == (KEPT, "query 25", f"query {KEPT + 24}")
    assert [entry.query for entry in await clinic.logged(few)] == ["only one"]
    await clinic.stores.forget(many)
    assert await clinic.logged(many) == []


async def test_texts_are_remembered_only_if_wished(clinic: Clinic) -> None:
    kb = (await clinic.base("Papers")).kb.id
    clinic.log.record(kb, "a secret \ud800", 7.0, Outcome.ANSWERED)
    await clinic.log.flush()
    assert [entry.query for entry in await clinic.logged(kb)] == ["a secret ?"]
    clinic.log.record(kb, "a secret of just now", 7.5, Outcome.ANSWERED)
    clinic.config.set("remember_queries", "false")
    clinic.log.record(kb, "another secret", 8.0, Outcome.ANSWERED)
    await clinic.log.flush()
    assert [(entry.query, entry.took_ms) for entry in await clinic.logged(kb)] == [("", 7.0), ("", 7.5), ("", 8.0)]
    for file in clinic.stores.paths.root.glob("catalog*"):
        assert b"secret" not in file.read_bytes()
    assert "Nothing is kept" in text_of(await clinic.health.report(measure=False))


async def test_what_cannot_be_written_is_known_until_the_end(clinic: Clinic) -> None:
    kb = (await clinic.base("Papers")).kb.id
    real = sqlite3.connect(clinic.stores.paths.catalog, isolation_level=None)
    real.execute("DROP TABLE query_log")  # any fault of writing will do
    clinic.log.record(kb, "query", 5.0, Outcome.ANSWERED)
    await clinic.log.flush()
    assert [entry.query for entry in clinic.log._waiting] == ["query"]
    schema = "id INTEGER PRIMARY KEY, kb_id TEXT, at_ms INTEGER, took_ms REAL, query TEXT, outcome TEXT, timings TEXT"
    real.execute(f"CREATE TABLE query_log ({schema})")
    real.close()
    assert [entry.query for entry in await clinic.log.recent(kb, 5)] == ["query"]
    await clinic.log.flush()
    assert [entry.query for entry in await clinic.logged(kb)] == ["query"]
    assert clinic.log._waiting == []


# ---------------------------------------------------------------- numbers


def entry(took: float = 10.0, outcome: Outcome = Outcome.ANSWERED, **changes: object) -> LoggedQuery:
    base = LoggedQuery("kb", DAY_MS, took, "query", outcome, PARTS)
    return replace(base, **changes)  # type: ignore[arg-type]


def test_percentiles_leave_out_first_and_failed_searches() -> None:
    entries = [entry(float(number)) for number in range(1, 102)]
    odd = [entry(9_000.0, first=True), entry(9_000.0, Outcome.FAILED)]
    found = summarise([*odd, *entries], DAY_MS)
    assert found.latency is not None
    assert (found.latency.searches, found.latency.p50_ms, found.latency.p95_ms, found.latency.p99_ms) == (
        101, 51.0, 96.0, 100.0,
    )  # fmt: skip
    assert {side: item.p50_ms for side, item in found.sides.items()} == PARTS
    assert latency([]) is None


def test_rates_are_of_the_last_day() -> None:
    now = 3 * DAY_MS
    old = [entry(outcome=Outcome.FAILED, at_ms=now - DAY_MS - 1)] * 50
    recent = [entry(outcome=outcome, at_ms=now - DAY_MS) for outcome in (*[Outcome.ANSWERED] * 2, *Outcome)]
    found = summarise([*old, *recent], now)
    assert (found.recent, found.error_rate, found.degraded_rate) == (5, 0.2, 0.2)
    assert summarise(old, now).error_rate == 0.0


FRESH = Freshness(1, 60.0, rows=1000, unindexed_rows=100, failed_files=3)
GOOD = [entry()] * MIN_SEARCHES


@pytest.mark.parametrize(
    ("entries", "recall", "freshness", "index", "message", "way_out"),
    [
        ([entry(250.0)] * MIN_SEARCHES, None, FRESH, "ivf_rq", "more than 250 ms.*nearest vectors", Tune("Papers")),
        ([*GOOD, entry(outcome=Outcome.FAILED)], None, FRESH, "ivf_rq", "4.8% of the searches.*failed", RunRepair()),
        ([*GOOD, entry(outcome=Outcome.DEGRADED)], None, FRESH, "flat", "one side only", SeeWhatIsMissing()),
        (GOOD, Recall(0.94, 30, "searches"), FRESH, "ivf_rq", "finds 94.0%", Tune("Papers")),
        (GOOD, None, replace(FRESH, unindexed_rows=101), "ivf_rq", "101 of 1,000 passages", Tune("Papers")),
    ],
)
def test_each_threshold_gives_a_sentence_and_a_way_out(
    entries: list[LoggedQuery], recall: Recall | None, freshness: Freshness, index: str, message: str, way_out: WayOut
) -> None:
    (finding,) = judge("Papers", AnnIndex(index), summarise(entries, DAY_MS), recall, freshness)
    assert message.split(".*")[0] in finding.message
    assert message.split(".*")[-1] in finding.message
    assert ways_in(finding.way_out) == [way_out]


def test_at_the_thresholds_all_is_good() -> None:
    slow_but_few = summarise([entry(900.0)] * (MIN_SEARCHES - 1), DAY_MS)
    assert judge("Papers", AnnIndex.IVF_RQ, slow_but_few, None, FRESH) == []
    assert judge("Papers", AnnIndex.IVF_RQ, summarise(GOOD, DAY_MS), Recall(0.95, 30, "searches"), FRESH) == []
    assert judge("Papers", AnnIndex.FLAT, summarise(GOOD, DAY_MS), None, replace(FRESH, unindexed_rows=1000)) == []
    nearly = summarise([*GOOD * 5, entry(outcome=Outcome.FAILED)], DAY_MS)
    assert nearly.error_rate == pytest.approx(1 / 101, abs=1e-4)
    assert judge("Papers", AnnIndex.FLAT, nearly, None, None) == []


# ---------------------------------------------------------------- the report


async def test_a_report_of_nothing_and_of_an_empty_knowledge_base(clinic: Clinic) -> None:
    report = await clinic.health.report()
    assert (report.level, report.knowledge_bases) == (Level.GOOD, ())
    assert "no knowledge base" in text_of(report)
    await clinic.base("Empty")
    (kb,) = (await clinic.health.report()).knowledge_bases
    assert (kb.latency, kb.recall, kb.freshness, kb.level) == (None, None, None, Level.GOOD)
    assert "not searched yet" in text_of(await clinic.health.report("empty"))
    with pytest.raises(NotFound):
        await clinic.health.report("nowhere")


async def test_a_report_over_several_knowledge_bases(clinic: Clinic) -> None:
    papers, mail = await clinic.filled("Papers"), await clinic.filled("Mail")
    for number in range(21):
        clinic.log.record(papers.kb.id, f"query {number}", 20.0, Outcome.ANSWERED, PARTS)
        clinic.log.record(mail.kb.id, f"query {number}", 500.0, Outcome.ANSWERED, {**PARTS, "vector": 400.0})
    clinic.watched = [
        FolderStatus(papers.kb.id, "/papers", True, WatchState.WAITING),
        FolderStatus(papers.kb.id, "/gone", True, WatchState.MISSING),
        FolderStatus(papers.kb.id, "/quiet", True, WatchState.WATCHING),
    ]
    report = await clinic.health.report()
    by_name = {kb.name: kb for kb in report.knowledge_bases}
    assert (report.level, by_name["Papers"].level, by_name["Mail"].level) == (
        Level.ATTENTION, Level.GOOD, Level.ATTENTION,
    )  # fmt: skip
    assert report.latency is not None
    assert report.latency.searches == 40
    assert by_name["Papers"].recall == Recall(1.0, 0, "exact")
    fresh = by_name["Papers"].freshness
    assert fresh is not None
    assert (fresh.folders_waiting, fresh.folders_gone, fresh.rows) == (("/papers",), ("/gone",), 3)
    text = typed(text_of(report))
    assert text.startswith("Searching needs attention.")
    for part in ("Papers: good", "Mail: needs attention", "tune Mail", "/papers", "1.000"):
        assert part in text, part
    (alone,) = (await clinic.health.report("Papers")).knowledge_bases
    assert alone.name == "Papers"


async def test_files_that_failed_are_counted(clinic: Clinic) -> None:
    bench = await clinic.base("Papers")
    build = await bench.begin()
    await bench.add(build, "good", ["a passage"])
    bad = replace(toy.record_of("bad", "/docs/bad.pdf", 0), status=DocumentStatus.FAILED, error="corrupt")
    await build.add_record(bad)
    await build.flush()
    await bench.promote(await bench.store.seal(build))
    (kb,) = (await clinic.health.report()).knowledge_bases
    assert kb.freshness is not None
    assert kb.freshness.failed_files == 1
    assert "1 file could not be indexed" in text_of(await clinic.health.report())


async def worsened(clinic: Clinic, bench: toy.Bench) -> Generation:
    """Let the index be searched too hastily: in one of its partitions."""

    async with bench.store.reading() as snapshot:
        ann = replace(snapshot.generation.ann, nprobes=1)
    bench.store.release()
    await clinic.stores.catalog.annotate(bench.kb.id, snapshot.generation.number, ann=ann)
    async with bench.store.reading() as snapshot:
        return snapshot.generation


async def test_recall_is_measured_with_real_searches_and_found_too_low(clinic: Clinic) -> None:
    bench = await clinic.filled("Papers", AnnIndex.IVF_FLAT, 6000)
    (kb,) = (await clinic.health.report()).knowledge_bases
    assert kb.index is AnnIndex.IVF_FLAT
    assert kb.recall is not None
    assert (kb.recall.of, kb.level) == ("passages", Level.GOOD), "nothing was searched yet"
    assert kb.recall.value >= 0.95
    generation = await worsened(clinic, bench)
    assert generation.ann.nprobes == 1
    for number in range(50):
        clinic.log.record(bench.kb.id, f"real query {number % 40}", 10.0, Outcome.ANSWERED, PARTS)
    (kb,) = (await clinic.health.report()).knowledge_bases
    assert kb.recall is not None
    assert (kb.recall.of, kb.recall.queries) == ("searches", 30)
    assert kb.recall.value < 0.9
    assert [finding.way_out for finding in kb.findings] == [str(Tune("Papers"))]
    (quick,) = (await clinic.health.report(measure=False)).knowledge_bases
    assert quick.recall == kb.recall, "what was measured last is remembered"
    clinic.embedder.gone = True
    (kb,) = (await clinic.health.report()).knowledge_bases
    assert kb.recall is not None
    assert kb.recall.of == "passages", "without the model the knowledge base's own vectors have to do"


async def test_a_quick_report_measures_nothing(clinic: Clinic) -> None:
    bench = await clinic.filled("Papers", AnnIndex.IVF_FLAT, 2000)
    async with bench.store.reading() as snapshot:
        built = snapshot.generation.ann
    (kb,) = (await clinic.health.report(measure=False)).knowledge_bases
    assert (kb.recall, kb.freshness) == (None, None), "what was never searched is not opened"
    clinic.log.record(bench.kb.id, "one search", 10.0, Outcome.ANSWERED)
    (kb,) = (await clinic.health.report(measure=False)).knowledge_bases
    assert built.recall is not None
    assert kb.recall == Recall(built.recall, built.sampled, "passages")
    assert kb.freshness is not None
    assert kb.freshness.unindexed_rows == 0
    for number in range(20):
        clinic.log.record(bench.kb.id, f"query {number}", 10.0, Outcome.ANSWERED)
    (kb,) = (await clinic.health.report(measure=False)).knowledge_bases
    assert kb.recall is not None
    assert (kb.recall.of, kb.recall.queries) == ("searches", 21), "once for a generation"
    clinic.embedder.gone = True
    assert (await clinic.health.report(measure=False)).knowledge_bases[0].recall == kb.recall


async def test_a_damaged_index_is_no_fault_of_the_report(clinic: Clinic) -> None:
    bench = await clinic.filled("Papers")
    bench.store.close()
    for file in bench.store.paths.vectors.rglob("*.lance"):
        if file.is_file():
            os.truncate(file, 0)
    clinic.log.record(bench.kb.id, "query", 5.0, Outcome.FAILED)
    (kb,) = (await clinic.health.report()).knowledge_bases
    assert kb.error_rate == 1.0
    assert kb.level is Level.ATTENTION
