"""What a file's name, path and flags tell before it is opened, on all three systems."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

HIDDEN_BY_FLAG = sys.platform in ("win32", "darwin")
"""Whether files can be hidden by a flag instead of their name."""

_WINDOWS_HIDDEN = stat.FILE_ATTRIBUTE_HIDDEN | stat.FILE_ATTRIBUTE_SYSTEM
_WINDOWS_JUNCTION = 0xA000_0003
"""IO_REPARSE_TAG_MOUNT_POINT, which `stat` knows on Windows only."""
_WINDOWS_PATH_LIMIT = 260


def has_hidden_flag(status: os.stat_result) -> bool:
    """Whether a file is hidden by a flag: hidden or system on Windows, hidden on macOS."""
    windows, mac = getattr(status, "st_file_attributes", 0), getattr(status, "st_flags", 0)
    return bool(windows & _WINDOWS_HIDDEN or mac & stat.UF_HIDDEN)


def is_too_long(path: str, error: OSError) -> bool:
    """Whether it is for the length of its path that a file cannot be reached; Windows calls that “not found”."""
    if error.errno == errno.ENAMETOOLONG:
        return True
    return os.name == "nt" and isinstance(error, FileNotFoundError) and len(path) >= _WINDOWS_PATH_LIMIT


def storable(path: str) -> bool:
    """Whether a path is text: file systems also allow names that are not, which no index can hold."""
    if path.isascii():
        return True
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def readable(path: Path | str) -> str:
    """A path as text; bytes of a name that are no UTF-8 are written out."""
    try:
        return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a lone half of a UTF-16 pair
        return str(path).encode("utf-8", "backslashreplace").decode()


def is_junction(status: os.stat_result) -> bool:
    """Whether a folder is Windows' kind of link to another folder."""
    return bool(getattr(status, "st_reparse_tag", 0) == _WINDOWS_JUNCTION)


def identity(path: str) -> tuple[int, int] | None:
    """Device and number of a file or folder, however it is named or mounted; None when it cannot be reached."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return status.st_dev, status.st_ino
