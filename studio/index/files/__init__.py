"""Files of the data directory, whatever they hold: flushed, locked, copied, put aside.

Belongs here: durability, locks, temporary places, `lost+found`.
Does not: what is in a file of an index (`vectors`, `keywords`, `catalog`).
"""

from studio.index.files.durable import disk_usage, flush_tree, put_up
from studio.index.files.journal import VectorJournal
from studio.index.files.kept_files import drop_unchanged, keep_files
from studio.index.files.locks import FileLock, create_lock_file, try_lock
from studio.index.files.lost_found import set_aside
from studio.index.files.temporary import temporary_directory

__all__ = [
    "FileLock",
    "VectorJournal",
    "create_lock_file",
    "disk_usage",
    "drop_unchanged",
    "flush_tree",
    "keep_files",
    "put_up",
    "set_aside",
    "temporary_directory",
    "try_lock",
]
