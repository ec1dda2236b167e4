"""What the operating system says about memory: the machine, control groups, processes, mapped and cached files.

Linux is read from `/proc` and the control groups (versions 1 and 2), every other system through psutil. Nothing here
keeps state; every call blocks, from a few microseconds to some ten milliseconds for a large process.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

from studio.memory.heap import c_library

PROC = Path("/proc")
_WINDOW_BYTES = 1 << 30
"""How much of a file is asked about at once: the answer takes a byte a page."""
_LOWEST_BIT = bytes(value & 1 for value in range(256))


@dataclass(frozen=True, slots=True)
class Group:
    """A control group that limits this process, in bytes. `file_cache` is what of `usage` the system can take back."""

    path: str
    limit: int
    usage: int
    file_cache: int

    @property
    def held(self) -> int:
        """What is left when the file cache has been taken back."""
        return max(0, self.usage - self.file_cache)

    @property
    def headroom(self) -> int:
        """What can still be taken before the limit is met."""
        return max(0, self.limit - self.held)


@dataclass(frozen=True, slots=True)
class MachineReading:
    """Memory of the machine and of the control groups around this process, in bytes.

    `groups` are those with a limit, innermost first. `stall` is the percentage of the last ten seconds in which some
    task waited for memory (pressure stall information of the process's own group, else of the machine); None where
    the system does not tell.
    """

    total: int
    available: int
    groups: tuple[Group, ...] = ()
    stall: float | None = None
    swap_total: int = 0
    swap_used: int = 0

    @property
    def ceiling(self) -> int:
        """The most this process could ever have: the machine's memory or the tightest limit."""
        return min([self.total, *(group.limit for group in self.groups)])

    @property
    def headroom(self) -> int:
        """What can be taken now without swapping or meeting a limit."""
        return min([self.available, *(group.headroom for group in self.groups)])

    @property
    def tightest(self) -> Group | None:
        """The group nearest to its limit."""
        return max(self.groups, key=lambda group: group.held / group.limit, default=None)


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """Memory of one process, in bytes.

    `private` is what only the process itself can give back (anonymous and shared memory), `mapped` are pages of files,
    which the system can drop and read again. `proportional` counts pages shared with other processes by the share of
    this one (PSS); None where the system does not tell.
    """

    resident: int
    private: int
    mapped: int
    proportional: int | None = None


def machine_memory_bytes() -> int:
    """Memory of the machine or of the tightest control group this process is in, whichever is smaller."""
    return machine_reading().ceiling


def machine_reading(proc: Path = PROC) -> MachineReading:
    """Read the machine; about half a millisecond."""
    info = _fields(_text(proc / "meminfo"))
    if "MemAvailable" in info:
        total, available = info["MemTotal"], info["MemAvailable"]
        swap_total, swap_used = info.get("SwapTotal", 0), info.get("SwapTotal", 0) - info.get("SwapFree", 0)
    else:
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        total, available, swap_total, swap_used = memory.total, memory.available, swap.total, swap.used
    folders = _group_folders(proc)
    groups = [group for folder in folders if (group := _group(folder, total)) is not None]
    own = next((stall for folder in folders if (stall := _stall(folder / "memory.pressure")) is not None), None)
    stall = own if own is not None else _stall(proc / "pressure" / "memory")
    return MachineReading(total, available, tuple(groups), stall, swap_total, swap_used)


def process_reading(pid: int, proc: Path = PROC) -> ProcessReading | None:
    """Read one process; None when there is none of that id. Walks its pages: some milliseconds a GB."""
    if not proc.is_dir():
        return _process_by_psutil(pid)
    status = _text(proc / str(pid) / "status")
    if status is None:
        return None
    fields = _fields(status)
    resident, mapped = fields.get("VmRSS", 0), fields.get("RssFile", 0)
    rollup = _fields(_text(proc / str(pid) / "smaps_rollup"))
    return ProcessReading(resident, max(0, resident - mapped), mapped, rollup.get("Pss"))


def mapped_files(pid: int, proc: Path = PROC) -> dict[str, int] | None:
    """Resident bytes of the files a process has mapped, by path; None where the system does not tell (macOS) or there
    is no such process.

    Pages of a file that the process has changed for itself are its own and are not counted. A file that was deleted
    while it is mapped is still named by its path. Walks every mapping: some ten milliseconds for a large process.
    """
    if not proc.is_dir():
        return _mapped_by_psutil(pid)
    text = _text(proc / str(pid) / "smaps")
    if text is None:
        return None
    found: dict[str, int] = {}
    path, resident = "", 0
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):  # a mapping: addresses, permissions, offset, device, inode, path
            parts = line.split(None, 5)
            path = parts[5].removesuffix(" (deleted)").replace("\\012", "\n") if len(parts) == 6 else ""
        elif name == "Rss:":
            resident = _kilobytes(rest)
        elif name == "Anonymous:" and path.startswith("/"):
            found[path] = found.get(path, 0) + max(0, resident - _kilobytes(rest))
    return found


def cached_bytes(paths: Iterable[Path]) -> int | None:
    """How much of these files the system keeps in its page cache, mapped or not; None where it does not tell (Windows).

    A file that is missing counts as nothing. Linux answers for files of other users as if they were cached as a whole.
    """
    if sys.platform == "win32":
        return None
    return sum(map(_cached, paths))


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return None


def _fields(text: str | None) -> dict[str, int]:
    """`Name:   123 kB` → bytes by name; other lines are left out."""
    found = {}
    for line in (text or "").splitlines():
        name, colon, rest = line.partition(":")
        if colon and rest.endswith(" kB"):
            found[name] = _kilobytes(rest)
    return found


def _kilobytes(text: str) -> int:
    """`  123 kB` → 125952."""
    number = text.removesuffix("kB").strip()
    return int(number) << 10 if number.isdigit() else 0


def _number(path: Path) -> int | None:
    text = (_text(path) or "").strip()
    return int(text) if text.isdigit() else None  # "max" is no limit


def _stall(path: Path) -> float | None:
    for line in (_text(path) or "").splitlines():
        kind, *values = line.split()
        if kind == "some":
            for value in values:
                name, _, number = value.partition("=")
                if name == "avg10":
                    return float(number)
    return None


def _group_folders(proc: Path) -> list[Path]:
    """The folders of the memory groups this process is in, from its own up to where they are mounted.

    A container sees its own group at the mount point while `/proc/self/cgroup` may still name the path of the host:
    what the mount shows as its root is taken off that path.
    """
    own: dict[int, PurePosixPath] = {}
    for line in (_text(proc / "self" / "cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            own[2] = PurePosixPath(path)
        elif "memory" in controllers.split(","):
            own[1] = PurePosixPath(path)
    folders: list[Path] = []
    for line in (_text(proc / "self" / "mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        version = 2 if kind[0] == "cgroup2" else 1 if kind[0] == "cgroup" and "memory" in kind[2].split(",") else 0
        if version not in own:
            continue
        root, mount = fields[3].replace("\\040", " "), Path(fields[4].replace("\\040", " "))
        below = own[version].relative_to(root).parts if own[version].is_relative_to(root) else ()
        if ".." in below:  # the group lies outside of what is mounted here
            below = ()
        folders += [mount.joinpath(*below[:depth]) for depth in range(len(below), -1, -1)]
    return folders


def _group(folder: Path, total: int) -> Group | None:
    """The limit of one group; None where there is none that could bind."""
    # A group is throttled above memory.high and killed above memory.max.
    limits = [_number(folder / name) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
    limit = min((limit for limit in limits if limit is not None and 0 < limit < total), default=None)
    if limit is None:
        return None
    usage = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
    return Group(str(folder), limit, usage, min(usage, _file_cache(folder / "memory.stat")))


def _file_cache(stat: Path) -> int:
    """File pages of a group that can be taken back at once, from its `memory.stat`.

    The inactive list as a whole and half of the active one, as pages that are read again and again would only be read
    anew; without those that have yet to be written. In version 1 only the `total_` values include groups further down.
    """
    values: dict[str, int] = {}
    for line in (_text(stat) or "").splitlines():
        name, _, number = line.partition(" ")
        if number.isdigit():
            values[name] = int(number)

    def value(*names: str) -> int:
        return next((values[name] for name in names if name in values), 0)

    waiting = value("file_dirty", "total_dirty", "dirty") + value("file_writeback", "total_writeback", "writeback")
    inactive = value("total_inactive_file", "inactive_file")
    return max(0, inactive + value("total_active_file", "active_file") // 2 - waiting)


def _process_by_psutil(pid: int) -> ProcessReading | None:
    try:
        process = psutil.Process(pid)
        resident = int(process.memory_info().rss)
        try:
            private = min(resident, int(process.memory_full_info().uss))
        except psutil.AccessDenied:  # macOS lets only the superuser look into other processes
            private = resident
    except psutil.Error:
        return None
    return ProcessReading(resident, private, resident - private)


def _mapped_by_psutil(pid: int) -> dict[str, int] | None:
    try:
        process = psutil.Process(pid)
        if not hasattr(process, "memory_maps"):
            return None
        return {entry.path: int(entry.rss) for entry in process.memory_maps() if not entry.path.startswith("[")}
    except psutil.Error:
        return None


def _cached(path: Path) -> int:
    """Ask which pages of the file are in memory, by a mapping of which no page is touched (mincore(2))."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return 0
    try:
        size = os.fstat(file).st_size
        return sum(_resident(file, at, min(_WINDOW_BYTES, size - at)) for at in range(0, size, _WINDOW_BYTES))
    finally:
        os.close(file)


def _resident(file: int, offset: int, length: int) -> int:
    # Python's own mapping does not give away the address of one that is read-only.
    libc = c_library()
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    address = libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, file, offset)
    if address == ctypes.c_void_p(-1).value:
        return 0
    try:
        answer = ctypes.create_string_buffer((length + mmap.PAGESIZE - 1) // mmap.PAGESIZE)
        if libc.mincore(address, length, answer):
            return 0
        return min(length, answer.raw.translate(_LOWEST_BIT).count(1) * mmap.PAGESIZE)
    finally:
        libc.munmap(address, length)
