"""What the ingest pane shows and does.

Belongs here: drops, jobs, files of jobs, failures, the look ahead, watched folders.
Does not: widgets (`ui.ingest`).
"""

from studio.viewmodels.ingest.drops import DropsViewModel
from studio.viewmodels.ingest.failures import FailuresViewModel, container, is_locked
from studio.viewmodels.ingest.file_rows import QueueRow, Tone
from studio.viewmodels.ingest.jobs import JobRow, JobsViewModel
from studio.viewmodels.ingest.model import IngestViewModel
from studio.viewmodels.ingest.preflight import PreflightViewModel
from studio.viewmodels.ingest.watched import FolderRow, WatchedViewModel

__all__ = [
    "DropsViewModel",
    "FailuresViewModel",
    "FolderRow",
    "IngestViewModel",
    "JobRow",
    "JobsViewModel",
    "PreflightViewModel",
    "QueueRow",
    "Tone",
    "WatchedViewModel",
    "container",
    "is_locked",
]
