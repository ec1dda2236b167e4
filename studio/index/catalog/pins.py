"""Pinned queries in the catalog: what a generation must find before it may be promoted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from studio.domain import PinnedQuery
from studio.errors import NotFound
from studio.index.catalog.database import Database
from studio.index.catalog.names import DocumentNames
from studio.ways_out import Listing, See


class Pins:
    """The pinned queries of every knowledge base; they name files as the active generation does. Blocking."""

    def __init__(self, database: Database, names: DocumentNames) -> None:
        self._database = database
        self._names = names

    def list(self, kb_id: str, generation: int | None = None) -> list[PinnedQuery]:
        """Those of one knowledge base, oldest first; they name files as `generation` does, else the active one."""
        names = self._names.of(kb_id, generation)
        rows = self._database.rows(
            "SELECT id, query, must_find, top FROM pinned_query WHERE kb_id = ? ORDER BY id", (kb_id,)
        )
        return [
            PinnedQuery(row["id"], row["query"], tuple(map(names.shown, json.loads(row["must_find"]))), row["top"])
            for row in rows
        ]

    def add(self, kb_id: str, query: str, must_find: Sequence[str], top: int) -> PinnedQuery:
        """Pin a query."""
        names = self._names.of(kb_id)
        with self._database.transaction() as db:
            number = _add(db, kb_id, query, map(names.stored, must_find), top)
        return PinnedQuery(number, query, tuple(must_find), top)

    def load(self, kb_id: str, pins: Iterable[PinnedQuery]) -> None:
        """Pin many queries at once; they get numbers of their own."""
        names = self._names.of(kb_id)
        with self._database.transaction() as db:
            for pin in pins:
                _add(db, kb_id, pin.query, map(names.stored, pin.must_find), pin.top)

    def max_drop(self, kb_id: str) -> float | None:
        """How far mean nDCG@10 of the saved queries may fall at a promotion; None: as far as it likes."""
        row = self._database.row("SELECT max_ndcg_drop FROM kb WHERE id = ?", (kb_id,))
        return row["max_ndcg_drop"] if row else None

    def set_max_drop(self, kb_id: str, drop: float | None) -> None:
        """Set what `max_drop` gives."""
        with self._database.transaction() as db:
            db.execute("UPDATE kb SET max_ndcg_drop = ? WHERE id = ?", (drop, kb_id))

    def remove(self, kb_id: str, number: int) -> None:
        """Unpin a query. Raises NotFound."""
        with self._database.transaction() as db:
            removed = db.execute("DELETE FROM pinned_query WHERE kb_id = ? AND id = ?", (kb_id, number)).rowcount
        if not removed:
            raise NotFound(f"There is no pinned query {number}.", way_out=See(Listing.PINS))


def _add(db: sqlite3.Connection, kb_id: str, query: str, must_find: Iterable[str], top: int) -> int:
    row = db.execute(
        "INSERT INTO pinned_query (kb_id, query, must_find, top) VALUES (?, ?, ?, ?) RETURNING id",
        (kb_id, query, json.dumps(list(must_find), ensure_ascii=False), top),
    ).fetchone()
    return int(row[0])
