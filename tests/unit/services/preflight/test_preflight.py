"""The look ahead, with real parsers and stores. Only the embedding model is a stand-in, which can fail or wait."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from studio.cli.commands.preflight import disk_warning, duration, preflight_text
from studio.config import Config
from studio.documents.pool import ParserPool
from studio.domain import Embedder, IngestOptions, KbSettings, Preflight, SkippedFiles, Vectors
from studio.errors import FailureCode, NotFound, WorkerDied
from studio.index.generations import Stores
from studio.memory import MemoryCoordinator
from studio.paths import DataPaths
from studio.services.generations import Promotion
from studio.services.ingest import IngestService
from studio.services.jobs import JobQueue, Requests
from studio.services.library import LibraryService
from studio.services.preflight import PreflightService
from studio.services.preflight.sampling import HEAD_BYTES, Amount, ByLength, Reading, estimate, kind_of, spread
from studio.services.quality import GateService
from studio.services.scan import ScannedFile
from studio.services.search import SearchService
from tests.helpers.command import Program
from tests.helpers.ward import ToyEmbedder

Write = Callable[[str, str], Path]
PATIENT_S = 60.0
"""Enough to read every file of these tests."""


class Model(ToyEmbedder):
    """A model that can be busy for ever, or die."""

    busy = dead = False

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        if self.busy:
            await asyncio.Event().wait()
        return await super().count_tokens(texts)

    async def embed(self, texts: Sequence[str], *, interactive: bool = False, query: bool = False) -> Vectors:
        if self.dead:
            raise WorkerDied("It died.")
        return await super().embed(texts, interactive=interactive, query=query)

    async def embedder(self, model: str) -> Embedder:
        return await super().embedder(model)


@dataclass
class Bench:
    stores: Stores
    library: LibraryService
    ingest: Requests
    preflight: PreflightService
    model: Model
    folder: Path
    kb: str = ""

    async def look(self, options: IngestOptions | None = None, *paths: Path, **more: float) -> Preflight:
        return await self.preflight.look(self.kb, paths or [self.folder], options, **{"limit_s": PATIENT_S, **more})


@pytest_asyncio.fixture
async def bench(tmp_path: Path, folder: Path) -> AsyncIterator[Bench]:
    stores = await Stores.open(DataPaths(tmp_path / "data"))
    parser, model = ParserPool(2), Model()
    library = LibraryService(stores, Config(stores.paths.config))
    promotion = Promotion(stores, GateService(stores, SearchService(stores, model)))

    async def nothing(kb_id: str) -> None:
        pass

    work = IngestService(stores, model, parser, promotion, nothing)
    ingest = Requests(stores, JobQueue(stores, work), work)
    preflight = PreflightService(stores, library, model, parser, MemoryCoordinator(0, dict))
    made = Bench(stores, library, ingest, preflight, model, folder)
    made.kb = (await library.create("Toy", KbSettings(chunk_tokens=24, chunk_overlap=4))).id
    yield made
    await parser.close()
    await stores.close()


def prose(sentences: int) -> str:
    return " ".join(
        f"Sentence number {n} says that the whales of the sea sing for {n} hours." for n in range(sentences)
    )


def skipped(found: Preflight) -> dict[str, int]:
    return {item.reason: item.count for item in found.skipped}


async def test_what_is_read_in_full_is_counted_exactly(bench: Bench, write: Write) -> None:
    write("a.txt", prose(40))
    write("b.md", f"# Whales\n\n{prose(7)}\n\n## Song\n\n{prose(3)}")
    write("rows.jsonl", "".join(json.dumps({"_id": f"r{n}", "text": prose(n)}) + "\n" for n in range(1, 6)))
    write(".hidden.txt", "x")
    write("empty.txt", "")
    write("broken.pdf", "%PDF-1.4 and nothing else")
    before = await bench.stores.catalog.jobs.open()
    found = await bench.look()
    assert await bench.stores.catalog.jobs.open() == before
    assert await bench.library.documents(bench.kb) == []
    assert (found.files, found.new, found.changed, found.unchanged, found.removed) == (5, 5, 0, 0, 0)
    assert found.bytes == sum(file.stat().st_size for file in bench.folder.iterdir() if file.name != ".hidden.txt")
    assert found.kinds == {"text": 2, "markdown": 1, "jsonl": 1, "pdf": 1}
    assert skipped(found) == {"hidden or system files": 1, "empty": 1, "damaged": 1}
    assert found.complete
    assert found.seconds > 0
    assert found.free_disk_bytes > 0
    assert found.peak_memory_bytes > 300_000_000
    report = await bench.ingest.ingest(bench.kb, [bench.folder])
    assert found.chunks == report.chunks_added
    (generation,) = await bench.stores.catalog.generations(bench.kb)
    assert generation.size_bytes / 10 < found.disk_bytes < generation.size_bytes, "so few rows take little of a table"


async def test_only_the_difference_counts(bench: Bench, write: Write) -> None:
    for name in ("same", "grown", "gone", "moved", "touched"):
        write(f"{name}.txt", f"{name}: {prose(10)}")
    write("broken.pdf", "%PDF-1.4 and nothing else")
    await bench.ingest.ingest(bench.kb, [bench.folder])
    nothing = await bench.look()
    assert (nothing.unchanged, nothing.new, nothing.chunks, nothing.sampled) == (6, 0, 0, 0)
    assert (nothing.seconds, nothing.disk_bytes) == (0, 0)
    assert skipped(nothing) == {"failed before and did not change": 1}
    grown = write("grown.txt", prose(40))
    new = write("new.txt", f"New: {prose(20)}")
    (bench.folder / "gone.txt").unlink()
    (bench.folder / "moved.txt").rename(bench.folder / "elsewhere.txt")
    found = await bench.look()
    assert (found.new, found.changed, found.unchanged, found.removed) == (2, 1, 3, 2)
    assert found.sampled == 2, "what was moved is not read"
    alone = await bench.look(None, grown, new)
    assert alone.chunks == found.chunks > 0
    write(".ragignore", "same.txt")
    assert (await bench.look()).removed == 3


async def test_changed_settings_mean_that_all_is_embedded_anew(bench: Bench, write: Write) -> None:
    write("a.txt", prose(100))
    await bench.ingest.ingest(bench.kb, [bench.folder])
    chunks = (await bench.library.get(bench.kb)).chunks
    settings = KbSettings(chunk_tokens=48, chunk_overlap=4)
    await bench.stores.catalog.update_settings(bench.kb, settings)
    found = await bench.look()
    assert found.chunks == round(chunks / 2)
    assert found.disk_bytes > 0


async def test_a_new_knowledge_base_has_the_default_settings(bench: Bench, write: Write) -> None:
    write("a.txt", prose(100))
    bench.kb = None  # type: ignore[assignment]
    found = await bench.look()
    longer = await bench.library.create("Default")
    bench.kb = longer.id
    assert found.chunks == (await bench.look()).chunks
    bench.kb = "nowhere"
    with pytest.raises(NotFound, match="nowhere"):
        await bench.look()
    bench.kb = longer.id
    with pytest.raises(NotFound, match=r"missing\.txt"):
        await bench.look(None, bench.folder / "missing.txt")


@pytest.mark.parametrize("trouble", ["gone", "busy", "dead"])
async def test_without_the_model_lengths_will_do(bench: Bench, write: Write, trouble: str) -> None:
    write("a.txt", prose(200))
    expected = await bench.look()
    setattr(bench.model, trouble, True)
    found = await bench.look()
    assert expected.chunks / 3 < found.chunks < expected.chunks * 3
    assert found.seconds > 0
    assert found.sampled == 1


async def test_of_a_long_file_the_beginning_tells_enough(bench: Bench, write: Write) -> None:
    text = "\n".join(prose(20) for _ in range(5 * HEAD_BYTES // len(prose(20))))
    write("long.txt", text)
    asked = 0

    async def count(texts: Sequence[str]) -> list[int]:
        nonlocal asked
        asked += sum(map(len, texts))
        return [len(text.split()) for text in texts]

    bench.model.count_tokens = count  # type: ignore[method-assign]
    found = await bench.look()
    assert asked < HEAD_BYTES
    report = await bench.ingest.ingest(bench.kb, [bench.folder])
    assert 0.9 < found.chunks / report.chunks_added < 1.1


async def test_what_only_reading_can_tell_is_told_of_the_sample(
    bench: Bench, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.services.preflight.sampling.MOST_FILES", 4)
    for number in range(10):
        write(f"{number}.pdf", "%PDF-1.4 and nothing else")
    found = await bench.look()
    assert found.sampled == 4
    assert skipped(found) == {"damaged (of 4 looked into)": 4}
    assert found.chunks == 0


async def test_a_look_that_is_cut_short_says_so(bench: Bench, write: Write) -> None:
    write("a.txt", prose(5))
    found = await bench.look(limit_s=0.0)
    assert not found.complete
    assert found.files == 0


async def test_leaving_early_ends_the_listing(bench: Bench, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.txt", prose(5))
    began, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def endless(paths: object, options: object, *, own: Path, stop: Callable[[], bool]) -> None:
        assert own == bench.stores.paths.root
        loop.call_soon_threadsafe(began.set)
        given_up = time.monotonic() + 2 * PATIENT_S
        while not stop() and time.monotonic() < given_up:
            pass
        loop.call_soon_threadsafe(ended.set)

    monkeypatch.setattr("studio.services.preflight.service.scan", endless)
    async with asyncio.timeout(PATIENT_S), asyncio.TaskGroup() as group:
        looking = group.create_task(bench.look(limit_s=1e6))
        await began.wait()
        looking.cancel()
        await ended.wait()


def file(name: str, size: int) -> ScannedFile:
    return ScannedFile(f"/docs/{name}", size, 0)


def test_the_sample_is_spread_over_kinds_and_sizes() -> None:
    files = [file(f"{n}.{kind}", 1000 * n) for n in range(1, 101) for kind in ("txt", "pdf", "md", "docx")]
    chosen = spread(files, 16)
    assert len({item.source_path for item in chosen}) == 16
    assert {kind_of(item) for item in chosen} == {"text", "pdf", "markdown", "docx"}
    assert {kind_of(item) for item in chosen[:4]} >= {"text", "markdown"}, "the beginning is a spread of its own"
    assert sorted(spread(files, 10_000)) == sorted(files)
    giant = [file("giant.txt", 10**12), *(file(f"{n}.txt", 1) for n in range(5))]
    assert len(spread(giant, 3)) == 3, "small ones too, though none has a chance"
    assert giant[0] in spread(giant, 3)
    assert spread([], 3) == []
    assert [kind_of(file(name, 1)) for name in ("a.PDF", "Makefile", ".txt", "x.unheard-of")] == [
        "pdf", "code", "other", "other",
    ]  # fmt: skip


def test_estimates_follow_the_files_that_were_read() -> None:
    files = [file(f"{n}.txt", size) for n, size in enumerate((10_000, 20_000, 40_000, 80_000) * 50)]
    chosen = spread(files, 12)
    readings = [Reading(item, Amount((item.size_bytes + 2_000) / 1_000, item.size_bytes, 0.1)) for item in chosen]
    exact = sum((item.size_bytes + 2_000) / 1_000 for item in files)
    assert estimate(readings, files).chunks == pytest.approx(exact)
    half_broken = [replace(item, amount=Amount(), fault=FailureCode.CORRUPT) for item in readings[::2]]
    assert estimate([*half_broken, *readings[1::2]], files).chunks == pytest.approx(exact / 2, rel=0.15)
    assert estimate(readings, [*files, file("x.unheard-of", 10**9)]).chunks == pytest.approx(exact)
    assert estimate([], [file("a.txt", 800_000)]).chunks == pytest.approx(1_000, rel=0.01)
    assert estimate(readings, chosen).chunks == pytest.approx(sum(item.amount.chunks for item in readings))


async def test_tokens_by_length() -> None:
    english = "The blue whale is the largest animal that ever lived. " * 20
    counts = await ByLength(384, 512).count_tokens([english, "鯨は海に住む", "1234", ""])
    assert 200 < counts[0] < 350  # some 220
    assert counts[1:] == [6, 4, 0]


FOUND = Preflight(
    files=412, bytes=38_000_000, new=380, changed=12, unchanged=20, removed=0, kinds={"pdf": 412},
    skipped=(SkippedFiles("hidden or system files", 31, ("/a/.git/", "/a/.b")),), sampled=40, chunks=9_312, seconds=361,
    disk_bytes=48_000_000, peak_memory_bytes=620_000_000, free_disk_bytes=50_000_000_000,
)  # fmt: skip


def test_the_command_line_says_it_in_sentences() -> None:
    text = preflight_text(FOUND)
    assert "412 files (38.0 MB): 380 new, 12 changed, 20 unchanged." in text
    assert "About 9,300 passages, 6 minutes, 48.0 MB of disk (50.0 GB are free), peak memory 620.0 MB." in text
    assert "Skipped: 31 hidden or system files.\n  hidden or system files: .git/, .b …" in text
    cut = preflight_text(replace(FOUND, complete=False))
    assert cut.startswith("At least 412 files")
    assert "too many files" in cut
    idle = preflight_text(replace(FOUND, new=0, changed=0, chunks=0, skipped=()))
    assert "There is nothing to do." in idle
    assert "Nothing has to be embedded." in preflight_text(replace(FOUND, new=0, changed=0, chunks=0, removed=3))
    assert disk_warning(FOUND) == ""
    assert "48.0 MB are needed, 1.0 MB are free" in disk_warning(replace(FOUND, free_disk_bytes=1_000_000))
    assert [duration(seconds) for seconds in (0.2, 30, 60, 600, 9_000, 300_000)] == [
        "1 second", "30 seconds", "1 minute", "10 minutes", "2 hours", "3 days",
    ]  # fmt: skip


def test_a_dry_run_changes_nothing(program: Program, folder: Path, write: Write) -> None:
    write("a.txt", prose(30))
    write(".b.txt", prose(30))
    program.ok("kb", "create", "Notes")
    value = program.ok("ingest", "Notes", folder, "--dry-run")
    assert (value["files"], value["new"]) == (1, 1)
    assert value["skipped"][0]["examples"] == [os.fspath(folder / ".b.txt")]
    assert program.ok("ingest", "Notes", folder, "--dry-run", "--hidden")["files"] == 2
    outcome = program.run("ingest", "Notes", folder, "--dry-run")
    assert outcome.code == 0
    assert "1 file (" in outcome.out  # "At least" before it on a machine that is too busy to look at it all in time
    assert program.ok("documents", "Notes") == []
    report = program.ok("ingest", "Notes", folder, "--hidden")
    assert report["added"] == 2
    assert program.ok("ingest", "Notes", folder)["removed"] == 1
    assert program.run("ingest", "Notes", "--dry-run").code == 2
