"""File locks: leases on generations and the one writer of a knowledge base.

The operating system drops a lock when its process dies, so nothing is ever left locked by a crash. Locks
are taken through portalocker, which maps them to flock on POSIX and LockFileEx on Windows.
"""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import IO

import portalocker

from studio.errors import StorageFault, storage_fault
from studio.ways_out import AnotherDataFolder

_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


class FileLock:
    """A held lock; `release` is idempotent. Without a handle it stands for a lock that could not be contested."""

    def __init__(self, handle: IO[bytes] | None) -> None:
        self._handle = handle

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
    """Lock `path` (created when missing) without waiting; None when another lock is in the way.

    Takes some microseconds, so it may be called on the event loop. Raises StorageFault when the file cannot be opened
    or the file system has no locks.
    """
    flags = portalocker.LockFlags.SHARED if shared else portalocker.LockFlags.EXCLUSIVE
    try:
        handle = _for_reading(path) if shared else _for_writing(path)
    except OSError as error:
        raise storage_fault(error, "locking", path) from error
    if handle is None:
        return FileLock(None)
    try:
        portalocker.lock(handle, flags | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.AlreadyLocked:
        handle.close()
        return None
    except (portalocker.LockException, OSError) as error:
        handle.close()
        raise StorageFault(
            f"{path} cannot be locked: {error}.", way_out=AnotherDataFolder(that="on a file system with file locks")
        ) from error
    return FileLock(handle)


def _for_reading(path: Path) -> IO[bytes] | None:
    """A handle for a shared lock, which needs nothing but the right to read; None where no lock is needed."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        pass
    try:
        return _created(path)
    except OSError as error:
        # Every sealed generation has its file; this one lost it. Who may not make one here may not delete here either,
        # so no process of this user collects what the lock would keep. A full disk is another matter: there, deleting
        # is what the next one does.
        if error.errno in _NOT_WRITABLE:
            return None
        raise


def _for_writing(path: Path) -> IO[bytes]:
    """A handle for an exclusive lock; network file systems want it writable."""
    try:
        return _created(path)
    except OSError as error:
        if error.errno in _NOT_WRITABLE and path.exists():
            return path.open("rb")  # looking whether something is in use (a dry run) works where nothing can change
        raise


def _created(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")
