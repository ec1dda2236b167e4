"""From files to a new generation.

Belongs here: the plan, the pipeline of reading, chunking and embedding, progress, checkpoints, the report.
Does not: walking folders (`scan`), the order of jobs (`jobs`), the files of an index (`index.generations`).
"""

from studio.services.ingest.control import JobControl
from studio.services.ingest.kept_report import decoded
from studio.services.ingest.removals import check_known, decide
from studio.services.ingest.report import allowing, held_words
from studio.services.ingest.room import BUILD_BYTES, BuildRoom
from studio.services.ingest.service import DEFAULT_OPTIONS, RESTORE, IngestService, RebuildFirst

__all__ = [
    "BUILD_BYTES",
    "DEFAULT_OPTIONS",
    "RESTORE",
    "BuildRoom",
    "IngestService",
    "JobControl",
    "RebuildFirst",
    "allowing",
    "check_known",
    "decide",
    "decoded",
    "held_words",
]
