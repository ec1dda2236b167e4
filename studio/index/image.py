"""A SQLite database as one image in memory, read without writing a byte.

SQLite itself cannot read a database in WAL mode where it may not make the log's index (`-shm`) beside it: on a
read-only file system, in a folder of somebody else, on a full disk. The file and its write-ahead log can still
be read and put together by the rules of https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

Fingerprint = tuple[tuple[int, int, int] | None, ...]

_LOG_HEADER = struct.Struct(">8I")  # magic, format, page size, checkpoint number, salt 1 and 2, checksum 1 and 2
_FRAME_HEADER = struct.Struct(">6I")  # page number, pages after a commit or 0, salt 1 and 2, checksum 1 and 2
_LITTLE_ENDIAN_SUMS, _BIG_ENDIAN_SUMS = 0x377F0682, 0x377F0683
_FORMAT_VERSIONS = slice(18, 20)  # of the database's header: 2 stands for WAL, which memory does not know, 1 for none
_TRIES = 50


def log_path(database: Path) -> Path:
    """The write-ahead log beside a database."""
    return database.with_name(database.name + "-wal")


def fingerprint(database: Path) -> Fingerprint:
    """(inode, time in ns, bytes) of the database and of its log, None for one that is not there."""
    found: list[tuple[int, int, int] | None] = []
    for file in (database, log_path(database)):
        try:
            status = file.stat()
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        except FileNotFoundError:
            found.append(None)
    return tuple(found)


def read_image(database: Path) -> tuple[bytes, Fingerprint]:
    """The database as its last commit left it, and the fingerprint of what was read. Blocking. Raises OSError.

    A writer may fold its log into the file in the meantime, so the log is read before and after the file: when it
    is the same, then whatever was folded in between is in it too, and putting it on top gives its last commit.
    """
    for _ in range(_TRIES):
        before, log = fingerprint(database), _log(database)
        image = database.read_bytes()
        if _log(database) == log and fingerprint(database) == before:
            return _committed(image, log), before
        time.sleep(0.01)
    raise TimeoutError(None, "Another process keeps writing", str(database))


def _log(database: Path) -> bytes:
    try:
        return log_path(database).read_bytes()
    except FileNotFoundError:
        return b""


def _committed(image: bytes, log: bytes) -> bytes:
    merged = bytearray(image)
    page_bytes, pages, count = _committed_pages(log)
    if pages:
        merged = merged[: count * page_bytes].ljust(count * page_bytes, b"\0")
        for number, page in pages.items():
            if number <= count:
                merged[(number - 1) * page_bytes : number * page_bytes] = page
    if len(merged) >= _FORMAT_VERSIONS.stop:
        merged[_FORMAT_VERSIONS] = b"\1\1"
    return bytes(merged)


def _committed_pages(log: bytes) -> tuple[int, dict[int, bytes], int]:
    """(bytes of a page, pages by number, pages of the database) up to the last whole commit of a log."""
    committed: dict[int, bytes] = {}
    if len(log) < _LOG_HEADER.size:
        return 0, committed, 0
    magic, _, page_bytes, _, *salts_and_sums = _LOG_HEADER.unpack_from(log)
    salts, sums = salts_and_sums[:2], (salts_and_sums[2], salts_and_sums[3])
    order = {_LITTLE_ENDIAN_SUMS: "<", _BIG_ENDIAN_SUMS: ">"}.get(magic)
    if order is None or sums != _checksum(log[:24], order, (0, 0)):
        return 0, committed, 0
    count, pending = 0, {}
    for at in range(_LOG_HEADER.size, len(log) - page_bytes - _FRAME_HEADER.size + 1, page_bytes + _FRAME_HEADER.size):
        number, size_after, *rest = _FRAME_HEADER.unpack_from(log, at)
        page = log[at + _FRAME_HEADER.size : at + _FRAME_HEADER.size + page_bytes]
        sums = _checksum(log[at : at + 8] + page, order, sums)
        if rest != [*salts, *sums]:
            break  # torn, or left over from before the log started anew
        pending[number] = page
        if size_after:
            committed.update(pending)
            count, pending = size_after, {}
    return page_bytes, committed, count


def _checksum(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for at in range(0, len(words), 2):
        first = (first + words[at] + second) & 0xFFFFFFFF
        second = (second + words[at + 1] + first) & 0xFFFFFFFF
    return first, second
