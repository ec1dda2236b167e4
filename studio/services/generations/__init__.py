"""Generations once they are built: promoted, compared, collected, exported and imported.

Belongs here: promotion, retention, comparison, bundles.
Does not: building one (`ingest`), judging one (`quality`).
"""

from studio.services.generations.bundles import BundleInfo, BundleService, Imported, discard_dead_imports
from studio.services.generations.compare import (
    CompareService,
    Comparison,
    DocumentChanges,
    DocumentItem,
    HitChange,
    QueryChange,
)
from studio.services.generations.maintenance import MaintenanceService
from studio.services.generations.promotion import Promotion
from studio.services.generations.steps import ByteProgress

__all__ = [
    "BundleInfo",
    "BundleService",
    "ByteProgress",
    "CompareService",
    "Comparison",
    "DocumentChanges",
    "DocumentItem",
    "HitChange",
    "Imported",
    "MaintenanceService",
    "Promotion",
    "QueryChange",
    "discard_dead_imports",
]
