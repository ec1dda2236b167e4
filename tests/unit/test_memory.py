from __future__ import annotations

import os
import sys

import numpy as np
import psutil
import pytest

from studio import memory
from studio.memory import GIB, MemoryCoordinator, machine_memory_bytes


def test_the_ledger_adds_up_and_names_each_part() -> None:
    snapshot = MemoryCoordinator(2048, lambda: {"model": [os.getpid()], "parsers": [], "gone": [2**22 + 1]}).snapshot()
    assert snapshot.budget_bytes == 2048 << 20
    assert snapshot.parts["model"] == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    assert (snapshot.parts["parsers"], snapshot.parts["gone"]) == (0, 0)
    assert snapshot.used_bytes == sum(snapshot.parts.values())


def test_the_budget_is_half_of_what_the_control_group_allows(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(f"{3 * GIB}\n")
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (limit, tmp_path / "missing"))
    assert machine_memory_bytes() == min(3 * GIB, psutil.virtual_memory().total)
    assert MemoryCoordinator(0, dict).snapshot().budget_bytes == max(GIB, machine_memory_bytes() // 2)
    limit.write_text("max\n")
    assert machine_memory_bytes() == psutil.virtual_memory().total


def test_the_budget_is_at_least_a_gibibyte(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("1000000")
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (limit,))
    assert MemoryCoordinator(0, dict).snapshot().budget_bytes == GIB


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps what was freed and can be told to give it back")
def test_freed_memory_is_given_back() -> None:
    process = psutil.Process()
    blocks = [np.ones(100_000, np.uint8) for _ in range(1_000)]
    full = process.memory_info().rss
    del blocks[:-1]  # the last one keeps the library from giving back what lies below it
    memory.give_back()
    assert full - process.memory_info().rss > 50e6
