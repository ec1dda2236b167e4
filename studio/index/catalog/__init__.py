"""The catalog in SQLite, its backups, and what is kept beside each knowledge base to adopt it again.

Belongs here: SQL, the schema and its migrations.
Does not: vectors and words (`vectors`, `keywords`), rules of use (`services`).
"""

from studio.index.catalog import base_file
from studio.index.catalog.async_catalog import AsyncCatalog
from studio.index.catalog.backup_files import EMPTY, GONE, backups, fault_of, knows_none, made_at
from studio.index.catalog.base_file import evidence, is_base, numbers_in
from studio.index.catalog.catalog import MAX_NAME_LENGTH, Catalog, Overtaken, checked_name
from studio.index.catalog.database import unlinkable
from studio.index.catalog.glance import Moment
from studio.index.catalog.names import Names, Renaming, names_after
from studio.index.catalog.query_log import KEPT, LoggedQuery, Outcome
from studio.index.catalog.tags import declared_tags

__all__ = [
    "EMPTY",
    "GONE",
    "KEPT",
    "MAX_NAME_LENGTH",
    "AsyncCatalog",
    "Catalog",
    "LoggedQuery",
    "Moment",
    "Names",
    "Outcome",
    "Overtaken",
    "Renaming",
    "backups",
    "base_file",
    "checked_name",
    "declared_tags",
    "evidence",
    "fault_of",
    "is_base",
    "knows_none",
    "made_at",
    "names_after",
    "numbers_in",
    "unlinkable",
]
