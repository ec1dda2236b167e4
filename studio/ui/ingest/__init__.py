"""The ingest pane: drop zone, jobs, files, the look ahead, watched folders.

Belongs here: widgets of the ingest.
Does not: what is shown in them (`viewmodels.ingest`).
"""

from studio.ui.ingest.pane import IngestPane
from studio.ui.ingest.watched_dialog import WatchedDialog

__all__ = [
    "IngestPane",
    "WatchedDialog",
]
