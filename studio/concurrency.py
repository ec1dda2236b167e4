"""Who owns tasks and threads.

`TaskGroupOwner` is the one place that calls `asyncio.create_task`: it keeps the reference (the event
loop holds tasks weakly, so an unreferenced one can vanish in mid-flight), reports what failed, and
cancels what is left when it is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


class TaskOwner:
    """Keeps, reports and finally cancels the tasks started through it."""

    def __init__(self, name: str, on_error: Callable[[BaseException], None] | None = None) -> None:
        self._name = name
        self._on_error = on_error
        self._tasks: dict[asyncio.Task[Any], str] = {}
        self._by_key: dict[str, asyncio.Task[Any]] = {}

    def start(self, coroutine: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Run a coroutine as an owned task."""
        task = asyncio.get_running_loop().create_task(coroutine, name=f"{self._name}:{name}")
        self._tasks[task] = name
        task.add_done_callback(self._done)
        return task

    def launch(self, key: str, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Latest wins: cancel the task that still runs under `key`, then start this one."""
        previous = self._by_key.get(key)
        if previous is not None and not previous.done():
            previous.cancel()
        task = self.start(coroutine, name=key)
        self._by_key[key] = task
        return task

    def cancel(self, key: str) -> None:
        """Cancel what runs under `key`, if anything does."""
        task = self._by_key.get(key)
        if task is not None:
            task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        name = self._tasks.pop(task, "?")
        if self._by_key.get(name) is task:
            del self._by_key[name]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        if self._on_error is not None:
            self._on_error(error)
        else:
            log.error("task %s of %s failed", name, self._name, exc_info=error)

    async def close(self) -> None:
        """Cancel everything that still runs and wait for it to end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Attention:
    """Whether a person looks at what is polled. To be used on the event loop.

    Without a window, or while something is at work, everything goes at its full pace. With one, and nothing at work, it
    is quiet; polls take longer then, and rest altogether while the window is hidden.
    """

    def __init__(self) -> None:
        self._has_window = False
        self._shown = True
        self._at_work = 0
        self._pauses: set[asyncio.Event] = set()
        self._awake = asyncio.Event()
        self._awake.set()

    @property
    def is_quiet(self) -> bool:
        """Whether there is a window, and nothing at work."""
        return self._has_window and not self._at_work

    @property
    def is_resting(self) -> bool:
        """Whether polls rest."""
        return not self._awake.is_set()

    def set_shown(self, shown: bool) -> None:
        """There is a window, and a person sees it or does not."""
        self._has_window, self._shown = True, shown
        self._settle()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Something is at work. Pauses end when it begins."""
        self._at_work += 1
        for pause in self._pauses:
            pause.set()
        self._settle()
        try:
            yield
        finally:
            self._at_work -= 1
            self._settle()

    async def pause(
        self, seconds: float, wake: asyncio.Event | None = None, *, resting: Callable[[], None] | None = None
    ) -> None:
        """Wait so long or until `wake` is set, and while polls rest; then without a timer.

        `resting` is called before a rest.
        """
        if not self.is_resting:
            wake = wake or asyncio.Event()
            self._pauses.add(wake)
            with contextlib.suppress(TimeoutError):
                try:
                    async with asyncio.timeout(seconds):
                        await wake.wait()
                finally:
                    self._pauses.discard(wake)
        if self.is_resting and resting is not None:
            resting()
        await self._awake.wait()

    def _settle(self) -> None:
        if self._shown or self._at_work:
            self._awake.set()
        else:
            self._awake.clear()


class Executor:
    """A named thread pool for blocking calls. One thread makes it a serial queue."""

    def __init__(self, name: str, threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` on the pool. A call that has begun is not interrupted by cancellation."""
        call = functools.partial(function, *args, **kwargs)
        return await asyncio.wrap_future(self._pool.submit(call))

    def close(self) -> None:
        """Wait for the running call, drop those that wait."""
        self._pool.shutdown(wait=True, cancel_futures=True)


SEARCHES = Executor("search", threads=4)
"""The threads that searches block, for the whole program. A search does not queue behind a build's work, and searches
one after another get the same thread, whose memory the processor has at hand: those of the default executor take turns,
which costs 3 % of a search. They begin when they are first needed."""


def first_error(group: BaseExceptionGroup[BaseException], prefer: type[BaseException] = BaseException) -> BaseException:
    """The first plain exception of a group, one of type `prefer` before any other."""
    leaves: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending.extend(error.exceptions)
        else:
            leaves.append(error)
    return next((leaf for leaf in leaves if isinstance(leaf, prefer)), leaves[0])


async def run_to_end(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a blocking function in a thread; a cancellation is delivered only after the call has ended.

    `asyncio.to_thread` lets a cancelled caller go on while its thread still writes, so that the clean-up that
    follows would race with it.
    """
    call = functools.partial(function, *args, **kwargs)
    future = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with contextlib.suppress(asyncio.CancelledError):  # a second cancellation changes nothing
                await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # seen: the cancellation is what the caller hears of
        raise


def keep_gui_responsive() -> None:
    """Hand the interpreter over every half millisecond.

    With the default of 5 ms eight busy threads stalled the GUI thread for 589 ms, with 0.5 ms for 72.
    """
    sys.setswitchinterval(0.0005)
