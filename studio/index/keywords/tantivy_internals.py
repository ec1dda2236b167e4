"""What the program uses of Tantivy beyond its interface: files of an index, their footers, texts of errors.

`tests/compat/test_canary_tantivy.py` names what an upgrade has changed. Not for: calls of the public interface.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

META = "meta.json"
"""Names the segments of an index."""
MANAGED = ".managed.json"
"""Names the files that the index may delete."""
REPLACED = (META, MANAGED)
"""What Tantivy writes anew, by renaming; whatever else it wrote it never changes. These have no footer."""

LEAST_HEAP_BYTES = 16 << 20
"""Tantivy refuses a writer less than 15 MB."""

FILE_GONE = "DoesNotExist"
NO_SPACE = ("No space left", "StorageFull")
"""Parts of what errors say, which have no types of their own."""

# Every file of a segment ends with JSON that holds a CRC-32 of what is before it, the JSON's length and a magic
# number, both 32 bits, little endian (src/directory/footer.rs in Tantivy).
FOOTER_MAGIC = (1337).to_bytes(4, "little")
FOOTER_TAIL_BYTES = 8
FOOTER_MAX_BYTES = 4096

_SEGMENT_PARTS = ("idx", "pos", "term", "store", "fieldnorm", "fast")


def files_of_index(directory: Path) -> Iterator[Path]:
    """The files of an index but for locks and what a dead writer left."""
    return (file for file in directory.iterdir() if not file.name.endswith(".lock") and file.name[:4] != ".tmp")


def segment_files(directory: Path) -> list[str]:
    """Names of the files that the newest commit of an index needs. Raises OSError, ValueError, KeyError, TypeError."""
    names = []
    for segment in json.loads((directory / META).read_bytes())["segments"]:
        name = segment["segment_id"].replace("-", "")
        names += [f"{name}.{part}" for part in _SEGMENT_PARTS]
        if segment["deletes"]:
            names.append(f"{name}.{segment['deletes']['opstamp']}.del")
    return names
