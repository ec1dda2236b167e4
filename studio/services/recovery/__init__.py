"""Bringing back what was damaged or lost.

Belongs here: examining a knowledge base, telling its rows from what survives, adopting it, restoring the catalog.
Does not: the report and the repair that a person asks for (`health`).
"""

from studio.services.recovery.adoption import check_strays, settle, strays
from studio.services.recovery.examination import Examination, examine
from studio.services.recovery.losses import Losses
from studio.services.recovery.restoring import examine_catalog, restore_catalog
from studio.services.recovery.salvaging import Salvage, mend_texts, salvage

__all__ = [
    "Examination",
    "Losses",
    "Salvage",
    "check_strays",
    "examine",
    "examine_catalog",
    "mend_texts",
    "restore_catalog",
    "salvage",
    "settle",
    "strays",
]
