"""Generations on disk: built in staging, sealed, promoted for both indexes at once, leased to readers.

Belongs here: what has to be right for both indexes together, and the stores of a data directory.
Does not: the inside of one index (`vectors`, `keywords`), clearing up (`upkeep`).
"""

from studio.index.generations.building import Build, Doubtful, GenerationStore, tag_of
from studio.index.generations.checkpoints import Checkpoint
from studio.index.generations.footprint import files_of
from studio.index.generations.generation_reader import READABLE, Snapshot, refuse_newer
from studio.index.generations.stores import Stores, base_folders, catalog_fault

__all__ = [
    "READABLE",
    "Build",
    "Checkpoint",
    "Doubtful",
    "GenerationStore",
    "Snapshot",
    "Stores",
    "base_folders",
    "catalog_fault",
    "files_of",
    "refuse_newer",
    "tag_of",
]
