"""A SQLite database as one image in memory, read without writing a byte beside it.

SQLite itself cannot read a database in WAL mode where it may not make the log's index (`-shm`) beside it: on a
read-only file system, in a folder of another user, on a full disk. The file and its write-ahead log can still be
read; a copy of both is put together by SQLite where it may write.
"""

from __future__ import annotations

import errno
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from studio.index.files import temporary_directory

Fingerprint = tuple[tuple[int, int, int] | None, ...]

_FORMAT_VERSIONS = slice(18, 20)  # of the database's header: 2 stands for WAL, which memory does not know, 1 for none
_TRIES = 50


def log_path(database: Path) -> Path:
    """The write-ahead log beside a database."""
    return database.with_name(database.name + "-wal")


def fingerprint(database: Path) -> Fingerprint:
    """(inode, time in ns, bytes) of the database and of its log, None for one that is not there."""
    found: list[tuple[int, int, int] | None] = []
    for file in (database, log_path(database)):
        try:
            status = file.stat()
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        except FileNotFoundError:
            found.append(None)
    return tuple(found)


def read_image(database: Path) -> tuple[bytes, Fingerprint]:
    """The database as its last commit left it, and the fingerprint of what was read. Blocking. Raises OSError,
    sqlite3.Error.

    A writer may fold its log into the file in the meantime, so the log is read before and after the file: when it
    is the same, then whatever was folded in between is in it too, and putting it on top gives its last commit.
    """
    for _ in range(_TRIES):
        before, log = fingerprint(database), _log(database)
        image = database.read_bytes()
        if _log(database) == log and fingerprint(database) == before:
            return _folded(image, log), before
        time.sleep(0.01)
    raise TimeoutError(None, "Another process keeps writing", str(database))


def _log(database: Path) -> bytes:
    try:
        return log_path(database).read_bytes()
    except FileNotFoundError:
        return b""


def _folded(image: bytes, log: bytes) -> bytes:
    """The image with every whole commit of a log. Needs no room where the log is empty, as after an orderly end."""
    if log:
        folder = temporary_directory(lambda folder: _fold(folder / "copy", image, log))
        try:
            image = (folder / "copy").read_bytes()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if len(image) < _FORMAT_VERSIONS.stop:
        return image
    return b"".join((image[: _FORMAT_VERSIONS.start], b"\1\1", image[_FORMAT_VERSIONS.stop :]))


def _fold(copy: Path, image: bytes, log: bytes) -> None:
    copy.write_bytes(image)
    log_path(copy).write_bytes(log)
    try:
        with closing(sqlite3.connect(copy, isolation_level=None)) as database:
            database.execute("PRAGMA locking_mode = EXCLUSIVE")  # the log's index needs no file then
            database.execute("PRAGMA synchronous = OFF")
            database.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as error:
        raise OSError(errno.ENOSPC, str(error), str(copy)) from error
