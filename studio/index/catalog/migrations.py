"""Schema of the catalog and the steps from one version of it to the next."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable

from studio.errors import StorageFault
from studio.ways_out import AnotherDataFolder

_V1 = """
CREATE TABLE kb (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    settings TEXT NOT NULL,
    active INTEGER,
    next_generation INTEGER NOT NULL DEFAULT 1,
    created_ms INTEGER NOT NULL,
    retention TEXT,
    importing INTEGER NOT NULL DEFAULT 0,
    max_ndcg_drop REAL
) STRICT;
CREATE TABLE generation (
    kb_id TEXT NOT NULL REFERENCES kb(id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    parent INTEGER,
    settings TEXT NOT NULL,
    model TEXT,
    chunks_table TEXT NOT NULL,
    chunks_version INTEGER NOT NULL DEFAULT 0,
    documents_version INTEGER NOT NULL DEFAULT 0,
    rows_version INTEGER NOT NULL,
    lexical_version INTEGER NOT NULL,
    documents INTEGER NOT NULL DEFAULT 0,
    chunks INTEGER NOT NULL DEFAULT 0,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    own_bytes INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    ready_ms INTEGER,
    promoted_ms INTEGER,
    archived_ms INTEGER,
    ann TEXT NOT NULL DEFAULT '',
    origins INTEGER NOT NULL DEFAULT 0,
    note TEXT NOT NULL DEFAULT '',
    held TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (kb_id, number)
) STRICT;
CREATE TABLE document_origin (
    kb_id TEXT NOT NULL REFERENCES kb(id) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    source_path TEXT NOT NULL,
    position INTEGER NOT NULL,
    origin TEXT NOT NULL,
    PRIMARY KEY (kb_id, generation, source_path, position)
) STRICT;
CREATE TABLE job (
    id TEXT PRIMARY KEY,
    kb_id TEXT NOT NULL REFERENCES kb(id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    position INTEGER NOT NULL,
    paths TEXT NOT NULL,
    options TEXT NOT NULL,
    wish TEXT NOT NULL DEFAULT '',
    checkpoint TEXT NOT NULL DEFAULT '',
    generation INTEGER,
    error TEXT NOT NULL DEFAULT '',
    report TEXT NOT NULL DEFAULT '',
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX job_by_kb ON job (kb_id, created_ms);
CREATE TABLE job_file (
    job_id TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    state TEXT NOT NULL,
    chunks INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (job_id, path)
) STRICT;
CREATE TABLE watched_folder (
    kb_id TEXT NOT NULL REFERENCES kb(id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    enabled INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (kb_id, path)
) STRICT;
CREATE TABLE document_tag (
    kb_id TEXT NOT NULL REFERENCES kb(id) ON DELETE CASCADE,
    source_path TEXT NOT NULL,
    tag TEXT NOT NULL COLLATE NOCASE,
    PRIMARY KEY (kb_id, source_path, tag)
) STRICT;
CREATE TABLE pinned_query (
    id INTEGER PRIMARY KEY,
    kb_id TEXT NOT NULL REFERENCES kb(id) ON DELETE CASCADE,
    query TEXT NOT NULL,
    must_find TEXT NOT NULL,
    top INTEGER NOT NULL
) STRICT;
CREATE INDEX pinned_query_by_kb ON pinned_query (kb_id);
CREATE TABLE saved_query (
    id INTEGER PRIMARY KEY,
    kb_id TEXT NOT NULL REFERENCES kb(id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    query TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    UNIQUE (kb_id, name)
) STRICT;
CREATE TABLE judgment (
    query_id INTEGER NOT NULL REFERENCES saved_query(id) ON DELETE CASCADE,
    document TEXT NOT NULL,
    grade INTEGER NOT NULL,
    judged_ms INTEGER NOT NULL,
    PRIMARY KEY (query_id, document)
) STRICT;
CREATE TABLE evaluation_run (
    id INTEGER PRIMARY KEY,
    kb_id TEXT NOT NULL REFERENCES kb(id) ON DELETE CASCADE,
    created_ms INTEGER NOT NULL,
    report TEXT NOT NULL
) STRICT;
CREATE TABLE query_log (
    id INTEGER PRIMARY KEY,
    kb_id TEXT NOT NULL REFERENCES kb(id) ON DELETE CASCADE,
    at_ms INTEGER NOT NULL,
    took_ms REAL NOT NULL,
    query TEXT NOT NULL,
    outcome TEXT NOT NULL,
    timings TEXT NOT NULL
) STRICT;
CREATE INDEX query_log_by_kb ON query_log (kb_id, id);
"""

STEPS: tuple[str, ...] = (_V1,)
"""The statements that lead to version 1, 2, … from the one before. A step that was released is never changed."""


APPLICATION_ID = int.from_bytes(b"RAGS")
"""In the header of every catalog (PRAGMA application_id). Catalogs from before the first release lack it, and counted
their versions otherwise."""


def schema_version() -> int:
    """The version of the catalog that this program writes."""
    return len(STEPS)


def migrate(connection: sqlite3.Connection, back_up: Callable[[int], None] | None = None) -> None:
    """Bring the catalog to `schema_version` in one transaction. Raises StorageFault for one that it cannot read.

    Before a catalog that has a version is changed, `back_up` is called with it, inside the transaction: no other
    writes then. What it raises leaves the catalog as it is.
    """
    known = schema_version()
    found = _version_of(connection)
    if found and _pragma(connection, "application_id") != APPLICATION_ID:
        raise StorageFault(
            "This data directory was written by a version of RAG Studio from before the first release, "
            "which this one cannot read.",
            way_out=AnotherDataFolder("Move it away"),
        )
    if found > known:
        raise StorageFault(
            f"This data directory was written by a newer version of RAG Studio (catalog version {found}, "
            f"this program knows {known}).",
            way_out=AnotherDataFolder("Update RAG Studio"),
        )
    if found == known:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = _version_of(connection)  # another process may have migrated while this one waited for the lock
        if 0 < found < known and back_up is not None:
            back_up(found)
        for step in STEPS[found:]:
            for statement in step.split(";"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {max(found, known)}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # a full disk has rolled back by itself
            connection.execute("ROLLBACK")
        raise


def _version_of(connection: sqlite3.Connection) -> int:
    return _pragma(connection, "user_version")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
