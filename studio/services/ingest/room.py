"""Room in memory for builds: each is admitted before it begins, waits while memory is short, and gives back at its end.

What a build needs was measured with ingests of 82 and of 300 files (see `preflight`): what it adds to the program, a
process for every file that is read at the same time, and the rows of the documents there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

from studio.domain import Embedder, Job, JobKind
from studio.embedding.client import ModelClient
from studio.errors import MemoryRefused
from studio.memory import Grant, Level, MemoryCoordinator
from studio.services.costs import FILE_BYTES, READER_BYTES
from studio.services.ingest.control import JobControl

BUILD_BYTES = 130_000_000
"""What a build adds to the program itself: the keyword index's writer, batches under way, Lance's buffers."""

ASKED_AGAIN_S = 1.0
"""How long a build that finds too little memory in the computer waits before it asks again, ..."""
TIMES_WITHOUT_PRESSURE = 4
"""... and how often when nothing says that memory is short."""

_SMALLER = "Choose a smaller embedding model"
_MEMORY, _ROOM = "memory", "room"


class Place:
    """The room one build has; without a grant there is no end to it."""

    def __init__(self, room: BuildRoom | None = None, grant: Grant | None = None) -> None:
        self._room = room
        self._grant = grant

    def readers(self, wanted: int) -> int:
        """How many files may be read side by side, at least one."""
        if self._grant is None:
            return wanted
        return max(1, min(wanted, (self._grant.size - self._grant.minimum) // READER_BYTES + 1))

    @contextmanager
    def using(self, embedder: Embedder | None) -> Iterator[None]:
        """Keep a model loaded while a build embeds with it; not while the build waits for memory."""
        if self._room is None or not isinstance(embedder, ModelClient):
            yield
            return
        with self._room.keeping(embedder):
            yield


class BuildRoom:
    """Admits builds and lets them wait. Without a coordinator there is always room.

    `make_room` unloads something that is not in use, and says whether there was anything. For one event loop.
    """

    def __init__(
        self,
        memory: MemoryCoordinator | None = None,
        make_room: Callable[[], Awaitable[bool]] | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._sleep = sleep
        self._memory = memory
        self._make_room = make_room
        self._reason = ""
        self._controls: list[JobControl] = []
        self._kept: dict[object, tuple[ModelClient, ExitStack]] = {}

    @asynccontextmanager
    async def place(self, name: str, job: Job, control: JobControl, documents: int) -> AsyncIterator[Place]:
        """Room for a job on the knowledge base `name`, which has so many `documents`. Waits while memory is short.

        Raises MemoryRefused with the numbers and the way out when there is none. Given back when the block is left.
        """
        self._controls.append(control)
        if self._reason:
            control.hold(_MEMORY, self._reason)
        try:
            await control.proceed()
            grant = await self._admit(f"indexing {name}", job, control, documents)
            try:
                yield Place(self, grant)
            finally:
                if grant is not None:
                    grant.release()
        finally:
            self._controls.remove(control)

    async def _admit(self, component: str, job: Job, control: JobControl, documents: int) -> Grant | None:
        if self._memory is None:
            return None
        reads = job.kind in (JobKind.INGEST, JobKind.RESTORE) or (job.kind is JobKind.REINDEX and bool(job.paths))
        minimum = BUILD_BYTES + documents * FILE_BYTES + reads * READER_BYTES
        more = max(0, job.ingest_options.jobs - 1) if job.kind is JobKind.INGEST else 0
        asked = 0
        try:
            while True:
                if any(grant.component == component for grant in self._memory.budget.grants):
                    component = f"{component} ({job.id})"  # the one that is built took another name
                try:
                    return self._memory.admit(
                        component, minimum=minimum, preferred=minimum + more * READER_BYTES, smaller=_SMALLER
                    )
                except MemoryRefused as refused:
                    if not asked and self._make_room is not None and await self._make_room():
                        continue
                    # What the budget is short of stays so; what the computer is short of now comes back. A level that
                    # is normal may be one of some seconds ago.
                    easy = self._memory.level is Level.NORMAL and asked >= TIMES_WITHOUT_PRESSURE
                    if easy or minimum > self._memory.budget.free:
                        raise
                    asked += 1
                    control.hold(_ROOM, f"{refused} Indexing begins by itself when there is more.")
                    await self._sleep(ASKED_AGAIN_S)
        finally:
            if asked:
                control.let_go(_ROOM)

    # ------------------------------------------------------------ waiting

    def pause(self, reason: str) -> None:
        """Let every build wait at its next safe point, also those that begin later; `reason` is a sentence.

        What a person paused is another matter, and stays so when this is taken back.
        """
        self._reason = reason
        for _, kept in self._kept.values():
            kept.close()
        for control in self._controls:
            control.hold(_MEMORY, reason)

    def resume(self) -> None:
        """Let builds go on that `pause` made wait."""
        self._reason = ""
        for model, kept in self._kept.values():
            kept.close()
            kept.enter_context(model.hold())
        for control in self._controls:
            control.let_go(_MEMORY)

    @contextmanager
    def keeping(self, model: ModelClient) -> Iterator[None]:
        """Hold a model, except while builds wait."""
        key = object()
        with ExitStack() as kept:
            self._kept[key] = model, kept
            if not self._reason:
                kept.enter_context(model.hold())
            try:
                yield
            finally:
                del self._kept[key]
