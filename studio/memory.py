"""The memory budget and what is held against it.

Readings come from the operating system. The budget defaults to half of what the machine or its
control group allows, at least 1 GiB.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

GIB = 1 << 30
_M_ARENA_MAX = -8
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """What the program holds now, in bytes, by component, and the budget it keeps to."""

    used_bytes: int
    budget_bytes: int
    parts: Mapping[str, int]


def machine_memory_bytes() -> int:
    """Memory of the machine or of the control group this process is in, whichever is smaller."""
    limits = [psutil.virtual_memory().total]
    for path in _CGROUP_LIMITS:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return int(min(limits))


class MemoryCoordinator:
    """Knows the budget and reads what each process of the program holds.

    `workers` returns the worker processes that run now, as name → process ids.
    """

    def __init__(self, budget_mib: int, workers: Callable[[], Mapping[str, list[int]]]) -> None:
        self._budget_bytes = budget_mib << 20 if budget_mib else max(GIB, machine_memory_bytes() // 2)
        self._workers = workers

    def snapshot(self) -> MemorySnapshot:
        """Resident bytes by component. Blocking for about a millisecond; call it from a thread."""
        parts = {"application": _resident_bytes(os.getpid())}
        for name, pids in self._workers().items():
            parts[name] = sum(_resident_bytes(pid) for pid in pids)
        return MemorySnapshot(sum(parts.values()), self._budget_bytes, parts)


def share_arenas() -> None:
    """Let threads share two heaps, where the C library gives each its own and all keep what was freed in them.

    LanceDB's threads kept 20 to 200 MB that way (MALLOC_ARENA_MAX=2 of mallopt(3)); searching took no longer. For
    threads that begin later.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 2)


def give_back() -> None:
    """Hand memory that was freed back to the operating system, where the C library keeps it. Some milliseconds."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
        if trim is not None:
            trim(0)


def _resident_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
