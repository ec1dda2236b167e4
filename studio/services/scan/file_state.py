"""What the system says about the state of a file: whether it is the one of before, and whether its content is here."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
import time
from pathlib import Path
from typing import NamedTuple

_HASH_BLOCK_BYTES = 1 << 20
_INT64 = 2**63
_WINDOWS_ELSEWHERE = 0x1000 | 0x4_0000 | 0x40_0000
"""FILE_ATTRIBUTE_OFFLINE, _RECALL_ON_OPEN and _RECALL_ON_DATA_ACCESS, the last two unknown to `stat`."""
_MAC_DATALESS = 0x4000_0000
"""SF_DATALESS, unknown to `stat`."""
_STUB_ENDINGS = (".icloud", ".nextcloud", ".owncloud")
_COARSEST_TICK_NS = 2 * 10**9
_MIX = (0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F)
"""Odd, so that each of the two numbers alone can be told from the product."""


class ScannedFile(NamedTuple):
    """A regular file with what tells whether it changed. A million of them take some 300 MB, most of it paths.

    `mtime_ns` is within 64 bits, whatever the file says; `stamp` is `change_stamp`. `placeholder`:
    only its name is here, the content would have to be fetched.
    """

    source_path: str
    size_bytes: int
    mtime_ns: int
    stamp: int = 0
    placeholder: bool = False

    @property
    def path(self) -> Path:
        """Where it lies."""
        return Path(self.source_path)

    @property
    def state(self) -> tuple[int, int, int]:
        """As long as it stays the same, so does the content."""
        return self.size_bytes, self.mtime_ns, self.stamp


def state_of(path: str, status: os.stat_result) -> ScannedFile:
    """A regular file as it is."""
    return ScannedFile(
        path, status.st_size, clamped(status.st_mtime_ns), change_stamp(status), is_placeholder(path, status)
    )


def scanned(path: Path) -> ScannedFile | None:
    """One file as it is now; None when it is gone, not a regular file, or must not be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or not os.access(path, os.R_OK):
        return None
    return state_of(str(path), status)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal. Raises OSError, which always names the file."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_HASH_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        error.filename = error.filename or str(path)  # a bad sector is met while reading, which names nothing
        raise
    return digest.hexdigest()


def clamped(mtime_ns: int) -> int:
    """A time in nanoseconds since 1970 within the 64 bits of a column: the years 1677 to 2262.

    File systems know others, and ctime and inode tell what changed beyond them.
    """
    return max(-_INT64, min(_INT64 - 1, mtime_ns))


def change_stamp(status: os.stat_result) -> int:
    """A number, above 0, that another file has, and this one after it was changed, replaced or renamed.

    Of ctime and inode: a file put in the place of another one may have its size and time, but not these. Mixed into 63
    bits, as nothing else is read from it, it fits in a column whatever the system says. Where a system has none of the
    two that mean anything, as a network drive may, it changes without need: that costs a hash.
    """
    return (status.st_ctime_ns * _MIX[0] ^ status.st_ino * _MIX[1]) & _INT64 - 1 or 1


def settled_stamp(file: ScannedFile) -> int:
    """The stamp to remember of a file that is hashed after this call; 0, so that it is hashed again, while a change
    would not show: FAT and exFAT, and ext4 on old disks, count times in whole seconds or two.
    """
    may_change_unseen = file.mtime_ns % 10**9 == 0 and abs(time.time_ns() - file.mtime_ns) < _COARSEST_TICK_NS
    return 0 if may_change_unseen else file.stamp


def is_placeholder(path: str, status: os.stat_result) -> bool:
    """Whether only the name of a file is here, and reading it would fetch the content or find nothing.

    Linux says so of no file. One of some size without a single block of data is as good as that: its bytes would all
    be zero. Some network drives count no blocks at all, so the data itself is asked for.
    """
    if getattr(status, "st_file_attributes", 0) & _WINDOWS_ELSEWHERE:
        return True
    if getattr(status, "st_flags", 0) & _MAC_DATALESS:
        return True
    holds_nothing = status.st_size > 0 and getattr(status, "st_blocks", None) == 0
    if not holds_nothing or not hasattr(os, "SEEK_DATA"):
        return False
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        os.lseek(file, 0, os.SEEK_DATA)
    except OSError as error:
        return error.errno == errno.ENXIO
    finally:
        os.close(file)
    return False


def stands_for(name: str) -> str:
    """The name of the file that a placeholder of another name stands for, "" for any other name.

    iCloud puts `.report.pdf.icloud` in the place of `report.pdf`, Nextcloud and ownCloud `report.pdf.nextcloud`.
    """
    if not name.endswith(_STUB_ENDINGS):
        return ""
    stem, _, ending = name.rpartition(".")
    if ending == "icloud":
        return stem[1:] if stem.startswith(".") else ""
    return stem


async def hash_or_none(path: Path) -> str | None:
    """SHA-256 of a file, None when it cannot be read."""
    try:
        return await asyncio.to_thread(sha256_of, path)
    except OSError:
        return None  # it is read again, and reported, as a changed file
