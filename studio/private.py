"""What the program keeps is its owner's alone: modes of files, on systems that have them.

Libraries make most of the files, so the umask of every process of ours is strict. What a person asks to have written
elsewhere gets the modes of the person's own umask instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

STRICT = 0o077

_own_umask: int | None = None


def keep_private() -> None:
    """From now on files and folders are made for their owner alone, by child processes too. Idempotent."""
    global _own_umask
    if os.name == "posix" and _own_umask is None:
        _own_umask = os.umask(STRICT)


def hand_over(path: Path) -> None:
    """Give a file or folder that was just made for a person the mode it would have without `keep_private`."""
    if _own_umask is not None:
        with suppress(OSError):  # a file system without modes
            path.chmod((0o777 if path.is_dir() else 0o666) & ~_own_umask)


def make_folder(path: Path) -> None:
    """Make a folder for a person, with those around it that are missing. Raises OSError."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        hand_over(folder)


def tighten(path: Path) -> None:
    """Take every right to a file or folder from all but its owner, whose rights stay. Raises OSError."""
    if os.name == "posix" and path.exists() and path.stat().st_mode & STRICT:
        path.chmod(path.stat().st_mode & 0o700)


def open_to_others(root: Path) -> Iterator[Path]:
    """The files and folders of a data directory that others than their owner could read, were its root open."""
    if os.name != "posix":
        return
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            with suppress(OSError):  # gone meanwhile
                status = path.lstat()
                shared = status.st_nlink > 1 and path.parent == root / "models"  # a model that also lies elsewhere
                if not path.is_symlink() and status.st_mode & STRICT and not shared:
                    yield path
