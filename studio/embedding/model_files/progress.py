"""Progress and cancellation of work that runs in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from studio.errors import Cancelled

ProgressCallback = Callable[[int, int | None, str], None]
"""Called with bytes done, bytes in total or None when that is not known, and what is being done."""

REPORT_EVERY_S = 0.1


class Monitor:
    """Passes progress on, not too often, and tells the thread when to stop."""

    def __init__(self, report: ProgressCallback) -> None:
        self._report = report
        self._stopped = threading.Event()
        self._last: tuple[str, float] = ("", 0.0)

    def report(self, done: int, total: int | None, what: str) -> None:
        """Report progress; the first and last report of a kind always get through. Raises Cancelled."""
        self.check()
        now = time.monotonic()
        last_what, last_time = self._last
        if what != last_what or done == total or now - last_time >= REPORT_EVERY_S:
            self._last = (what, now)
            self._report(done, total, what)

    def check(self) -> None:
        """Raises Cancelled once `stop` was called."""
        if self._stopped.is_set():
            raise Cancelled("The installation was stopped.")

    def wait(self, seconds: float) -> None:
        """Sleep, waking early and raising Cancelled once `stop` was called."""
        self._stopped.wait(seconds)
        self.check()

    def stop(self) -> None:
        """Ask the thread to end; callable from any thread."""
        self._stopped.set()
