"""Temporary directories where there is room, also while the disk is full."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

_OTHER_PLACES = ("/dev/shm",)  # memory, where the disk that is full also holds the temporary files


def temporary_directory(fill: Callable[[Path], object]) -> Path:
    """A directory private to this user, with what `fill` puts there. The caller deletes it.

    Raises OSError, the first one, when that succeeds in no place.
    """
    failure: OSError | None = None
    for place in dict.fromkeys((tempfile.gettempdir(), *_OTHER_PLACES)):
        try:
            target = Path(tempfile.mkdtemp(prefix="rag-studio-", dir=place))
        except OSError as error:  # full as well, or not there
            failure = failure or error
            continue
        try:
            fill(target)
            return target
        except BaseException as error:
            shutil.rmtree(target, ignore_errors=True)
            if not isinstance(error, OSError):
                raise
            failure = failure or error
    raise failure or FileNotFoundError(errno.ENOENT, "there is no temporary directory")
