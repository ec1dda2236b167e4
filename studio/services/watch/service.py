"""Watched folders: what changes in them becomes a job of the queue, one for all changes of a knowledge base.

A folder that goes away, as a drive that is unplugged does, takes none of its documents along: it is waited for. The
empty folder that is left where a drive was mounted is another one by its device and number, and counts for as little
as a folder that is empty when the watching begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from studio.concurrency import Attention, Executor, TaskOwner
from studio.config import Config
from studio.domain import HeldRemovals, Job, JobKind, JobState
from studio.errors import InvalidRequest, NotFound, StudioError
from studio.index.generations import Stores
from studio.memory import MemoryCoordinator
from studio.services.ingest import DEFAULT_OPTIONS, allowing, held_words
from studio.services.jobs import JobEnded, JobEvent
from studio.services.scan import identity, readable, storable
from studio.services.watch.folder_events import FolderEvents
from studio.services.watch.power import reason_to_wait
from studio.ways_out import AllowRemovals

QUIET_S = 2.0
"""A job is made when nothing more has changed for this long …"""
AT_MOST_S = 30.0
"""… or this long after the first change."""
CHECK_S = 2.0
"""How often it is looked whether folders are there, and whether another program switched one on or off."""
QUIET_CHECK_S = 10.0
"""The same, while nothing is at work."""
AGAIN_S = 30.0
"""A folder that cannot be watched, or a job that is not accepted, is tried again after this long."""

Submit = Callable[[str, Sequence[Path]], Awaitable[Job]]

log = logging.getLogger(__name__)


class WatchState(StrEnum):
    """How a watched folder stands. `on`: it is followed as soon as the watching begins."""

    OFF = "off"
    ON = "on"
    WATCHING = "watching"
    CHANGED = "changed"
    WAITING = "waiting"
    MISSING = "missing"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """A watched folder. `note` is a sentence that says why it waits, fails or does nothing, else ""."""

    kb_id: str
    path: str
    enabled: bool
    state: WatchState
    note: str = ""
    polling: bool = False


@dataclass(slots=True, eq=False)
class _Live:
    """A folder that is followed now. `first` and `last`: when changes came that are not handed over (monotonic)."""

    kb_id: str
    path: str
    identity: tuple[int, int] | None = None
    events: FolderEvents | None = None
    task: asyncio.Task[None] | None = None
    listening: bool = False
    sync: bool = False
    """Whether to look for changes made before the listening began."""
    first: float | None = None
    last: float = 0.0
    not_before: float = 0.0
    note: str = ""
    held: str = ""
    """What the last job kept although its files are gone."""
    failed: bool = False

    def changed(self) -> None:
        """Something is to be ingested."""
        self.last = time.monotonic()
        self.first = self.last if self.first is None else self.first

    @property
    def state(self) -> WatchState:
        if self.failed:
            return WatchState.FAILED
        if self.identity is None:
            return WatchState.MISSING
        if self.first is not None:
            return WatchState.WAITING if self.note else WatchState.CHANGED
        return WatchState.WATCHING if self.listening else WatchState.ON


class WatchService:
    """Keeps the list of watched folders at any time, and follows them from `start` to `close`.

    `submit` puts an ingest of folders into the queue.
    """

    def __init__(
        self,
        stores: Stores,
        submit: Submit,
        config: Config,
        memory: MemoryCoordinator,
        attention: Attention | None = None,
    ) -> None:
        self._attention = attention or Attention()
        self._stores = stores
        self._submit = submit
        self._reason_to_wait = lambda: reason_to_wait(config, memory)
        self._live: dict[tuple[str, str], _Live] = {}
        self._listeners: list[Callable[[], None]] = []
        self._owner = TaskOwner("watched folders")
        self._work: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._told: list[FolderStatus] = []

    async def start(self) -> None:
        """Follow the folders that are switched on. Each is first searched for changes made in the meantime."""
        if self._work is None:
            self._work = self._owner.start(self._follow(), name="work")

    async def close(self) -> None:
        """Stop within some hundred milliseconds. What changes from now on is found at the next start. Idempotent."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])
        for live in self._live.values():
            if live.events is not None:
                live.events.stop()
        await asyncio.gather(*(live.task for live in self._live.values() if live.task is not None))
        self._live.clear()
        await self._owner.close()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener`, on the event loop, whenever `folders` has another answer; returns what ends that."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return unsubscribe

    def heard(self, event: JobEvent) -> None:
        """Take in how a job of the queue ended: a folder says of itself what was kept."""
        if not isinstance(event, JobEnded) or event.report is None or event.job.kind is not JobKind.INGEST:
            return
        for live in self._live.values():
            if live.kb_id == event.job.kb_id and live.path in event.job.paths:
                live.held = _kept(
                    [item for item in event.report.held_removals if Path(item.folder).is_relative_to(live.path)]
                )
        self._wake.set()

    # ------------------------------------------------------------ the list

    async def folders(self, kb: str | None = None) -> list[FolderStatus]:
        """The watched folders of one knowledge base or of all. Raises NotFound."""
        kb_id = (await self._stores.knowledge_base(kb)).id if kb is not None else None
        rows = await self._stores.catalog.watched.list(kb_id)
        found = []
        for row in rows:
            live = self._live.get((row.kb_id, row.path)) if row.enabled else None
            if live is not None:
                found.append(_status(live))
            elif row.enabled and not await asyncio.to_thread(Path(row.path).is_dir):
                found.append(FolderStatus(row.kb_id, row.path, True, WatchState.MISSING, _gone(row.path)))
            else:
                found.append(
                    FolderStatus(row.kb_id, row.path, row.enabled, WatchState.ON if row.enabled else WatchState.OFF)
                )
        return found

    async def add(self, kb: str, folders: Sequence[Path]) -> None:
        """Let a knowledge base follow folders. Raises NotFound, InvalidRequest."""
        base = await self._stores.knowledge_base(kb)
        paths = [_absolute(folder) for folder in folders]
        await asyncio.to_thread(_check, paths, self._stores.paths.root)
        for path in paths:
            await self._stores.catalog.watched.add(base.id, path)
        self._wake.set()

    async def remove(self, kb: str, folders: Sequence[Path]) -> None:
        """Follow folders no longer; their documents stay. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        for folder in folders:
            await self._stores.catalog.watched.remove(base.id, _absolute(folder))
        self._wake.set()

    async def enable(self, kb: str, enabled: bool, folder: Path | None = None) -> None:
        """Switch a folder, or all of a knowledge base, on or off. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        path = _absolute(folder) if folder is not None else None
        await self._stores.catalog.watched.enable(base.id, path, enabled)
        self._wake.set()

    # ------------------------------------------------------------ following

    async def _follow(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._reconcile()
                await self._hand_over()
            except StudioError as error:
                log.warning("watched folders: %s", error)
            self._tell()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()
            if not self._live:
                await self._attention.pause(0)  # without a folder, only a person can bring one

    def _pause(self) -> float:
        """Seconds until something is due."""
        now = time.monotonic()
        dues = [_due(changed) - now for changed in self._changed().values()]
        check_s = QUIET_CHECK_S if self._attention.is_quiet else CHECK_S
        return max(0.05, min([check_s, *(due for due in dues if due > 0)]))

    def _changed(self) -> dict[str, list[_Live]]:
        """Folders with changes that are not handed over, by knowledge base."""
        found: dict[str, list[_Live]] = {}
        for live in self._live.values():
            if live.first is not None and live.identity is not None:
                found.setdefault(live.kb_id, []).append(live)
        return found

    async def _reconcile(self) -> None:
        """Follow what the catalog says is on, as far as it is there."""
        rows = await self._stores.catalog.watched.list()
        wanted = {(row.kb_id, row.path) for row in rows if row.enabled}
        for key in self._live.keys() - wanted:
            await self._let_go(self._live.pop(key))
        for key in sorted(wanted - self._live.keys()):
            self._live[key] = _Live(*key)
        found = await asyncio.to_thread(_look, [path for _, path in self._live])
        for live in self._live.values():
            there = found[live.path]
            if there is None:
                await self._let_go(live)
                live.identity, live.first, live.failed, live.note = None, None, False, _gone(live.path)
            elif live.task is None or live.identity != there[0]:
                if live.identity == there[0] and time.monotonic() < live.not_before:
                    continue
                await self._let_go(live)
                self._attach(live, *there)

    def _attach(self, live: _Live, found: tuple[int, int], empty: bool) -> None:
        live.identity, live.sync, live.failed = found, not empty, False
        live.note, live.not_before = "", 0.0
        if empty:
            live.first = None
            live.note = (
                f"{live.path} is empty: what is indexed of it stays until there is something in it again. "
                f"{_if_to_go(live.path)}"
            )
        loop = asyncio.get_running_loop()

        def listening() -> None:
            loop.call_soon_threadsafe(self._heard, live, events, True)

        def changed() -> None:
            loop.call_soon_threadsafe(self._heard, live, events, False)

        events = live.events = FolderEvents(Path(live.path), self._stores.paths.root, listening, changed)
        live.task = self._owner.start(self._listen(live, events), name=live.path)

    async def _listen(self, live: _Live, events: FolderEvents) -> None:
        thread = Executor("watched-folder")
        try:
            await thread.run(events.listen)
        except Exception as error:  # whatever the system finds wrong: this folder is tried again, others go on
            log.warning("%s cannot be watched: %s", live.path, error)
            live.failed, live.note = True, f"{live.path} cannot be watched: {error}"
        finally:
            thread.close()
            if live.events is events:
                live.events = live.task = None
                live.listening = False
                live.not_before = time.monotonic() + AGAIN_S
                self._wake.set()

    def _heard(self, live: _Live, events: FolderEvents, began: bool) -> None:
        if live.events is not events:
            return
        if began:
            live.listening = True
        if not began or live.sync:
            live.sync = False
            live.note = ""
            live.changed()
        self._wake.set()

    async def _let_go(self, live: _Live) -> None:
        """Stop listening to a folder."""
        events, task = live.events, live.task
        live.events = live.task = None
        live.listening = False
        if events is not None and task is not None:
            events.stop()
            await asyncio.wait([task])

    # ------------------------------------------------------------ jobs

    async def _hand_over(self) -> None:
        """Make a job of the changes of each knowledge base whose folders have come to rest."""
        now = time.monotonic()
        due = {kb_id: changed for kb_id, changed in self._changed().items() if _due(changed) <= now}
        if not due:
            return
        reason = await asyncio.to_thread(self._reason_to_wait)
        for kb_id, changed in due.items():
            if reason:
                for live in changed:
                    live.note = f"{reason} The changes are indexed later."
            else:
                await self._hand_in(kb_id, changed)

    async def _hand_in(self, kb_id: str, changed: Sequence[_Live]) -> None:
        times = [live.first for live in changed]
        for live in changed:
            live.first, live.note = None, ""  # before anything is asked: what comes from now on counts anew
        try:
            waiting = await self._waiting(kb_id)
            if paths := [Path(live.path) for live in changed if live.path not in waiting]:
                await self._submit(kb_id, paths)
        except NotFound:
            log.info("the knowledge base of %s is gone", changed[0].path)
        except StudioError as error:
            log.warning("changes in %s wait: %s", changed[0].path, error)
            for live, first in zip(changed, times, strict=True):
                live.first = first
                live.note = error.full_message
                live.not_before = time.monotonic() + AGAIN_S

    async def _waiting(self, kb_id: str) -> set[str]:
        """Folders that a job will look through which has not begun."""
        jobs = await self._stores.catalog.jobs.open(kb_id)
        return {
            path
            for job in jobs
            if job.kind is JobKind.INGEST and job.state in (JobState.QUEUED, JobState.PAUSED)
            and job.ingest_options == DEFAULT_OPTIONS
            for path in job.paths
        }  # fmt: skip

    def _tell(self) -> None:
        statuses = [_status(live) for live in self._live.values()]
        if statuses != self._told:
            self._told = statuses
            for listener in list(self._listeners):
                listener()


def _due(changed: Sequence[_Live]) -> float:
    """When the changes of a knowledge base are handed over."""
    first = min(live.first for live in changed if live.first is not None)
    quiet = min(max(live.last for live in changed) + QUIET_S, first + AT_MOST_S)
    return max(quiet, *(live.not_before for live in changed))


def _status(live: _Live) -> FolderStatus:
    polling = live.events is not None and live.events.polling
    return FolderStatus(live.kb_id, live.path, True, live.state, live.note or live.held, polling)


def _look(paths: Sequence[str]) -> dict[str, tuple[tuple[int, int], bool] | None]:
    """Device and number of each folder and whether it is empty; None for one that is not there."""
    found: dict[str, tuple[tuple[int, int], bool] | None] = {}
    for path in paths:
        found[path] = None
        if os.path.isdir(path) and (number := identity(path)) is not None:  # noqa: PTH112
            empty = False
            with contextlib.suppress(OSError), os.scandir(path) as listing:
                empty = next(iter(listing), None) is None
            found[path] = number, empty
    return found


def _absolute(folder: Path) -> str:
    return os.path.abspath(folder.expanduser())  # noqa: PTH100  (normalises "..", keeps symbolic links)


def _check(paths: Sequence[str], own: Path) -> None:
    """Raise NotFound or InvalidRequest for a folder that cannot be followed."""
    for path in paths:
        shown = readable(path)
        if not Path(path).exists():
            raise NotFound(f"There is no folder {shown}.", way_out="Check the path.")
        if not Path(path).is_dir():
            raise InvalidRequest(f"{shown} is not a folder.", way_out="Watch the folder it lies in.")
        if not storable(path):
            raise InvalidRequest(f"The path {shown} is not valid text.", way_out="Rename the folder.")
        if Path(path).resolve().is_relative_to(own.resolve()):
            raise InvalidRequest(f"{shown} is where this program keeps its own data.")


def _gone(path: str) -> str:
    return f"{path} is not there. What is indexed of it stays; it is followed again once it is back. {_if_to_go(path)}"


def _if_to_go(path: str) -> AllowRemovals:
    return AllowRemovals("KB", (path,), gone=True)


def _kept(held: Sequence[HeldRemovals]) -> str:
    return f"{held_words(held)} {allowing(held)}" if held else ""
