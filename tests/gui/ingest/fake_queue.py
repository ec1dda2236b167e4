"""A queue of jobs in memory that runs the script a test gives, and a look ahead that finds what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from studio.concurrency import TaskOwner
from studio.domain import (
    FileProgress,
    FileState,
    IngestOptions,
    IngestProgress,
    IngestReport,
    Job,
    JobKind,
    JobState,
    Preflight,
    ProgressSink,
)
from studio.errors import StudioError
from studio.services.jobs.queue import JobChanged, JobEnded, JobEvent, JobProgress

Script = Callable[[str, Sequence[Path], ProgressSink], Any]


def report(kb_id: str = "kb1", **changes: Any) -> IngestReport:
    """A job that added one file."""
    base = IngestReport("job", kb_id, 1, True, 1, 0, 0, 0, (), 3, 3, 0, 0.5, 6.0)
    return replace(base, **changes)


def job(number: int, state: JobState = JobState.QUEUED, *paths: str, **changes: Any) -> Job:
    """A job of the first knowledge base."""
    base = Job(f"job{number}", "kb1", JobKind.INGEST, state, paths or ("/papers",), asdict(IngestOptions()), number)
    return replace(base, **changes)


def preflight(**changes: Any) -> Preflight:
    """A small drop with nothing to warn about."""
    base = Preflight(
        files=3, bytes=48_000, new=3, changed=0, unchanged=0, removed=0, kinds={"pdf": 2, "markdown": 1}, skipped=(),
        sampled=3, chunks=12, seconds=2.0, disk_bytes=60_000, peak_memory_bytes=600_000_000,
        free_disk_bytes=80_000_000_000,
    )  # fmt: skip
    return replace(base, **changes)


class FakeQueue:
    """Runs one job at a time once it is started; keeps what is left for the next start."""

    def __init__(self) -> None:
        self.script: Script | None = None
        self.asked: list[tuple[str, tuple[Path, ...]]] = []
        self.passwords: list[tuple[str, ...]] = []
        self.open: list[Job] = []
        self.past: list[Job] = []
        self.job_files: dict[str, list[FileProgress]] = {}
        self._listeners: list[Callable[[JobEvent], None]] = []
        self._tasks = TaskOwner("fake queue")
        self._running: asyncio.Task[None] | None = None
        self._is_started = False
        self.kept: list[tuple[str, bool]] = []
        self._wishes: dict[str, JobState] = {}

    def subscribe(self, listener: Callable[[JobEvent], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def tell(self, event: JobEvent) -> None:
        for listener in list(self._listeners):
            listener(event)

    async def start(self) -> None:
        self._is_started = True
        self._go_on()

    async def add(
        self,
        kb: str,
        paths: Sequence[Path],
        options: IngestOptions = IngestOptions(),  # noqa: B008
        passwords: Sequence[str] = (),
    ) -> Job:
        self.passwords.append(tuple(passwords))
        return self._accept(Job("", kb, JobKind.INGEST, JobState.QUEUED, tuple(map(str, paths)), asdict(options)))

    async def add_rebuild(self, kb: str) -> Job:
        return self._accept(Job("", kb, JobKind.REBUILD, JobState.QUEUED, (), {}))

    async def add_removal(self, kb: str, documents: Sequence[str]) -> Job:
        return self._accept(Job("", kb, JobKind.REMOVE, JobState.QUEUED, tuple(documents), {}))

    async def jobs(self) -> list[Job]:
        return sorted(self.open, key=lambda item: item.position)

    async def ended(self, kb: str | None = None) -> list[Job]:
        return [item for item in self.past if kb in (None, item.kb_id)]

    async def files(self, job_id: str, failed: bool = False) -> list[FileProgress]:
        files = self.job_files.get(job_id, [])
        return [file for file in files if not failed or file.state is FileState.FAILED]

    async def pause(self, job_id: str) -> None:
        self._stop(job_id, JobState.PAUSED)

    async def resume(self, job_id: str) -> None:
        self._set(job_id, JobState.QUEUED)
        self._go_on()

    async def cancel(self, job_id: str, *, keep: bool = False) -> None:
        self.kept.append((job_id, keep))
        self._stop(job_id, JobState.CANCELLED)

    async def move(self, job_id: str, before: str | None) -> None:
        order = [item.id for item in await self.jobs() if item.id != job_id]
        order.insert(order.index(before) if before is not None else len(order), job_id)
        self.open = [replace(item, position=order.index(item.id)) for item in self.open]

    async def retry(self, job_id: str, passwords: Sequence[str] = ()) -> Job:
        old = next(item for item in self.past if item.id == job_id)
        self.passwords.append(tuple(passwords))
        return self._accept(replace(old, state=JobState.QUEUED, error=""))

    async def close(self) -> None:
        await self._tasks.close()

    def _accept(self, asked: Job) -> Job:
        number = len(self.open) + len(self.past) + 1
        accepted = replace(asked, id=f"job{number}", position=number)
        self.open.append(accepted)
        self.tell(JobChanged(accepted))
        self._go_on()
        return accepted

    def _set(self, job_id: str, state: JobState) -> Job:
        place = next(place for place, item in enumerate(self.open) if item.id == job_id)
        self.open[place] = replace(self.open[place], state=state)
        self.tell(JobChanged(self.open[place]))
        return self.open[place]

    def _stop(self, job_id: str, state: JobState) -> None:
        was = next(item for item in self.open if item.id == job_id)
        self._wishes[job_id] = state
        if was.state is JobState.RUNNING and self._running is not None:
            self._running.cancel()
        elif state is JobState.CANCELLED:
            self._end(was, state)
        else:
            self._set(job_id, state)

    def _go_on(self) -> None:
        if self._is_started and (self._running is None or self._running.done()):
            self._running = self._tasks.start(self._work(), name="work")

    async def _work(self) -> None:
        while True:
            order = [item for item in await self.jobs() if item.state in (JobState.QUEUED, JobState.RUNNING)]
            if not order:
                return
            current = self._set(order[0].id, JobState.RUNNING)
            self.asked.append((current.kb_id, tuple(map(Path, current.paths))))
            try:
                outcome: IngestReport = await self._run(current)
            except asyncio.CancelledError:
                wished = self._wishes.pop(current.id, None)
                if wished is None:
                    raise
                asyncio.current_task().uncancel()  # type: ignore[union-attr]
                if wished is JobState.PAUSED:
                    self._set(current.id, wished)
                else:
                    self._end(current, wished)
            except StudioError as error:
                self._end(current, JobState.FAILED, error=error)
            else:
                self._end(current, JobState.DONE, outcome)

    async def _run(self, current: Job) -> IngestReport:
        def sink(progress: IngestProgress) -> None:
            self.tell(JobProgress(replace(progress, job_id=current.id, kb_id=current.kb_id)))

        if self.script is None:
            return report(current.kb_id)
        outcome: IngestReport = await self.script(current.kb_id, tuple(map(Path, current.paths)), sink)
        return outcome

    def _end(
        self, was: Job, state: JobState, outcome: IngestReport | None = None, error: StudioError | None = None
    ) -> None:
        generation = outcome.generation if outcome is not None else None
        ended = replace(was, state=state, generation=generation, error=error.full_message if error else "")
        self.open = [item for item in self.open if item.id != was.id]
        self.past.insert(0, ended)
        self.job_files[was.id] = [
            FileProgress(failure.path, FileState.FAILED, error=failure.error, reason=failure.reason)
            for failure in (outcome.failed if outcome is not None else ())
        ]
        self.tell(JobEnded(ended, outcome, error))


class FakePreflight:
    """Finds what the test says, when it says so."""

    def __init__(self) -> None:
        self.found: Preflight | StudioError = preflight()
        self.gate: asyncio.Event | None = None
        self.asked: list[tuple[str | None, tuple[Path, ...]]] = []
        self.passwords: list[tuple[str, ...]] = []

    async def look(
        self,
        kb: str | None,
        paths: Sequence[Path],
        options: IngestOptions = IngestOptions(),  # noqa: B008
        *,
        limit_s: float = 3.0,
        passwords: Sequence[str] = (),
    ) -> Preflight:
        self.asked.append((kb, tuple(paths)))
        self.passwords.append(tuple(passwords))
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.found, StudioError):
            raise self.found
        return self.found
