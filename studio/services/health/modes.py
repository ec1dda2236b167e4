"""Doctor's look at who may read the data directory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from studio.domain import Check
from studio.private import STRICT, open_to_others, tighten
from studio.ways_out import RunRepair


def check_modes(root: Path) -> Check:
    """Whether everything below the data directory is its owner's alone. Blocking: looks at every file."""
    count = sum(1 for _ in open_to_others(root))
    if not count:
        return Check("modes", True, "files are their owner's alone")
    closed = not root.stat().st_mode & STRICT
    more = "; the folder around them is closed" if closed else ""
    way_out = "" if closed else str(RunRepair())
    return Check("modes", closed, f"{count:,} files and folders are open to others{more}", way_out)


def mend_modes(root: Path) -> None:
    """Make it so, where that is allowed. Blocking."""
    for path in open_to_others(root):
        with suppress(OSError):  # not ours: the check says so
            tighten(path)
