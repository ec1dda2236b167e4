from __future__ import annotations

import os

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
