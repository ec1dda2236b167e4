"""A memory limit and a clock that tests move by hand."""

from __future__ import annotations

import asyncio

from studio.errors import MemoryRefused


class Limited:
    """An `Admission` with so many bytes to give."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held: dict[str, int] = {}
        self.released = asyncio.Event()

    async def admit(self, component: str, needed_bytes: int, smaller: str) -> None:
        free = self.limit - sum(size for name, size in self.held.items() if name != component)
        if needed_bytes > free:
            raise MemoryRefused(
                f"“{component}” needs {needed_bytes} bytes and {free} of {self.limit} are free.",
                way_out=f"{smaller}, or allow more memory.",
            )
        self.held[component] = needed_bytes

    def release(self, component: str) -> None:
        if self.held.pop(component, None) is not None:
            self.released.set()


class Clock:
    """Stands still until `advance`, which waits until everybody who woke sleeps again."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: dict[asyncio.Future[None], float] = {}
        self._asleep = asyncio.Event()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        wake = asyncio.get_running_loop().create_future()
        self._sleepers[wake] = self.now + seconds
        self._asleep.set()
        try:
            await wake
        finally:
            self._sleepers.pop(wake, None)

    async def advance(self, seconds: float) -> None:
        """Let time pass for the one task that sleeps by this clock."""
        async with asyncio.timeout(60):
            await self._asleep.wait()
            self.now += seconds
            while due := [wake for wake, at in self._sleepers.items() if at <= self.now and not wake.done()]:
                self._asleep.clear()
                due[0].set_result(None)
                await self._asleep.wait()
