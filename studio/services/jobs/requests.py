"""Changes of a knowledge base that a caller waits for. Each is a job of the queue, and ends with that job's report."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

from studio.domain import IngestOptions, IngestReport, Job, JobKind, JobState, KnowledgeBase, ProgressSink
from studio.errors import NotFound, StudioError
from studio.index.generations import Stores
from studio.services.ingest import DEFAULT_OPTIONS, RESTORE, IngestService
from studio.services.jobs.queue import JobQueue


class Requests:
    """Puts jobs into the queue and waits for them.

    Every method raises Cancelled where the job is cancelled, and what the job fails with: Conflict, ModelFault,
    StorageFault, MemoryRefused. After a fault that passes the job waits for `resume`. So does one that has begun when
    the caller is cancelled, unless the queue of this program was started and goes on with it, or another program does;
    one that has not begun is withdrawn.
    """

    def __init__(self, stores: Stores, queue: JobQueue, work: IngestService) -> None:
        self._stores = stores
        self._queue = queue
        self._work = work

    async def ingest(
        self,
        kb: str,
        paths: Sequence[Path],
        options: IngestOptions = DEFAULT_OPTIONS,
        progress: ProgressSink | None = None,
        *,
        passwords: Sequence[str] = (),
    ) -> IngestReport:
        """Make the knowledge base match `paths`: add what is new, update what changed, drop what is gone.

        The same request that an earlier program did not finish goes on where it was. Raises NotFound, InvalidRequest.
        """
        base = await self._stores.knowledge_base(kb)
        paths = [path.expanduser().absolute() for path in paths]
        await self._work.check(base, paths)
        job = await self._interrupted(base, paths, options)
        job = job or await self._queue.add(base.id, paths, options, passwords)
        return await self._run(job, progress, passwords)

    async def _interrupted(self, kb: KnowledgeBase, paths: Sequence[Path], options: IngestOptions) -> Job | None:
        """The same request, left running by a program that died."""
        wanted = tuple(str(path) for path in paths)
        for job in await self._queue.jobs():
            left = job.kb_id == kb.id and job.kind is JobKind.INGEST and job.state is JobState.RUNNING
            same = left and job.paths == wanted and job.ingest_options == options
            if same and job.wish == "" and not await self._queue.is_live(job):
                return job
        return None

    async def resume(
        self, kb: str, progress: ProgressSink | None = None, *, passwords: Sequence[str] = ()
    ) -> IngestReport:
        """Go on with the last job of the queue that has not ended. Raises NotFound when there is none."""
        base = await self._stores.knowledge_base(kb)
        job = await self._unfinished(base)
        if job is None:
            raise NotFound(f"“{base.name}” has no unfinished job.")
        await self._queue.resume(job.id)
        return await self._queue.run(job, progress, passwords)

    async def remove(self, kb: str, documents: Sequence[str]) -> IngestReport:
        """Remove documents by id or source path (a folder removes all below). Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        return await self._run(await self._queue.add_removal(base.id, await self._work.named(base, documents)))

    async def rebuild(self, kb: str, progress: ProgressSink | None = None) -> IngestReport:
        """Chunk and embed every document anew with the present settings, from the stored texts. Raises NotFound."""
        return await self._run(await self._queue.add_rebuild(kb), progress)

    async def reindex(self, kb: str, documents: Sequence[str], progress: ProgressSink | None = None) -> IngestReport:
        """Read documents again whose rows or stored texts are damaged, although their files did not change.

        Of a file that is gone the stored text is taken. What cannot be read again stays as it is and is reported
        among the failed. Raises NotFound.
        """
        base = await self._stores.knowledge_base(kb)
        waiting = await self._unfinished(base, JobKind.REINDEX)
        if waiting is not None:
            documents = [*dict.fromkeys((*waiting.paths, *documents))]
        job = await self._queue.add_repair(base, JobKind.REINDEX, documents, replaces=waiting)
        return await self._run(job, progress)

    async def build_index(self, kb: str, progress: ProgressSink | None = None) -> IngestReport | None:
        """Build the vector index that the settings ask for, in a generation that is like the active one otherwise.

        Nothing is read or embedded. None where there is nothing to do: the active generation was built with that
        setting, or with other settings that the next ingest rebuilds anyway. Raises NotFound.
        """
        base = await self._stores.knowledge_base(kb)
        if not await self._work.lacks_index(base):
            return None
        return await self._run(await self._queue.add_repair(base, JobKind.REINDEX, []), progress)

    async def restore(self, kb: str, number: int, progress: ProgressSink | None = None) -> IngestReport:
        """Give the active generation what is left of another one, which cannot be read any more, or of itself.

        What both have in common stays; the rest is read from the files as they are now, from stored texts or passages.
        Raises NotFound.
        """
        base = await self._stores.knowledge_base(kb)
        await self._stores.catalog.generation(base.id, number)
        waiting = await self._unfinished(base, JobKind.RESTORE)
        job = await self._queue.add_repair(base, JobKind.RESTORE, [], {RESTORE: number}, replaces=waiting)
        return await self._run(job, progress)

    async def _run(self, job: Job, progress: ProgressSink | None = None, passwords: Sequence[str] = ()) -> IngestReport:
        try:
            return await self._queue.run(job, progress, passwords)
        except asyncio.CancelledError:
            with contextlib.suppress(StudioError):
                await self._queue.withdraw(job.id)
            raise

    async def _unfinished(self, kb: KnowledgeBase, kind: JobKind | None = None) -> Job | None:
        return await self._stores.catalog.jobs.unfinished(kb.id, kind)
