"""The catalog: knowledge bases and their generations in one SQLite database.

The catalog is the only truth about what is active. Promotion is one transaction here; everything
in Lance and Tantivy was made durable before. All methods block for a disk write at most; `Catalog`
may be used from one thread at a time (services give it a serial executor).
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import uuid
from dataclasses import asdict
from pathlib import Path

from studio.domain import (
    AnnIndex,
    AnnState,
    Generation,
    GenerationState,
    KbSettings,
    KnowledgeBase,
    Metric,
    ModelIdentity,
    Retention,
)
from studio.errors import Conflict, InvalidRequest, NotFound, StorageFault, StudioError
from studio.failpoints import reach
from studio.index.catalog import base_file
from studio.index.catalog.backup_files import back_up
from studio.index.catalog.database import Database
from studio.index.catalog.jobs import Jobs
from studio.index.catalog.judgments import EvaluationRuns, SavedQueries
from studio.index.catalog.names import DocumentNames, Names, forget_names, keep_names
from studio.index.catalog.pins import Pins
from studio.index.catalog.query_log import QueryLog
from studio.index.catalog.tags import DocumentTags
from studio.index.catalog.watched import WatchedFolders
from studio.index.clock import now_ms
from studio.paths import DataPaths
from studio.ways_out import CreateKb, Listing, RestoreCatalog, See

log = logging.getLogger(__name__)

MAX_NAME_LENGTH = 120

_KB = (
    "SELECT kb.id, kb.name, kb.settings, kb.active, kb.created_ms, kb.retention,"
    " coalesce(g.documents, 0) AS documents, coalesce(g.chunks, 0) AS chunks, coalesce(g.size_bytes, 0) AS size_bytes"
    " FROM kb LEFT JOIN generation g ON g.kb_id = kb.id AND g.number = kb.active"
)
_COLLECTABLE = (
    f"(state IN ('{GenerationState.ARCHIVED}', '{GenerationState.FAILED}', '{GenerationState.MARKED_FOR_DELETION}')"
    f" OR (state = '{GenerationState.READY}' AND number < (SELECT active FROM kb WHERE id = kb_id)))"
)
"""A generation that waits for its promotion goes only once a newer one is active."""
_HORIZON = (
    "SELECT id, importing, next_generation,"
    " (SELECT promoted_ms FROM generation g WHERE g.kb_id = kb.id AND g.number = kb.active) AS promoted_ms,"
    " (SELECT json_group_array(number) FROM generation g WHERE g.kb_id = kb.id"
    f" AND g.state = '{GenerationState.BUILDING}') AS building FROM kb"
)

_FLAT = AnnState()
_AS_THEY_LIE = Names()


class Overtaken(Conflict):
    """Another generation became active than the one this was built on."""


class Catalog(Database):
    """One open catalog."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.jobs = Jobs(self)
        self.names = DocumentNames(self)
        self.pins = Pins(self, self.names)
        self.queries = QueryLog(self)
        self.saved = SavedQueries(self, self.names)
        self.runs = EvaluationRuns(self)
        self.watched = WatchedFolders(self)
        self.tags = DocumentTags(self, self.names)
        self._paths = DataPaths(path.parent)

    def close(self) -> None:
        """Write down what changed of the knowledge bases since they were described, and close."""
        if self._changes and self.read_only is None:
            with contextlib.suppress(StudioError):
                for row in self.rows("SELECT id FROM kb"):
                    self.describe(row["id"])
        super().close()

    # ------------------------------------------------------------ copies to adopt and to restore from

    def describe(self, kb_id: str) -> None:
        """Keep what is known of a knowledge base beside its files, once it has some. A failure is only logged."""
        paths = self._paths.kb(kb_id)
        try:
            if paths.root.is_dir() and (found := self.dump(kb_id)) is not None:
                base_file.write(paths.description, found, now_ms())
        except StudioError as error:
            log.warning("%s was not written: %s", paths.description, error)

    def _promoted(self, kb_id: str) -> None:
        self.describe(kb_id)
        back_up(self._current(), self._paths.backups)

    def adopt(self, found: base_file.Dump) -> KnowledgeBase:
        """Take what a dump says of a knowledge base in place of what is known of it, under a name that is free."""
        kb_id, name = found["kb"]["id"], found["kb"]["name"]
        taken = {kb.name.casefold() for kb in self.knowledge_bases() if kb.id != kb_id}
        names = (name, f"{name} (recovered)", *(f"{name} (recovered {number})" for number in range(2, len(taken) + 3)))
        with self.transaction() as db:
            base_file.restore(db, found, next(name for name in names if name.casefold() not in taken))
        self.describe(kb_id)
        return self.knowledge_base(kb_id)

    def dump(self, kb_id: str) -> base_file.Dump | None:
        """Everything that is known of a knowledge base, None when it is not there."""
        with self.mapped():
            return base_file.dump(self._current(), kb_id)

    def horizon(self, kb_id: str) -> base_file.Horizon:
        """How far a knowledge base is known. Raises NotFound."""
        row = self.row(f"{_HORIZON} WHERE id = ?", (kb_id,))
        if row is None:
            raise NotFound(f"There is no knowledge base “{kb_id}”.")
        return _horizon(row)

    def horizons(self) -> dict[str, base_file.Horizon | None]:
        """How far every knowledge base is known at one moment, by id; None of one that is being imported.

        One statement: between two of them another program's import may end, which would be in the answer to neither.
        """
        return {row["id"]: None if row["importing"] else _horizon(row) for row in self.rows(_HORIZON)}

    # ------------------------------------------------------------ knowledge bases

    def knowledge_bases(self) -> list[KnowledgeBase]:
        """All of them by name; one that is being imported is not there yet."""
        return [_kb(row) for row in self.rows(f"{_KB} WHERE NOT kb.importing ORDER BY kb.name COLLATE NOCASE")]

    def knowledge_base(self, name_or_id: str) -> KnowledgeBase:
        """One by id or name (case does not matter). Raises NotFound."""
        row = self.row(
            f"{_KB} WHERE kb.id = ? OR (kb.name = ? AND NOT kb.importing) ORDER BY kb.id = ? DESC",
            (name_or_id, name_or_id, name_or_id),
        )
        if row is None:
            names = [kb.name for kb in self.knowledge_bases()]
            known = f"There are: {', '.join(names)}." if names else CreateKb()
            raise NotFound(f"There is no knowledge base “{name_or_id}”.", way_out=known)
        return _kb(row)

    def create_kb(self, name: str, settings: KbSettings) -> KnowledgeBase:
        """Add a knowledge base without a generation. Raises Conflict or InvalidRequest."""
        name = checked_name(name)
        kb_id = _new_id()
        with self.transaction() as db:
            _refuse_taken(db, name, kb_id)
            _insert_kb(db, kb_id, name, settings, importing=False)
        return self.knowledge_base(kb_id)

    def begin_import(self, name: str, settings: KbSettings) -> KnowledgeBase:
        """Add a knowledge base that is hidden until `finish_import`. Raises Conflict or InvalidRequest."""
        name = checked_name(name)
        kb_id = _new_id()
        with self.transaction() as db:
            _refuse_taken(db, name, kb_id)
            _insert_kb(db, kb_id, f"import {kb_id}", settings, importing=True)
        return self.knowledge_base(kb_id)

    def finish_import(self, kb_id: str, name: str, number: int) -> KnowledgeBase:
        """Show an imported knowledge base, with its generation active, all at once. Raises Conflict."""
        name = checked_name(name)
        with self.transaction() as db:
            _refuse_taken(db, name, kb_id)
            _activate(db, kb_id, number)
            db.execute("UPDATE kb SET name = ?, importing = 0 WHERE id = ?", (name, kb_id))
            reach("import.committing")
        self._promoted(kb_id)
        return self.knowledge_base(kb_id)

    def imports(self) -> list[str]:
        """Ids of knowledge bases whose import runs or was interrupted."""
        return [row["id"] for row in self.rows("SELECT id FROM kb WHERE importing")]

    def rename_kb(self, kb_id: str, name: str) -> KnowledgeBase:
        """Give another name. Raises Conflict or InvalidRequest."""
        name = checked_name(name)
        with self.transaction() as db:
            _refuse_taken(db, name, kb_id)
            db.execute("UPDATE kb SET name = ? WHERE id = ?", (name, kb_id))
        self.describe(kb_id)
        return self.knowledge_base(kb_id)

    def update_settings(self, kb_id: str, settings: KbSettings) -> KnowledgeBase:
        """Replace the settings; generations keep the ones they were built with."""
        with self.transaction() as db:
            db.execute("UPDATE kb SET settings = ? WHERE id = ?", (json.dumps(asdict(settings)), kb_id))
        self.describe(kb_id)
        return self.knowledge_base(kb_id)

    def set_retention(self, kb_id: str, retention: Retention | None) -> KnowledgeBase:
        """Replace the collection policy; None for the program's defaults."""
        with self.transaction() as db:
            text = json.dumps(asdict(retention)) if retention is not None else None
            db.execute("UPDATE kb SET retention = ? WHERE id = ?", (text, kb_id))
        self.describe(kb_id)
        return self.knowledge_base(kb_id)

    def delete_kb(self, kb_id: str) -> None:
        """Forget a knowledge base with its generations, jobs and pinned queries."""
        with self.transaction() as db:
            db.execute("DELETE FROM kb WHERE id = ?", (kb_id,))

    # ------------------------------------------------------------ generations

    def generations(self, kb_id: str) -> list[Generation]:
        """Newest first."""
        rows = self.rows("SELECT * FROM generation WHERE kb_id = ? ORDER BY number DESC", (kb_id,))
        return [_generation(row) for row in rows]

    def active_models(self) -> set[str]:
        """Names of the models that active generations were built with."""
        rows = self.rows(
            "SELECT g.settings FROM kb JOIN generation g ON g.kb_id = kb.id AND g.number = kb.active"
            " WHERE NOT kb.importing"
        )
        return {_settings(row["settings"]).model for row in rows}

    def generation(self, kb_id: str, number: int) -> Generation:
        """One generation. Raises NotFound."""
        row = self.row("SELECT * FROM generation WHERE kb_id = ? AND number = ?", (kb_id, number))
        if row is None:
            raise _no_generation(number)
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
        rows_version: int = 1,
        lexical_version: int = 1,
    ) -> Generation:
        """Register a generation as `building` before the first of its files exists."""
        with self.transaction() as db:
            number = db.execute(
                "UPDATE kb SET next_generation = next_generation + 1 WHERE id = ? RETURNING next_generation - 1",
                (kb_id,),
            ).fetchone()[0]
            db.execute(
                "INSERT INTO generation (kb_id, number, state, parent, settings, model, chunks_table, created_ms, note,"
                " rows_version, lexical_version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    kb_id, number, GenerationState.BUILDING, parent, json.dumps(asdict(settings)),
                    json.dumps(asdict(model)) if model else None, table, now_ms(), note, rows_version, lexical_version,
                ),
            )  # fmt: skip
        self.describe(kb_id)
        return self.generation(kb_id, number)

    def mark_ready(
        self, kb_id: str, number: int, *, chunks_version: int, documents_version: int, documents: int, chunks: int,
        size_bytes: int, own_bytes: int, ann: AnnState = _FLAT, names: Names = _AS_THEY_LIE,
    ) -> Generation:  # fmt: skip
        """The generation is complete and durable; it can be promoted."""
        with self.transaction() as db:
            db.execute(
                "UPDATE generation SET state = ?, chunks_version = ?, documents_version = ?, documents = ?, chunks = ?,"
                " size_bytes = ?, own_bytes = ?, ann = ?, ready_ms = ? WHERE kb_id = ? AND number = ? AND state = ?",
                (
                    GenerationState.READY, chunks_version, documents_version, documents, chunks, size_bytes, own_bytes,
                    json.dumps(asdict(ann)), now_ms(), kb_id, number, GenerationState.BUILDING,
                ),
            )  # fmt: skip
            keep_names(db, kb_id, number, names)
        self.describe(kb_id)
        return self.generation(kb_id, number)

    def set_state(self, kb_id: str, number: int, state: GenerationState, error: str = "") -> None:
        """Move a generation that is not active to another state."""
        with self.transaction() as db:
            db.execute(
                "UPDATE generation SET state = ?, error = ? WHERE kb_id = ? AND number = ? AND state <> ?",
                (state, error, kb_id, number, GenerationState.ACTIVE),
            )

    def annotate(
        self, kb_id: str, number: int, *, note: str | None = None, held: str | None = None, ann: AnnState | None = None
    ) -> Generation:
        """Replace a generation's note, why it is held back, or how its vectors are searched. Raises NotFound."""
        with self.transaction() as db:
            db.execute(
                "UPDATE generation SET note = coalesce(?, note), held = coalesce(?, held), ann = coalesce(?, ann)"
                " WHERE kb_id = ? AND number = ?",
                (note, held, json.dumps(asdict(ann)) if ann is not None else None, kb_id, number),
            )
        return self.generation(kb_id, number)

    def mark_for_deletion(self, kb_id: str, number: int) -> bool:
        """Claim a generation for collection; False when it may not be collected any more."""
        with self.transaction() as db:
            return bool(
                db.execute(
                    f"UPDATE generation SET state = ? WHERE kb_id = ? AND number = ? AND {_COLLECTABLE}",
                    (GenerationState.MARKED_FOR_DELETION, kb_id, number),
                ).rowcount
            )

    def forget_generation(self, kb_id: str, number: int) -> None:
        """Remove the row of a generation whose files are gone."""
        with self.transaction() as db:
            db.execute(
                "DELETE FROM generation WHERE kb_id = ? AND number = ? AND state <> ?",
                (kb_id, number, GenerationState.ACTIVE),
            )
            forget_names(db, kb_id)

    def promote(self, kb_id: str, number: int, *, instead_of: int | None = None) -> Generation:
        """Make a ready or archived generation active: the one atomic step. Raises NotFound, Conflict.

        With `instead_of`, only while that one is active: raises Overtaken when another was promoted meanwhile.

        An archived one brings the settings back that it was built with; otherwise the next ingest would rebuild
        everything with those that were rolled back from.
        """
        with self.transaction() as db:
            (active,) = db.execute("SELECT active FROM kb WHERE id = ?", (kb_id,)).fetchone() or (None,)
            if instead_of is not None and active != instead_of:
                raise Overtaken(f"Generation {active} was made active while generation {number} was being built.")
            was = _activate(db, kb_id, number)
            if was is GenerationState.ARCHIVED:
                db.execute(
                    "UPDATE kb SET settings = (SELECT settings FROM generation WHERE kb_id = kb.id AND number = ?)"
                    " WHERE id = ?",
                    (number, kb_id),
                )
            reach("promote.committing")
        reach("promote.done")
        self._promoted(kb_id)
        return self.generation(kb_id, number)


def _activate(db: sqlite3.Connection, kb_id: str, number: int) -> GenerationState:
    """Active → archived, `number` → active; returns the state it was in."""
    row = db.execute("SELECT state FROM generation WHERE kb_id = ? AND number = ?", (kb_id, number)).fetchone()
    if row is None:
        raise _no_generation(number)
    state = GenerationState(row["state"])
    if state is GenerationState.ACTIVE:
        raise Conflict(f"Generation {number} is active already.")
    if state not in (GenerationState.READY, GenerationState.ARCHIVED):
        raise Conflict(f"Generation {number} is {state} and cannot be made active.")
    now = now_ms()
    db.execute(
        "UPDATE generation SET state = ?, archived_ms = ? WHERE kb_id = ? AND state = ?",
        (GenerationState.ARCHIVED, now, kb_id, GenerationState.ACTIVE),
    )
    db.execute(
        "UPDATE generation SET state = ?, promoted_ms = ?, archived_ms = NULL, held = ''"
        " WHERE kb_id = ? AND number = ?",
        (GenerationState.ACTIVE, now, kb_id, number),
    )
    db.execute("UPDATE kb SET active = ? WHERE id = ?", (number, kb_id))
    return state


def _insert_kb(db: sqlite3.Connection, kb_id: str, name: str, settings: KbSettings, *, importing: bool) -> None:
    db.execute(
        "INSERT INTO kb (id, name, settings, created_ms, importing) VALUES (?, ?, ?, ?, ?)",
        (kb_id, name, json.dumps(asdict(settings)), now_ms(), importing),
    )


def _refuse_taken(db: sqlite3.Connection, name: str, kb_id: str) -> None:
    if db.execute("SELECT 1 FROM kb WHERE name = ? AND id <> ?", (name, kb_id)).fetchone():
        raise Conflict(f"There is a knowledge base “{name}” already.", way_out="Choose another name.")


def _new_id() -> str:
    return uuid.uuid4().hex[:12]


def _no_generation(number: int) -> NotFound:
    return NotFound(f"There is no generation {number}.", way_out=See(Listing.GENERATIONS))


def checked_name(name: str) -> str:
    """A knowledge base's name as it is stored. Raises InvalidRequest."""
    name = " ".join(name.split())
    if not name:
        raise InvalidRequest("A knowledge base needs a name.")
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidRequest(f"The name is longer than {MAX_NAME_LENGTH} characters.", way_out="Choose a shorter one.")
    if "," in name or any(ord(char) < 32 for char in name):
        raise InvalidRequest("A name cannot contain a comma or control characters.", way_out="Choose another name.")
    return name


def _settings(text: str) -> KbSettings:
    try:
        values = json.loads(text)
        values["metric"] = Metric(values["metric"])
        values["index"] = AnnIndex(values["index"])
        return KbSettings(**values)
    except (ValueError, KeyError, TypeError) as error:
        raise StorageFault(
            f"The catalog is damaged: settings in it make no sense ({error}).",
            way_out=RestoreCatalog(running=True),
        ) from error


def _kb(row: sqlite3.Row) -> KnowledgeBase:
    return KnowledgeBase(
        id=row["id"], name=row["name"], settings=_settings(row["settings"]), active_generation=row["active"],
        documents=row["documents"], chunks=row["chunks"], size_bytes=row["size_bytes"], created_ms=row["created_ms"],
        retention=Retention(**json.loads(row["retention"])) if row["retention"] else None,
    )  # fmt: skip


def _horizon(row: sqlite3.Row) -> base_file.Horizon:
    return base_file.Horizon(row["next_generation"], row["promoted_ms"] or 0, frozenset(json.loads(row["building"])))


def _ann(text: str) -> AnnState:
    values = json.loads(text or "{}")
    return AnnState(**{**values, "index": AnnIndex(values["index"])}) if values else AnnState()


def _generation(row: sqlite3.Row) -> Generation:
    values = dict(row)
    del values["origins"]  # a matter of `names`
    values["state"] = GenerationState(values["state"])
    values["settings"] = _settings(values["settings"])
    values["model"] = ModelIdentity(**json.loads(values["model"])) if values["model"] else None
    values["ann"] = _ann(values["ann"])
    return Generation(**values)
