"""Who holds how much memory now: processes as the operating system counts them, and the parts within them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from studio.errors import InvariantViolated
from studio.memory.readings import ProcessReading, process_reading

log = logging.getLogger(__name__)

APPLICATION = "application"
"""The name of this process."""


class Kind(StrEnum):
    """What memory is made of, which tells who can give it back."""

    PRIVATE = "private"
    """Only the program can give it back."""
    MAPPED = "mapped"
    """Pages of mapped files: they belong to the process, and the system takes them back when it needs to."""
    CACHED = "cached"
    """Files the system keeps in its page cache: in no process, and not counted against the budget."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What one part holds, in bytes, by kind."""

    name: str
    private: int = 0
    mapped: int = 0
    cached: int = 0

    @property
    def counted(self) -> int:
        """What counts against the budget."""
        return self.private + self.mapped


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    name: str
    kind: Kind
    held: Callable[[], int]
    inside: str


class Ledger:
    """Adds up what is held. What a part holds inside a process is taken off that process, so that nothing counts twice.

    `workers` returns the worker processes that run now, as name → process ids.
    """

    def __init__(
        self,
        workers: Callable[[], Mapping[str, Sequence[int]]],
        read_process: Callable[[int], ProcessReading | None] = process_reading,
    ) -> None:
        self._workers = workers
        self._read_process = read_process
        self._sources: list[_Source] = []
        self._failing: set[_Source] = set()

    def register(
        self, name: str, held: Callable[[], int], kind: Kind = Kind.PRIVATE, inside: str = APPLICATION
    ) -> Callable[[], None]:
        """Let a part say what it holds: `held` returns bytes, quickly, and is called in a thread.

        Several sources of one name add up. `inside` names the process whose memory it is part of; for `Kind.CACHED` it
        means nothing. Returns what takes the registration back.
        """
        if name == inside:
            raise InvariantViolated(f"“{name}” is a process and cannot be a part of itself.")
        source = _Source(name, kind, held, inside)
        self._sources = [*self._sources, source]  # a new list, as a thread may be reading the old one

        def forget() -> None:
            self._sources = [other for other in self._sources if other is not source]

        return forget

    def read(self) -> tuple[Holding, ...]:
        """Read everything, processes first. Blocks for some milliseconds; call it from a thread."""
        private: dict[str, int] = {}
        mapped: dict[str, int] = {}
        cached: dict[str, int] = {}
        for name, pids in {APPLICATION: [os.getpid()], **self._workers()}.items():
            readings = [reading for pid in pids if (reading := self._read_process(pid)) is not None]
            private[name] = sum(reading.private for reading in readings)
            mapped[name] = sum(map(_own_mapped, readings))
        by_kind = {Kind.PRIVATE: private, Kind.MAPPED: mapped, Kind.CACHED: cached}
        for source in self._sources:
            held = by_kind[source.kind]
            size = self._ask(source)
            if source.kind is not Kind.CACHED:
                size = min(size, held.get(source.inside, 0))  # never more than the system says the process has
                if size:
                    held[source.inside] -= size
            held[source.name] = held.get(source.name, 0) + size
        names = dict.fromkeys([*private, *mapped, *cached])
        return tuple(Holding(name, private.get(name, 0), mapped.get(name, 0), cached.get(name, 0)) for name in names)

    def _ask(self, source: _Source) -> int:
        try:
            size = max(0, source.held())
        except Exception:  # a part that cannot tell must not hide what the others hold
            if source not in self._failing:
                log.exception("memory: what “%s” holds cannot be read", source.name)
                self._failing.add(source)
            return 0
        self._failing.discard(source)
        return size


def _own_mapped(reading: ProcessReading) -> int:
    """The mapped pages of a process, those it shares by its share of them."""
    if reading.proportional is None:
        return reading.mapped
    return min(reading.mapped, max(0, reading.proportional - reading.private))
