"""What a job that runs is to do: go on, pause, end early, or be cancelled. Nothing else stops or holds one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class JobControl:
    """Obeys for one run of a job what is asked of it, in whichever program; for one event loop.

    Paused and cancelled jobs stop: their task is cancelled, and with it goes all memory they had. What was asked says
    whether what was built is kept to go on with, or dropped. A job that finds too little memory waits in its place:
    it calls `proceed` between its steps. `changed` is called whenever it begins or ends waiting.
    """

    def __init__(self, *, keeps: bool = False) -> None:
        """`keeps`: a part of what the job does is worth keeping; a part of a rebuild is not."""
        self.changed: Callable[[], None] = lambda: None
        self._keeps = keeps
        self._asked = ""
        self._finishing = False
        self._reasons: dict[str, str] = {}
        self._go = asyncio.Event()
        self._go.set()
        self._task: asyncio.Task[object] | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the job ends for good: what it built is dropped, what was searchable before stays so."""
        return self._asked == "cancel"

    @property
    def pausing(self) -> bool:
        """Whether the job stops where it is, to go on when it is resumed."""
        return self._asked == "pause"

    @property
    def stopping(self) -> bool:
        """Whether the job was told to stop, for whichever reason."""
        return bool(self._asked)

    @property
    def finishing(self) -> bool:
        """Whether the job begins no further file, and makes searchable what is through."""
        return self._finishing

    def obey(self, asked: str) -> None:
        """Do what `Jobs.asked_of` says. A job that stops does not go on: when that is taken back, it begins again."""
        if asked == "finish" and self._keeps:
            self._finishing = True
        elif asked == "pause":
            self._stop("pause")
        elif asked in ("cancel", "finish"):
            self._stop("cancel")

    def interrupt(self) -> None:
        """Stop the job where it is, to go on as soon as some program runs it again."""
        self._stop("interrupt")

    def attach(self, task: asyncio.Task[object] | None) -> None:
        """The task that ends when the job is to stop; None once it must not be disturbed any more."""
        self._task = task
        if self.stopping and task is not None:
            task.cancel()

    def _stop(self, asked: str) -> None:
        """Idempotent: a second cancellation of the task would disturb it while it tidies up."""
        if not self.stopping:
            self._asked = asked
            if self._task is not None:
                self._task.cancel()

    # ------------------------------------------------------------ waiting for memory

    @property
    def paused(self) -> str:
        """Why the job waits in its place, in a sentence; "" while it goes on."""
        return next(iter(self._reasons.values()), "")

    def hold(self, who: str, reason: str) -> None:
        """Let the job wait until the same `who` lets it go; several may hold it."""
        self._reasons[who] = reason
        self._go.clear()
        self.changed()

    def let_go(self, who: str) -> None:
        """Take a hold back."""
        self._reasons.pop(who, None)
        if not self._reasons:
            self._go.set()
        self.changed()

    async def proceed(self) -> None:
        """Return at once, or when the job may go on."""
        await self._go.wait()
