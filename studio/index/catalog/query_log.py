"""The last searches of each knowledge base, in the catalog: how long they took and how they ended.

They stay on this machine, are no part of an exported bundle, and go with their knowledge base.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from studio.index.catalog.database import Database

KEPT = 1_000
"""Searches kept per knowledge base: twice what percentiles are taken from, some 100 KB."""


class Outcome(StrEnum):
    """How a search ended. A request that made no sense is none of these and is not recorded."""

    ANSWERED = "answered"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LoggedQuery:
    """One search. `query` is "" where texts are not remembered; `timings_ms` are those of its parts, by name.

    `first` marks the first search of a knowledge base since the program started, which opens files and loads the model.
    """

    kb_id: str
    at_ms: int
    took_ms: float
    query: str
    outcome: Outcome
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    first: bool = False


class QueryLog:
    """The log of every knowledge base. Blocking, like the catalog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, entries: Sequence[LoggedQuery]) -> None:
        """Add searches in one transaction and drop the oldest beyond `KEPT`. Raises StorageFault."""
        with self._database.transaction() as db:
            db.executemany(
                # A knowledge base may have been deleted since it was searched.
                "INSERT INTO query_log (kb_id, at_ms, took_ms, query, outcome, timings)"
                " SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM kb WHERE id = ?1)",
                [_row(entry) for entry in entries],
            )
            for kb_id in {entry.kb_id for entry in entries}:
                db.execute(
                    "DELETE FROM query_log WHERE kb_id = ?1 AND id <="
                    " (SELECT id FROM query_log WHERE kb_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
                    (kb_id, KEPT),
                )

    def recent(self, kb_id: str, limit: int) -> list[LoggedQuery]:
        """The last searches of one knowledge base, oldest first."""
        rows = self._database.rows("SELECT * FROM query_log WHERE kb_id = ? ORDER BY id DESC LIMIT ?", (kb_id, limit))
        found = []
        for row in reversed(rows):
            timings = json.loads(row["timings"])
            first = bool(timings.pop(_FIRST, False))
            outcome = Outcome(row["outcome"])
            found.append(LoggedQuery(kb_id, row["at_ms"], row["took_ms"], row["query"], outcome, timings, first))
        return found

    def forget_texts(self) -> None:
        """Remove what was searched for from the log and its bytes from the file, keep the rest. Raises StorageFault."""
        if self._database.row("SELECT 1 FROM query_log WHERE query != '' LIMIT 1") is not None:
            self._database.rows("PRAGMA secure_delete = ON")
            with self._database.transaction() as db:
                db.execute("UPDATE query_log SET query = '' WHERE query != ''")
            self._database.rows("PRAGMA wal_checkpoint(TRUNCATE)")  # the log has the pages as they were


_FIRST = "first"


def _row(entry: LoggedQuery) -> tuple[str, int, float, str, str, str]:
    timings = {name: round(value, 3) for name, value in entry.timings_ms.items()}
    if entry.first:
        timings[_FIRST] = 1
    # SQLite cannot hold half of a surrogate pair, which a query typed in no sane way may.
    query = entry.query.encode("utf-8", "replace").decode("utf-8")
    return (entry.kb_id, entry.at_ms, entry.took_ms, query, entry.outcome.value, json.dumps(timings))
