"""Memory that was freed, and that the C library keeps for itself."""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

_ARENA_MAX = -8
"""`M_ARENA_MAX` of mallopt(3)."""
_ARENAS = 2


@functools.cache
def c_library() -> Any:
    """The C library, loaded once: what ctypes makes for it is a cycle, which is freed late."""
    return ctypes.CDLL(None)


def use_few_arenas() -> None:
    """Let all threads share two heaps where the C library (glibc) would give each its own, up to eight a core. What is
    freed in one is no use to another: building an index of 200,000 rows of 384 numbers held on to 350 MB in many heaps
    and to 115 in two. Holds for threads that begin later.
    """
    if sys.platform == "linux":
        options = getattr(c_library(), "mallopt", None)
        if options is not None:
            options(_ARENA_MAX, _ARENAS)


def use_system_heap() -> None:
    """Let pyarrow, which is imported, allocate from the C library. Its own allocator (mimalloc) has a heap for each
    thread, and what is freed in one can be given back by that thread alone: some 12 of 295 MB after 100,000 passages
    were searched.
    """
    import pyarrow

    pyarrow.set_memory_pool(pyarrow.system_memory_pool())


def arrow_bytes() -> int:
    """Bytes allocated by pyarrow. LanceDB allocates its own elsewhere."""
    pool = _arrow_pool()
    return int(pool.bytes_allocated()) if pool is not None else 0


def give_back() -> None:
    """Hand memory that was freed, and that the C library and Arrow keep, back to the system. Some milliseconds."""
    pool = _arrow_pool()
    if pool is not None:
        pool.release_unused()
    if sys.platform == "linux":
        trim = getattr(c_library(), "malloc_trim", None)  # glibc's
        if trim is not None:
            trim(0)


def _arrow_pool() -> Any:
    """None where Arrow is not used; another thread may be just importing it."""
    default = getattr(sys.modules.get("pyarrow"), "default_memory_pool", None)
    return default() if default is not None else None
