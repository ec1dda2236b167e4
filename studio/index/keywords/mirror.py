"""Reading a Tantivy directory that cannot be written: a directory that can stands in for it."""

from __future__ import annotations

import shutil
from pathlib import Path

from studio.index.files import temporary_directory
from studio.index.keywords.tantivy_internals import REPLACED, files_of_index
from studio.links import link_symbolically_or_copy

_REMOVAL_ATTEMPTS = 5


def mirrored(source: Path) -> Path:
    """A private temporary directory that reads as the index in `source`, by symbolic links. The caller deletes it.

    Copies where there are no links. Raises OSError when no temporary place has room.
    """

    def link(target: Path) -> None:
        for file in files_of_index(source):
            make = shutil.copyfile if file.name in REPLACED else link_symbolically_or_copy
            make(file, target / file.name)

    return temporary_directory(link)


def remove(mirror: Path) -> None:
    """Delete a mirrored directory. Tantivy's thread may put its lock file there between emptying and removing it."""
    for _ in range(_REMOVAL_ATTEMPTS):
        shutil.rmtree(mirror, ignore_errors=True)
        if not mirror.exists():
            return
