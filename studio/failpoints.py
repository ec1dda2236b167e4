"""Named places where a test can end the process as a power cut would.

RAG_STUDIO_FAILPOINT=NAME kills the process when it reaches that point, RAG_STUDIO_FAILPOINT=NAME:3 at the third
time. In normal use the variable is not set and a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "RAG_STUDIO_FAILPOINT"

INGEST_POINTS = (
    "begin.registered",
    "begin.linked",
    "begin.restored",
    "write.chunks",
    "write.keywords",
    "write.documents",
    "delete.documents",
    "seal.keywords",
    "seal.tables",
    "seal.flushed",
    "seal.ready",
    "promote.committing",
    "promote.done",
    "collect.marked",
    "collect.directory",
    "collect.tag",
    "collect.forgotten",
    "collect.swept",
)
"""In the order a job and the collection after it pass them."""

CHECKPOINT_POINTS = ("checkpoint.written", "checkpoint.tagged", "reopen.done")
"""What a long job passes now and then, and before its build goes on from a checkpoint."""

BUNDLE_POINTS = (
    "export.written",
    "import.registered",
    "import.texts",
    "import.written",
    "import.sealed",
    "import.committing",
    "import.done",
)
"""In the order an export and an import pass them; an import also passes the points of beginning and sealing."""

REPAIR_POINTS = ("repair.keywords",)
"""Between taking a damaged keyword index away and putting a new one in its place."""

DELETE_POINTS = ("forget.told", "forget.row")
"""In the order that the deletion of a knowledge base passes them."""

POINTS = INGEST_POINTS + BUNDLE_POINTS
"""Every point of a sound store's life."""

_left: dict[str, int] = {}


def choose(point: str) -> None:
    """End the process at this point of `POINTS`, or with `point:n` when it is reached for the n-th time."""
    name, _, times = point.partition(":")
    _left.clear()
    _left[name] = int(times or 1)


choose(os.environ.get(VARIABLE, ""))


def reach(name: str) -> None:
    """Go on, or end the process at once if this is the chosen point."""
    if name not in _left:
        return
    _left[name] -= 1
    if _left[name] == 0:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
