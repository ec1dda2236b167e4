"""Watched folders: real files, and the operating system's own reports of what changes."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import pytest_asyncio
import watchfiles

from studio.config import Config
from studio.domain import IngestOptions, JobKind, JobState
from studio.errors import InvalidRequest, NotFound, StorageFault
from studio.memory import GIB, MachineReading, MemoryCoordinator
from studio.services.jobs import JobQueue
from studio.services.jobs.queue import JobEnded, JobEvent
from studio.services.watch import FolderStatus, WatchService, WatchState, folder_events
from studio.services.watch import service as watch
from studio.services.watch.folder_events import FolderEvents, Noise
from studio.services.watch.power import on_battery, reason_to_wait
from studio.ways_out import AllowRemovals
from tests.unit.services.workbench import Bench, Write

DEADLINE_S = 60


@dataclass
class Guard:
    """A queue, and a service that watches folders for it."""

    bench: Bench
    jobs: JobQueue
    config: Config

    def __post_init__(self) -> None:
        self.ended: list[JobEnded] = []
        self.changed = asyncio.Event()
        self.jobs.subscribe(self._heard)
        self.service = self.anew()

    def anew(self) -> WatchService:
        """As the program starts again."""
        memory = MemoryCoordinator(1 << 20, dict)
        self.service = WatchService(self.bench.stores, self.jobs.add, self.config, memory)
        self.service.subscribe(self.changed.set)
        return self.service

    def _heard(self, event: JobEvent) -> None:
        if isinstance(event, JobEnded):
            self.ended.append(event)
        self.service.heard(event)
        self.changed.set()

    async def until(self, condition: Callable) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not await condition():
                await self.changed.wait()
                self.changed.clear()

    async def status(self, path: Path) -> FolderStatus:
        return next(item for item in await self.service.folders() if item.path == str(path))

    async def reaches(self, path: Path, state: WatchState) -> FolderStatus:
        async def reached() -> bool:
            return (await self.status(path)).state is state

        await self.until(reached)
        return await self.status(path)

    async def holds(self, *names: str) -> None:
        """Wait until these documents are indexed, and no others, and nothing is left to do."""

        async def there() -> bool:
            return (
                set(await self.bench.statuses()) == set(names)
                and not await self.jobs.jobs()
                and all(item.state is not WatchState.CHANGED for item in await self.service.folders())
            )

        await self.until(there)

    async def follow(self, path: Path, *, queue: bool = True) -> None:
        """Watch a folder from now on; its first search has begun."""
        await self.service.add("Toy", [path])
        await self.service.start()
        if queue:
            await self.jobs.start()
        await self.reaches(path, WatchState.WATCHING)


@pytest_asyncio.fixture
async def guard(bench: Bench, monkeypatch) -> AsyncIterator[Guard]:
    monkeypatch.setattr(watch, "QUIET_S", 0.4)
    monkeypatch.setattr(watch, "CHECK_S", 0.2)
    monkeypatch.setattr(watch, "AGAIN_S", 0.5)
    monkeypatch.setattr(folder_events, "STEP_MS", 50)
    monkeypatch.setattr(folder_events, "ALIVE_MS", 100)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None, raising=False)
    queue = JobQueue(bench.stores, bench.work)
    made = Guard(bench, queue, Config(bench.stores.paths.config))
    yield made
    await made.service.close()
    await queue.close()


async def test_what_changes_becomes_searchable(guard: Guard, folder: Path, write: Write) -> None:
    write("a.txt", "The first text.")
    await guard.follow(folder)
    await guard.holds("a.txt")
    write("sub/deep/b.txt", "The second text.")
    await guard.holds("a.txt", "b.txt")
    write("sub/deep/c.txt", "The third text, in a folder that is new as well.")
    await guard.holds("a.txt", "b.txt", "c.txt")
    write("a.txt", "The first text in other words.")
    await guard.until(lambda: _contains(guard, "The first text in other words."))
    (folder / "sub" / "deep" / "b.txt").unlink()
    await guard.holds("a.txt", "c.txt")
    (folder / "sub").rename(folder / "moved")
    await guard.until(lambda: _lies_at(guard, folder / "moved" / "deep" / "c.txt"))


async def _contains(guard: Guard, text: str) -> bool:
    return text in await guard.bench.sound()


async def _lies_at(guard: Guard, path: Path) -> bool:
    return str(path) in [item.source_path for item in await guard.bench.library.documents("Toy")]


async def test_a_folder_says_what_was_kept_of_it_and_how_it_would_go(guard: Guard, folder: Path, write: Write) -> None:
    write("a.txt", "The first text.")
    for name in ("sub/b.txt", "sub/c.txt"):
        write(name, f"The text of {name}.")
    await guard.follow(folder)
    await guard.holds("a.txt", "b.txt", "c.txt")
    (folder / "sub").rename(folder.parent / "unmounted")

    async def told() -> bool:
        return bool((await guard.status(folder)).note)

    await guard.until(told)
    assert (await guard.status(folder)).note == (
        f"2 documents of {folder / 'sub'} are kept. There is nothing in it any more. "
        f"{AllowRemovals('KB', (str(folder / 'sub'),))}"
    )
    await guard.holds("a.txt", "b.txt", "c.txt")
    (folder.parent / "unmounted").rename(folder / "sub")

    async def taken_back() -> bool:
        return not (await guard.status(folder)).note

    await guard.until(taken_back)


async def test_changes_made_meanwhile_are_found_at_the_start(guard: Guard, folder: Path, write: Write) -> None:
    write("a.txt", "The first text.")
    write("b.txt", "The second text.")
    await guard.follow(folder)
    await guard.holds("a.txt", "b.txt")
    await guard.service.close()
    write("c.txt", "The third text.")
    (folder / "a.txt").unlink()
    await guard.anew().start()
    await guard.holds("b.txt", "c.txt")


async def test_a_burst_in_several_folders_is_one_job(guard: Guard, folder: Path, write: Write) -> None:
    for name in ("one", "two"):
        write(f"{name}/first.txt", f"The first text of {name}.")
    await guard.service.add("Toy", [folder / "one", folder / "two"])
    await guard.service.start()
    await guard.jobs.start()
    await guard.until(lambda: _ended(guard, 1))
    first = len(guard.ended)
    for n in range(20):
        write(f"{('one', 'two')[n % 2]}/{n}.txt", "half of ")
        write(f"{('one', 'two')[n % 2]}/{n}.txt", f"text number {n}")
        temporary = write(f"one/.{n}.swp", "noise")
        temporary.unlink()
    await guard.holds("first.txt", *(f"{n}.txt" for n in range(20)))
    assert [event.report.added for event in guard.ended[first:]] == [20]
    assert guard.ended[-1].job.paths == (str(folder / "one"), str(folder / "two"))


async def _ended(guard: Guard, count: int) -> bool:
    return len(guard.ended) >= count


async def test_a_folder_waits_in_the_queue_once(guard: Guard, folder: Path, write: Write) -> None:
    write("a.txt", "The first text.")
    narrow = await guard.jobs.add("Toy", [folder], IngestOptions(include=("*.md",)))
    await guard.follow(folder, queue=False)
    await guard.until(lambda: _open(guard, 2))
    write("b.txt", "The second text.")
    await guard.reaches(folder, WatchState.CHANGED)
    await guard.reaches(folder, WatchState.WATCHING)
    jobs = await guard.jobs.jobs()
    assert [(job.kind, job.state, job.paths) for job in jobs] == [
        (JobKind.INGEST, JobState.QUEUED, (str(folder),)) for _ in range(2)
    ]
    await guard.jobs.cancel(narrow.id)
    await guard.jobs.start()
    await guard.holds("a.txt", "b.txt")
    assert len(guard.ended) == 2


async def _open(guard: Guard, count: int) -> bool:
    return len(await guard.jobs.jobs()) == count


async def test_a_folder_that_goes_away_takes_nothing_along(
    guard: Guard, folder: Path, write: Write, tmp_path: Path
) -> None:
    write("a.txt", "The first text.")
    await guard.follow(folder)
    await guard.holds("a.txt")
    folder.rename(tmp_path / "elsewhere")
    status = await guard.reaches(folder, WatchState.MISSING)
    assert "followed again once it is back" in status.note
    (tmp_path / "elsewhere" / "b.txt").write_text("The second text.")
    (tmp_path / "elsewhere").rename(folder)
    await guard.holds("a.txt", "b.txt")
    assert all(not event.report.removed for event in guard.ended)
    shutil.rmtree(folder)
    await guard.reaches(folder, WatchState.MISSING)
    assert set(await guard.bench.statuses()) == {"a.txt", "b.txt"}
    write("c.txt", "The third text.")
    await guard.holds("c.txt")


@pytest.mark.parametrize("running", [True, False])
async def test_an_empty_place_where_a_drive_was_removes_nothing(
    guard: Guard, folder: Path, write: Write, tmp_path: Path, running: bool
) -> None:
    write("a.txt", "The first text.")
    await guard.follow(folder)
    await guard.holds("a.txt")
    count = len(guard.ended)
    if not running:
        await guard.service.close()
    place = tmp_path / "place"
    place.mkdir()
    folder.rename(tmp_path / "drive")
    place.rename(folder)
    if not running:
        await guard.anew().start()
    await guard.until(lambda: _noted(guard, folder, "is empty"))
    await guard.reaches(folder, WatchState.WATCHING)
    assert await guard.jobs.jobs() == []
    assert len(guard.ended) == count
    folder.rmdir()
    (tmp_path / "drive").rename(folder)
    write("b.txt", "The second text.")
    await guard.holds("a.txt", "b.txt")
    for name in ("a.txt", "b.txt"):
        (folder / name).unlink()  # who empties it nobody knows
    await guard.until(lambda: _noted(guard, folder, "2 documents"))
    await guard.holds("a.txt", "b.txt")


async def _noted(guard: Guard, path: Path, words: str) -> bool:
    return words in (await guard.status(path)).note


async def test_on_battery_changes_are_kept_for_later(guard: Guard, folder: Path, write: Write, monkeypatch) -> None:
    write("a.txt", "The first text.")
    plugged = SimpleNamespace(power_plugged=False)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: plugged, raising=False)
    await guard.service.add("Toy", [folder])
    await guard.service.start()
    await guard.jobs.start()
    status = await guard.reaches(folder, WatchState.WAITING)
    assert status.note == "The computer runs on its battery. The changes are indexed later."
    assert await guard.jobs.jobs() == []
    assert guard.ended == []
    plugged.power_plugged = True
    await guard.holds("a.txt")
    plugged.power_plugged = False
    guard.config.set("watch_on_battery", "on")
    write("b.txt", "The second text.")
    await guard.holds("a.txt", "b.txt")


async def test_reasons_to_wait(tmp_path: Path, monkeypatch) -> None:
    config = Config(tmp_path / "config.json")
    machine = MachineReading(8 * GIB, 4 * GIB)
    roomy = MemoryCoordinator(0, dict, read_machine=lambda: machine)
    tight = MemoryCoordinator(1, dict, read_machine=lambda: machine)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: SimpleNamespace(power_plugged=None), raising=False)
    assert not on_battery()
    monkeypatch.delattr(psutil, "sensors_battery")
    assert not on_battery()
    for memory in (roomy, tight):
        await memory.step()
    assert "budget" in reason_to_wait(config, tight)
    assert reason_to_wait(config, roomy) == ""
    machine = MachineReading(8 * GIB, GIB // 2)
    await roomy.step()
    assert "The computer has 537 MB" in reason_to_wait(config, roomy)


async def test_without_means_of_the_system_folders_are_looked_through(
    guard: Guard, folder: Path, write: Write, monkeypatch, caplog
) -> None:
    real = watchfiles.watch

    def limited(*paths, force_polling=None, **rest):
        if not force_polling:
            raise OSError("OS file watch limit reached.")
        return real(*paths, force_polling=force_polling, **rest)

    monkeypatch.setattr(watchfiles, "watch", limited)
    monkeypatch.setattr(folder_events, "POLL_MS", 100)
    write("a.txt", "The first text.")
    await guard.follow(folder)
    await guard.holds("a.txt")
    assert (await guard.status(folder)).polling
    assert "watch limit" in caplog.text
    write("sub/b.txt", "The second text.")
    await guard.holds("a.txt", "b.txt")


async def test_a_folder_that_cannot_be_watched_is_tried_again(
    guard: Guard, folder: Path, write: Write, monkeypatch
) -> None:
    def broken(*paths, **rest):
        raise OSError("no such luck")

    with monkeypatch.context() as patched:
        patched.setattr(watchfiles, "watch", broken)
        await guard.service.add("Toy", [folder])
        await guard.service.start()
        await guard.jobs.start()
        assert "no such luck" in (await guard.reaches(folder, WatchState.FAILED)).note
    write("a.txt", "The first text.")
    await guard.holds("a.txt")


async def test_a_job_that_is_not_accepted_is_asked_for_again(guard: Guard, folder: Path, write: Write) -> None:
    add, refusals = guard.jobs.add, 2

    async def reluctant(kb, paths):
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise StorageFault("The disk is full.", way_out="Free some space.")
        return await add(kb, paths)

    guard.jobs.add = reluctant
    guard.anew()
    write("a.txt", "The first text.")
    await guard.service.add("Toy", [folder])
    await guard.service.start()
    await guard.jobs.start()
    assert (await guard.reaches(folder, WatchState.WAITING)).note == "The disk is full. Free some space."
    await guard.holds("a.txt")


async def test_folders_are_switched_and_forgotten(guard: Guard, folder: Path, write: Write, tmp_path: Path) -> None:
    write("a.txt", "The first text.")
    await guard.follow(folder)
    await guard.holds("a.txt")
    await guard.service.enable("Toy", False)
    await guard.reaches(folder, WatchState.OFF)
    write("b.txt", "The second text.")
    await guard.service.enable("Toy", True, folder)
    await guard.holds("a.txt", "b.txt")
    await guard.service.remove("Toy", [folder])
    assert await guard.service.folders("Toy") == []
    with pytest.raises(NotFound, match="not watched"):
        await guard.service.remove("Toy", [folder])
    with pytest.raises(NotFound, match="No folder"):
        await guard.service.enable("Toy", True)
    with pytest.raises(NotFound, match="no folder"):
        await guard.service.add("Toy", [tmp_path / "none"])
    with pytest.raises(InvalidRequest, match="not a folder"):
        await guard.service.add("Toy", [folder, folder / "a.txt"])
    with pytest.raises(InvalidRequest, match="own data"):
        await guard.service.add("Toy", [guard.bench.stores.paths.root / "kb"])
    assert await guard.service.folders("Toy") == []


async def test_another_process_switches_a_folder_on(guard: Guard, folder: Path, write: Write) -> None:
    write("a.txt", "The first text.")
    await guard.service.start()
    await guard.jobs.start()
    kb = await guard.bench.library.get("Toy")
    await guard.bench.stores.catalog.watched.add(kb.id, str(folder))
    await guard.holds("a.txt")
    await guard.bench.library.delete(kb.id)
    await guard.until(lambda: _nothing(guard))


async def _nothing(guard: Guard) -> bool:
    return not guard.service._live and await guard.service.folders() == []


async def test_the_program_does_not_hear_itself(guard: Guard, tmp_path: Path) -> None:
    """Its data directory lies in the folder it watches."""
    (tmp_path / "note.txt").write_text("The first text.")
    await guard.follow(tmp_path)
    await guard.holds("note.txt")
    count = len(guard.ended)
    (tmp_path / "other.txt").write_text("The second text.")
    await guard.holds("note.txt", "other.txt")
    assert len(guard.ended) == count + 1


def test_what_is_noise(folder: Path, write: Write, tmp_path: Path) -> None:
    own = folder / "data"
    write("kept/.ragignore", "*.log\n/out/\n!important.log\n")
    write("kept/out/x", "")
    noise = Noise(folder, own)

    def matters(*parts: str) -> bool:
        return noise.matters(str(folder.joinpath(*parts)))

    assert matters("a.txt") and matters("kept", "deep", "a.txt") and noise.matters(str(folder))
    assert not matters(".git", "index") and not matters("kept", "~$letter.docx") and not matters("node_modules", "a.js")
    assert not matters("kept", "deep", "a.log") and matters("kept", "important.log") and matters("a.log")
    assert not matters("kept", "out", "x") and matters("kept", "deep", "out")
    assert matters(".ragignore") and not matters(".git", ".ragignore")
    assert not matters("data", "catalog.sqlite3") and not matters("data") and matters("data.txt")
    assert not matters("kept", "deep", "a.log")
    write("kept/.ragignore", "")
    assert matters("kept", ".ragignore") and matters("kept", "deep", "a.log")


def test_links_are_not_followed_and_hidden_folders_not_entered(folder: Path, write: Write, tmp_path: Path) -> None:
    for name in ("a/b/x.txt", ".git/objects/x", "node_modules/deep/x.js", "data/kb/x"):
        write(name, "")
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    with contextlib.suppress(OSError, NotImplementedError):  # Windows asks for a privilege
        (folder / "a" / "link").symlink_to(tmp_path / "outside", target_is_directory=True)
        (folder / "a" / "loop").symlink_to(folder, target_is_directory=True)
    found = {Path(name) for name in Noise(folder, folder / "data").folders()}
    assert found == {folder, folder / "a", folder / "a" / "b"}


async def test_listening_ends_with_its_folder(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(folder_events, "ALIVE_MS", 100)
    gone = FolderEvents(tmp_path / "none", tmp_path / "own", lambda: None, lambda: None)
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.to_thread(gone.listen)


async def test_rules_that_let_a_folder_in_again(guard: Guard, folder: Path, write: Write) -> None:
    write(".ragignore", "private/\n")
    write("a.txt", "The first text.")
    write("private/b.txt", "The second text.")
    await guard.follow(folder)
    await guard.holds("a.txt")
    (folder / ".ragignore").unlink()
    await guard.holds("a.txt", "b.txt")
    write("private/c.txt", "The third text.")
    await guard.holds("a.txt", "b.txt", "c.txt")
