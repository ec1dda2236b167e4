"""Ingest jobs in the catalog: what was accepted, and how it ended."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio.domain import IngestOptions
from studio.index.database import Database, now_ms


@dataclass(frozen=True, slots=True)
class Job:
    """An accepted request that has not ended."""

    id: str
    paths: list[str]
    options: dict[str, Any]

    @property
    def ingest_options(self) -> IngestOptions:
        """How an ingest request reads folders."""
        globs = {name: tuple(self.options[name]) for name in ("include", "exclude")}
        return IngestOptions(**{**self.options, **globs})


class Jobs:
    """The jobs of every knowledge base. Blocking, like the catalog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, kb_id: str, paths: Sequence[str], options: dict[str, Any], replaces: str = "") -> str:
        """Accept a request; from here on it survives a crash. Returns the job's id.

        The job `replaces` ends at the same moment: the new one does what it was to do.
        """
        job_id = uuid.uuid4().hex[:12]
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO job (id, kb_id, state, paths, options, created_ms, updated_ms)"
                " VALUES (?, ?, 'running', ?, ?, ?, ?)",
                (job_id, kb_id, json.dumps(list(paths)), json.dumps(options), now_ms(), now_ms()),
            )
            db.execute("UPDATE job SET state = 'resumed', updated_ms = ? WHERE id = ?", (now_ms(), replaces))
        return job_id

    def finish(self, job_id: str, state: str, *, generation: int | None = None, error: str = "") -> None:
        """Record how a job ended: done, failed, cancelled or resumed."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE job SET state = ?, generation = ?, error = ?, updated_ms = ? WHERE id = ?",
                (state, generation, error, now_ms(), job_id),
            )

    def ingested(self, kb_id: str, after: int) -> list[Job]:
        """Ingest requests that made a generation with a number above `after`, oldest first."""
        rows = self._database.rows(
            "SELECT id, paths, options FROM job WHERE kb_id = ? AND generation > ? ORDER BY created_ms, rowid",
            (kb_id, after),
        )
        jobs = [Job(row["id"], json.loads(row["paths"]), json.loads(row["options"])) for row in rows]
        return [job for job in jobs if "include" in job.options]

    def unfinished(self, kb_id: str, option: str | None = None) -> Job | None:
        """The latest job that was accepted and never ended, or the latest of those with a certain option."""
        rows = self._database.rows(
            "SELECT id, paths, options FROM job WHERE kb_id = ? AND state = 'running'"
            " ORDER BY created_ms DESC, rowid DESC",
            (kb_id,),
        )
        jobs = (Job(row["id"], json.loads(row["paths"]), json.loads(row["options"])) for row in rows)
        return next((job for job in jobs if option is None or option in job.options), None)
