from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from studio.memory import (
    GIB,
    ProcessReading,
    cached_bytes,
    machine_memory_bytes,
    machine_reading,
    mapped_files,
    process_reading,
)
from studio.memory.readings import Group

MIB = 1 << 20
LINUX = sys.platform == "linux"
MEMINFO = """MemTotal:        8388608 kB
MemFree:          524288 kB
MemAvailable:    4194304 kB
SwapTotal:       1048576 kB
SwapFree:         786432 kB
HugePages_Total:       0
"""
PSI = "some avg10={avg10} avg60=1.00 avg300=0.50 total=123456\nfull avg10=0.10 avg60=0.00 avg300=0.00 total=99\n"


class System:
    """A made-up `/proc` and control groups below a folder."""

    def __init__(self, root: Path) -> None:
        self.proc = root / "proc"
        self.mount = root / "control groups"
        self._mounts = ""
        self.put("proc/meminfo", MEMINFO)

    def put(self, path: str, text: str) -> None:
        file = self.proc.parent / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def is_in(self, *lines: str) -> None:
        self.put("proc/self/cgroup", "".join(f"{line}\n" for line in lines))

    def mounted(self, kind: str, options: str, below: str = "", root: str = "/") -> None:
        where = str(self.mount / below).replace(" ", "\\040")
        self._mounts += f"35 31 0:32 {root} {where} rw,relatime shared:9 - {kind} cgroup {options}\n"
        self.put("proc/self/mountinfo", f"22 1 0:21 / /sys rw - sysfs sysfs rw\n{self._mounts}")

    def group(self, path: str, **files: str) -> None:
        for name, text in files.items():
            self.put(f"control groups/{path}/memory.{name}", f"{text}\n")


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def test_a_machine_without_control_groups(system: System) -> None:
    system.put("proc/pressure/memory", PSI.format(avg10="12.50"))
    reading = machine_reading(system.proc)
    assert (reading.total, reading.available) == (8 * GIB, 4 * GIB)
    assert (reading.swap_total, reading.swap_used) == (GIB, 256 * MIB)
    assert (reading.groups, reading.tightest, reading.stall) == ((), None, 12.5)
    assert (reading.ceiling, reading.headroom) == (8 * GIB, 4 * GIB)


def test_a_kernel_without_stall_information(system: System) -> None:
    assert machine_reading(system.proc).stall is None
    system.put("proc/pressure/memory", "")
    assert machine_reading(system.proc).stall is None


def test_groups_of_version_2_are_walked_up_to_the_mount(system: System) -> None:
    system.is_in("0::/user.slice/app.slice/studio.scope")
    system.mounted("cgroup2", "rw,nsdelegate")
    system.group("user.slice/app.slice/studio.scope", max="max", current="900", pressure=PSI.format(avg10="3.00"))
    system.group(
        "user.slice/app.slice",
        max=str(2 * GIB),
        high=str(1 * GIB),
        current=str(900 * MIB),
        stat=f"anon 1\ninactive_file {200 * MIB}\nactive_file {100 * MIB}\nfile_dirty {20 * MIB}\n"
        f"file_writeback {10 * MIB}\n",
    )
    system.group("user.slice", max=str(4 * GIB), current=str(3900 * MIB))
    system.group("", max=str(64 * GIB))  # more than the machine has: no limit
    system.put("proc/pressure/memory", PSI.format(avg10="44.00"))
    reading = machine_reading(system.proc)
    scope, whole = reading.groups
    # Above memory.high a group is slowed down. Inactive files count whole and active ones by half, less the unwritten.
    assert scope == Group(str(system.mount / "user.slice/app.slice"), GIB, 900 * MIB, 220 * MIB)
    assert (scope.held, scope.headroom) == (680 * MIB, 344 * MIB)
    assert whole == Group(str(system.mount / "user.slice"), 4 * GIB, 3900 * MIB, 0)
    assert reading.ceiling == GIB
    assert reading.headroom == 4096 * MIB - 3900 * MIB  # of the outer group, which others live on too
    assert reading.tightest is whole
    assert reading.stall == 3.0  # of the group itself, not of the machine


def test_groups_of_version_1_count_what_is_further_down(system: System) -> None:
    system.is_in("9:name=systemd:/x", "4:cpu,memory:/studio", "0::/")
    system.mounted("cgroup", "rw,cpuset", "cpuset")
    system.mounted("cgroup", "rw,cpu,memory", "memory")
    system.mounted("cgroup2", "rw", "unified")
    system.group(
        "memory/studio",
        limit_in_bytes=str(1200 * MIB),
        usage_in_bytes=str(1000 * MIB),
        stat=f"inactive_file 1\nactive_file 1\ndirty 0\ntotal_inactive_file {300 * MIB}\n"
        f"total_active_file {100 * MIB}\ntotal_dirty {30 * MIB}\ntotal_writeback {20 * MIB}",
    )
    system.group("memory", limit_in_bytes="9223372036854771712", usage_in_bytes="5")
    reading = machine_reading(system.proc)
    assert reading.groups == (Group(str(system.mount / "memory/studio"), 1200 * MIB, 1000 * MIB, 300 * MIB),)
    assert reading.ceiling == 1200 * MIB


@pytest.mark.parametrize(
    ("own", "root"), [("/docker/abc", "/docker/abc"), ("/other", "/docker/abc"), ("/../outside", "/"), ("/gone", "/")]
)
def test_a_container_sees_its_group_at_the_mount(system: System, own: str, root: str) -> None:
    system.is_in(f"0::{own}")
    system.mounted("cgroup2", "rw", root=root)
    system.group("", max=str(GIB), current="7")
    assert [group.limit for group in machine_reading(system.proc).groups] == [GIB]


def test_files_of_groups_that_are_missing_or_make_no_sense(system: System) -> None:
    system.is_in("0::/a/b")
    system.mounted("cgroup2", "rw")
    system.group("a/b", max="nonsense", current="")
    system.group("a", max=str(GIB), stat="inactive_file\n\ngarbage here too")
    (group,) = machine_reading(system.proc).groups
    assert (group.limit, group.usage, group.file_cache) == (GIB, 0, 0)


def test_file_cache_is_never_more_than_what_is_used(system: System) -> None:
    system.is_in("0::/")
    system.mounted("cgroup2", "rw")
    system.group("", max=str(GIB), current="100", stat="inactive_file 5000")
    assert machine_reading(system.proc).groups[0].held == 0


def test_where_there_is_no_proc_the_library_is_asked(tmp_path: Path) -> None:
    reading = machine_reading(tmp_path / "none")
    assert reading.total == psutil.virtual_memory().total
    assert 0 < reading.available <= reading.total
    assert (reading.groups, reading.stall) == ((), None)
    own = process_reading(os.getpid(), tmp_path / "none")
    assert own is not None and 0 < own.private <= own.resident == own.private + own.mapped
    assert process_reading(2**22 + 1, tmp_path / "none") is None


def test_this_machine() -> None:
    reading = machine_reading()
    assert 0 < reading.available <= reading.total == psutil.virtual_memory().total
    assert machine_memory_bytes() == reading.ceiling <= reading.total
    assert reading.stall is None or 0 <= reading.stall <= 100


def test_where_other_processes_are_closed_to_us_all_counts_as_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: psutil.Process) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "memory_full_info", denied)
    reading = process_reading(os.getpid(), tmp_path / "none")
    assert reading is not None and reading.resident == reading.private and reading.mapped == 0


def test_a_process_of_which_only_its_status_may_be_read(system: System) -> None:
    system.put(
        "proc/7/status", "Name:\tx\nVmRSS:\t   100 kB\nRssAnon:\t  60 kB\nRssFile:\t  30 kB\nRssShmem:\t  10 kB\n"
    )
    assert process_reading(7, system.proc) == ProcessReading(100 << 10, 70 << 10, 30 << 10, None)
    system.put("proc/7/smaps_rollup", "0-1 ---p 00000000 00:00 0 [rollup]\nRss: 100 kB\nPss:                  85 kB\n")
    assert process_reading(7, system.proc) == ProcessReading(100 << 10, 70 << 10, 30 << 10, 85 << 10)
    assert process_reading(8, system.proc) is None


def test_memory_of_its_own_is_told_from_mapped_files(tmp_path: Path) -> None:
    size = 50 * MIB
    file = tmp_path / "weights.gguf"
    file.write_bytes(b"\1" * size)
    here = os.getpid()
    before = process_reading(here)
    own = bytearray(b"\1" * size)
    grown = process_reading(here)
    assert before and grown
    assert grown.private - before.private == pytest.approx(size, rel=0.1)
    assert grown.mapped - before.mapped < 5 * MIB
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as view:
        assert sum(view[:: mmap.PAGESIZE]) == size // mmap.PAGESIZE  # every page touched
        both = process_reading(here)
        maps = mapped_files(here)
        assert both
        assert both.private - grown.private < 5 * MIB
        if LINUX:
            assert both.mapped - grown.mapped == pytest.approx(size, rel=0.1)
            assert both.proportional is not None and both.proportional <= both.resident
            assert maps is not None and maps[str(file)] == size
    del own
    assert str(file) not in (mapped_files(here) or {})


def test_mapped_files_by_path(system: System) -> None:
    def mapping(path: str, resident: int, changed: int = 0) -> str:
        return (
            f"7f00-7f10 r--p 00000000 fe:00 9   {path}\nRss:  {resident} kB\nAnonymous: {changed} kB\nVmFlags: rd mr\n"
        )

    system.put(
        "proc/7/smaps",
        mapping("/kb/a b.term", 40)
        + mapping("/kb/a b.term", 8, changed=3)
        + mapping("/kb/old.store (deleted)", 20)
        + mapping("[heap]", 900, changed=900)
        + mapping("", 500, changed=500),
    )
    assert mapped_files(7, system.proc) == {"/kb/a b.term": 45 << 10, "/kb/old.store": 20 << 10}
    assert mapped_files(8, system.proc) is None


def test_mapped_files_by_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = [SimpleNamespace(path="/kb/a.term", rss=4096), SimpleNamespace(path="[heap]", rss=1)]
    monkeypatch.setattr(psutil.Process, "memory_maps", lambda self: maps, raising=False)
    assert mapped_files(os.getpid(), tmp_path / "none") == {"/kb/a.term": 4096}
    assert mapped_files(2**22 + 1, tmp_path / "none") is None
    monkeypatch.delattr(psutil.Process, "memory_maps")
    assert mapped_files(os.getpid(), tmp_path / "none") is None  # macOS


def _forget_cached(path: Path, length: int = 0) -> None:
    """Let the system drop the first `length` bytes from its page cache; 0: all of the file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, length, os.POSIX_FADV_DONTNEED)


def test_what_the_system_keeps_of_files(tmp_path: Path, write_bytes: Callable[[str, bytes], Path]) -> None:
    file, other, empty = (write_bytes(name, b"x" * size) for name, size in [("a", 3 * MIB + 5), ("b", 7), ("c", 0)])
    found = cached_bytes([file, other, empty, tmp_path / "missing"])
    if sys.platform == "win32":
        assert found is None
        return
    assert found == 3 * MIB + 5 + 7
    mapped = (mapped_files(os.getpid()) or {}).keys()
    assert str(file) not in mapped  # asking leaves no mapping behind
    if LINUX and _on_disk(file):
        _forget_cached(file)
        assert cached_bytes([file, other]) == 7


def test_large_files_are_asked_about_in_windows(
    write_bytes: Callable[[str, bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.memory.readings._WINDOW_BYTES", 4 * MIB)
    file = write_bytes("a", b"x" * (9 * MIB + 1))
    assert cached_bytes([file]) in (None, 9 * MIB + 1)
    if LINUX and _on_disk(file):
        _forget_cached(file, 4 * MIB)
        assert cached_bytes([file]) == 5 * MIB + 1  # of each window its own pages, not those of the first


def _on_disk(path: Path) -> bool:
    """Whether the system can drop the file from memory, which it cannot where the file lives there."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True).stdout.strip()
    return kind not in ("tmpfs", "ramfs")


@pytest.fixture
def write_bytes(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def write(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write
