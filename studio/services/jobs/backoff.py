"""Trying again later, and later still."""

from __future__ import annotations

import time


class Backoff:
    """What did not work is tried again after `first_s` seconds, then after twice as long, and so on to `longest_s`."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._waits: dict[str, tuple[float, float]] = {}

    def put_off(self, key: str) -> None:
        """It did not work this time either."""
        delay_s = min(2 * self._waits[key][1], self._longest_s) if key in self._waits else self._first_s
        self._waits[key] = time.monotonic() + delay_s, delay_s

    def forget(self, key: str) -> None:
        """It worked."""
        self._waits.pop(key, None)

    def waits(self, key: str) -> bool:
        """Whether it is too early to try again."""
        return key in self._waits and self._waits[key][0] > time.monotonic()

    def until_next(self) -> float | None:
        """Seconds until something may be tried again; None when nothing waits."""
        now = time.monotonic()
        return min((due - now for due, _ in self._waits.values() if due > now), default=None)
