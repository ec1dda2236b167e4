from __future__ import annotations

import sys

import numpy as np
import psutil
import pytest

from studio.memory import give_back


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps what was freed and can be told to give it back")
def test_freed_memory_is_given_back() -> None:
    process = psutil.Process()
    blocks = [np.ones(100_000, np.uint8) for _ in range(1_000)]
    full = process.memory_info().rss
    del blocks[:-1]  # the last one keeps the library from giving back what lies below it
    give_back()
    assert full - process.memory_info().rss > 50e6
