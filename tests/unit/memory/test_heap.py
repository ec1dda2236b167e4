from __future__ import annotations

import subprocess
import sys
import types

import numpy as np
import psutil
import pyarrow
import pytest

from studio.memory import arrow_bytes, give_back


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps what was freed and can be told to give it back")
def test_freed_memory_is_given_back() -> None:
    process = psutil.Process()
    blocks = [np.ones(100_000, np.uint8) for _ in range(1_000)]
    full = process.memory_info().rss
    del blocks[:-1]  # the last one keeps the library from giving back what lies below it
    give_back()
    assert full - process.memory_info().rss > 50e6


_HEAPS = """
import ctypes, sys, threading
from studio.memory import use_few_arenas
if sys.argv[1] == "few":
    use_few_arenas()
together = threading.Barrier(9)
def hold():
    block = bytes(10_000)
    together.wait()
    together.wait()
threads = [threading.Thread(target=hold) for _ in range(8)]
for thread in threads:
    thread.start()
together.wait()
library = ctypes.CDLL(None)
library.fdopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(library.fdopen(1, b"w"))
library.malloc_info(0, stream)
library.fflush(stream)
together.wait()
"""


def heaps(setting: str) -> int:
    """How many heaps the C library has for eight threads that hold memory at once."""
    done = subprocess.run([sys.executable, "-c", _HEAPS, setting], capture_output=True, text=True, check=True)
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc gives threads heaps of their own")
def test_threads_share_two_heaps() -> None:
    assert heaps("many") > 2
    assert heaps("few") == 2


_IN_A_THREAD = """
import asyncio, threading, psutil, pyarrow
from studio.index.vectors import load_library
from studio.memory import give_back
asyncio.run(load_library())
held, done = threading.Event(), threading.Event()
def work():
    arrays = [pyarrow.array(range(20_000)) for _ in range(500)]  # 80 MB
    arrays = arrays[::50]
    held.set()
    done.wait()
threading.Thread(target=work).start()
held.wait()
full = psutil.Process().memory_info().rss
give_back()
print(full - psutil.Process().memory_info().rss)
done.set()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told to give back what was freed")
def test_what_arrow_freed_in_another_thread_is_given_back() -> None:
    told = subprocess.run([sys.executable, "-c", _IN_A_THREAD], capture_output=True, text=True, check=True)
    assert int(told.stdout) > 60e6


def test_arrow_tells_what_it_holds_and_nothing_while_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    before = arrow_bytes()
    array = pyarrow.array(range(100_000))
    assert arrow_bytes() - before >= array.nbytes
    monkeypatch.setitem(sys.modules, "pyarrow", types.ModuleType("pyarrow"))  # as another thread has it for a moment
    assert arrow_bytes() == 0
    give_back()
    monkeypatch.delitem(sys.modules, "pyarrow")
    assert arrow_bytes() == 0
