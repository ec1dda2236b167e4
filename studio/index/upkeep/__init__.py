"""Keeping the stores sound: collecting what no reader holds, auditing, mending one index from the other.

Belongs here: garbage collection, audits, what is left of damaged files.
Does not: maintenance within a table (`vectors`).
"""

from studio.index.upkeep.auditing import Audit, Verdicts, audit
from studio.index.upkeep.gc import GcReport, Kept, collect, plan, sweep
from studio.index.upkeep.leftover_files import Leftovers, is_locked, leftovers, listing
from studio.index.upkeep.mending import (
    drop_unreadable_versions,
    every_version_opens,
    mend_table,
    mend_tags,
    rebuild_keywords,
    table_opens,
)
from studio.index.upkeep.remaining import Remains, remains

__all__ = [
    "Audit",
    "GcReport",
    "Kept",
    "Leftovers",
    "Remains",
    "Verdicts",
    "audit",
    "collect",
    "drop_unreadable_versions",
    "every_version_opens",
    "is_locked",
    "leftovers",
    "listing",
    "mend_table",
    "mend_tags",
    "plan",
    "rebuild_keywords",
    "remains",
    "sweep",
    "table_opens",
]
