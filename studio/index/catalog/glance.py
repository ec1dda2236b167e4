"""Whether a database has changed, told at once: for the event loop, which need not wait for the database's thread."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

Moment = tuple["Glance", int]
"""Two are equal where nothing was written in between."""


class Glance:
    """A connection to a SQLite file with a write-ahead log, which never waits for another one and reads no table.

    What it looks at is in memory: the index of the log, which all connections share.
    """

    def __init__(self, path: Path) -> None:
        self._db: sqlite3.Connection | None = None
        with contextlib.suppress(sqlite3.Error):
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0, isolation_level=None,
                check_same_thread=False,
            )  # fmt: skip

    def moment(self) -> Moment | None:
        """The state that the file is in; None where that cannot be told at once."""
        if self._db is None:
            return None
        try:
            return self, int(self._db.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error:  # another program mends the log just now, or this was closed
            return None

    def close(self) -> None:
        """Close the connection."""
        if self._db is not None:
            self._db.close()
