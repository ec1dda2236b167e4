"""System calls that Python has no function for."""

from __future__ import annotations

import ctypes
import functools
import os

PR_SET_NO_NEW_PRIVS = 38


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: int | ctypes.Array[ctypes.c_char] | None) -> int:
    """Result of a system call. Raises OSError."""
    # Plain integers would be passed as 32 bits, the other half of the register undefined.
    given = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = int(_libc().syscall(ctypes.c_long(number), *given))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def give_up_privileges() -> None:
    """No program started from here gains rights; both kinds of confinement ask for it. Raises OSError."""
    zero = ctypes.c_ulong(0)
    if _libc().prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
