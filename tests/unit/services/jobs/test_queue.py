"""The queue of jobs: order, pause, cancel, restart, retry."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from studio.domain import FileState, IngestOptions, JobKind, JobState
from studio.errors import Conflict, InvalidRequest, NotFound
from studio.services.ingest import pipeline, writer
from studio.services.jobs import JobQueue, queue
from studio.services.jobs.queue import JobChanged, JobEnded, JobEvent, JobProgress
from tests.unit.services.workbench import Bench, Write, held_after


class Listener:
    """Notes what a queue tells, and lets a test wait for something."""

    def __init__(self, of: JobQueue) -> None:
        self.events: list[JobEvent] = []
        self._changed = asyncio.Event()
        of.subscribe(self)

    def __call__(self, event: JobEvent) -> None:
        self.events.append(event)
        self._changed.set()

    @property
    def ended(self) -> list[JobEnded]:
        return [event for event in self.events if isinstance(event, JobEnded)]

    def states(self, job_id: str) -> list[JobState]:
        return [event.job.state for event in self.events if isinstance(event, JobChanged) and event.job.id == job_id]

    async def until(self, condition) -> None:
        async with asyncio.timeout(60):
            while not condition():
                with contextlib.suppress(TimeoutError):  # not everything that is waited for is told
                    async with asyncio.timeout(0.01):
                        await self._changed.wait()
                self._changed.clear()

    async def all_ended(self, count: int) -> None:
        await self.until(lambda: len(self.ended) >= count)


@pytest_asyncio.fixture
async def jobs(bench: Bench) -> AsyncIterator[JobQueue]:
    made = JobQueue(bench.stores, bench.work)
    yield made
    await made.close()


@pytest.fixture
def held(bench: Bench, monkeypatch) -> asyncio.Event:
    """Small batches, and an embedder that waits for this event after the first ones."""
    monkeypatch.setattr(pipeline, "CHUNKS_PER_BATCH", 4)
    return held_after(bench.toy, 4)


def fill(write: Write, folder: Path, files: int = 6) -> Path:
    for n in range(files):
        write(f"{folder.name}/{n}.txt", f"File {n} of {folder.name} says something.\n\nAnd something else, {n}.")
    return folder


async def test_jobs_run_in_the_order_of_the_queue(bench: Bench, jobs: JobQueue, folder: Path, write: Write) -> None:
    await bench.library.create("Other", (await bench.library.get("Toy")).settings)
    heard = Listener(jobs)
    made = [
        await jobs.add(kb, [fill(write, folder / name)])
        for kb, name in (("Toy", "a"), ("Other", "b"), ("Toy", "c"), ("Other", "d"))
    ]
    assert [job.state for job in await jobs.jobs()] == [JobState.QUEUED] * 4
    await jobs.move(made[3].id, made[1].id)
    await jobs.start()
    await heard.all_ended(4)
    order = [event.job.id for event in heard.ended]
    assert order == [made[0].id, made[3].id, made[1].id, made[2].id]
    assert all(event.report is not None and event.report.added == 6 for event in heard.ended)
    assert heard.states(made[2].id)[-1] is JobState.RUNNING
    assert any(isinstance(event, JobProgress) for event in heard.events)
    assert await jobs.jobs() == []
    assert [job.id for job in await jobs.ended("Other")] == [made[1].id, made[3].id]


async def test_a_paused_job_lets_others_pass_and_goes_on_where_it_was(
    bench: Bench, jobs: JobQueue, folder: Path, write: Write, held: asyncio.Event
) -> None:
    heard = Listener(jobs)
    first = await jobs.add("Toy", [fill(write, folder / "a", 12)])
    await jobs.start()
    await heard.until(lambda: len(bench.toy.embedded) >= 4)
    await jobs.pause(first.id)
    await heard.until(lambda: heard.states(first.id)[-1:] == [JobState.PAUSED])
    held.set()
    second = await jobs.add("Toy", [fill(write, folder / "b", 2)])
    await heard.all_ended(1)
    assert heard.ended[0].job.id == second.id
    await jobs.resume(first.id)
    await heard.all_ended(2)
    assert heard.ended[1].job.id == first.id
    assert heard.ended[1].report is not None and heard.ended[1].report.added == 12
    assert len(await bench.sound()) == 14
    assert len(bench.toy.embedded) == len(set(bench.toy.embedded))


async def test_cancelling_a_running_and_a_waiting_job(
    bench: Bench, jobs: JobQueue, folder: Path, write: Write, held: asyncio.Event
) -> None:
    heard = Listener(jobs)
    first = await jobs.add("Toy", [fill(write, folder / "a", 12)])
    second = await jobs.add("Toy", [fill(write, folder / "b")])
    await jobs.start()
    await heard.until(lambda: len(bench.toy.embedded) >= 4)
    await jobs.cancel(second.id)
    await jobs.cancel(first.id)
    await heard.all_ended(2)
    assert {event.job.id: event.job.state for event in heard.ended} == {
        first.id: JobState.CANCELLED, second.id: JobState.CANCELLED,
    }  # fmt: skip
    assert await jobs.jobs() == []
    with pytest.raises(NotFound):
        await bench.ingest.resume("Toy")


@pytest.fixture
def close_behind(monkeypatch) -> None:
    """Files are begun only when the model is through with most of those before."""
    monkeypatch.setattr(pipeline, "PIECES_BEFORE_A_FILE", 1)


async def test_a_job_that_finishes_early_keeps_what_is_through_and_takes_nothing_away(
    bench: Bench, jobs: JobQueue, folder: Path, write: Write, held, close_behind
) -> None:
    docs = fill(write, folder / "a", 2)
    await bench.ingest.ingest("Toy", [docs])
    fill(write, docs, 20)
    write("a/1.txt", "Another text in an old file.")
    (docs / "0.txt").rename(docs / "moved.txt")
    bench.toy.embedded.clear()
    heard = Listener(jobs)
    job = await jobs.add("Toy", [docs], IngestOptions(jobs=1))
    await jobs.start()
    await heard.until(lambda: any(isinstance(e, JobProgress) and e.progress.chunks_done for e in heard.events))
    await jobs.cancel(job.id, keep=True)
    assert (await jobs.job(job.id)).wish == "finish"
    held.set()
    await heard.all_ended(1)
    (end,) = heard.ended
    assert end.job.state is JobState.CANCELLED
    assert end.report is not None
    assert end.report.left > 0
    assert end.report.added > 0
    assert end.report.removed == 0
    records = await bench.library.documents("Toy")
    paths = {Path(record.source_path).name for record in records}
    assert {"0.txt", "1.txt"} <= paths
    assert len(records) == len(paths) == 2 + end.report.added
    assert (await bench.library.get("Toy")).active_generation == end.job.generation
    report = await bench.ingest.ingest("Toy", [docs])
    assert report.left == 0
    assert len(await bench.library.documents("Toy")) == 20


async def test_a_paused_job_that_finishes_early_seals_its_checkpoint_after_a_restart_too(
    bench: Bench, jobs: JobQueue, folder: Path, write: Write, held, close_behind, monkeypatch
) -> None:
    monkeypatch.setattr(writer, "CHUNKS_PER_CHECKPOINT", 4)
    docs = fill(write, folder / "a", 20)
    heard = Listener(jobs)
    job = await jobs.add("Toy", [docs], IngestOptions(jobs=1))
    await jobs.start()
    await heard.until(lambda: any(isinstance(e, JobChanged) and e.job.files_done for e in heard.events))
    await jobs.pause(job.id)
    await jobs.close()
    held.set()
    again = JobQueue(bench.stores, bench.work)
    try:
        heard = Listener(again)
        await again.cancel(job.id, keep=True)
        await again.start()
        await heard.all_ended(1)
        assert heard.ended[0].job.state is JobState.CANCELLED
        kept = len(await bench.library.documents("Toy"))
        assert 0 < kept < 20
        waiting = await again.add("Toy", [docs])
        await heard.all_ended(2)
        assert (await again.job(waiting.id)).state is JobState.DONE
        assert len(await bench.library.documents("Toy")) == 20
    finally:
        await again.close()


async def test_a_job_without_anything_to_keep_is_just_cancelled(
    bench: Bench, jobs: JobQueue, folder: Path, write: Write
) -> None:
    job = await jobs.add("Toy", [fill(write, folder / "a", 2)])
    await jobs.cancel(job.id, keep=True)
    assert (await jobs.job(job.id)).state is JobState.CANCELLED


async def test_the_next_program_goes_on_with_what_was_left(
    bench: Bench, jobs: JobQueue, folder: Path, write: Write, held: asyncio.Event
) -> None:
    heard = Listener(jobs)
    first = await jobs.add("Toy", [fill(write, folder / "a", 12)])
    paused = await jobs.add("Toy", [fill(write, folder / "b")])
    await jobs.pause(paused.id)
    await jobs.start()
    await heard.until(lambda: len(bench.toy.embedded) >= 4)
    await jobs.close()
    held.set()
    assert [job.state for job in await jobs.jobs()] == [JobState.RUNNING, JobState.PAUSED]
    following = JobQueue(bench.stores, bench.work)
    heard = Listener(following)
    await following.start()
    await heard.all_ended(1)
    assert heard.ended[0].job.id == first.id
    assert heard.ended[0].report is not None and heard.ended[0].report.added == 12
    assert [job.id for job in await following.jobs()] == [paused.id]
    assert len(bench.toy.embedded) == len(set(bench.toy.embedded))
    await following.close()


async def test_only_failed_files_are_tried_again(bench: Bench, jobs: JobQueue, folder: Path, write: Write) -> None:
    fill(write, folder / "a")
    write("a/bad.txt", "this is poison for the model")
    heard = Listener(jobs)
    first = await jobs.add("Toy", [folder / "a"])
    await jobs.start()
    await heard.all_ended(1)
    failed = await jobs.files(first.id, failed=True)
    assert [(Path(file.path).name, file.state, file.error) for file in failed] == [
        ("bad.txt", FileState.FAILED, "bad_vector")
    ]
    assert "no usable vector" in failed[0].reason
    found = await jobs.job(first.id)
    assert (found.files_total, found.files_done, found.files_failed) == (7, 7, 1)
    write("a/bad.txt", "this is fine for the model")
    again = await jobs.retry(first.id)
    assert again.paths == (str(folder / "a" / "bad.txt"),)
    await heard.all_ended(2)
    assert heard.ended[1].report is not None and heard.ended[1].report.added == 1
    assert await bench.statuses() == dict.fromkeys([*(f"{n}.txt" for n in range(6)), "bad.txt"], "indexed")


async def test_a_failed_job_is_told_and_stops_no_other(
    bench: Bench, jobs: JobQueue, folder: Path, write: Write
) -> None:
    heard = Listener(jobs)
    lost = await jobs.add("Toy", [folder / "not there"])
    good = await jobs.add("Toy", [fill(write, folder / "a")])
    await jobs.start()
    await heard.all_ended(2)
    assert (heard.ended[0].job.id, heard.ended[0].job.state) == (lost.id, JobState.FAILED)
    assert isinstance(heard.ended[0].error, NotFound) and "not there" in heard.ended[0].job.error
    assert (heard.ended[1].job.id, heard.ended[1].job.state) == (good.id, JobState.DONE)
    again = await jobs.retry(lost.id)
    assert again.paths == lost.paths
    await heard.all_ended(3)


async def test_a_bug_in_a_job_or_a_listener_stops_nothing(
    bench: Bench, jobs: JobQueue, folder: Path, write: Write, monkeypatch, caplog
) -> None:
    def broken(event: JobEvent) -> None:
        raise ValueError("wires crossed")

    jobs.subscribe(broken)
    heard = Listener(jobs)
    embed = bench.toy.embed

    async def wires(batch, *, interactive: bool = False):
        bench.toy.embed = embed
        raise RuntimeError("wires crossed")

    bench.toy.embed = wires
    first = await jobs.add("Toy", [fill(write, folder / "a")])
    await jobs.start()
    await heard.all_ended(1)
    assert heard.ended[0].job.state is JobState.FAILED
    assert "wires crossed" in (await jobs.job(first.id)).error
    await jobs.add("Toy", [folder / "a"])
    await heard.all_ended(2)
    assert heard.ended[1].report is not None and heard.ended[1].report.added == 6


async def test_a_busy_knowledge_base_waits_and_others_go_on(
    bench: Bench, jobs: JobQueue, folder: Path, write: Write, monkeypatch
) -> None:
    monkeypatch.setattr(queue, "BUSY_AGAIN_S", 0.05)
    await bench.library.create("Other", (await bench.library.get("Toy")).settings)
    kb = await bench.library.get("Toy")
    heard = Listener(jobs)
    first = await jobs.add("Toy", [fill(write, folder / "a")])
    second = await jobs.add("Other", [fill(write, folder / "b")])
    with await bench.stores.store(kb.id).lock_for_writing("Toy"):
        await jobs.start()
        await heard.all_ended(1)
        assert heard.ended[0].job.id == second.id
    await heard.all_ended(2)
    assert heard.ended[1].job.id == first.id


async def test_removals_and_rebuilds_are_jobs_too(bench: Bench, jobs: JobQueue, folder: Path, write: Write) -> None:
    heard = Listener(jobs)
    await jobs.add("Toy", [fill(write, folder / "a")], IngestOptions(jobs=1))
    await jobs.start()
    await heard.all_ended(1)
    await jobs.add_removal("Toy", [str(folder / "a" / "0.txt")])
    await jobs.add_rebuild("Toy")
    await heard.all_ended(3)
    assert [event.job.kind for event in heard.ended] == [JobKind.INGEST, JobKind.REMOVE, JobKind.REBUILD]
    assert heard.ended[1].report is not None and heard.ended[1].report.removed == 1
    assert len(await bench.sound()) == 5


async def test_what_makes_no_sense_is_refused(bench: Bench, jobs: JobQueue, folder: Path, write: Write) -> None:
    with pytest.raises(InvalidRequest):
        await jobs.add("Toy", [])
    with pytest.raises(NotFound):
        await jobs.add("Nobody", [folder])
    with pytest.raises(NotFound, match="no job"):
        await jobs.pause("nothing")
    waiting = await jobs.add("Toy", [folder])
    with pytest.raises(Conflict):
        await jobs.retry(waiting.id)
