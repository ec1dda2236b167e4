"""The SQLite file below the catalog: opening, transactions, and what its errors mean.

Where the file cannot be written (read-only, not ours, disk full), or must not be (an older one that cannot be backed
up), the database is a copy in memory: everything can be read, a transaction says why nothing can be changed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from studio.errors import StorageFault, StudioError, storage_fault
from studio.index.catalog.backup_files import NoBackup, back_up_version
from studio.index.catalog.glance import Glance, Moment
from studio.index.catalog.image import Fingerprint, fingerprint, log_path, read_image
from studio.index.catalog.migrations import migrate
from studio.links import can_link
from studio.paths import DataPaths
from studio.ways_out import AnotherDataFolder, Diagnose, RestoreCatalog

_FULL_BELOW_BYTES = 1 << 20
_NOT_WRITABLE = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_FULL", "SQLITE_IOERR")
_COPY_ONLY = "Everything can be searched, nothing can be changed."


class Database:
    """One open connection. Every method blocks for a disk write at most; one thread at a time.

    Raises StorageFault when SQLite cannot read or write, or a newer program wrote the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._changes = 0
        self._refusal: StorageFault | None = None
        self._copied: Fingerprint | None = None
        self._files: dict[Path, tuple[int, int] | None] = {}
        self._glance: Glance | None = None
        self._db = self._opened()

    @property
    def read_only(self) -> str | None:
        """Why nothing can be changed, in sentences for a person; None when it can."""
        refusal = self._refusal
        return None if refusal is None else f"{refusal} {_COPY_ONLY} {refusal.way_out}"

    def close(self) -> None:
        """Close the connection; the last one folds the write-ahead log in."""
        self._look_at(None)
        self._db.close()

    def moment(self) -> Moment | None:
        """What differs after this or another process wrote; None where that cannot be told at once. For any thread."""
        glance = self._glance
        return glance.moment() if glance is not None else None

    def stamp(self) -> int:
        """A number that differs after this or another process wrote."""
        with self.mapped():
            version = self._current().execute("PRAGMA data_version").fetchone()[0]
        return int(version) * 1_000_000 + self._changes

    def integrity(self) -> str:
        """SQLite's own check: "ok" or what is wrong."""
        with self.mapped():
            return str(self._current().execute("PRAGMA quick_check").fetchone()[0])

    def rows(self, sql: str, values: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self.mapped():
            return self._current().execute(sql, values).fetchall()

    def row(self, sql: str, values: tuple[object, ...] = ()) -> sqlite3.Row | None:
        """The first row of a query."""
        with self.mapped():
            found: sqlite3.Row | None = self._current().execute(sql, values).fetchone()
            return found

    def require_writable(self) -> None:
        """Raise StorageFault, with the reason, when nothing can be changed now."""
        if self._refusal is not None or self._files != self._identities():
            self._reopen()
        if self._refusal is not None:
            raise StorageFault(str(self._refusal), way_out=self._refusal.way_out)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything in the block happens, durably, or nothing of it."""
        self.require_writable()
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

    # ------------------------------------------------------------ opening

    def _opened(self) -> sqlite3.Connection:
        with self.mapped():
            try:
                database = _connected(self.path)
            except NoBackup as refusal:
                return self._copy(refusal)
            except sqlite3.Error as error:
                if not _name(error).startswith(_NOT_WRITABLE):
                    raise
                return self._copy(_fault(error, self.path))
        self._copied = None
        self._look_at(Glance(self.path))
        # Readers of a file that is not theirs may share the log of a writer that lives: then all can be read at once.
        writable = os.access(self.path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
        self._refusal = None if writable else _not_writable(self.path)
        if writable and not can_link(self.path.parent):  # put there by hand: nothing is made in such a place
            self._refusal = unlinkable(self.path.parent)
        self._files = self._identities()
        return database

    def _copy(self, refusal: StorageFault) -> sqlite3.Connection:
        try:
            image, self._copied = read_image(self.path)
        except FileNotFoundError:
            raise StorageFault(f"There is no catalog yet. {refusal}", way_out=refusal.way_out) from refusal
        except OSError as error:
            raise storage_fault(error, "reading the catalog", self.path) from error
        self._refusal, self._files = refusal, {}
        self._look_at(None)
        return _connected(self.path, image)

    def _look_at(self, glance: Glance | None) -> None:
        before, self._glance = self._glance, glance
        if before is not None:
            before.close()

    def _reopen(self) -> None:
        if self._files:
            self._refuse_removed()
        before, self._db = self._db, self._opened()
        before.close()
        self._changes += 1

    def _refuse_removed(self) -> None:
        """A connection writes into the files it opened, wherever these are now: a change would be lost with them."""
        now = self._identities()
        log = log_path(self.path)
        same = now[self.path] == self._files[self.path]
        if now[self.path] is None or (same and now[log] is None):
            raise StorageFault(
                f"{log if same else self.path} was removed while the program was using it.",
                way_out="End every RAG Studio, put the file back (from a backup) and start again.",
            )

    def _current(self) -> sqlite3.Connection:
        """The connection, to read; of a copy another one is made when the files have changed."""
        if self._copied is not None and self._copied != fingerprint(self.path):
            self._reopen()
        return self._db

    def _identities(self) -> dict[Path, tuple[int, int] | None]:
        return {path: _identity(path) for path in (self.path, log_path(self.path))}


def _connected(path: Path, image: bytes | None = None) -> sqlite3.Connection:
    """A connection to the file, or to an image of it in memory, with the present schema."""
    database = sqlite3.connect(
        path if image is None else ":memory:", isolation_level=None, timeout=30, check_same_thread=False
    )
    try:
        database.row_factory = sqlite3.Row
        if image is None:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
        else:
            database.deserialize(image)
        database.execute("PRAGMA foreign_keys = ON")
        migrate(database, partial(back_up_version, path, DataPaths(path.parent).backups) if image is None else None)
    except BaseException:
        database.close()
        raise
    return database


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _name(error: sqlite3.Error) -> str:
    """SQLite's name of the error; errors of Python's own checks have none."""
    return str(getattr(error, "sqlite_errorname", ""))


def _free_bytes(directory: Path) -> int:
    try:
        return shutil.disk_usage(directory).free
    except OSError:  # the directory is gone
        return _FULL_BELOW_BYTES


def _not_writable(path: Path) -> StorageFault:
    return StorageFault(
        f"The catalog {path} cannot be opened for writing.",
        way_out=AnotherDataFolder("Check the folder's permissions"),
    )


def unlinkable(folder: Path) -> StorageFault:
    """What is said of a data directory in which nothing can be indexed."""
    return StorageFault(
        f"Files cannot be linked in {folder} (exFAT, FAT and some network drives cannot), which the index needs; "
        "your documents may lie there.",
        way_out=AnotherDataFolder(),
    )


def _fault(error: sqlite3.Error, path: Path) -> StorageFault:
    text = str(error)
    # A full file system also shows as an I/O error: the write-ahead log's index is a memory-mapped file.
    no_index = _name(error) == "SQLITE_IOERR_SHMSIZE"
    if "full" in text or no_index or ("I/O" in text and _free_bytes(path.parent) < _FULL_BELOW_BYTES):
        return StorageFault(
            f"The disk is full: {path} cannot be written.",
            way_out="Free some space and try again; what was indexed before is intact.",
        )
    if "readonly" in text or "unable to open" in text:
        return _not_writable(path)
    if "not a database" in text or "malformed" in text:
        return StorageFault(
            f"The catalog {path} is damaged ({text}).",
            way_out=RestoreCatalog(running=True),
        )
    if "locked" in text:
        return StorageFault("Another process keeps the catalog locked.", way_out="Wait for it to finish and try again.")
    return StorageFault(f"The catalog {path} failed: {text}.", way_out=Diagnose())
