"""Making files durable, and how many bytes they take."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from studio.errors import storage_fault


def flush_tree(roots: Sequence[Path], since_s: float) -> None:
    """fsync every file and directory below `roots` touched since `since_s` (seconds since the epoch).

    Neither Lance nor hard links flush by themselves; without this a power cut could lose a promoted
    generation. One second of slack covers coarse file times. Raises StorageFault.
    """
    since_s -= 1.0
    try:
        for root in roots:
            for directory, _, files in os.walk(root):
                for name in files:
                    path = Path(directory, name)
                    with suppress(FileNotFoundError):
                        if path.stat().st_mtime >= since_s:
                            _fsync(path)
                if Path(directory).stat().st_mtime >= since_s:
                    _fsync(Path(directory))
    except OSError as error:
        raise storage_fault(error, "flushing the index to disk") from error


def put_up(marker: Path) -> None:
    """Make an empty file that is there after a power cut. Raises StorageFault."""
    try:
        marker.parent.mkdir(exist_ok=True)
        marker.touch()
        _fsync(marker)
        _fsync(marker.parent)
    except OSError as error:
        raise storage_fault(error, "writing down a deletion", marker) from error


def _fsync(path: Path) -> None:
    if sys.platform == "win32" and path.is_dir():
        return  # Windows has no handle for directories; NTFS journals their entries
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_usage(root: Path) -> dict[int, int]:
    """Inode → bytes of every file below `root`: a hard-linked file is there once."""
    found: dict[int, int] = {}
    pending = [root]
    while pending:
        directory = pending.pop()
        with suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    else:
                        status = Path(entry.path).stat() if sys.platform == "win32" else entry.stat()
                        found[status.st_ino] = status.st_size
    return found
