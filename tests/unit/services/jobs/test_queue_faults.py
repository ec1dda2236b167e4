"""The queue when other processes steer, programs die, and services fail."""

from __future__ import annotations

import asyncio
import itertools
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from studio.domain import FileState, GenerationState, IngestReport, Job, JobKind, JobState, KnowledgeBase
from studio.errors import Busy, Conflict, ModelFault, NotFound, StorageFault
from studio.index.generations import Stores
from studio.services.generations import Promotion
from studio.services.ingest import IngestService, JobControl, pipeline, writer
from studio.services.jobs import JobQueue, queue
from studio.services.jobs.queue import JobChanged, JobEnded, JobEvent
from studio.services.quality import GateService
from studio.services.search import SearchService
from tests.helpers.catalog_sql import catalog_sql
from tests.unit.services.workbench import Bench, ToyProvider, Write, held_after

Execute = Callable[..., Any]


class Scripted(IngestService):
    """Stands in for the service where a test says how an attempt goes."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    async def execute(self, seen: Job, progress, control, passwords=()) -> IngestReport:
        return await self._execute(seen.id, control=control, passwords=passwords)


class Heard:
    """What a queue told."""

    def __init__(self, of: JobQueue) -> None:
        self.events: list[JobEvent] = []
        of.subscribe(self.events.append)

    @property
    def ended(self) -> dict[str, JobEnded]:
        return {event.job.id: event for event in self.events if isinstance(event, JobEnded)}

    def states(self, job_id: str) -> list[JobState]:
        """The states a job was told to be in, without repetitions."""
        found: list[JobState] = []
        for event in self.events:
            told = isinstance(event, JobChanged) and event.job.id == job_id
            if told and found[-1:] != [event.job.state]:
                found.append(event.job.state)
        return found


async def until(condition: Callable[[], object], every_s: float = 0.005) -> None:
    """Wait until a condition comes true, for a generous time."""
    async with asyncio.timeout(30):
        for _ in itertools.count():
            if condition():
                return
            await asyncio.sleep(every_s)


@pytest.fixture(autouse=True)
def soon(monkeypatch) -> None:
    """What happens twice a second happens at once."""
    monkeypatch.setattr(queue, "POLL_S", 0.01)
    monkeypatch.setattr(queue, "BUSY_AGAIN_S", 0.01)
    monkeypatch.setattr(queue, "ASKED_POLL_S", 0.01)


@pytest_asyncio.fixture
async def jobs(bench: Bench, soon: None) -> AsyncIterator[JobQueue]:
    made = JobQueue(bench.stores, bench.work)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def other(bench: Bench, soon: None) -> AsyncIterator[JobQueue]:
    """The queue of a second program: a connection and locks of its own."""
    stores = await Stores.open(bench.stores.paths)
    provider = ToyProvider(bench.toy)
    promotion = Promotion(stores, GateService(stores, SearchService(stores, provider)))
    ingest = IngestService(stores, provider, bench.work._parser, promotion, bench.work._after_promotion)
    made = JobQueue(stores, ingest)
    yield made
    await made.close()
    await stores.close()


@pytest.fixture
def held(bench: Bench, monkeypatch) -> asyncio.Event:
    """Small batches and many checkpoints, and an embedder that waits for this event after the first batches."""
    monkeypatch.setattr(pipeline, "CHUNKS_PER_BATCH", 4)
    monkeypatch.setattr(writer, "FIRST_CHECKPOINT_S", 0.0)
    monkeypatch.setattr(writer, "CHECKPOINT_SHARE", 0.0)
    return held_after(bench.toy, 8)


def fill(write: Write, folder: Path, files: int = 12) -> Path:
    for n in range(files):
        write(f"{folder.name}/{n:02}.txt", f"File {n} of {folder.name} says something.\n\nAnd something else, {n}.")
    return folder


async def begun(bench: Bench, jobs: JobQueue, folder: Path, write: Write) -> Job:
    """A job in the middle of its work."""
    job = await jobs.add("Toy", [fill(write, folder / "a")])
    await jobs.start()
    await until(lambda: len(bench.toy.embedded) >= 8)
    return job


async def left_running(bench: Bench, jobs: JobQueue, folder: Path, write: Write) -> Job:
    """A job whose program died with a checkpoint."""
    job = await begun(bench, jobs, folder, write)
    await jobs.close()
    return await jobs.job(job.id)


async def building(bench: Bench) -> list[int]:
    kb = await bench.library.get("Toy")
    found = await bench.stores.catalog.generations(kb.id)
    return [item.number for item in found if item.state is GenerationState.BUILDING]


# ------------------------------------------------------------ gestures that come close together


async def test_a_job_that_is_resumed_while_it_stops_goes_on(
    bench: Bench, jobs: JobQueue, folder: Path, write: Write, held: asyncio.Event
) -> None:
    heard = Heard(jobs)
    job = await begun(bench, jobs, folder, write)
    async with asyncio.TaskGroup() as group:
        group.create_task(jobs.pause(job.id))
        await asyncio.sleep(0)
        group.create_task(jobs.resume(job.id))
    held.set()
    await until(lambda: job.id in heard.ended)
    assert heard.ended[job.id].job.state is JobState.DONE
    assert JobState.PAUSED in heard.states(job.id)
    assert len(bench.toy.embedded) == len(set(bench.toy.embedded))


async def test_a_job_is_cancelled_once_however_often_it_is_asked_for(
    bench: Bench, jobs: JobQueue, folder: Path, write: Write, held: asyncio.Event
) -> None:
    heard = Heard(jobs)
    job = await begun(bench, jobs, folder, write)
    await asyncio.gather(*(jobs.cancel(job.id) for _ in range(3)))
    assert heard.ended[job.id] == JobEnded(await jobs.job(job.id))
    assert heard.ended[job.id].job.state is JobState.CANCELLED
    assert sum(isinstance(event, JobEnded) for event in heard.events) == 1
    assert await building(bench) == []
    await jobs.cancel(job.id)
    with pytest.raises(Conflict, match="cancelled"):
        await jobs.pause(job.id)


async def test_a_job_that_is_paused_while_it_is_being_chosen_is_paused(
    bench: Bench, jobs: JobQueue, folder: Path, write: Write, held: asyncio.Event, monkeypatch
) -> None:
    job = await jobs.add("Toy", [fill(write, folder / "a")])
    listed, go_on, tell = asyncio.Event(), asyncio.Event(), jobs._feed.tell

    async def slowly(running: str = "") -> dict[str, Job]:
        found = await tell(running)
        listed.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(jobs._feed, "tell", slowly)
    await jobs.start()
    await listed.wait()
    pausing = asyncio.get_running_loop().create_task(jobs.pause(job.id))
    await asyncio.sleep(0.05)  # as long as it takes where nothing keeps it
    go_on.set()
    await pausing
    held.set()
    heard = Heard(jobs)
    following = await jobs.add("Toy", [fill(write, folder / "b", 1)])
    await until(lambda: following.id in heard.ended)
    assert (await jobs.job(job.id)).state is JobState.PAUSED


async def test_a_job_that_stops_for_another_process_can_be_resumed_at_once(bench: Bench, folder: Path) -> None:
    stopped, attempts = asyncio.Event(), []

    async def stops_slowly(job_id: str, *, control, passwords) -> IngestReport:
        attempts.append(job_id)
        await bench.stores.catalog.jobs.set_state(job_id, JobState.RUNNING)
        try:
            await asyncio.Event().wait()
        finally:
            await stopped.wait()
        raise AssertionError

    jobs = JobQueue(bench.stores, Scripted(stops_slowly))
    job = await jobs.add("Toy", [folder])
    await jobs.start()
    await until(lambda: attempts)
    await until(lambda: jobs._feed._told[job.id].state is JobState.RUNNING)
    await bench.stores.catalog.jobs.wish(job.id, "pause")
    await until(lambda: jobs._running is not None and jobs._running.control.pausing)
    resuming = asyncio.get_running_loop().create_task(jobs.resume(job.id))
    await asyncio.sleep(0.05)  # as long as it takes where nothing keeps it
    stopped.set()
    await resuming
    await until(lambda: len(attempts) == 2)
    await jobs.close()


async def test_closing_while_a_job_stops_leaves_it_paused(
    bench: Bench, jobs: JobQueue, folder: Path, write: Write, held: asyncio.Event
) -> None:
    job = await begun(bench, jobs, folder, write)
    pausing = asyncio.get_running_loop().create_task(jobs.pause(job.id))
    await until(lambda: jobs._running is not None and jobs._running.control.pausing, every_s=0)
    await jobs.close()
    await pausing
    found = await jobs.job(job.id)
    assert (found.state, found.wish) == (JobState.PAUSED, "")
    assert await bench.stores.catalog.jobs.checkpoint_of(job.id)


# ------------------------------------------------------------ other processes


async def test_another_process_pauses_resumes_and_cancels_a_running_job(
    bench: Bench, jobs: JobQueue, other: JobQueue, folder: Path, write: Write, held: asyncio.Event
) -> None:
    heard = Heard(jobs)
    job = await begun(bench, jobs, folder, write)
    assert await other.is_live(await other.job(job.id))
    await other.pause(job.id)
    await until(lambda: heard.states(job.id)[-1:] == [JobState.PAUSED])
    assert not await other.is_live(await other.job(job.id))
    following = await other.add("Toy", [fill(write, folder / "b")])
    await until(lambda: heard.states(following.id)[-1:] == [JobState.RUNNING])
    await other.cancel(following.id)
    await until(lambda: following.id in heard.ended)
    assert heard.ended[following.id].job.state is JobState.CANCELLED
    held.set()
    await other.resume(job.id)
    await until(lambda: job.id in heard.ended)
    assert heard.ended[job.id].report is not None and heard.ended[job.id].report.added == 12


@pytest.mark.parametrize(("steer", "left"), [(JobQueue.pause, JobState.PAUSED), (JobQueue.cancel, JobState.CANCELLED)])
async def test_what_another_process_does_to_a_job_that_is_just_beginning_counts(
    bench: Bench, jobs: JobQueue, other: JobQueue, folder: Path, write: Write, monkeypatch, steer, left: JobState
) -> None:
    chosen, go_on, match = asyncio.Event(), asyncio.Event(), bench.work._match_settings

    async def slowly(*arguments) -> KnowledgeBase:
        chosen.set()
        await go_on.wait()
        return await match(*arguments)

    monkeypatch.setattr(bench.work, "_match_settings", slowly)
    job = await jobs.add("Toy", [fill(write, folder / "a", 2)])
    await jobs.start()
    await chosen.wait()
    await steer(other, job.id)
    heard = Heard(jobs)
    go_on.set()
    following = await jobs.add("Toy", [fill(write, folder / "b", 2)])
    await until(lambda: following.id in heard.ended)
    assert (await jobs.job(job.id)).state is left
    assert heard.ended[following.id].report is not None and heard.ended[following.id].report.added == 2


async def test_two_programs_share_the_queue_and_run_each_job_once(
    bench: Bench, jobs: JobQueue, other: JobQueue, folder: Path, write: Write
) -> None:
    await bench.library.create("Other", (await bench.library.get("Toy")).settings)
    made = [await jobs.add(kb, [fill(write, folder / f"{kb}{n}", 3)]) for n in range(3) for kb in ("Toy", "Other")]
    heard = {jobs: Heard(jobs), other: Heard(other)}
    await asyncio.gather(jobs.start(), other.start())
    for listener in heard.values():
        await until(lambda told=listener: len(told.ended) == 6)
    for job in made:
        ends = [listener.ended[job.id] for listener in heard.values()]
        assert {end.job.state for end in ends} == {JobState.DONE}
        assert ends[0].report == ends[1].report
        assert ends[0].report is not None and ends[0].report.added == 3
    assert len(bench.toy.embedded) == len(set(bench.toy.embedded)) == 18


async def test_a_wish_that_a_dead_program_did_not_obey_is_obeyed_at_the_next_start(
    bench: Bench, jobs: JobQueue, other: JobQueue, folder: Path, write: Write, held: asyncio.Event
) -> None:
    await left_running(bench, jobs, folder, write)
    (job,) = await other.jobs()
    assert job.state is JobState.RUNNING and not await other.is_live(job)
    embedded = len(bench.toy.embedded)
    await bench.stores.catalog.jobs.wish(job.id, "pause")
    heard = Heard(other)
    await other.start()
    await until(lambda: heard.states(job.id)[-1:] == [JobState.PAUSED])
    # At once, or the queue goes on with the job in between.
    catalog_sql(bench.stores.paths, "UPDATE job SET state = 'running', wish = 'cancel' WHERE id = ?", (job.id,))
    await until(lambda: job.id in heard.ended)
    assert heard.ended[job.id].job.state is JobState.CANCELLED
    assert len(bench.toy.embedded) == embedded


async def test_cancelling_what_a_dead_program_left_removes_its_build(
    bench: Bench, jobs: JobQueue, other: JobQueue, folder: Path, write: Write, held: asyncio.Event
) -> None:
    job = await left_running(bench, jobs, folder, write)
    journal = bench.stores.paths.kb(job.kb_id).journal(job.id)
    assert await building(bench) == [job.generation] and journal.exists()
    await other.cancel(job.id)
    assert (await other.job(job.id)).state is JobState.CANCELLED
    assert await building(bench) == [] and not journal.exists()


async def test_a_job_of_a_deleted_knowledge_base_ends(
    bench: Bench, jobs: JobQueue, other: JobQueue, folder: Path, write: Write, held: asyncio.Event
) -> None:
    await bench.library.create("Other", (await bench.library.get("Toy")).settings)
    heard = Heard(jobs)
    await begun(bench, jobs, folder, write)
    waiting = await jobs.add("Other", [fill(write, folder / "b")])
    await bench.library.delete("Other")
    await until(lambda: waiting.id in heard.ended)
    assert heard.ended[waiting.id].job.state is JobState.CANCELLED


# ------------------------------------------------------------ faults


async def test_a_job_ends_with_the_rebuild_it_needs(
    bench: Bench, jobs: JobQueue, folder: Path, write: Write, held: asyncio.Event
) -> None:
    held.set()
    await bench.ingest.ingest("Toy", [fill(write, folder / "a")])
    held.clear()
    kb = await bench.library.get("Toy")
    settings = replace(kb.settings, chunk_tokens=12)
    await bench.stores.catalog.update_settings(kb.id, settings)
    heard = Heard(jobs)
    job = await jobs.add("Toy", [fill(write, folder / "b")])
    rest = await jobs.add("Toy", [fill(write, folder / "c", 1)])
    await jobs.pause(rest.id)
    await jobs.start()
    await until(
        lambda: any(event.job.kind is JobKind.REBUILD for event in heard.events if isinstance(event, JobChanged))
    )
    (rebuild,) = [item for item in await jobs.jobs() if item.kind is JobKind.REBUILD]
    await jobs.cancel(rebuild.id)
    await until(lambda: len(heard.ended) == 2)
    assert {event.job.state for event in heard.ended.values()} == {JobState.CANCELLED}
    assert heard.ended.keys() == {job.id, rebuild.id}
    assert [item.id for item in await jobs.jobs()] == [rest.id]


async def test_a_repair_that_misses_its_model_waits_to_be_tried_again(bench: Bench) -> None:
    attempts: list[tuple[str, ...]] = []

    async def no_model(job_id: str, *, control, passwords) -> IngestReport:
        attempts.append(tuple(passwords))
        raise ModelFault("The model is not installed.", way_out="Install it.")

    kb = await bench.library.get("Toy")
    job_id = await bench.stores.catalog.jobs.create(kb.id, JobKind.REINDEX, ["x"], {})
    jobs = JobQueue(bench.stores, Scripted(no_model))
    heard = Heard(jobs)
    await jobs.start()
    await until(lambda: heard.states(job_id)[-1:] == [JobState.PAUSED])
    assert (await jobs.job(job_id)).error == "The model is not installed. Install it."
    again = await jobs.retry(job_id, passwords=["sesame"])
    assert again.id == job_id
    await until(lambda: len(attempts) == 2)
    assert attempts == [(), ("sesame",)]
    await jobs.close()


async def test_what_cannot_be_written_down_is_tried_again(bench: Bench, folder: Path, monkeypatch, caplog) -> None:
    async def fails(job_id: str, *, control, passwords) -> IngestReport:
        raise NotFound("It is not there.")

    finish, faults = bench.stores.catalog.jobs.finish, ["The disk is full."]

    async def full(*args: Any, **kwargs: Any) -> None:
        if faults:
            raise StorageFault(faults.pop())
        await finish(*args, **kwargs)

    monkeypatch.setattr(bench.stores.catalog.jobs, "finish", full)
    jobs = JobQueue(bench.stores, Scripted(fails))
    heard = Heard(jobs)
    job = await jobs.add("Toy", [folder])
    await jobs.start()
    await until(lambda: job.id in heard.ended)
    assert heard.ended[job.id].job.state is JobState.FAILED
    assert "could not be written down: The disk is full." in caplog.text
    await jobs.close()


async def test_a_bug_in_the_queue_itself_does_not_end_it(
    bench: Bench, folder: Path, write: Write, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(queue, "BUSY_AT_MOST_S", 0.01)
    jobs = JobQueue(bench.stores, bench.work)
    heard = Heard(jobs)
    job = await jobs.add("Toy", [fill(write, folder / "a", 1)])
    tell, bugs = jobs._feed.tell, [ValueError("wires crossed"), ValueError("wires crossed")]

    async def crossed(running: str = "") -> dict[str, Job]:
        if bugs:
            raise bugs.pop()
        return await tell(running)

    monkeypatch.setattr(jobs._feed, "tell", crossed)
    await jobs.start()
    await until(lambda: job.id in heard.ended)
    await jobs.close()
    assert "wires crossed" in caplog.text and "Traceback" in caplog.text


async def test_cancelling_again_does_not_disturb_what_tidies_up() -> None:
    control, tidied = JobControl(), asyncio.Event()

    async def job() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            tidied.set()

    task = asyncio.get_running_loop().create_task(job())
    await asyncio.sleep(0)
    control.attach(task)
    control.obey("cancel")
    await asyncio.sleep(0)
    control.obey("cancel")
    await asyncio.wait([task])
    assert tidied.is_set() and control.cancelled


async def test_passwords_reach_their_job_and_are_forgotten_with_it(bench: Bench, folder: Path) -> None:
    given: list[tuple[str, ...]] = []

    async def noted(job_id: str, *, control, passwords) -> IngestReport:
        given.append(tuple(passwords))
        if len(given) == 1:
            raise Busy("Somebody else writes.")
        await bench.stores.catalog.jobs.finish(job_id, JobState.FAILED)
        raise NotFound("It is not there.")

    jobs = JobQueue(bench.stores, Scripted(noted))
    heard = Heard(jobs)
    job = await jobs.add("Toy", [folder], passwords=["sesame"])
    await jobs.start()
    await until(lambda: job.id in heard.ended)
    assert given == [("sesame",), ("sesame",)]
    assert jobs._passwords == {}
    assert all(b"sesame" not in path.read_bytes() for path in bench.stores.paths.root.rglob("*") if path.is_file())
    await jobs.close()


# ------------------------------------------------------------ what is asked for


async def test_relative_paths_mean_the_same_after_a_restart(
    bench: Bench, jobs: JobQueue, folder: Path, monkeypatch
) -> None:
    monkeypatch.chdir(folder)
    assert (await jobs.add("Toy", [Path("notes")])).paths == (str(folder / "notes"),)


async def test_an_empty_knowledge_base_is_not_rebuilt(jobs: JobQueue) -> None:
    with pytest.raises(NotFound, match="empty"):
        await jobs.add_rebuild("Toy")


async def test_every_failure_of_a_job_is_listed_and_tried_again(
    bench: Bench, jobs: JobQueue, folder: Path, write: Write
) -> None:
    write("good.txt", "This can be read.")
    with zipfile.ZipFile(folder / "papers.zip", "w") as archive:
        archive.writestr("fine.txt", "A fine paper.")
        archive.writestr("torn.pdf", b"%PDF-1.7 torn")
    write("gone.txt", "poison")
    heard = Heard(jobs)
    job = await jobs.add("Toy", [folder])
    await jobs.start()
    await until(lambda: job.id in heard.ended)
    failed = {Path(file.path).name: file for file in await jobs.files(job.id, failed=True)}
    assert failed.keys() == {"torn.pdf", "gone.txt"}
    assert all(file.state is FileState.FAILED and file.error and file.reason for file in failed.values())
    (folder / "gone.txt").unlink()
    again = await jobs.retry(job.id)
    assert again.paths == (str(folder / "papers.zip"),)
    await until(lambda: again.id in heard.ended)
    assert {Path(file.path).name for file in await jobs.files(again.id, failed=True)} == {"torn.pdf"}
    (folder / "papers.zip").unlink()
    with pytest.raises(Conflict, match="is there any more"):
        await jobs.retry(again.id)
    fine = await jobs.add("Toy", [folder / "good.txt"])
    await until(lambda: fine.id in heard.ended)
    with pytest.raises(Conflict, match="nothing to try again"):
        await jobs.retry(fine.id)
