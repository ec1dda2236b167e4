"""What another program does to a catalog: SQL over a connection of its own."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from studio.paths import DataPaths


def catalog_sql(paths: DataPaths, sql: str, values: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Run one statement, durably; its rows."""
    with closing(sqlite3.connect(paths.catalog, isolation_level=None, timeout=30)) as db:
        return db.execute(sql, values).fetchall()
