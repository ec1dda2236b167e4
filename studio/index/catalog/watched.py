"""Folders that a knowledge base follows by itself, in the catalog."""

from __future__ import annotations

from dataclasses import dataclass

from studio.errors import NotFound
from studio.index.catalog.database import Database
from studio.ways_out import Listing, See


@dataclass(frozen=True, slots=True)
class WatchedFolder:
    """A folder, by its absolute path, that a knowledge base follows while `enabled`."""

    kb_id: str
    path: str
    enabled: bool


class WatchedFolders:
    """The watched folders of every knowledge base. Blocking, like the catalog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, kb_id: str | None = None) -> list[WatchedFolder]:
        """Those of one knowledge base or of all, by path; of one that is being imported there are none."""
        rows = self._database.rows(
            "SELECT kb_id, path, enabled FROM watched_folder WHERE kb_id = coalesce(?, kb_id) ORDER BY kb_id, path",
            (kb_id,),
        )
        return [WatchedFolder(row["kb_id"], row["path"], bool(row["enabled"])) for row in rows]

    def add(self, kb_id: str, path: str) -> None:
        """Follow a folder from now on; one that was off is switched on."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO watched_folder (kb_id, path) VALUES (?, ?)"
                " ON CONFLICT (kb_id, path) DO UPDATE SET enabled = 1",
                (kb_id, path),
            )

    def remove(self, kb_id: str, path: str) -> None:
        """Follow a folder no longer. Raises NotFound."""
        with self._database.transaction() as db:
            gone = db.execute("DELETE FROM watched_folder WHERE kb_id = ? AND path = ?", (kb_id, path)).rowcount
        if not gone:
            raise _unknown(path)

    def enable(self, kb_id: str, path: str | None, enabled: bool) -> None:
        """Switch a folder, or all of a knowledge base (None), on or off. Raises NotFound when there is none."""
        with self._database.transaction() as db:
            found = db.execute(
                "UPDATE watched_folder SET enabled = ? WHERE kb_id = ? AND path = coalesce(?, path)",
                (enabled, kb_id, path),
            ).rowcount
        if not found:
            raise _unknown(path)


def _unknown(path: str | None) -> NotFound:
    what = f"The folder {path} is not watched." if path else "No folder of this knowledge base is watched."
    return NotFound(what, way_out=See(Listing.WATCHED))
