"""How much of a machine the embedding model takes."""

from __future__ import annotations

import os

import psutil
import pytest

from studio.embedding.client import usual_threads


@pytest.mark.parametrize(
    ("cores", "allowed", "threads"), [(1, 1, 1), (2, 2, 1), (4, 8, 3), (8, 4, 3), (16, 32, 8), (None, 1, 1)]
)
def test_a_core_is_left_for_the_rest(
    cores: int | None, allowed: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: cores)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(allowed)), raising=False)
    assert usual_threads() == threads
