"""The SQLite file below the catalog: opening, transactions, and what its errors mean."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from studio.errors import StorageFault, StudioError
from studio.index.migrations import migrate

_FULL_BELOW_BYTES = 1 << 20


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Database:
    """One open connection. Every method blocks for a disk write at most; one thread at a time.

    Raises StorageFault when SQLite cannot read or write, or a newer program wrote the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._changes = 0
        with self.mapped():
            self._db = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
            try:
                self._db.row_factory = sqlite3.Row
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA foreign_keys = ON")
                migrate(self._db)
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the connection; the last one folds the write-ahead log in."""
        self._db.close()

    def stamp(self) -> int:
        """A number that differs after this or another process wrote."""
        with self.mapped():
            version = self._db.execute("PRAGMA data_version").fetchone()[0]
        return int(version) * 1_000_000 + self._changes

    def integrity(self) -> str:
        """SQLite's own check: "ok" or what is wrong."""
        with self.mapped():
            return str(self._db.execute("PRAGMA quick_check").fetchone()[0])

    def rows(self, sql: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self.mapped():
            return self._db.execute(sql, values).fetchall()

    def row(self, sql: str, values: tuple[object, ...] = ()) -> sqlite3.Row | None:
        """The first row of a query."""
        with self.mapped():
            found: sqlite3.Row | None = self._db.execute(sql, values).fetchone()
            return found

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything in the block happens, durably, or nothing of it."""
        with self.mapped():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
            self._changes += 1

    @contextlib.contextmanager
    def mapped(self) -> Iterator[None]:
        """Turn SQLite's errors into StorageFault."""
        try:
            yield
        except StudioError:
            raise
        except sqlite3.Error as error:
            raise _fault(error, self.path) from error


def _fault(error: sqlite3.Error, path: Path) -> StorageFault:
    text = str(error)
    # A full file system also shows as an I/O error: the write-ahead log's index is a memory-mapped file.
    if "full" in text or ("I/O" in text and shutil.disk_usage(path.parent).free < _FULL_BELOW_BYTES):
        return StorageFault(
            f"The disk is full: {path} cannot be written.",
            way_out="Free some space and try again; what was indexed before is intact.",
        )
    if "readonly" in text or "unable to open" in text:
        return StorageFault(
            f"The catalog {path} cannot be opened for writing.",
            way_out="Check the folder's permissions or choose another --data-dir.",
        )
    if "not a database" in text or "malformed" in text:
        return StorageFault(
            f"The catalog {path} is damaged ({text}).",
            way_out="Restore it from a backup, or move it away to start anew.",
        )
    if "locked" in text:
        return StorageFault("Another process keeps the catalog locked.", way_out="Wait for it to finish and try again.")
    return StorageFault(f"The catalog {path} failed: {text}.", way_out="Run: rag-studio doctor.")
