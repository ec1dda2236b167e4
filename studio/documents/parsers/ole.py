"""The container of the old Office formats, as far as a damaged one would harm the libraries that open it."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Collection
from pathlib import Path

import olefile

_HEADER_BYTES = 512
_LISTED = 109
"""Sectors of the allocation table that the header lists, [MS-CFB] 2.2: those of files up to 7 MB, or 436 MB with
sectors of 4 kB."""
_LAST_SECTOR = 0xFFFFFFFA


def has_loop(data: bytes) -> bool:
    """Whether a chain of sectors leads back to itself, so that a reader of the stream would go on for ever."""
    if len(data) < _HEADER_BYTES:
        return False
    shift = struct.unpack_from("<H", data, 30)[0]
    if shift not in (9, 12):
        return False
    size = 1 << shift
    following: list[int] = []
    for sector in struct.unpack_from(f"<{_LISTED}I", data, 76):
        at = (sector + 1) * size
        if sector < _LAST_SECTOR and at + size <= len(data):
            following.extend(struct.unpack_from(f"<{size // 4}I", data, at))
    seen = [0] * len(following)  # the number of the walk that came by
    for start in range(len(following)):
        sector = start
        while sector < len(following) and not seen[sector]:
            seen[sector] = start + 1
            sector = following[sector]
        if sector < len(following) and seen[sector] == start + 1:
            return True
    return False


def top_names(path: Path) -> frozenset[str]:
    """What the directory lists on its top level, in lower case; nothing where it cannot be read.

    What lies deeper belongs to a file that is embedded or attached.
    """
    try:
        with olefile.OleFileIO(path) as container:
            return frozenset(entry[0].casefold() for entry in container.listdir(streams=True, storages=True) if entry)
    except Exception:  # whatever damage provokes
        return frozenset()


def read_streams(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """Streams of the top level by their names; what is not there or cannot be read is left out."""
    found: dict[str, bytes] = {}
    with contextlib.suppress(Exception), olefile.OleFileIO(path) as container:  # whatever damage provokes
        for name in names:
            if container.exists(name):
                found[name] = bytes(container.openstream(name).read())
    return found
