"""What is in folders: which files an ingest would read, under which names, and whether they changed.

Belongs here: walking folders, ignore rules, names and states of files.
Does not: what a file holds (`documents`), what the catalog knows of it (`ingest`), changes as they happen (`watch`).
"""

from studio.services.scan.file_state import ScannedFile, hash_or_none, scanned, settled_stamp, sha256_of
from studio.services.scan.filenames import identity, readable, storable
from studio.services.scan.ignore import IGNORE_FILE, IgnoreRules, read_rules
from studio.services.scan.walk import EXAMPLES, Scan, scan

__all__ = [
    "EXAMPLES",
    "IGNORE_FILE",
    "IgnoreRules",
    "Scan",
    "ScannedFile",
    "hash_or_none",
    "identity",
    "read_rules",
    "readable",
    "scan",
    "scanned",
    "settled_stamp",
    "sha256_of",
    "storable",
]
