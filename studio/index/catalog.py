"""The catalog: knowledge bases, generations and jobs in one SQLite database.

The catalog is the only truth about what is active. Promotion is one transaction here; everything
in Lance and Tantivy was made durable before. All methods block for a disk write at most; `Catalog`
may be used from one thread at a time (services give it a serial executor).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.domain import (
    Generation,
    GenerationState,
    KbSettings,
    KnowledgeBase,
    Metric,
    ModelIdentity,
)
from studio.errors import Conflict, InvalidRequest, NotFound, StorageFault, StudioError
from studio.index.migrations import migrate

MAX_NAME_LENGTH = 120
_FULL_BELOW_BYTES = 1 << 20

_KB = (
    "SELECT kb.id, kb.name, kb.settings, kb.active, kb.created_ms,"
    " coalesce(g.documents, 0) AS documents, coalesce(g.chunks, 0) AS chunks, coalesce(g.size_bytes, 0) AS size_bytes"
    " FROM kb LEFT JOIN generation g ON g.kb_id = kb.id AND g.number = kb.active"
)


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Catalog:
    """One open catalog. Raises StorageFault when SQLite cannot read or write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changes = 0
        with self._mapped():
            self._db = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
            try:
                self._db.row_factory = sqlite3.Row
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA foreign_keys = ON")
                migrate(self._db)
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the database; the last connection folds the write-ahead log in."""
        self._db.close()

    def stamp(self) -> int:
        """A number that differs after this or another process wrote to the catalog."""
        with self._mapped():
            version = self._db.execute("PRAGMA data_version").fetchone()[0]
        return int(version) * 1_000_000 + self._changes

    def integrity(self) -> str:
        """SQLite's own check: "ok" or what is wrong."""
        with self._mapped():
            return str(self._db.execute("PRAGMA quick_check").fetchone()[0])

    # ------------------------------------------------------------ knowledge bases

    def knowledge_bases(self) -> list[KnowledgeBase]:
        """All of them by name."""
        with self._mapped():
            return [_kb(row) for row in self._db.execute(f"{_KB} ORDER BY kb.name COLLATE NOCASE")]

    def knowledge_base(self, name_or_id: str) -> KnowledgeBase:
        """One by id or name (case does not matter). Raises NotFound."""
        with self._mapped():
            row = self._db.execute(f"{_KB} WHERE kb.id = ? OR kb.name = ?", (name_or_id, name_or_id)).fetchone()
            if row is None:
                names = [kb.name for kb in self.knowledge_bases()]
        if row is None:
            known = f"There are: {', '.join(names)}." if names else "Create one with: rag-studio kb create NAME."
            raise NotFound(f"There is no knowledge base “{name_or_id}”.", way_out=known)
        return _kb(row)

    def create_kb(self, name: str, settings: KbSettings) -> KnowledgeBase:
        """Add a knowledge base without a generation. Raises Conflict or InvalidRequest."""
        name = _checked_name(name)
        kb_id = uuid.uuid4().hex[:12]
        with self._transaction() as db:
            self._refuse_taken(db, name, kb_id)
            db.execute(
                "INSERT INTO kb (id, name, settings, created_ms) VALUES (?, ?, ?, ?)",
                (kb_id, name, json.dumps(asdict(settings)), now_ms()),
            )
        return self.knowledge_base(kb_id)

    def rename_kb(self, kb_id: str, name: str) -> KnowledgeBase:
        """Give another name. Raises Conflict or InvalidRequest."""
        name = _checked_name(name)
        with self._transaction() as db:
            self._refuse_taken(db, name, kb_id)
            db.execute("UPDATE kb SET name = ? WHERE id = ?", (name, kb_id))
        return self.knowledge_base(kb_id)

    def update_settings(self, kb_id: str, settings: KbSettings) -> KnowledgeBase:
        """Replace the settings; generations keep the ones they were built with."""
        with self._transaction() as db:
            db.execute("UPDATE kb SET settings = ? WHERE id = ?", (json.dumps(asdict(settings)), kb_id))
        return self.knowledge_base(kb_id)

    def delete_kb(self, kb_id: str) -> None:
        """Forget a knowledge base with its generations and jobs."""
        with self._transaction() as db:
            db.execute("DELETE FROM kb WHERE id = ?", (kb_id,))

    @staticmethod
    def _refuse_taken(db: sqlite3.Connection, name: str, kb_id: str) -> None:
        if db.execute("SELECT 1 FROM kb WHERE name = ? AND id <> ?", (name, kb_id)).fetchone():
            raise Conflict(f"There is a knowledge base “{name}” already.", way_out="Choose another name.")

    # ------------------------------------------------------------ generations

    def generations(self, kb_id: str) -> list[Generation]:
        """Newest first."""
        with self._mapped():
            rows = self._db.execute(
                "SELECT * FROM generation WHERE kb_id = ? ORDER BY number DESC", (kb_id,)
            ).fetchall()
        return [_generation(row) for row in rows]

    def generation(self, kb_id: str, number: int) -> Generation:
        """One generation. Raises NotFound."""
        with self._mapped():
            row = self._db.execute(
                "SELECT * FROM generation WHERE kb_id = ? AND number = ?", (kb_id, number)
            ).fetchone()
        if row is None:
            raise NotFound(f"There is no generation {number}.", way_out="See: rag-studio generations KB.")
        return _generation(row)

    def begin_generation(
        self,
        kb_id: str,
        *,
        parent: int | None,
        settings: KbSettings,
        model: ModelIdentity | None,
        table: str,
        note: str,
    ) -> Generation:
        """Register a generation as `building` before the first of its files exists."""
        with self._transaction() as db:
            number = db.execute(
                "UPDATE kb SET next_generation = next_generation + 1 WHERE id = ? RETURNING next_generation - 1",
                (kb_id,),
            ).fetchone()[0]
            db.execute(
                "INSERT INTO generation (kb_id, number, state, parent, settings, model, chunks_table, created_ms, note)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    kb_id, number, GenerationState.BUILDING, parent, json.dumps(asdict(settings)),
                    json.dumps(asdict(model)) if model else None, table, now_ms(), note,
                ),
            )  # fmt: skip
        return self.generation(kb_id, number)

    def mark_ready(
        self, kb_id: str, number: int, *, chunks_version: int, documents_version: int, documents: int, chunks: int,
        size_bytes: int,
    ) -> Generation:  # fmt: skip
        """The generation is complete and durable; it can be promoted."""
        with self._transaction() as db:
            db.execute(
                "UPDATE generation SET state = ?, chunks_version = ?, documents_version = ?, documents = ?, chunks = ?,"
                " size_bytes = ? WHERE kb_id = ? AND number = ? AND state = ?",
                (
                    GenerationState.READY, chunks_version, documents_version, documents, chunks, size_bytes,
                    kb_id, number, GenerationState.BUILDING,
                ),
            )  # fmt: skip
        return self.generation(kb_id, number)

    def set_state(self, kb_id: str, number: int, state: GenerationState, error: str = "") -> None:
        """Move a generation that is not active to another state."""
        with self._transaction() as db:
            db.execute(
                "UPDATE generation SET state = ?, error = ? WHERE kb_id = ? AND number = ? AND state <> ?",
                (state, error, kb_id, number, GenerationState.ACTIVE),
            )

    def mark_for_deletion(self, kb_id: str, number: int) -> bool:
        """Claim an archived or failed generation for collection; False when it is neither any more."""
        with self._transaction() as db:
            return bool(
                db.execute(
                    "UPDATE generation SET state = ? WHERE kb_id = ? AND number = ? AND state IN (?, ?, ?)",
                    (
                        GenerationState.MARKED_FOR_DELETION, kb_id, number,
                        GenerationState.ARCHIVED, GenerationState.FAILED, GenerationState.MARKED_FOR_DELETION,
                    ),
                ).rowcount
            )  # fmt: skip

    def forget_generation(self, kb_id: str, number: int) -> None:
        """Remove the row of a generation whose files are gone."""
        with self._transaction() as db:
            db.execute(
                "DELETE FROM generation WHERE kb_id = ? AND number = ? AND state <> ?",
                (kb_id, number, GenerationState.ACTIVE),
            )

    def promote(self, kb_id: str, number: int) -> Generation:
        """Make a ready or archived generation active: the one atomic step. Raises Conflict."""
        with self._transaction() as db:
            row = db.execute("SELECT state FROM generation WHERE kb_id = ? AND number = ?", (kb_id, number)).fetchone()
            if row is None:
                raise NotFound(f"There is no generation {number}.", way_out="See: rag-studio generations KB.")
            state = row["state"]
            if state == GenerationState.ACTIVE:
                raise Conflict(f"Generation {number} is active already.")
            if state not in (GenerationState.READY, GenerationState.ARCHIVED):
                raise Conflict(f"Generation {number} is {state} and cannot be made active.")
            db.execute(
                "UPDATE generation SET state = ? WHERE kb_id = ? AND state = ?",
                (GenerationState.ARCHIVED, kb_id, GenerationState.ACTIVE),
            )
            db.execute(
                "UPDATE generation SET state = ?, promoted_ms = ? WHERE kb_id = ? AND number = ?",
                (GenerationState.ACTIVE, now_ms(), kb_id, number),
            )
            db.execute("UPDATE kb SET active = ? WHERE id = ?", (number, kb_id))
        return self.generation(kb_id, number)

    # ------------------------------------------------------------ jobs

    def create_job(self, kb_id: str, paths: Sequence[str], options: dict[str, Any]) -> str:
        """Accept an ingest request; from here on it survives a crash."""
        job_id = uuid.uuid4().hex[:12]
        with self._transaction() as db:
            db.execute(
                "INSERT INTO job (id, kb_id, state, paths, options, created_ms, updated_ms)"
                " VALUES (?, ?, 'running', ?, ?, ?, ?)",
                (job_id, kb_id, json.dumps(list(paths)), json.dumps(options), now_ms(), now_ms()),
            )
        return job_id

    def finish_job(self, job_id: str, state: str, *, generation: int | None = None, error: str = "") -> None:
        """Record how a job ended: done, failed or cancelled."""
        with self._transaction() as db:
            db.execute(
                "UPDATE job SET state = ?, generation = ?, error = ?, updated_ms = ? WHERE id = ?",
                (state, generation, error, now_ms(), job_id),
            )

    def unfinished_job(self, kb_id: str) -> tuple[str, list[str], dict[str, Any]] | None:
        """The latest job that was accepted and never ended: (id, paths, options)."""
        with self._mapped():
            row = self._db.execute(
                "SELECT id, paths, options FROM job WHERE kb_id = ? AND state = 'running'"
                " ORDER BY created_ms DESC, rowid DESC LIMIT 1",
                (kb_id,),
            ).fetchone()
        return (row["id"], json.loads(row["paths"]), json.loads(row["options"])) if row else None

    # ------------------------------------------------------------ plumbing

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._mapped():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
            self._changes += 1

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except StudioError:
            raise
        except sqlite3.Error as error:
            raise _fault(error, self._path) from error


def _fault(error: sqlite3.Error, path: Path) -> StorageFault:
    text = str(error)
    # A full file system also shows as an I/O error: the write-ahead log's index is a memory-mapped file.
    if "full" in text or ("I/O" in text and shutil.disk_usage(path.parent).free < _FULL_BELOW_BYTES):
        return StorageFault(
            f"The disk is full: {path} cannot be written.",
            way_out="Free some space and try again; what was indexed before is intact.",
        )
    if "readonly" in text or "unable to open" in text:
        return StorageFault(
            f"The catalog {path} cannot be opened for writing.",
            way_out="Check the folder's permissions or choose another --data-dir.",
        )
    if "not a database" in text or "malformed" in text:
        return StorageFault(
            f"The catalog {path} is damaged ({text}).",
            way_out="Restore it from a backup, or move it away to start anew.",
        )
    if "locked" in text:
        return StorageFault("Another process keeps the catalog locked.", way_out="Wait for it to finish and try again.")
    return StorageFault(f"The catalog {path} failed: {text}.", way_out="Run: rag-studio doctor.")


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not name:
        raise InvalidRequest("A knowledge base needs a name.")
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidRequest(f"The name is longer than {MAX_NAME_LENGTH} characters.", way_out="Choose a shorter one.")
    if "," in name or any(ord(char) < 32 for char in name):
        raise InvalidRequest("A name cannot contain a comma or control characters.", way_out="Choose another name.")
    return name


def _settings(text: str) -> KbSettings:
    values = json.loads(text)
    values["metric"] = Metric(values["metric"])
    return KbSettings(**values)


def _kb(row: sqlite3.Row) -> KnowledgeBase:
    return KnowledgeBase(
        id=row["id"], name=row["name"], settings=_settings(row["settings"]), active_generation=row["active"],
        documents=row["documents"], chunks=row["chunks"], size_bytes=row["size_bytes"], created_ms=row["created_ms"],
    )  # fmt: skip


def _generation(row: sqlite3.Row) -> Generation:
    values = dict(row)
    values["state"] = GenerationState(values["state"])
    values["settings"] = _settings(values["settings"])
    values["model"] = ModelIdentity(**json.loads(values["model"])) if values["model"] else None
    return Generation(**values)
