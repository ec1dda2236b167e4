"""What the catalog knows of a knowledge base, kept beside its files in `base.json`: enough to adopt it again.

Written after everything that changes a base or makes a generation, and when the catalog is closed. The catalog alone is
the truth; this file is read only where its rows are gone or older.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.paths import KbPaths
from studio.replacing import replacing

log = logging.getLogger(__name__)

Dump = Mapping[str, Any]
"""`version` of the catalog's schema, the row `kb`, and of each other table the list of rows."""

FORMAT = 1
"""Of the file; what it holds has the version of the catalog's schema."""
JOBS_KEPT = 200
RUNS_KEPT = 20
"""Reports of evaluations are long."""
_HEAD_BYTES = 200
_COMPLETE = ("ready", "active", "archived")
_OF_BASE = ("generation", "pinned_query", "document_tag", "document_origin", "watched_folder", "evaluation_run")
TABLES = (*_OF_BASE, "job", "saved_query")
"""Keys of a dump beside `version` and `kb`."""
_OPEN_JOBS = ("queued", "running", "paused")
_NUMBERED = ("pinned_query", "saved_query", "evaluation_run", "query_log")
"""Tables whose ids count over all knowledge bases: they are given anew."""


def dump(db: sqlite3.Connection, kb_id: str) -> dict[str, Any] | None:
    """Everything a person would miss, as it is in the catalog; None for a base that is not there or being imported."""
    base = db.execute("SELECT * FROM kb WHERE id = ? AND NOT importing", (kb_id,)).fetchone()
    if base is None:
        return None
    found: dict[str, Any] = {"version": db.execute("PRAGMA user_version").fetchone()[0], "kb": dict(base)}
    for table in _OF_BASE:
        found[table] = [dict(row) for row in db.execute(f"SELECT * FROM {table} WHERE kb_id = ?", (kb_id,))]
    found["evaluation_run"] = found["evaluation_run"][-RUNS_KEPT:]
    jobs = "SELECT * FROM job WHERE kb_id = ? ORDER BY position DESC LIMIT ?"
    found["job"] = [{**dict(row), "report": ""} for row in db.execute(jobs, (kb_id, JOBS_KEPT))]
    queries = [dict(row) for row in db.execute("SELECT * FROM saved_query WHERE kb_id = ?", (kb_id,))]
    for query in queries:
        judged = db.execute("SELECT * FROM judgment WHERE query_id = ?", (query["id"],))
        query["judgment"] = [dict(row) for row in judged]
    found["saved_query"] = queries
    return found


def restore(db: sqlite3.Connection, found: Dump, name: str) -> None:
    """Put a dump in the place of what the catalog has of that base, under a name. Inside a transaction.

    What a dump leaves out (the files of jobs, the log of searches, older evaluations) stays where the catalog has it.
    A job that had not ended waits: its checkpoint is of a build that need not be there any more. A row that this
    program's catalog cannot take is left out, and logged: it must not cost the rest.
    """
    kb_id = found["kb"]["id"]
    kept = _left_out(db, kb_id)
    db.execute("DELETE FROM kb WHERE id = ?", (kb_id,))
    _insert(db, "kb", {**found["kb"], "name": name, "importing": 0})
    for row in found["generation"]:
        _insert(db, "generation", row)
    for job in reversed(found.get("job", ())):
        waits = {"state": "paused", "checkpoint": "", "wish": ""} if job["state"] in _OPEN_JOBS else {}
        db.execute("DELETE FROM job WHERE id = ?", (job["id"],))
        _try_insert(db, "job", {**job, **waits})
    for query in found.get("saved_query", ()):
        number = _try_insert(db, "saved_query", query)
        for judgment in query["judgment"] if number is not None else ():
            _try_insert(db, "judgment", {**judgment, "query_id": number})
    told = {table: found.get(table, ()) for table in _OF_BASE if table != "generation"}
    for table, rows in (*told.items(), *kept.items()):
        for row in rows:
            _try_insert(db, table, row)


def _left_out(db: sqlite3.Connection, kb_id: str) -> dict[str, list[Mapping[str, Any]]]:
    of_jobs = "SELECT * FROM job_file WHERE job_id IN (SELECT id FROM job WHERE kb_id = ?)"
    log_of_searches = "SELECT * FROM query_log WHERE kb_id = ? ORDER BY id"
    return {
        "job_file": [dict(row) for row in db.execute(of_jobs, (kb_id,))],
        "query_log": [dict(row) for row in db.execute(log_of_searches, (kb_id,))],
    }


def _try_insert(db: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int | None:
    try:
        return _insert(db, table, row)
    except sqlite3.Error as error:
        log.warning("a row of %s was not adopted: %s", table, error)
        return None


def _insert(db: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int | None:
    known = [column[1] for column in db.execute(f"PRAGMA table_info({table})")]
    values = {key: row[key] for key in known if key in row and not (key == "id" and table in _NUMBERED)}
    marks = ", ".join("?" * len(values))
    return db.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values())).lastrowid


@dataclass(frozen=True, slots=True)
class Horizon:
    """How far the catalog knows a knowledge base: what only grows, or never comes back to what it was."""

    next_generation: int
    promoted_ms: int
    """When the active generation became active, 0 without one."""
    building: frozenset[int]


@dataclass(frozen=True, slots=True)
class Evidence:
    """How far the files of a knowledge base go."""

    newest: int
    """The highest number of a generation that left files; a build has its row before its first file. 0 for none."""
    described: Dump | None

    def beyond(self, horizon: Horizon) -> bool:
        """Whether the files know more than the catalog, which then is an older one. The catalog must have been asked
        after the files: else a build of another process in between looks like that.
        """
        if self.newest >= horizon.next_generation:
            return True
        if self.described is None:
            return False
        rows = self.described["generation"]
        promoted_ms = max((row.get("promoted_ms") or 0 for row in rows if row["state"] == "active"), default=0)
        complete = {row["number"] for row in rows if row["state"] in _COMPLETE}
        return (
            self.described["kb"]["next_generation"] > horizon.next_generation
            or promoted_ms > horizon.promoted_ms
            or not complete.isdisjoint(horizon.building)
        )


def evidence(paths: KbPaths) -> Evidence:
    """What the files of a knowledge base tell. Blocking."""
    found = read(paths.description)
    newest = max(numbers_in(paths.lexical) | numbers_in(paths.leases), default=0)
    return Evidence(newest, found.rows if found is not None else None)


def numbers_in(folder: Path) -> set[int]:
    """The generations that have something in a folder of keyword indexes or leases."""
    with suppress(OSError):
        names = (path.name for path in folder.iterdir())
        return {int(name[1:]) for name in names if name[:1] == "g" and name[1:].isdecimal()}
    return set()


@dataclass(frozen=True, slots=True)
class Description:
    """A dump as it was found in a file, and when it was written."""

    rows: Dump
    written_ms: int


def read(file: Path) -> Description | None:
    """What a file says; None where there is none, or any byte of it is not as it was written."""
    try:
        found = json.loads(file.read_bytes())
        rows = found["base"]
        if found["sha256"] != _checksum(_encoded(rows)) or rows["kb"]["id"] != file.parent.name:
            return None
        return Description(rows, int(found["written_ms"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def write(file: Path, found: Dump, at_ms: int) -> None:
    """Replace the file, durably, where it says something else. Never raises OSError: it is only a second copy."""
    try:
        rows = _encoded(found)
        checksum = _checksum(rows)
        if file.exists() and checksum.encode() in file.read_bytes()[:_HEAD_BYTES] and read(file) is not None:
            return
        head = f'{{"format": {FORMAT}, "sha256": "{checksum}", "written_ms": {at_ms}, "base": '
        with replacing(file) as temporary:
            temporary.write_bytes(b"".join((head.encode(), rows, b"}")))
    except OSError as error:
        log.warning("%s was not written: %s", file, error)


def _encoded(rows: Dump) -> bytes:
    return json.dumps(rows, separators=(",", ":")).encode()


def _checksum(rows: bytes) -> str:
    return hashlib.sha256(rows).hexdigest()


def is_base(paths: KbPaths) -> bool:
    """Whether a folder has anything of a knowledge base in it that a person would miss."""
    described = paths.description.is_file()
    return described or any(paths.vectors.glob("*")) or any(paths.texts.glob("*"))
