"""Which sources are opened in the system's program, and which are only shown in their folder.

A document is opened to be read. The desktop runs what it is handed if it is a program of any kind, so only files of
kinds that no system runs are handed to it. It is a list of what is allowed: one of what is not could never be complete.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

_TEXTS = "txt text md markdown rst tex bib log csv tsv json jsonl ndjson yaml yml toml srt vtt c h cc cpp hpp cs go rs"
_DOCUMENTS = "pdf epub djvu rtf docx xlsx pptx odt ods odp"
"""Without those that carry macros beside their text (`.docm`, `.doc`), or are programs in themselves (`.ps`, `.html`,
`.svg`, `.xml`). Microsoft Office knows no macros in OpenDocument files, LibreOffice by default runs none unsigned."""
_PICTURES = "png jpg jpeg gif bmp tif tiff webp heic avif"
_SOUND_AND_FILM = "mp3 m4a aac flac ogg opus wav mp4 m4v mov mkv webm avi"
_MAIL = "eml msg mbox"
PASSIVE = frozenset(f".{ending}" for ending in f"{_TEXTS} {_DOCUMENTS} {_PICTURES} {_SOUND_AND_FILM} {_MAIL}".split())
"""Endings of what is read, looked at or listened to, in small letters."""

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of letters that let a name be read as another one."""


def is_passive(path: str, *, windows: bool = os.name == "nt") -> bool:
    """Whether opening this file can only show it.

    Its name and that of what it links to must end in one of `PASSIVE`, it must be a file that is not marked as a
    program, and on Windows lie on a drive of this computer. A file that is not there or cannot be looked at is none.
    """
    if not _is_passive_name(path, windows=windows):
        return False
    try:
        real = os.path.realpath(path, strict=True)
        mode = Path(real).stat().st_mode
    except (OSError, ValueError):
        return False
    marked = not windows and bool(mode & 0o111)  # Windows marks all files so
    return stat.S_ISREG(mode) and not marked and _is_passive_name(real, windows=windows)


def _is_passive_name(path: str, *, windows: bool) -> bool:
    place = PureWindowsPath(path) if windows else PurePosixPath(path)
    if not place.is_absolute() or any(unicodedata.category(letter) in _UNSEEN for letter in path):
        return False
    # "a.txt:b.vbs" is a stream of a file; "\\host\share" and "\\?\" are no drives.
    if windows and (len(place.drive) != 2 or ":" in path[2:]):
        return False
    # Windows leaves out dots and spaces at the end: "a.bat." is a program, and has no ending that is allowed.
    return place.name == place.name.rstrip(". ") and place.suffix.lower() in PASSIVE
