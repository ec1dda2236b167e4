"""Long blocking work in steps: each runs in a thread, and between two of them progress and cancellation get through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol, TypeVar

from studio.concurrency import run_to_end

T = TypeVar("T")


class Closable(Protocol):
    """Something that holds a file open."""

    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)

ByteProgress = Callable[[int, int], None]
"""Called with bytes done and bytes in total."""


class Meter:
    """Passes progress on."""

    def __init__(self, progress: ByteProgress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0.0

    def add(self, size: float) -> None:
        """That much more is done."""
        self.at(self._done + size)

    def at(self, done: float) -> None:
        """That much is done."""
        if self._progress is not None and done != self._done:
            self._progress(min(int(done), self._total), self._total)
        self._done = done

    def finish(self) -> None:
        """Everything is done."""
        if self._progress is not None:
            self._progress(self._total, self._total)


async def in_steps(steps: Iterator[T]) -> AsyncIterator[T]:
    """Run an iterator in threads; a cancellation arrives between two steps, never within one."""
    while (item := await run_to_end(next, steps, _END)) is not _END:
        yield item


_END: Any = object()


async def opened(make: Callable[[], C]) -> C:
    """Open a file in a thread, and close it again if the caller is cancelled meanwhile."""
    made: list[C] = []
    try:
        await run_to_end(lambda: made.append(make()))
    except BaseException:
        for item in made:
            item.close()
        raise
    return made[0]
