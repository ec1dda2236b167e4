"""Landlock: which files a process reaches, and no TCP, abstract Unix sockets and signals to others.

See the kernel's documentation, userspace-api/landlock. Rights of versions that the kernel does not have are left out.
What it does not rule (times, modes and owners of files) is seccomp's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
from collections.abc import Iterable

from studio.confinement.native import give_up_privileges, syscall

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << bit for bit in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = (1 << bit for bit in range(13, 16))
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_READ = READ_FILE | READ_DIR
_OWN = _READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SYM | REFER | TRUNCATE
_TCP = 0b11
_SCOPES = 0b11
"""Abstract Unix sockets and signals."""
_NULL = "/dev/null"


def version() -> int:
    """The version of landlock the kernel has; 0 for none, or switched off."""
    try:
        return syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError:
        return 0


def restrict(*, system: Iterable[str], read: Iterable[str], write: Iterable[str], run: Iterable[str]) -> None:
    """Confine this thread and what it starts to these paths; does nothing on a kernel without landlock.

    `system` is read as well, through links. Of the others, real paths, a link that took the place of a file since is
    not followed. What is not there is left out. Raises OSError.
    """
    known = version()
    if not known:
        return
    handled = (1 << 13) - 1
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        handled |= right if known >= since else 0
    fields = struct.pack("=QQQ", handled, _TCP, _SCOPES)[: 8 if known < 4 else 16 if known < 6 else 24]
    rules = syscall(_CREATE_RULESET, ctypes.create_string_buffer(fields, len(fields)), len(fields), 0)
    try:
        for paths, rights, follow in (
            (system, _READ, 0),
            (run, READ_FILE | EXECUTE, 0),
            ((_NULL,), READ_FILE | WRITE_FILE, 0),
            (read, _READ, os.O_NOFOLLOW),
            (write, _OWN, os.O_NOFOLLOW),
        ):
            for path in paths:
                _allow(rules, path, rights & handled, follow)
        give_up_privileges()
        syscall(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: str, rights: int, flags: int) -> None:
    with contextlib.suppress(OSError):  # gone, or not to be reached: then it is not allowed either
        place = os.open(path, os.O_PATH | os.O_CLOEXEC | flags)
        try:
            if not stat.S_ISDIR(os.fstat(place).st_mode):
                rights &= _OF_FILES
            fields = struct.pack("=Qi", rights, place)
            syscall(_ADD_RULE, rules, _PATH_BENEATH, ctypes.create_string_buffer(fields, len(fields)), 0)
        finally:
            os.close(place)
