"""Copies of a knowledge base's files in `lost+found`, made before a repair changes any: a repair deletes nothing.

They are hard links, which take no room; where the file system has none, copies. What is in its place unchanged after
the repair is taken out again, so that only what was replaced or given up stays.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from studio.errors import storage_fault
from studio.index.files.durable import flush_tree
from studio.links import link_or_copy
from studio.paths import DataPaths

_LEFT_OUT = ("leases", "jobs", "tuning")


def keep_files(paths: DataPaths, folder: Path) -> Path:
    """Link every file below `folder` into a new folder of `lost+found`, which is returned. Raises StorageFault."""
    stamp = f"{folder.name}-{time.strftime('%Y-%m-%dT%H%M%S', time.gmtime())}"
    try:
        paths.lost_found.mkdir(exist_ok=True)
        target = next(
            place
            for number in range(1, 10_000)
            if not (place := paths.lost_found / (stamp if number == 1 else f"{stamp}.{number}")).exists()
        )
        started = time.time()
        for directory, names, files in os.walk(folder):
            place = target / Path(directory).relative_to(folder)
            place.mkdir(parents=True)
            if Path(directory) == folder:
                names[:] = [name for name in names if name not in _LEFT_OUT]
            for name in files:
                if not name.endswith(".lock"):
                    with suppress(FileNotFoundError):  # a temporary file of a job
                        link_or_copy(Path(directory, name), place / name)
    except OSError as error:
        raise storage_fault(error, "keeping the files that a repair may replace", paths.lost_found) from error
    flush_tree([paths.lost_found], started)
    return target


def drop_unchanged(folder: Path, kept: Path) -> None:
    """Take out of `kept` what `folder` still holds as it was, and then what is empty."""
    for directory, _, files in os.walk(kept, topdown=False):
        for name in files:
            copy = Path(directory, name)
            with suppress(OSError):
                if _same(folder / copy.relative_to(kept), copy):
                    copy.unlink()
        with suppress(OSError):
            Path(directory).rmdir()
    with suppress(OSError):
        kept.parent.rmdir()


def _same(file: Path, copy: Path) -> bool:
    return file.is_file() and (file.samefile(copy) or file.read_bytes() == copy.read_bytes())
