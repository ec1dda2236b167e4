"""Reading a Tantivy directory that cannot be written: a directory that can stands in for it."""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path

from studio.index.lexical_writer import COPIED, segments_of
from studio.links import link_symbolically_or_copy

_OTHER_PLACES = ("/dev/shm",)  # memory, where the disk that is full also holds the temporary files
_REMOVAL_ATTEMPTS = 5


def mirrored(source: Path) -> Path:
    """A private temporary directory that reads as the index in `source`, by symbolic links. The caller deletes it.

    Copies where there are no links. Raises OSError when no temporary place has room.
    """
    failure: OSError | None = None
    for place in dict.fromkeys((tempfile.gettempdir(), *_OTHER_PLACES)):
        target: Path | None = None
        try:
            target = Path(tempfile.mkdtemp(prefix="rag-studio-", dir=place))
            for file in segments_of(source):
                make = shutil.copyfile if file.name in COPIED else link_symbolically_or_copy
                make(file, target / file.name)
            return target
        except OSError as error:  # full as well, or not there
            failure = failure or error
            if target is not None:
                shutil.rmtree(target, ignore_errors=True)
    raise failure or FileNotFoundError(errno.ENOENT, "there is no temporary directory")


def remove(mirror: Path) -> None:
    """Delete a mirrored directory. Tantivy's thread may put its lock file there between emptying and removing it."""
    for _ in range(_REMOVAL_ATTEMPTS):
        shutil.rmtree(mirror, ignore_errors=True)
        if not mirror.exists():
            return
