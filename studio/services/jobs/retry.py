"""What is asked for when an ended job is tried again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.domain import IngestOptions, Job, JobKind, JobState
from studio.errors import Conflict


def request_again(old: Job, failed: Sequence[str]) -> tuple[JobKind, Sequence[str], Mapping[str, Any]]:
    """Kind, paths and options of a job for the files that `failed`, or for all of it when the job itself failed.

    Blocking: looks for the files. Raises Conflict where there is nothing to try again.
    """
    if not old.state.ended:
        raise Conflict(f"Job {old.id} has not ended yet.", way_out="Wait for it, or resume it if it is paused.")
    if old.state is not JobState.DONE:
        return old.kind, old.paths, old.options
    if not failed:
        raise Conflict(f"Job {old.id} could index all of its files: there is nothing to try again.")
    there = _files_there(failed)
    if not there:
        raise Conflict(f"None of the files that job {old.id} could not index is there any more.")
    return JobKind.INGEST, there, old.options if old.kind is JobKind.INGEST else asdict(IngestOptions())


def _files_there(paths: Iterable[str]) -> list[str]:
    """The paths that lead to something; of a member of an archive, the archive."""
    found: dict[str, None] = {}
    for path in map(Path, paths):
        place = next(place for place in (path, *path.parents) if place.exists())
        if place == path or place.is_file():
            found[str(place)] = None
    return list(found)
