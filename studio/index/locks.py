"""File locks: leases on generations and the one writer of a knowledge base.

The operating system drops a lock when its process dies, so nothing is ever left locked by a crash. Locks
are taken through portalocker, which maps them to flock on POSIX and LockFileEx on Windows.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import IO

import portalocker

from studio.errors import storage_fault


class FileLock:
    """A held lock; `release` is idempotent."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle: IO[bytes] | None = handle

    def release(self) -> None:
        """Let go of the lock."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            with contextlib.suppress(OSError, portalocker.LockException):
                portalocker.unlock(handle)
            handle.close()

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def create_lock_file(path: Path) -> None:
    """Make the file to lock, so that a reader later needs no permission and no space for it. Raises StorageFault."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise storage_fault(error, "making a lock file", path) from error


def try_lock(path: Path, *, shared: bool) -> FileLock | None:
    """Lock `path` (created when missing) without waiting; None when somebody else's lock is in the way.

    Takes some microseconds, so it may be called on the event loop. Raises StorageFault when the file cannot be opened.
    """
    flags = portalocker.LockFlags.SHARED if shared else portalocker.LockFlags.EXCLUSIVE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("ab")
    except OSError as error:
        raise storage_fault(error, "locking", path) from error
    try:
        portalocker.lock(handle, flags | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.LockException:
        handle.close()
        return None
    return FileLock(handle)
