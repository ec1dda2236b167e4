"""What repair takes out of the way: moved into `lost+found` of the data directory, never deleted."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from studio.errors import storage_fault
from studio.paths import DataPaths


def set_aside(paths: DataPaths, path: Path) -> Path:
    """Move a file or folder of the data directory to `lost+found/<date>/` under its own path; returns the new place.

    Nothing is overwritten: what is set aside twice gets a number. Raises StorageFault when it cannot be moved,
    FileNotFoundError when it is not there.
    """
    day = paths.lost_found / time.strftime("%Y-%m-%d", time.gmtime())
    wanted = day / path.relative_to(paths.root)
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        numbered = (wanted.with_name(f"{wanted.name}.{number}") for number in itertools.count(2))
        target = next(place for place in itertools.chain([wanted], numbered) if not place.exists())
        return path.rename(target)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage_fault(error, "setting something damaged aside", path) from error
