"""How long each stage of a job was busy, and how long the model waited."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

EMBED = "embed"


class Stages:
    """Seconds by stage. A stage that works on several things at once counts the time in which it does anything."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._running: dict[str, int] = {}
        self._since: dict[str, float] = {}
        self._first_embed: float | None = None
        self._last_embed = 0.0

    @contextmanager
    def busy(self, stage: str) -> Iterator[None]:
        """The block is work of a stage."""
        now = time.monotonic()
        if self._running.get(stage, 0) == 0:
            self._since[stage] = now
        self._running[stage] = self._running.get(stage, 0) + 1
        if stage == EMBED and self._first_embed is None:
            self._first_embed = now
        try:
            yield
        finally:
            now = time.monotonic()
            self._running[stage] -= 1
            if self._running[stage] == 0:
                self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._since[stage]
            if stage == EMBED:
                self._last_embed = now

    def seconds(self) -> Mapping[str, float]:
        """Seconds by stage; `embed_idle` is the time between the first batch and the last in which none was at work."""
        found = dict(self._seconds)
        if self._first_embed is not None:
            found["embed_idle"] = max(0.0, self._last_embed - self._first_embed - found.get(EMBED, 0.0))
        return found
