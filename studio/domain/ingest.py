"""What an ingest is asked for, how it stands and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class FileState(StrEnum):
    """Where a file of a job stands."""

    WAITING = "waiting"
    PARSING = "parsing"
    EMBEDDING = "embedding"
    INDEXED = "indexed"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FileProgress:
    """One file of a job. `error` and `reason` are set when it failed, `pages_done` while it is read."""

    path: str
    state: FileState
    chunks_done: int = 0
    chunks_total: int = 0
    pages: int = 0
    seconds: float = 0.0
    error: str = ""
    reason: str = ""
    pages_done: int = 0


class IngestStage(StrEnum):
    """What a job is doing as a whole."""

    SCANNING = "scanning"
    INDEXING = "indexing"
    SEALING = "sealing"
    PROMOTING = "promoting"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """A snapshot of a job. `changed` holds only the files that moved since the last snapshot.

    `paused` says in a sentence why the job waits, "" while it goes on.
    """

    job_id: str
    kb_id: str
    stage: IngestStage
    files_total: int = 0
    files_done: int = 0
    files_failed: int = 0
    chunks_done: int = 0
    chunks_per_second: float = 0.0
    seconds_left: float | None = None
    changed: tuple[FileProgress, ...] = ()
    paused: str = ""


@dataclass(frozen=True, slots=True)
class FileFailure:
    """A file that could not be indexed: absolute path, stable code, sentence for a person."""

    path: str
    error: str
    reason: str


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How a folder is read. Globs match the path below the given folder and the bare name.

    `hidden`: hidden and system files are read too. `allow_removals`: so many documents may go that would be held back
    otherwise, because their files look mislaid and not deleted.
    """

    recursive: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    promote: bool = True
    jobs: int = 2
    hidden: bool = False
    allow_removals: int = 0


ALL_REMOVALS = 2**31 - 1
"""`IngestOptions.allow_removals` that says yes to whatever it is."""


@dataclass(frozen=True, slots=True)
class HeldRemovals:
    """Documents that stay although their files are gone: how many, of which folder, and why, in a sentence."""

    folder: str
    count: int
    why: str


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What a job did. `generation` is None when nothing changed and none was built.

    `held` says why the generation was built and not promoted, "" if it was or was not meant to be. `stages` are the
    seconds each stage was busy (several at once), `embed_idle` the seconds in which the model had nothing to do
    between its first batch and its last. `skipped` is what was found and left out on purpose, `held_removals` what
    would have been removed and waits for a person to allow it, `left` the number of files that were not begun since the
    job was to finish early.
    """

    job_id: str
    kb_id: str
    generation: int | None
    promoted: bool
    added: int
    updated: int
    unchanged: int
    removed: int
    failed: tuple[FileFailure, ...]
    chunks_added: int
    embedded: int
    reused: int
    seconds: float
    chunks_per_second: float
    held: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)
    skipped: tuple[SkippedFiles, ...] = ()
    held_removals: tuple[HeldRemovals, ...] = ()
    left: int = 0


@dataclass(frozen=True, slots=True)
class SkippedFiles:
    """Files that would not be indexed, for one reason: how many, and a few of them."""

    reason: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preflight:
    """What an ingest of some paths would take, estimated from a sample before anything is changed.

    `complete` is False when the folders are so large that the look at them was cut short. `kinds` counts files by kind.
    `sampled` files were read; `chunks`, `seconds`, `disk_bytes` and `peak_memory_bytes` follow from them. `removed` is
    without what would be held back.
    """

    files: int
    bytes: int
    new: int
    changed: int
    unchanged: int
    removed: int
    kinds: Mapping[str, int]
    skipped: tuple[SkippedFiles, ...]
    sampled: int
    chunks: int
    seconds: float
    disk_bytes: int
    peak_memory_bytes: int
    free_disk_bytes: int
    complete: bool = True
    held_removals: tuple[HeldRemovals, ...] = ()


ProgressSink = Callable[[IngestProgress], None]
