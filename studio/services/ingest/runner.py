"""Running a job of the catalog: it begins, does its work in the room it gets, and ends in one of the states."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from studio.domain import (
    FileProgress,
    FileState,
    IngestReport,
    IngestStage,
    Job,
    JobKind,
    JobState,
    KnowledgeBase,
    ProgressSink,
)
from studio.errors import Busy, MemoryRefused, ModelFault, StudioError
from studio.index.generations import Stores
from studio.services.ingest.control import JobControl
from studio.services.ingest.kept_report import encoded
from studio.services.ingest.progress import ProgressTracker
from studio.services.ingest.room import BuildRoom, Place
from studio.services.ingest.stages import Stages
from studio.ways_out import GoOn, Listing, See


@dataclass(slots=True, eq=False)
class Run:
    """A job at work. `passwords` are for protected files; they are written down nowhere.

    `place` is the memory it may use. `waits` is set when the job failed for a reason that passes, and can go on from a
    checkpoint afterwards.
    """

    job: Job
    kb: KnowledgeBase
    tracker: ProgressTracker
    control: JobControl
    passwords: Sequence[str] = ()
    stages: Stages = field(default_factory=Stages)
    waits: bool = False
    place: Place = field(default_factory=Place)


Work = Callable[[Run], Awaitable[IngestReport]]


class JobRunner:
    """Runs jobs, one per call; the caller holds the knowledge base's writer lock."""

    def __init__(self, stores: Stores, room: BuildRoom) -> None:
        self._stores = stores
        self._room = room

    async def run(
        self,
        job: Job,
        kb: KnowledgeBase,
        work: Work,
        progress: ProgressSink | None,
        control: JobControl,
        passwords: Sequence[str] = (),
    ) -> IngestReport:
        """Do the work of a job and write down how it ends. `control` stops it.

        When the calling task is cancelled but the job was not, the job stays as it is, to go on later. So does a repair
        that misses its model, and a job with a checkpoint that finds no room in memory. Raises what the work raises,
        MemoryRefused, and Busy where the job was paused or cancelled since it was looked at.
        """
        jobs = self._stores.catalog.jobs
        tracker = ProgressTracker(job.id, kb.id, progress, control)
        if not await jobs.begin(job):
            raise Busy(
                f"Job {job.id} was paused or cancelled a moment ago, maybe by another program.",
                way_out=See(Listing.JOBS),
            )
        control.obey(job.wish)
        run = Run(job, kb, tracker, control, passwords)
        try:
            async with self._room.place(kb.name, job, control, await self._documents(kb)) as run.place:
                report = await work(run)
        except asyncio.CancelledError:
            if control.cancelled:
                tracker.stage(IngestStage.CANCELLED)
                await self._finish(job, JobState.CANCELLED)
            raise
        except StudioError as error:
            tracker.stage(IngestStage.FAILED)
            if run.waits or (isinstance(error, MemoryRefused) and await self._has_checkpoint(job)):
                with contextlib.suppress(StudioError):  # on a full disk it stays as it is, which can go on as well
                    await jobs.set_state(job.id, JobState.PAUSED, error=error.full_message)
                error.way_out = f"{error.way_out} {GoOn()}".strip()
            elif not (isinstance(error, ModelFault) and job.kind in (JobKind.REINDEX, JobKind.RESTORE)):
                await self._finish(job, JobState.FAILED, error=error.full_message)
            raise
        finally:
            control.attach(None)
            tracker.close()
        failed = [
            FileProgress(item.path, FileState.FAILED, error=item.error, reason=item.reason) for item in report.failed
        ]
        if failed:
            await jobs.update_files(job.id, failed)
        state = JobState.CANCELLED if report.left else JobState.DONE
        await self._finish(job, state, generation=report.generation, report=encoded(report))
        tracker.stage(IngestStage.CANCELLED if report.left else IngestStage.DONE)
        return report

    async def _has_checkpoint(self, job: Job) -> bool:
        with contextlib.suppress(StudioError):
            return bool(await self._stores.catalog.jobs.checkpoint_of(job.id))
        return False

    async def _documents(self, kb: KnowledgeBase) -> int:
        """Of the active generation."""
        if kb.active_generation is None:
            return 0
        return (await self._stores.catalog.generation(kb.id, kb.active_generation)).documents

    async def _finish(
        self, job: Job, state: JobState, *, generation: int | None = None, error: str = "", report: str = ""
    ) -> None:
        finish = self._stores.catalog.jobs.finish
        await finish(job.id, state, generation=generation, error=error, report=report)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._stores.paths.kb(job.kb_id).journal(job.id).unlink, missing_ok=True)
