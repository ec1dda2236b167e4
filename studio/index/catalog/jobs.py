"""Jobs in the catalog: what was asked for, how far it is, and how it ended.

A job that runs writes down which of its files are through together with a checkpoint of its build, in one transaction:
after a crash both tell the same story, and the job goes on from there.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from studio.domain import FileProgress, FileState, Job, JobKind, JobState
from studio.errors import Conflict, NotFound
from studio.index.catalog.database import Database
from studio.index.clock import now_ms
from studio.ways_out import Listing, See

ENDED_KEPT = 50
"""Ended jobs of a knowledge base whose files stay listed, and whose reports are kept."""

_OPEN = ("queued", "running", "paused")
_ENDED_LONG_AGO = (
    f"(SELECT id FROM job WHERE kb_id = ? AND state NOT IN {_OPEN} ORDER BY position DESC LIMIT -1 OFFSET ?)"
)
_COUNTS = """
    (SELECT count(*) FROM job_file f WHERE f.job_id = job.id) AS total,
    (SELECT count(*) FROM job_file f WHERE f.job_id = job.id AND f.state NOT IN ('waiting', 'parsing', 'embedding'))
        AS done,
    (SELECT count(*) FROM job_file f WHERE f.job_id = job.id AND f.state = 'failed') AS failed
"""


class Jobs:
    """The jobs of every knowledge base. Blocking, like the catalog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        kb_id: str,
        kind: JobKind,
        paths: Sequence[str],
        options: Mapping[str, Any],
        *,
        replaces: str = "",
    ) -> str:
        """Accept a request; from here on it survives a crash. Returns the job's id.

        It waits, as the last in the queue. The job `replaces` ends at the same moment: the new one does what it was
        to do.
        """
        job_id, now = uuid.uuid4().hex[:12], now_ms()
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO job (id, kb_id, kind, state, paths, options, position, created_ms, updated_ms)"
                " VALUES (?, ?, ?, 'queued', ?, ?, (SELECT coalesce(max(position), 0) + 1 FROM job), ?, ?)",
                (job_id, kb_id, kind, json.dumps(list(paths)), json.dumps(dict(options)), now, now),
            )
            db.execute("UPDATE job SET state = 'resumed', updated_ms = ? WHERE id = ?", (now_ms(), replaces))
            db.execute(f"DELETE FROM job_file WHERE job_id IN {_ENDED_LONG_AGO}", (kb_id, ENDED_KEPT))
            db.execute(f"UPDATE job SET report = '' WHERE id IN {_ENDED_LONG_AGO}", (kb_id, ENDED_KEPT))
        return job_id

    def get(self, job_id: str) -> Job:
        """One job. Raises NotFound."""
        row = self._database.row(f"SELECT *, {_COUNTS} FROM job WHERE id = ?", (job_id,))
        if row is None:
            raise NotFound(f"There is no job “{job_id}”.", way_out=See(Listing.JOBS))
        return _job_of(row)

    def open(self, kb_id: str | None = None) -> list[Job]:
        """Every job that has not ended, in the order of the queue."""
        return [
            _job_of(row)
            for row in self._database.rows(
                f"SELECT *, {_COUNTS} FROM job WHERE state IN {_OPEN} AND kb_id = coalesce(?, kb_id) ORDER BY position",
                (kb_id,),
            )
        ]

    def ended(self, kb_id: str | None = None, limit: int = ENDED_KEPT) -> list[Job]:
        """The last jobs that ended, the latest first."""
        return [
            _job_of(row)
            for row in self._database.rows(
                f"SELECT *, {_COUNTS} FROM job WHERE state NOT IN {_OPEN} AND kb_id = coalesce(?, kb_id)"
                " ORDER BY updated_ms DESC, position DESC LIMIT ?",
                (kb_id, limit),
            )
        ]

    def begin(self, seen: Job) -> bool:
        """A job runs from now on, if it still is as it was `seen`. False where it was paused or cancelled since, or
        that was asked for, in whichever process. That it is to finish early stays asked for.
        """
        with self._database.transaction() as db:
            begun = db.execute(
                "UPDATE job SET state = ?, wish = iif(wish = 'finish', wish, ''), error = '', updated_ms = ?"
                " WHERE id = ? AND state = ? AND wish = ?",
                (JobState.RUNNING, now_ms(), seen.id, seen.state, seen.wish),
            )
            return begun.rowcount > 0

    def set_state(self, job_id: str, state: JobState, *, error: str = "") -> None:
        """A job is put back or paused; what was wished of it before is forgotten."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE job SET state = ?, wish = '', error = ?, updated_ms = ? WHERE id = ?",
                (state, _storable(error), now_ms(), job_id),
            )

    def pause(self, job_id: str) -> None:
        """A job has stopped that was to pause; it is to go on where that was taken back meanwhile."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE job SET state = 'paused', wish = '', updated_ms = ? WHERE id = ? AND wish = 'pause'",
                (now_ms(), job_id),
            )

    def withdraw(self, job_id: str) -> None:
        """Cancel a job that waits and has not begun."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE job SET state = 'cancelled', wish = '', updated_ms = ? WHERE id = ? AND state = 'queued'"
                " AND checkpoint = '' AND NOT EXISTS (SELECT * FROM job_file WHERE job_id = job.id)",
                (now_ms(), job_id),
            )

    def finish(
        self, job_id: str, state: JobState, *, generation: int | None = None, error: str = "", report: str = ""
    ) -> None:
        """Record how a job ended; its checkpoint is of no use any more. `report` is for `report_of`."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE job SET state = ?, generation = ?, error = ?, report = ?, wish = '', checkpoint = '',"
                " updated_ms = ? WHERE id = ?",
                (state, generation, _storable(error), report, now_ms(), job_id),
            )

    def report_of(self, job_id: str) -> str:
        """What a job reported at its end; "" where it ended without a report, or long ago."""
        row = self._database.row("SELECT report FROM job WHERE id = ?", (job_id,))
        return str(row["report"]) if row is not None else ""

    def finish_early(self, job_id: str) -> None:
        """Ask a job to keep what it has done and to do no more, at its next start if it is paused."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE job SET wish = 'finish', state = iif(state = 'paused', 'queued', state), error = '',"
                " updated_ms = ? WHERE id = ?",
                (now_ms(), job_id),
            )

    def wish(self, job_id: str, wish: str) -> None:
        """Ask a running job, of whichever process, to "pause" or "cancel"; "" takes that back."""
        with self._database.transaction() as db:
            db.execute("UPDATE job SET wish = ?, updated_ms = ? WHERE id = ?", (wish, now_ms(), job_id))

    def asked_of(self, job_id: str) -> str:
        """What a job that runs is to do: "pause", "cancel", "finish" or ""; takes some 20 µs.

        Another program that took it for one that is not running may have paused or ended the job outright.
        """
        row = self._database.row("SELECT wish, state FROM job WHERE id = ?", (job_id,))
        if row is None or JobState(row["state"]).ended:
            return "cancel"
        return "pause" if row["state"] == JobState.PAUSED else str(row["wish"])

    def move(self, job_id: str, before: str | None) -> None:
        """Put a job directly before another in the queue, or last. Raises Conflict when one of them has ended."""
        with self._database.transaction() as db:
            rows = db.execute(f"SELECT id FROM job WHERE state IN {_OPEN} ORDER BY position").fetchall()
            order = [row["id"] for row in rows]
            for name in (job_id, before):
                if name is not None and name not in order:
                    raise Conflict(f"Job “{name}” is not in the queue.", way_out=See(Listing.JOBS))
            if before != job_id:
                order.remove(job_id)
                order.insert(order.index(before) if before is not None else len(order), job_id)
            last = db.execute(f"SELECT coalesce(max(position), 0) FROM job WHERE state NOT IN {_OPEN}").fetchone()[0]
            db.executemany(
                "UPDATE job SET position = ? WHERE id = ?",
                [(last + offset, name) for offset, name in enumerate(order, start=1)],
            )

    # ------------------------------------------------------------ files and checkpoints

    def add_files(self, job_id: str, paths: Iterable[str]) -> None:
        """These files are to be read by a job; those it has already stay as they are."""
        with self._database.transaction() as db:
            db.executemany(
                "INSERT OR IGNORE INTO job_file (job_id, path, state) VALUES (?, ?, 'waiting')",
                [(job_id, _storable(path)) for path in paths],
            )

    def record(self, job_id: str, generation: int, checkpoint: str, files: Iterable[FileProgress]) -> None:
        """Write down how far a job is: the files that are through, and the build that holds them."""
        with self._database.transaction() as db:
            self._update(db, job_id, files)
            db.execute(
                "UPDATE job SET generation = ?, checkpoint = ?, updated_ms = ? WHERE id = ?",
                (generation, checkpoint, now_ms(), job_id),
            )

    def update_files(self, job_id: str, files: Iterable[FileProgress]) -> None:
        """Write down what became of some files."""
        with self._database.transaction() as db:
            self._update(db, job_id, files)

    def checkpoint_of(self, job_id: str) -> str:
        """The last checkpoint of a job, "" when it has none."""
        row = self._database.row("SELECT checkpoint FROM job WHERE id = ?", (job_id,))
        return str(row["checkpoint"]) if row is not None else ""

    def files(self, job_id: str, *, failed: bool = False) -> list[FileProgress]:
        """The files of a job by path, or only those that could not be indexed."""
        rows = self._database.rows(
            "SELECT * FROM job_file WHERE job_id = ? AND state = coalesce(?, state) ORDER BY path",
            (job_id, "failed" if failed else None),
        )
        return [
            FileProgress(
                row["path"], FileState(row["state"]), chunks_done=row["chunks"], chunks_total=row["chunks"],
                error=row["error"], reason=row["reason"],
            )
            for row in rows
        ]  # fmt: skip

    @staticmethod
    def _update(db: sqlite3.Connection, job_id: str, files: Iterable[FileProgress]) -> None:
        db.executemany(
            "INSERT INTO job_file (job_id, path, state, chunks, error, reason) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (job_id, path) DO UPDATE SET state = excluded.state, chunks = excluded.chunks,"
            " error = excluded.error, reason = excluded.reason",
            [
                (job_id, _storable(file.path), file.state, file.chunks_total, file.error, _storable(file.reason))
                for file in files
            ],
        )

    # ------------------------------------------------------------ questions of other rooms

    def known_files(self, kb_id: str) -> list[str]:
        """Paths of files that jobs indexed and none removed since, by path: what was in the knowledge base last."""
        found: set[str] = set()
        for job in self._database.rows("SELECT * FROM job WHERE kb_id = ? ORDER BY created_ms, rowid", (kb_id,)):
            if job["kind"] == JobKind.REMOVE:
                gone = json.loads(job["paths"])
                found -= {path for path in found if any(path == name or path.startswith(f"{name}/") for name in gone)}
            for file in self.files(job["id"]):
                if file.state in (FileState.INDEXED, FileState.UNCHANGED):
                    found.add(str(file.path))
                elif file.state is FileState.REMOVED:
                    found.discard(str(file.path))
        return sorted(found)

    def suspended(self, kb_id: str) -> dict[int, str]:
        """Generation → checkpoint of every job of a knowledge base that can go on with a build."""
        rows = self._database.rows(
            f"SELECT generation, checkpoint FROM job WHERE kb_id = ? AND state IN {_OPEN} AND checkpoint != ''",
            (kb_id,),
        )
        return {row["generation"]: row["checkpoint"] for row in rows}

    def unfinished(self, kb_id: str, kind: JobKind | None = None) -> Job | None:
        """The last job in the queue, which may be at work, or the last of those of a certain kind."""
        row = self._database.row(
            f"SELECT *, {_COUNTS} FROM job WHERE kb_id = ? AND state IN {_OPEN} AND kind = coalesce(?, kind)"
            " ORDER BY position DESC LIMIT 1",
            (kb_id, kind),
        )
        return _job_of(row) if row is not None else None


def _job_of(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"], kb_id=row["kb_id"], kind=JobKind(row["kind"]), state=JobState(row["state"]),
        paths=tuple(json.loads(row["paths"])), options=json.loads(row["options"]), position=row["position"],
        wish=row["wish"], files_total=row["total"], files_done=row["done"], files_failed=row["failed"],
        generation=row["generation"], error=row["error"], created_ms=row["created_ms"], updated_ms=row["updated_ms"],
    )  # fmt: skip


def _storable(text: str) -> str:
    """A path, or a reason that names one, as text; bytes of a name that are no UTF-8 are written out."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a lone half of a UTF-16 pair
        return text.encode("utf-8", "backslashreplace").decode()
