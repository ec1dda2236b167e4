"""What the catalog knows of a knowledge base, kept beside its files in `base.json`: enough to adopt it again.

Written after everything that changes a base or makes a generation, and when the catalog is closed. The catalog alone is
the truth; this file is read only where its rows are gone or older.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from studio.errors import StorageFault
from studio.paths import KbPaths

log = logging.getLogger(__name__)

Dump = Mapping[str, Any]
"""`version` of the catalog's schema, the row `kb`, and of each other table the list of rows."""

JOBS_KEPT = 200
_OF_BASE = ("generation", "pinned_query", "document_tag", "watched_folder", "evaluation_run")
TABLES = (*_OF_BASE, "job", "saved_query")
"""Keys of a dump beside `version` and `kb`."""
_OPEN_JOBS = ("queued", "running", "paused")
_NUMBERED = ("pinned_query", "saved_query", "evaluation_run")
"""Tables whose ids count over all knowledge bases: they are given anew."""


def dump(db: sqlite3.Connection, kb_id: str) -> dict[str, Any] | None:
    """Everything a person would miss, as it is in the catalog; None for a base that is not there or being imported."""
    base = db.execute("SELECT * FROM kb WHERE id = ? AND NOT importing", (kb_id,)).fetchone()
    if base is None:
        return None
    found: dict[str, Any] = {"version": db.execute("PRAGMA user_version").fetchone()[0], "kb": dict(base)}
    for table in _OF_BASE:
        found[table] = [dict(row) for row in db.execute(f"SELECT * FROM {table} WHERE kb_id = ?", (kb_id,))]
    jobs = "SELECT * FROM job WHERE kb_id = ? ORDER BY position DESC LIMIT ?"
    found["job"] = [dict(row) for row in db.execute(jobs, (kb_id, JOBS_KEPT))]
    queries = [dict(row) for row in db.execute("SELECT * FROM saved_query WHERE kb_id = ?", (kb_id,))]
    for query in queries:
        judged = db.execute("SELECT * FROM judgment WHERE query_id = ?", (query["id"],))
        query["judgment"] = [dict(row) for row in judged]
    found["saved_query"] = queries
    return found


def restore(db: sqlite3.Connection, found: Dump, name: str) -> None:
    """Put a dump in the place of all that the catalog has of that base, under a name. Inside a transaction.

    A job that had not ended waits: its checkpoint is of a build that need not be there any more.
    """
    kb_id = found["kb"]["id"]
    db.execute("DELETE FROM kb WHERE id = ?", (kb_id,))
    _insert(db, "kb", {**found["kb"], "name": name, "importing": 0})
    for table in _OF_BASE:
        for row in found[table]:
            _insert(db, table, row)
    for job in reversed(found["job"]):
        waits = {"state": "paused", "checkpoint": "", "wish": ""} if job["state"] in _OPEN_JOBS else {}
        db.execute("DELETE FROM job WHERE id = ?", (job["id"],))
        _insert(db, "job", {**job, **waits})
    for query in found["saved_query"]:
        number = _insert(db, "saved_query", query)
        for judgment in query["judgment"]:
            _insert(db, "judgment", {**judgment, "query_id": number})


def _insert(db: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int | None:
    known = [column[1] for column in db.execute(f"PRAGMA table_info({table})")]
    values = {key: row[key] for key in known if key in row and not (key == "id" and table in _NUMBERED)}
    marks = ", ".join("?" * len(values))
    return db.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values())).lastrowid


def newest_number(paths: KbPaths) -> int:
    """The highest number that a keyword index on the disk has; 0 for none. A build has its row before its index."""
    with suppress(OSError):
        names = (path.name for path in paths.lexical.iterdir())
        return max((int(name[1:]) for name in names if name[:1] == "g" and name[1:].isdecimal()), default=0)
    return 0


def refuse_ahead(paths: KbPaths, next_generation: int) -> None:
    """Raise StorageFault where a knowledge base has later generations than the catalog knows: a build would write over
    them, a collection delete them.
    """
    if newest_number(paths) >= next_generation:
        raise StorageFault(
            f"The catalog is older than the files of the knowledge base {paths.root.name}, as one from a backup is.",
            way_out="Let the files be adopted before anything changes: rag-studio doctor --repair",
        )


def read(file: Path) -> Dump | None:
    """The dump in a file; None where there is none that makes sense."""
    try:
        found = json.loads(file.read_bytes())
        lists = [found[table] for table in TABLES]
        sound = all(isinstance(row, dict) for rows in lists for row in rows)
        if not sound or found["kb"]["id"] != file.parent.name or not isinstance(found["kb"]["next_generation"], int):
            return None
        return found  # type: ignore[no-any-return]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def write(file: Path, found: Dump) -> None:
    """Replace the file, durably, where it says something else. Never raises OSError: it is only a second copy."""
    data = json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        if file.exists() and file.read_bytes() == data:
            return
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except OSError as error:
        log.warning("%s was not written: %s", file, error)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
