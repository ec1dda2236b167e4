"""What happens to the jobs of the queue, for all that listen."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from studio.domain import IngestProgress, IngestReport, Job, JobState
from studio.errors import NotFound
from studio.index.generations import Stores
from studio.services.ingest import decoded

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobChanged:
    """A job was accepted, began, was paused, put back or moved, or wrote down how far it is."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far the running job is."""

    progress: IngestProgress


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A job came to its end: with a report, or with the error that ended it.

    With neither when it was cancelled, or failed in another process.
    """

    job: Job
    report: IngestReport | None = None
    error: BaseException | None = None


JobEvent = JobChanged | JobProgress | JobEnded


class JobFeed:
    """Tells listeners how the jobs of the catalog change, whichever process changes them."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._listeners: list[Callable[[JobEvent], None]] = []
        self._told: dict[str, Job] = {}
        self._one_at_a_time = asyncio.Lock()

    def subscribe(self, listener: Callable[[JobEvent], None]) -> Callable[[], None]:
        """Call `listener` with every event, on the event loop; returns what ends that."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return unsubscribe

    def progress(self, job: Job, progress: IngestProgress) -> None:
        """`job` runs in this process; with its first sign of life the catalog says so, too."""
        told = self._told.get(job.id, job)
        if progress.job_id == job.id and told.state is not JobState.RUNNING:
            self._told[job.id] = replace(told, state=JobState.RUNNING, wish="", error="")
            self._publish(JobChanged(self._told[job.id]))
        self._publish(JobProgress(progress))

    def waits(self, progress: IngestProgress) -> None:
        """Publish why a job that was tried does not begin."""
        self._publish(JobProgress(progress))

    async def tell(self, running: str = "") -> dict[str, Job]:
        """Publish what changed since it was told last; returns the jobs that have not ended.

        The end of the job that is `running` in this process is told by `ended`, which has its report.
        """
        async with self._one_at_a_time:
            now = {job.id: job for job in await self._stores.catalog.jobs.open()}
            known = self._told.get(running)
            if known is not None and now.get(running, known).state is JobState.QUEUED:
                now[running] = known  # it began while the list was read
            elif known is not None:
                now.setdefault(running, known)
            before, self._told = self._told, now
            for job in now.values():
                if before.get(job.id) != job:
                    self._publish(JobChanged(job))
            for job in before.values():
                if job.id not in now:
                    self._publish(JobEnded(await self._as_it_ended(job), await self.report_of(job.id)))
            return now

    async def report_of(self, job_id: str) -> IngestReport | None:
        """The report of a job that ended, in whichever process."""
        return decoded(await self._stores.catalog.jobs.report_of(job_id))

    async def ended(self, job: Job, report: IngestReport | None, error: BaseException | None) -> None:
        """Publish how a job ended that ran in this process."""
        async with self._one_at_a_time:  # a list of the jobs that was read before it ended comes first
            self._told.pop(job.id, None)
            self._publish(JobEnded(job, report, error))

    async def _as_it_ended(self, job: Job) -> Job:
        try:
            return await self._stores.catalog.jobs.get(job.id)
        except NotFound:  # deleted with its knowledge base
            return replace(job, state=JobState.CANCELLED)

    def _publish(self, event: JobEvent) -> None:
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception:  # a listener must not stop the jobs
                log.exception("a listener of the job queue failed")
