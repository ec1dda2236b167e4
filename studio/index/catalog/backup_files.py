"""Copies of the catalog that the program keeps by itself, and what is left of a catalog that is gone or damaged.

One is made after each promotion, by SQLite's backup API. The last `LATEST` are kept, and the last one of each of the
past `DAYS` days. Another one is made before a newer program changes the catalog's schema; it stays.
"""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from studio.domain import GenerationState
from studio.errors import StorageFault
from studio.index.catalog.image import log_path
from studio.index.catalog.migrations import schema_version
from studio.replacing import replacing

log = logging.getLogger(__name__)

LATEST = 3
DAYS = 7
_NAME = re.compile(r"catalog-(\d{8}T\d{12})Z\.sqlite3")
_STAMP = "%Y%m%dT%H%M%S%f"


class NoBackup(StorageFault):
    """A catalog of an older schema could not be copied, so it is not changed."""


def back_up(db: sqlite3.Connection, folder: Path, now: datetime | None = None) -> Path | None:
    """Copy the database into `folder` and drop copies that are not kept; None where that failed, which is logged."""
    now = now or datetime.now(UTC)
    target = folder / f"catalog-{now.strftime(_STAMP)}Z.sqlite3"
    try:
        _copy(db, target)
        for old in _unkept(backups(folder), now):
            old.unlink(missing_ok=True)
        return target
    except (OSError, sqlite3.Error) as error:
        log.warning("the catalog was not copied to %s: %s", folder, error)
        return None


def back_up_version(database: Path, folder: Path, version: int) -> None:
    """Copy a database of an older schema into `folder`, as its last commit left it. Raises NoBackup."""
    target = folder / f"catalog-version-{version}.sqlite3"
    try:
        with closing(_opened(database)) as db:  # not the one that is about to write: SQLite would wait for its end
            _copy(db, target)
    except (OSError, sqlite3.Error) as error:
        raise NoBackup(
            f"The catalog is of version {version}, and there is no copy of it to fall back on: "
            f"{target} cannot be written ({error}).",
            way_out="Free some space, or mend the permissions of that folder, and start again.",
        ) from error


def _copy(db: sqlite3.Connection, target: Path) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    with replacing(target) as temporary, closing(sqlite3.connect(temporary, isolation_level=None)) as copy:
        db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it


def backups(folder: Path) -> list[Path]:
    """The copies in a folder, the newest first."""
    try:
        return sorted((file for file in folder.iterdir() if _NAME.fullmatch(file.name)), reverse=True)
    except OSError:
        return []


def made_at(backup: Path) -> datetime:
    """When a copy was made, UTC."""
    found = _NAME.fullmatch(backup.name)
    return datetime.strptime(found.group(1) if found else "", _STAMP).replace(tzinfo=UTC)


def _unkept(found: Sequence[Path], now: datetime) -> list[Path]:
    kept = set(found[:LATEST])
    for day in range(DAYS):
        date = (now - timedelta(days=day)).strftime("%Y%m%d")
        kept.update([file for file in found if f"-{date}T" in file.name][:1])
    return [file for file in found if file not in kept]


GONE, EMPTY = "is gone", "is empty"


def fault_of(database: Path, *, thorough: bool = True) -> str:
    """What is wrong with a catalog's file, a sentence without its subject; "" when it is a sound catalog.

    Unless it is `thorough`, only whether it is a catalog at all is looked at, in a millisecond. One that a newer
    program wrote is sound: it is refused elsewhere. Raises OSError when it cannot be looked at.
    """
    if not database.exists():
        return GONE
    if database.stat().st_size == 0 and not _log_bytes(database):
        return EMPTY
    try:
        with closing(_opened(database)) as db:
            tables = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            if not {"kb", "generation", "job"} <= tables:
                return "is the database of another program" if tables else EMPTY
            newer = db.execute("PRAGMA user_version").fetchone()[0] > schema_version()
            return "" if newer or not thorough else _damage(db)
    except sqlite3.OperationalError as error:
        # A full disk, a lock or a missing permission is not to be told from here: opening it says why.
        cut = error.sqlite_errorname in ("SQLITE_ERROR", "SQLITE_IOERR_SHORT_READ")
        return f"is damaged ({error})" if cut and thorough else ""
    except sqlite3.DatabaseError as error:
        return f"is damaged ({error})" if thorough else ""


def knows_none(database: Path) -> bool:
    """Whether a catalog lists no knowledge base, not even one that is being imported."""
    try:
        with closing(_opened(database)) as db:
            return db.execute("SELECT 1 FROM kb LIMIT 1").fetchone() is None
    except sqlite3.Error:
        return False


def _damage(db: sqlite3.Connection) -> str:
    """SQLite's own check, which compares tables with their indexes, and whether the values make sense: no check of
    SQLite sees a flipped bit in the middle of a text.
    """
    verdict = str(db.execute("PRAGMA integrity_check(1)").fetchone()[0])
    if verdict != "ok":
        return f"is damaged ({verdict.splitlines()[-1]})"
    if db.execute("PRAGMA foreign_key_check").fetchone() is not None:
        return "is damaged (rows of a knowledge base that is not there)"
    texts = (("kb", "settings"), ("kb", "retention"), ("generation", "settings"), ("generation", "model"))
    for table, column in (*texts, ("job", "paths"), ("job", "options")):
        for (text,) in db.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"):
            try:
                json.loads(text)
            except ValueError as error:
                return f"is damaged ({column} of a {table}: {error})"
    states = {row[0] for row in db.execute("SELECT DISTINCT state FROM generation")}
    if unknown := states - set(GenerationState):
        return f"is damaged (a generation's state is {unknown.pop()!r})"
    return ""


def _opened(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=30)


def _log_bytes(database: Path) -> int:
    try:
        return log_path(database).stat().st_size
    except OSError:
        return 0
