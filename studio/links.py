"""Links between files: the one place that makes them, and that knows where a file system has none.

The index cannot do without hard links: Lance publishes a version of a table by one. exFAT, FAT and some network drives
have none, so a data directory is tried before anything is made in it.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

NO_LINKS = frozenset({errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EINVAL})
"""What `os.link` fails with where a file system knows no hard links (exFAT, network shares) or has too many."""

_can_link: dict[Path, bool] = {}


def can_link(folder: Path) -> bool:
    """Whether files in `folder` can be linked, tried once a process with two small files that go again. Blocking.

    Where that cannot be tried, as nothing can be written there, they are taken to.
    """
    if folder not in _can_link:
        file = folder / f".{secrets.token_hex(8)}.tmp"
        second = file.with_suffix(".link.tmp")
        try:
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            _can_link[folder] = _linked(file, second)
        except OSError:
            return True
        finally:
            for made in (second, file):
                with suppress(OSError):
                    made.unlink()
    return _can_link[folder]


def link_or_copy(file: Path, target: Path) -> None:
    """Make `target` the same file by a hard link, or a copy where the file system has none. Raises OSError."""
    if not _linked(file, target):
        shutil.copy2(file, target)


def link_symbolically_or_copy(file: Path, target: Path) -> None:
    """Let `target` read as `file`: by a symbolic link, or as a copy where there can be none. Raises OSError."""
    try:
        target.symlink_to(file.absolute())
    except (OSError, NotImplementedError):  # Windows asks for a privilege
        shutil.copyfile(file, target)


def _linked(file: Path, target: Path) -> bool:
    try:
        os.link(file, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return False
    return True
