"""Jobs of the queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from studio.domain.ingest import IngestOptions


class JobKind(StrEnum):
    """What a job does: read files, drop documents, chunk and embed all anew, or one of the two repairs."""

    INGEST = "ingest"
    REMOVE = "remove"
    REBUILD = "rebuild"
    REINDEX = "reindex"
    RESTORE = "restore"


class JobState(StrEnum):
    """Life of a job. `running` is also that of one whose program died: it goes on where it was."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RESUMED = "resumed"

    @property
    def ended(self) -> bool:
        """Whether nothing remains to be done for it."""
        return self not in (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)


@dataclass(frozen=True, slots=True)
class Job:
    """A request for one knowledge base that survives a crash. Jobs run by ascending `position`.

    `wish` is what is asked of it while it runs: "pause", "cancel", "finish" (keep what is done) or "".
    """

    id: str
    kb_id: str
    kind: JobKind
    state: JobState
    paths: tuple[str, ...]
    options: Mapping[str, Any]
    position: int = 0
    wish: str = ""
    files_total: int = 0
    files_done: int = 0
    files_failed: int = 0
    generation: int | None = None
    error: str = ""
    created_ms: int = 0
    updated_ms: int = 0

    @property
    def ingest_options(self) -> IngestOptions:
        """How an ingest request reads folders."""
        globs = {name: tuple(self.options[name]) for name in ("include", "exclude")}
        return IngestOptions(**{**self.options, **globs})
