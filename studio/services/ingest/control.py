"""What a person wants of a job that runs: go on, wait, or stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class JobControl:
    """Shared between a job and those that steer it; for one event loop.

    A job calls `proceed` between its steps. `changed` is called whenever the job begins or ends waiting.
    """

    def __init__(self) -> None:
        self.cancelled = False
        self.keeps = False
        """Whether a part of what the job does is worth keeping; a part of a rebuild is not."""
        self.finishing = False
        self.changed: Callable[[], None] = lambda: None
        self._reasons: dict[str, str] = {}
        self._go = asyncio.Event()
        self._go.set()
        self._task: asyncio.Task[object] | None = None

    @property
    def paused(self) -> str:
        """Why the job waits, in a sentence; "" while it goes on."""
        return next(iter(self._reasons.values()), "")

    def pause(self, who: str, reason: str) -> None:
        """Let the job wait until the same `who` resumes it; several may hold it."""
        self._reasons[who] = reason
        self._go.clear()
        self.changed()

    def resume(self, who: str) -> None:
        """Take a pause back."""
        self._reasons.pop(who, None)
        if not self._reasons:
            self._go.set()
        self.changed()

    def cancel(self) -> None:
        """Stop the job for good: what it built is dropped, what was searchable before stays so.

        Idempotent: a second cancellation of the task would disturb it while it tidies up.
        """
        if self._task is not None and not self.cancelled:
            self._task.cancel()
        self.cancelled = True

    def finish(self) -> None:
        """Begin no further file, and make searchable what is through; a job that keeps nothing is cancelled."""
        if self.keeps:
            self.finishing = True
        else:
            self.cancel()

    def attach(self, task: asyncio.Task[object] | None) -> None:
        """The task that `cancel` ends."""
        self._task = task
        if self.cancelled and task is not None:
            task.cancel()

    async def proceed(self) -> None:
        """Return at once, or when the job may go on."""
        await self._go.wait()
