"""Schema of the catalog and the steps from one version of it to the next."""

from __future__ import annotations

import contextlib
import sqlite3

from studio.errors import StorageFault

_V1 = """
CREATE TABLE kb (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    settings TEXT NOT NULL,
    active INTEGER,
    next_generation INTEGER NOT NULL DEFAULT 1,
    created_ms INTEGER NOT NULL
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
    documents INTEGER NOT NULL DEFAULT 0,
    chunks INTEGER NOT NULL DEFAULT 0,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    promoted_ms INTEGER,
    note TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (kb_id, number)
) STRICT;
CREATE TABLE job (
    id TEXT PRIMARY KEY,
    kb_id TEXT NOT NULL REFERENCES kb(id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    paths TEXT NOT NULL,
    options TEXT NOT NULL,
    generation INTEGER,
    error TEXT NOT NULL DEFAULT '',
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX job_by_kb ON job (kb_id, created_ms);
"""

_V2 = """
ALTER TABLE kb ADD COLUMN retention TEXT;
ALTER TABLE kb ADD COLUMN importing INTEGER NOT NULL DEFAULT 0;
ALTER TABLE generation ADD COLUMN own_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE generation ADD COLUMN rows_version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE generation ADD COLUMN lexical_version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE generation ADD COLUMN ready_ms INTEGER;
ALTER TABLE generation ADD COLUMN archived_ms INTEGER;
ALTER TABLE generation ADD COLUMN held TEXT NOT NULL DEFAULT '';
UPDATE generation SET archived_ms = coalesce(promoted_ms, created_ms) WHERE state = 'archived';
UPDATE generation SET own_bytes = size_bytes;
CREATE TABLE pinned_query (
    id INTEGER PRIMARY KEY,
    kb_id TEXT NOT NULL REFERENCES kb(id) ON DELETE CASCADE,
    query TEXT NOT NULL,
    must_find TEXT NOT NULL,
    top INTEGER NOT NULL
) STRICT;
CREATE INDEX pinned_query_by_kb ON pinned_query (kb_id);
"""

_V3 = """
ALTER TABLE job ADD COLUMN kind TEXT NOT NULL DEFAULT 'ingest';
ALTER TABLE job ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN wish TEXT NOT NULL DEFAULT '';
ALTER TABLE job ADD COLUMN checkpoint TEXT NOT NULL DEFAULT '';
UPDATE job SET position = rowid, kind = CASE
    WHEN options LIKE '%"reindex"%' THEN 'reindex'
    WHEN options LIKE '%"restore"%' THEN 'restore'
    WHEN options LIKE '%"rebuild"%' THEN 'rebuild'
    WHEN options = '{}' THEN 'remove'
    ELSE 'ingest' END;
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
"""

_V4 = """
ALTER TABLE generation ADD COLUMN ann TEXT NOT NULL DEFAULT '';
ALTER TABLE kb ADD COLUMN max_ndcg_drop REAL;
CREATE TABLE document_tag (
    kb_id TEXT NOT NULL REFERENCES kb(id) ON DELETE CASCADE,
    source_path TEXT NOT NULL,
    tag TEXT NOT NULL COLLATE NOCASE,
    PRIMARY KEY (kb_id, source_path, tag)
) STRICT;
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

_V5 = """
ALTER TABLE generation ADD COLUMN origins INTEGER NOT NULL DEFAULT 0;
CREATE TABLE document_origin (
    kb_id TEXT NOT NULL REFERENCES kb(id) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    source_path TEXT NOT NULL,
    position INTEGER NOT NULL,
    origin TEXT NOT NULL,
    PRIMARY KEY (kb_id, generation, source_path, position)
) STRICT;
"""

_V6 = """
ALTER TABLE job ADD COLUMN report TEXT NOT NULL DEFAULT '';
"""

STEPS: tuple[str, ...] = (_V1, _V2, _V3, _V4, _V5, _V6)
SCHEMA_VERSION = len(STEPS)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the catalog to `SCHEMA_VERSION` in one transaction. Raises StorageFault for a newer one."""
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > SCHEMA_VERSION:
        raise StorageFault(
            f"This data directory was written by a newer version of RAG Studio (catalog version {found}, "
            f"this program knows {SCHEMA_VERSION}).",
            way_out="Update RAG Studio or choose another --data-dir.",
        )
    if found == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have migrated while this one waited for the lock.
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        for step in STEPS[found:]:
            for statement in step.split(";"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # a full disk has rolled back by itself
            connection.execute("ROLLBACK")
        raise
