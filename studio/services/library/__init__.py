"""Knowledge bases, their documents, tags and models as a person manages them.

Belongs here: creating, renaming and deleting, tags, models, and how documents are named.
Does not: making documents searchable (`ingest`), finding them (`search`).
"""

from studio.services.library.document_names import Found, Naming, Way, naming
from studio.services.library.knowledge_bases import LibraryService, retention_of
from studio.services.library.models import ModelService
from studio.services.library.patterns import Holds, glob_test, path_like
from studio.services.library.tags import TagCount, TagService

__all__ = [
    "Found",
    "Holds",
    "LibraryService",
    "ModelService",
    "Naming",
    "TagCount",
    "TagService",
    "Way",
    "glob_test",
    "naming",
    "path_like",
    "retention_of",
]
