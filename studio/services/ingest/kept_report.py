"""The report of a job as the catalog keeps it, for programs in which the job did not run."""

from __future__ import annotations

import json
from dataclasses import asdict, fields

from studio.domain import FileFailure, HeldRemovals, IngestReport, SkippedFiles

_KNOWN = frozenset(item.name for item in fields(IngestReport))


def encoded(report: IngestReport) -> str:
    """A report as text, ASCII only."""
    return json.dumps(asdict(report))


def decoded(text: str) -> IngestReport | None:
    """What `encoded` made; None of "". What another version of the program told beyond this one's is left out."""
    if not text:
        return None
    found = {name: value for name, value in json.loads(text).items() if name in _KNOWN}
    found["failed"] = tuple(FileFailure(**item) for item in found["failed"])
    found["held_removals"] = tuple(HeldRemovals(**item) for item in found["held_removals"])
    found["skipped"] = tuple(
        SkippedFiles(item["reason"], item["count"], tuple(item["examples"])) for item in found["skipped"]
    )
    return IngestReport(**found)
