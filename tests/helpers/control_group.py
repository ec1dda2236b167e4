"""Memory control groups of Linux, and a program that holds memory in one: real pressure that the test decides about."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from studio.memory import readings

_ENTER = """
import os, sys
with open(sys.argv[1], "w") as procs:
    procs.write(str(os.getpid()))
with open("/proc/self/oom_score_adj", "w") as score:
    score.write(sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""
_HOLD = """
import mmap, sys
held = []
for line in sys.stdin:
    while len(held) < int(line):
        piece = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        piece.write(b"x" * (1 << 20))
        held.append(piece)
    while len(held) > int(line):
        held.pop().close()
    print(len(held), flush=True)
"""


class NoControlGroup(Exception):
    """Why none can be made here, in a sentence."""


class ControlGroup:
    """A group of its own below the one this process is in, with a limit and no swap. To be removed by `with`.

    When its limit is met the program is killed and not the ballast: what runs under `prefix()` offers itself first.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Make one. Raises NoControlGroup."""
        self._folder = _make(f"rag-studio-test-{os.getpid()}-{time.monotonic_ns()}")
        self._v2 = (self._folder / "memory.max").exists()
        try:
            (self._folder / ("memory.max" if self._v2 else "memory.limit_in_bytes")).write_text(str(limit_bytes))
            with contextlib.suppress(OSError):  # where swap is not counted there is none to forbid
                swap, most = ("memory.swap.max", 0) if self._v2 else ("memory.memsw.limit_in_bytes", limit_bytes)
                (self._folder / swap).write_text(str(most))
        except OSError as error:
            self.remove()
            raise NoControlGroup(f"The limit of a control group cannot be set: {error}.") from error

    def prefix(self, offer: int = 900) -> list[str]:
        """What comes before a command that is to run in the group; `offer` is how readily it is killed, 0 to 1000."""
        return [sys.executable, "-c", _ENTER, str(self._folder / "cgroup.procs"), str(offer)]

    @property
    def usage(self) -> int:
        """Bytes that are charged to the group, page cache included."""
        return int(self._read("memory.current" if self._v2 else "memory.usage_in_bytes"))

    @property
    def private(self) -> int:
        """Bytes no reclaim can take back, as there is no swap."""
        names = ("anon", "shmem") if self._v2 else ("total_rss", "total_shmem")
        return sum(self._values("memory.stat").get(name, 0) for name in names)

    @property
    def peak(self) -> int | None:
        """The most that was ever charged to the group, page cache included; None where the kernel does not tell."""
        text = self._read("memory.peak" if self._v2 else "memory.max_usage_in_bytes")
        return int(text) if text else None

    @property
    def kills(self) -> int:
        """How many processes of the group were killed because its limit was met."""
        return self._values("memory.events" if self._v2 else "memory.oom_control").get("oom_kill", 0)

    def remove(self) -> None:
        """End what is left in the group and remove it."""
        for _ in range(100):
            for pid in self._read("cgroup.procs").split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            try:
                self._folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:  # what was killed is not gone yet
                time.sleep(0.05)
            else:
                return

    def __enter__(self) -> ControlGroup:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def _read(self, name: str) -> str:
        try:
            return (self._folder / name).read_text().strip()
        except OSError:
            return ""

    def _values(self, name: str) -> dict[str, int]:
        pairs = [line.split() for line in self._read(name).splitlines()]
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


class Ballast:
    """Another program in the group, that holds as many MiB as it is told. To be ended by `with`."""

    def __init__(self, group: ControlGroup) -> None:
        command = [*group.prefix(0), sys.executable, "-c", _HOLD]
        self.mib = 0
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hold(self, mib: int) -> None:
        """Hold so much from now on. Blocks until it does."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{mib}\n")
        self._process.stdin.flush()
        if self._process.stdout.readline() != f"{mib}\n":
            raise RuntimeError("The ballast was killed instead of the program.")
        self.mib = mib

    def close(self) -> None:
        self._process.communicate()  # which closes its input: it ends by itself

    def __enter__(self) -> Ballast:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _make(name: str) -> Path:
    """The folder of a new group, as near below this process's own as can be."""
    if sys.platform != "linux":
        raise NoControlGroup("Only Linux has memory control groups.")
    reason = "This process is in no memory control group."
    for above in readings._group_folders(readings.PROC):
        folder = above / name
        try:
            folder.mkdir()
        except OSError as error:
            reason = f"No control group can be made in {above}: {error.strerror}."
            continue
        # A group of version 2 has the files only where the one above it hands the memory controller down.
        if (folder / "memory.max").exists() or (folder / "memory.limit_in_bytes").exists():
            return folder
        folder.rmdir()
        reason = f"{above} does not let groups below it limit memory."
    raise NoControlGroup(reason)
