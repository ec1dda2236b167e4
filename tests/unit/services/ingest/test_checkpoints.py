"""A job that was interrupted goes on where it was: same chunks as without, nothing embedded twice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from studio.domain import GenerationState, IngestOptions, IngestReport, JobKind, JobState, SearchRequest
from studio.errors import Cancelled, NotFound
from studio.index.files import VectorJournal
from studio.index.generations import Checkpoint
from studio.index.upkeep import GcReport, sweep
from studio.index.vectors import TableWriter
from studio.services.ingest import pipeline, writer
from tests.unit.services.workbench import MODEL, Bench, Write


def interrupt_after(bench: Bench, texts: int) -> None:
    """Cancel the job's task, as a program that closes does, once so many texts have been embedded."""
    embed, seen = bench.toy.embed, [0]

    async def embed_some(batch, *, interactive: bool = False):
        vectors = await embed(batch, interactive=interactive)
        seen[0] += len(batch)
        if seen[0] >= texts:
            bench.task.cancel()
        return vectors

    bench.toy.embed = embed_some
    bench.restore = lambda: setattr(bench.toy, "embed", embed)


async def interrupted(bench: Bench, folder: Path, texts: int) -> None:
    interrupt_after(bench, texts)
    bench.task = asyncio.get_running_loop().create_task(bench.ingest.ingest("Toy", [folder], IngestOptions(jobs=1)))
    with pytest.raises(asyncio.CancelledError):
        await bench.task
    bench.restore()


async def open_jobs(bench: Bench):
    return await bench.stores.catalog.jobs.open()


async def states(bench: Bench) -> list[GenerationState]:
    kb = await bench.library.get("Toy")
    return [item.state for item in await bench.stores.catalog.generations(kb.id)]


@pytest.fixture
def often(monkeypatch) -> None:
    """A checkpoint after nearly every batch, and small batches."""
    monkeypatch.setattr(writer, "FIRST_CHECKPOINT_S", 0.0)
    monkeypatch.setattr(writer, "CHECKPOINT_SHARE", 0.0)
    monkeypatch.setattr(pipeline, "CHUNKS_PER_BATCH", 4)


@pytest.fixture
def never(monkeypatch) -> None:
    """No checkpoint at all: only the journal is there."""
    monkeypatch.setattr(writer, "FIRST_CHECKPOINT_S", 1e9)
    monkeypatch.setattr(pipeline, "CHUNKS_PER_BATCH", 4)


def fill(write: Write, files: int = 20) -> None:
    for n in range(files):
        write(f"{n:02}.txt", "\n\n".join(f"File {n} says in line {k} something of its own." for k in range(1 + n % 4)))
    rows = [{"_id": f"r{k}", "text": f"row {k} of the table is here"} for k in range(30)]
    write("table.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


async def undisturbed(bench: Bench, folder: Path) -> tuple[IngestReport, list[str], set[str]]:
    """What a job makes when nothing happens to it, in the same knowledge base, then forgotten."""
    report = await bench.ingest.ingest("Toy", [folder])
    found = await bench.chunk_ids(), await bench.sound()
    settings = (await bench.library.get("Toy")).settings
    await bench.library.delete("Toy")
    await bench.library.create("Toy", settings)
    bench.toy.embedded.clear()
    return report, *found


@pytest.mark.parametrize("texts", [5, 17, 40, 61])
@pytest.mark.parametrize("checkpoints", ["often", "never"])
async def test_an_interrupted_job_ends_with_the_same_chunks(
    bench: Bench, folder: Path, write: Write, request: pytest.FixtureRequest, checkpoints: str, texts: int
) -> None:
    request.getfixturevalue(checkpoints)
    fill(write)
    whole, ids, contents = await undisturbed(bench, folder)
    await interrupted(bench, folder, texts)
    assert [job.state for job in await open_jobs(bench)] == [JobState.RUNNING]
    report = await bench.ingest.resume("Toy")
    assert await bench.chunk_ids() == ids
    assert await bench.sound() == contents
    assert (report.added, report.updated, report.unchanged, report.removed, report.chunks_added) == (
        whole.added, 0, 0, 0, whole.chunks_added,
    )  # fmt: skip
    assert report.promoted
    again = Counter(bench.toy.embedded)
    twice = sum(count - 1 for count in again.values())
    assert twice <= 2 * 4 + 1  # the two batches that were under way
    assert await open_jobs(bench) == []
    assert (await bench.ingest.ingest("Toy", [folder])).embedded == 0


async def test_finished_files_are_not_read_again(bench: Bench, folder: Path, write: Write, often, monkeypatch) -> None:
    fill(write)
    await interrupted(bench, folder, 30)
    job = (await open_jobs(bench))[0]
    assert job.files_total == 21 and 0 < job.files_done < 21
    read: list[str] = []
    parse = bench.work._parser.parse

    def noted(path: Path, *, passwords=(), roots=()):
        read.append(path.name)
        return parse(path, passwords=passwords)

    monkeypatch.setattr(bench.work._parser, "parse", noted)
    files = await bench.stores.catalog.jobs.files(job.id)
    done = {Path(file.path).name for file in files if file.state == "indexed"}
    assert done
    await bench.ingest.resume("Toy")
    assert not done & set(read)
    files = await bench.stores.catalog.jobs.files(job.id)
    assert {file.state.value for file in files} == {"indexed"}


async def test_a_long_table_goes_on_in_the_middle(bench: Bench, folder: Path, write: Write, often, monkeypatch) -> None:
    monkeypatch.setattr(writer, "RECORDS_HELD_PER_FILE", 10)
    rows = [json.dumps({"_id": f"r{k}", "text": f"row {k} of a long table is here"}) + "\n" for k in range(100)]
    write("table.jsonl", "".join(rows))
    whole, ids, contents = await undisturbed(bench, folder)
    await interrupted(bench, folder, 60)
    job = (await open_jobs(bench))[0]
    checkpoint = Checkpoint.decode(await bench.stores.catalog.jobs.checkpoint_of(job.id))
    assert checkpoint is not None and checkpoint.open_paths
    before = len(bench.toy.embedded)
    report = await bench.ingest.resume("Toy")
    assert (report.added, report.chunks_added) == (whole.added, whole.chunks_added)
    assert len(bench.toy.embedded) - before < 55
    assert await bench.chunk_ids() == ids
    assert await bench.sound() == contents
    assert len(await bench.library.documents("Toy")) == 100


async def test_changes_and_removals_survive_an_interruption(bench: Bench, folder: Path, write: Write, often) -> None:
    fill(write)
    await bench.ingest.ingest("Toy", [folder])
    for n in range(0, 12):
        write(f"{n:02}.txt", f"File {n} has changed its mind.\n\nAnd has a second passage now, {n}.")
    for n in range(14, 18):
        (folder / f"{n:02}.txt").unlink()
    write("new.txt", "A new file comes along.")
    bench.toy.embedded.clear()
    await interrupted(bench, folder, 8)
    report = await bench.ingest.resume("Toy")
    assert (report.added, report.updated, report.removed) == (1, 12, 4)
    assert report.unchanged == 4 + 30
    contents = await bench.sound()
    assert "A new file comes along." in contents
    assert not any(text.startswith(("File 14 ", "File 3 says")) for text in contents)
    assert {f"File {n} has changed its mind." for n in range(12)} <= {text.split("\n")[0] for text in contents}


async def test_the_same_request_goes_on_with_the_interrupted_job(
    bench: Bench, folder: Path, write: Write, often
) -> None:
    fill(write)
    await interrupted(bench, folder, 30)
    before = len(bench.toy.embedded)
    job = (await open_jobs(bench))[0]
    report = await bench.ingest.ingest("Toy", [folder], IngestOptions(jobs=1))
    assert report.job_id == job.id
    assert len(bench.toy.embedded) - before < report.chunks_added
    assert (await bench.ingest.ingest("Toy", [folder])).generation is None


async def test_after_another_promotion_the_job_begins_anew(bench: Bench, folder: Path, write: Write, often) -> None:
    fill(write)
    await interrupted(bench, folder, 30)
    other = folder.parent / "other.txt"
    other.write_text("Something else came in between.")
    await bench.ingest.ingest("Toy", [other])
    report = await bench.ingest.resume("Toy")
    assert report.added == 50
    assert "Something else came in between." in await bench.sound()
    assert GenerationState.BUILDING not in await states(bench)


async def test_a_collection_leaves_what_an_interrupted_job_needs(
    bench: Bench, folder: Path, write: Write, often
) -> None:
    fill(write)
    _, ids, _ = await undisturbed(bench, folder)
    await interrupted(bench, folder, 30)
    kb = await bench.library.get("Toy")
    report = GcReport()
    await sweep(bench.stores.store(kb.id), bench.stores.catalog, report)
    assert report.errors == []
    before = len(bench.toy.embedded)
    await bench.ingest.resume("Toy")
    assert len(bench.toy.embedded) - before < len(ids) - 15
    assert await bench.chunk_ids() == ids
    texts = {path.name for path in (bench.stores.paths.kb(kb.id).texts).iterdir()}
    assert len(texts) == 21


async def test_a_job_cut_off_between_a_checkpoint_and_the_catalog_goes_on_from_the_one_before(
    bench: Bench, folder: Path, write: Write, often, monkeypatch
) -> None:
    fill(write)
    _, ids, _ = await undisturbed(bench, folder)
    mark = TableWriter.mark
    marked: list[str] = []

    async def mark_then_stop(self: TableWriter, tag: str) -> tuple[int, int]:
        versions = await mark(self, tag)
        marked.append(tag)
        if len(marked) == 8:
            bench.task.cancel()
            await asyncio.Event().wait()  # until the job is stopped
        return versions

    monkeypatch.setattr(TableWriter, "mark", mark_then_stop)
    await interrupted(bench, folder, 10_000)
    monkeypatch.undo()
    kb = await bench.library.get("Toy")
    job = (await open_jobs(bench))[0]
    found = Checkpoint.decode(await bench.stores.catalog.jobs.checkpoint_of(job.id))
    store = bench.stores.store(kb.id)
    tags = await store.vectors.tags_of("documents")
    assert found is not None and tags[marked[-1]] > found.documents_version
    report = GcReport()
    await sweep(store, bench.stores.catalog, report)
    assert report.errors == []
    before = len(bench.toy.embedded)
    await bench.ingest.resume("Toy")
    assert len(bench.toy.embedded) - before < len(ids) - 15
    assert await bench.chunk_ids() == ids


async def test_a_cancelled_job_leaves_nothing(bench: Bench, folder: Path, write: Write, often) -> None:
    fill(write)
    embed, deep = bench.toy.embed, asyncio.Event()

    async def then_wait(batch, *, interactive: bool = False):
        vectors = await embed(batch, interactive=interactive)
        if len(bench.toy.embedded) > 20:
            deep.set()
            await asyncio.Event().wait()
        return vectors

    bench.toy.embed = then_wait
    task = asyncio.get_running_loop().create_task(bench.ingest.ingest("Toy", [folder]))
    await deep.wait()
    await bench.queue.cancel((await open_jobs(bench))[0].id)
    with pytest.raises(Cancelled):
        await task
    assert await open_jobs(bench) == []
    assert GenerationState.BUILDING not in await states(bench)
    kb = await bench.library.get("Toy")
    jobs = bench.stores.paths.kb(kb.id).journal("x").parent
    assert not jobs.exists() or list(jobs.iterdir()) == []
    with pytest.raises(NotFound):
        await bench.ingest.resume("Toy")


async def test_resuming_a_removal_that_had_happened_ends_it(bench: Bench, folder: Path, write: Write) -> None:
    write("a.txt", "To be removed.")
    write("b.txt", "To be kept.")
    await bench.ingest.ingest("Toy", [folder])
    kb = await bench.library.get("Toy")
    await bench.ingest.remove("Toy", [str(folder / "a.txt")])
    jobs = bench.stores.catalog.jobs
    await jobs.create(kb.id, JobKind.REMOVE, [str(folder / "a.txt")], {})
    report = await bench.ingest.resume("Toy")
    assert (report.removed, report.generation) == (0, None)
    assert await open_jobs(bench) == []


async def test_search_goes_on_while_a_job_is_interrupted(bench: Bench, folder: Path, write: Write, often) -> None:
    write("first.txt", "The very first text is found at any time.")
    await bench.ingest.ingest("Toy", [folder])
    fill(write)
    await interrupted(bench, folder, 30)
    promotion = bench.work._promotion
    response = await promotion._gate._search.search(SearchRequest(("Toy",), "very first"))
    assert [hit.content for hit in response.results][:1] == ["The very first text is found at any time."]
    assert list(response.generations.values()) == [1]


# ------------------------------------------------------------ the journal


def vector(n: int) -> np.ndarray:
    return np.arange(8, dtype=np.float32) + n


def test_a_journal_gives_back_what_was_added(tmp_path: Path) -> None:
    journal = VectorJournal(tmp_path / "jobs" / "a.vectors", MODEL.identity)
    assert journal.read() == {}
    journal.append([(f"{n:064x}", vector(n)) for n in range(3)])
    journal.append([(f"{3:064x}", vector(3))])
    journal.close()
    found = VectorJournal(tmp_path / "jobs" / "a.vectors", MODEL.identity).read()
    assert list(found) == [f"{n:064x}" for n in range(4)]
    assert all((found[f"{n:064x}"] == vector(n)).all() for n in range(4))


def test_a_torn_or_damaged_record_ends_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "a.vectors"
    journal = VectorJournal(path, MODEL.identity)
    journal.append([(f"{n:064x}", vector(n)) for n in range(4)])
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert len(VectorJournal(path, MODEL.identity).read()) == 3
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    path.write_bytes(damaged)
    assert len(VectorJournal(path, MODEL.identity).read()) < 4


def test_a_journal_of_another_model_is_not_used(tmp_path: Path) -> None:
    from dataclasses import replace

    path = tmp_path / "a.vectors"
    journal = VectorJournal(path, MODEL.identity)
    journal.append([(f"{1:064x}", vector(1))])
    journal.close()
    assert VectorJournal(path, replace(MODEL.identity, sha256="d" * 64)).read() == {}


def test_a_journal_begins_anew_after_a_checkpoint(tmp_path: Path) -> None:
    journal = VectorJournal(tmp_path / "a.vectors", MODEL.identity)
    journal.append([(f"{n:064x}", vector(n)) for n in range(4)])
    journal.restart({f"{9:064x}": vector(9)})
    journal.append([(f"{10:064x}", vector(10))])
    journal.close()
    assert list(journal.read()) == [f"{9:064x}", f"{10:064x}"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"generation": 1}', '{"from": "the future"}'])
def test_an_unknown_checkpoint_counts_as_none(text: str) -> None:
    assert Checkpoint.decode(text) is None
