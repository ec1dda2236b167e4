"""Hard links, and copies where the file system has none."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

NO_LINKS = frozenset({errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EINVAL})
"""What `os.link` fails with where a file system knows no hard links (exFAT, network shares) or has too many."""


def link_or_copy(file: Path, target: Path) -> None:
    """Make `target` the same file by a hard link, or a copy where the file system has none. Raises OSError."""
    try:
        os.link(file, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        shutil.copy2(file, target)
