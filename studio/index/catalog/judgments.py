"""Saved queries with their judgments, and the evaluations that were made, in the catalog."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from studio.domain import SavedQuery
from studio.errors import Conflict, NotFound
from studio.index.catalog.database import Database
from studio.index.catalog.names import DocumentNames
from studio.index.clock import now_ms
from studio.ways_out import Listing, See

KEPT_RUNS = 200
"""Evaluations kept for each knowledge base; the oldest go first."""
_FIND = "SELECT id FROM saved_query WHERE kb_id = ? AND (query = ? OR name = ?) ORDER BY query <> ?, id LIMIT 1"


class SavedQueries:
    """The saved queries of every knowledge base; judgments name files as the active generation does. Blocking."""

    def __init__(self, database: Database, names: DocumentNames) -> None:
        self._database = database
        self._names = names

    def list(self, kb_id: str) -> list[SavedQuery]:
        """Those of one knowledge base, oldest first."""
        names = self._names.of(kb_id)
        grades: dict[int, dict[str, int]] = {}
        for row in self._database.rows(
            "SELECT query_id, document, grade FROM judgment WHERE query_id IN"
            " (SELECT id FROM saved_query WHERE kb_id = ?) ORDER BY judged_ms, document",
            (kb_id,),
        ):
            grades.setdefault(row["query_id"], {})[names.shown(row["document"])] = row["grade"]
        rows = self._database.rows(
            "SELECT id, name, query, created_ms FROM saved_query WHERE kb_id = ? ORDER BY id", (kb_id,)
        )
        return [
            SavedQuery(row["id"], row["name"], row["query"], grades.get(row["id"], {}), row["created_ms"])
            for row in rows
        ]

    def find(self, kb_id: str, text_or_name: str) -> SavedQuery | None:
        """The query that asks this, else the one of this name."""
        found = self._database.row(_FIND, (kb_id, text_or_name, text_or_name, text_or_name))
        return self._get(kb_id, found["id"]) if found else None

    def _get(self, kb_id: str, number: int) -> SavedQuery:
        """One query. Raises NotFound."""
        row = self._database.row(
            "SELECT id, name, query, created_ms FROM saved_query WHERE kb_id = ? AND id = ?", (kb_id, number)
        )
        if row is None:
            raise _unknown(number)
        grades = self._database.rows(
            "SELECT document, grade FROM judgment WHERE query_id = ? ORDER BY judged_ms, document", (number,)
        )
        names = self._names.of(kb_id)
        judgments = {names.shown(grade["document"]): grade["grade"] for grade in grades}
        return SavedQuery(row["id"], row["name"], row["query"], judgments, row["created_ms"])

    def save(self, kb_id: str, name: str, query: str) -> SavedQuery:
        """The query that asks this or has it as its name; else one that is saved under a name, with a number behind it
        where that is taken. Two programs that save the same query save it once.
        """
        if (known := self.find(kb_id, query)) is not None:
            return known
        with self._database.transaction() as db:
            found = db.execute(_FIND, (kb_id, query, query, query)).fetchone()
            return self._get(kb_id, found["id"] if found else _add(db, kb_id, name, query))

    def rename(self, kb_id: str, number: int, name: str) -> SavedQuery:
        """Give a query another name; returns it. Raises NotFound, Conflict."""
        with self._database.transaction() as db:
            try:
                changed = db.execute(
                    "UPDATE saved_query SET name = ? WHERE kb_id = ? AND id = ?", (name, kb_id, number)
                ).rowcount
            except sqlite3.IntegrityError:
                raise Conflict(f"There is a saved query “{name}” already.", way_out="Choose another name.") from None
            if not changed:
                raise _unknown(number)
            return self._get(kb_id, number)

    def remove(self, kb_id: str, number: int) -> None:
        """Forget a query and its judgments. Raises NotFound."""
        with self._database.transaction() as db:
            if not db.execute("DELETE FROM saved_query WHERE kb_id = ? AND id = ?", (kb_id, number)).rowcount:
                raise _unknown(number)

    def judge(self, kb_id: str, number: int, grades: Mapping[str, int | None]) -> SavedQuery:
        """Set the grades of documents, or forget them (None), all at once; returns the query. Raises NotFound."""
        names = self._names.of(kb_id)
        with self._database.transaction() as db:
            if not db.execute("SELECT 1 FROM saved_query WHERE kb_id = ? AND id = ?", (kb_id, number)).fetchone():
                raise _unknown(number)
            for document, grade in grades.items():
                db.executemany(
                    "DELETE FROM judgment WHERE query_id = ? AND document = ?",
                    [(number, key) for key in names.keys(document)[0 if grade is None else 1 :]],
                )
                if grade is not None:
                    _judge(db, number, {names.stored(document): grade})
            return self._get(kb_id, number)

    def load(self, kb_id: str, queries: Iterable[tuple[str, str, Mapping[str, int]]]) -> None:
        """Save many (name, query, judgments) at once. A query of the same name is replaced, its judgments are added."""
        names = self._names.of(kb_id)
        with self._database.transaction() as db:
            for name, query, judgments in queries:
                found = db.execute("SELECT id FROM saved_query WHERE kb_id = ? AND name = ?", (kb_id, name)).fetchone()
                if found:
                    db.execute("UPDATE saved_query SET query = ? WHERE id = ?", (query, found[0]))
                number = found[0] if found else _add(db, kb_id, name, query)
                _judge(db, number, {names.stored(document): grade for document, grade in judgments.items()})


class EvaluationRuns:
    """The evaluations of every knowledge base, each a JSON text. Blocking, like the catalog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, kb_id: str, report: str) -> tuple[int, int]:
        """Keep a report; returns (id, when in ms)."""
        created = now_ms()
        with self._database.transaction() as db:
            number = db.execute(
                "INSERT INTO evaluation_run (kb_id, created_ms, report) VALUES (?, ?, ?) RETURNING id",
                (kb_id, created, report),
            ).fetchone()[0]
            db.execute(
                "DELETE FROM evaluation_run WHERE kb_id = ? AND id NOT IN"
                " (SELECT id FROM evaluation_run WHERE kb_id = ? ORDER BY id DESC LIMIT ?)",
                (kb_id, kb_id, KEPT_RUNS),
            )
        return int(number), created

    def list(self, kb_id: str) -> list[tuple[int, int, str]]:
        """(id, when in ms, report), newest first."""
        rows = self._database.rows(
            "SELECT id, created_ms, report FROM evaluation_run WHERE kb_id = ? ORDER BY id DESC", (kb_id,)
        )
        return [(row["id"], row["created_ms"], row["report"]) for row in rows]

    def get(self, kb_id: str, number: int) -> tuple[int, int, str]:
        """(id, when in ms, report). Raises NotFound."""
        row = self._database.row(
            "SELECT id, created_ms, report FROM evaluation_run WHERE kb_id = ? AND id = ?", (kb_id, number)
        )
        if row is None:
            raise NotFound(f"There is no evaluation {number}.")
        return row["id"], row["created_ms"], row["report"]

    def remove(self, kb_id: str, number: int) -> None:
        """Forget one. Raises NotFound."""
        with self._database.transaction() as db:
            if not db.execute("DELETE FROM evaluation_run WHERE kb_id = ? AND id = ?", (kb_id, number)).rowcount:
                raise NotFound(f"There is no evaluation {number}.")


def _add(db: sqlite3.Connection, kb_id: str, name: str, query: str) -> int:
    free, number = name, 1
    while db.execute("SELECT 1 FROM saved_query WHERE kb_id = ? AND name = ?", (kb_id, free)).fetchone():
        number += 1
        free = f"{name} ({number})"
    row = db.execute(
        "INSERT INTO saved_query (kb_id, name, query, created_ms) VALUES (?, ?, ?, ?) RETURNING id",
        (kb_id, free, query, now_ms()),
    ).fetchone()
    return int(row[0])


def _judge(db: sqlite3.Connection, number: int, judgments: Mapping[str, int]) -> None:
    db.executemany(
        "INSERT INTO judgment (query_id, document, grade, judged_ms) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (query_id, document) DO UPDATE SET grade = excluded.grade, judged_ms = excluded.judged_ms",
        [(number, document, grade, now_ms()) for document, grade in judgments.items()],
    )


def _unknown(number: int) -> NotFound:
    return NotFound(f"There is no saved query {number}.", way_out=See(Listing.QUERIES))
