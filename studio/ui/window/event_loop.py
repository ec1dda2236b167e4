"""The event loop: asyncio on top of Qt, qasync with its timers and hand-overs cured.

What qasync 0.28 does that this class changes:

- coarse timers fire up to 5 % early, so a deadline can be seen as not yet reached: precise timers, rounded up;
- a cancelled `call_later` keeps its Qt timer until it fires: cancelling kills the timer;
- one Qt timer for each `call_soon`: one queue, first in first out, drained once per turn of the Qt loop;
- `call_later` answers a handle without `when()`, `call_soon_threadsafe` drops the context and answers nothing;
- its thread executor leaves an await hanging on a BaseException: the standard library's executor.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import qasync
from PySide6.QtCore import QCoreApplication, QObject, Qt, QTimerEvent

_COARSE_FROM_MS = 10_000
_EXECUTOR_THREADS = 4


class _Schedule(QObject):
    """Handles waiting for their moment, on Qt timers. Stands in for qasync's own timer object."""

    def __init__(self) -> None:
        super().__init__()
        self._ready: deque[asyncio.Handle] = deque()
        self._ready_timer = 0
        self._delayed: dict[int, asyncio.Handle] = {}
        self._stopped = False

    def add_callback(self, handle: asyncio.Handle, delay: float = 0) -> asyncio.Handle:
        """Run `handle` after `delay` seconds, at the next turn of the loop when that is not positive."""
        if delay <= 0:
            self._ready.append(handle)
            self._wake()
            return handle
        delay_ms = max(1, math.ceil(delay * 1000 - 1e-6))
        kind = Qt.TimerType.PreciseTimer if delay_ms < _COARSE_FROM_MS else Qt.TimerType.CoarseTimer
        timer = self.startTimer(delay_ms, kind)
        self._delayed[timer] = handle
        if isinstance(handle, _TimerHandle):
            handle.qt_timer = timer
        return handle

    def forget(self, timer: int) -> None:
        """Kill the Qt timer of a handle that was cancelled."""
        if self._delayed.pop(timer, None) is not None:
            self.killTimer(timer)

    def timerEvent(self, event: QTimerEvent) -> None:
        timer = event.timerId()
        if timer == self._ready_timer:
            self._drain()
            return
        self.killTimer(timer)
        handle = self._delayed.pop(timer, None)
        if handle is not None and not self._stopped and not handle.cancelled():
            handle._run()

    def stop(self) -> None:
        """Drop everything that waits."""
        self._stopped = True
        for timer in self._delayed:
            self.killTimer(timer)
        self._delayed.clear()
        self._ready.clear()
        if self._ready_timer:
            self.killTimer(self._ready_timer)
            self._ready_timer = 0

    def set_debug(self, enabled: bool) -> None:
        """Part of the interface qasync expects; nothing to switch."""

    def _wake(self) -> None:
        if not self._ready_timer and not self._stopped:
            self._ready_timer = self.startTimer(0, Qt.TimerType.PreciseTimer)

    def _drain(self) -> None:
        # The timer goes first: a handle that opens a nested Qt loop (a menu) must leave the rest of
        # the queue able to run in it. What handles add now waits for the next turn, so that input and
        # paint events get theirs in between.
        self.killTimer(self._ready_timer)
        self._ready_timer = 0
        batch = len(self._ready)
        if batch > 1:
            self._wake()
        for _ in range(batch):
            if not self._ready or self._stopped:
                break
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()
        if self._ready:
            self._wake()
        elif self._ready_timer:
            self.killTimer(self._ready_timer)
            self._ready_timer = 0


class _TimerHandle(asyncio.TimerHandle):
    """A timer handle that takes its Qt timer with it when it is cancelled."""

    __slots__ = ("qt_timer", "schedule")

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context | None,
        schedule: _Schedule,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.schedule = schedule
        self.qt_timer = 0

    def cancel(self) -> None:
        if not self.cancelled():
            self.schedule.forget(self.qt_timer)
        super().cancel()


class StudioEventLoop(qasync.QEventLoop):  # type: ignore[misc]
    """asyncio's event loop, run by `QApplication.exec`."""

    def __init__(self, application: QCoreApplication) -> None:
        super().__init__(application)
        self._timer = _Schedule()
        executor = ThreadPoolExecutor(_EXECUTOR_THREADS, thread_name_prefix="studio-default")
        self.set_default_executor(executor)
        self._default_executor = executor  # what asyncio's shutdown_default_executor looks at

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        self._check_closed()
        handle = _TimerHandle(when, callback, args, self, context, self._timer)
        self._timer.add_callback(handle, when - self.time())
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        self._check_closed()
        handle = asyncio.Handle(callback, args, self, context)
        self._timer.add_callback(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context or contextvars.copy_context())
        super().call_soon_threadsafe(self._run_handle, handle)
        return handle

    @staticmethod
    def _run_handle(handle: asyncio.Handle) -> None:
        if not handle.cancelled():
            handle._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """asyncio counts cancelled handles to sweep its heap; there is no heap here."""
