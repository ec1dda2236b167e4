"""Folders that keep a knowledge base up to date.

Belongs here: changes of folders, quiet periods, battery.
Does not: which files belong (`scan`), reading them (`ingest`).
"""

from studio.services.watch.service import FolderStatus, WatchService, WatchState

__all__ = [
    "FolderStatus",
    "WatchService",
    "WatchState",
]
