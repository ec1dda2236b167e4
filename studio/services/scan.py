"""From the paths a person gave to the files to index. Blocking; run it in a thread."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from studio.domain import FileFailure, IngestOptions
from studio.errors import FailureCode, NotFound, StorageFault

_IGNORED_NAMES = frozenset({"Thumbs.db", "desktop.ini", "Icon\r", "__pycache__", "node_modules", "$RECYCLE.BIN"})
_HASH_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A regular file with what tells whether it changed."""

    path: Path
    size_bytes: int
    mtime_ns: int


@dataclass(slots=True)
class Scan:
    """What was found. `unreadable` are folders whose contents are unknown: nothing below them is removed."""

    files: list[ScannedFile] = field(default_factory=list)
    failures: list[FileFailure] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)

    def covers(self, path: Path, options: IngestOptions) -> bool:
        """True when `path` would have been found had it existed: its absence means it is gone."""
        for folder in self.folders:
            if not path.is_relative_to(folder) or any(path.is_relative_to(item) for item in self.unreadable):
                continue
            if options.recursive or path.parent == folder:
                return True
        return False


def scan(paths: Sequence[Path], options: IngestOptions) -> Scan:
    """Find the files below `paths`. Hidden and system files are left out unless named themselves.

    Symbolic links to files are followed, links to folders are not (they can form loops). Raises NotFound
    for a path that is not there, StorageFault for a folder that cannot be listed.
    """
    found = Scan()
    seen: set[Path] = set()
    for path in paths:
        path = Path(os.path.abspath(path.expanduser()))  # noqa: PTH100  (normalises "..", keeps symbolic links)
        try:
            status = path.stat()
        except FileNotFoundError:
            raise NotFound(f"There is no file or folder {path}.", way_out="Check the path.") from None
        except OSError as error:
            raise StorageFault(f"{path} cannot be read: {error.strerror}.", way_out="Check its permissions.") from error
        if stat.S_ISDIR(status.st_mode):
            found.folders.append(path)
            candidates = _walk(path, options, found)
        else:
            candidates = iter([path])
        for file in candidates:
            if file not in seen:
                seen.add(file)
                _add(file, found)
    found.files.sort(key=lambda file: file.path)
    return found


def _walk(root: Path, options: IngestOptions, found: Scan) -> Iterator[Path]:
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            if folder == root:
                raise StorageFault(
                    f"The folder {folder} cannot be read: {error.strerror}.", way_out="Check its permissions."
                ) from error
            found.unreadable.append(folder)
            found.failures.append(
                FileFailure(str(folder), FailureCode.NO_PERMISSION, f"The folder cannot be read: {error.strerror}.")
            )
            continue
        for entry in entries:
            if entry.name.startswith((".", "~$")) or entry.name in _IGNORED_NAMES:
                continue
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                if options.recursive and not _matches(path, root, options.exclude):
                    pending.append(path)
            elif entry.is_symlink() and path.is_dir():
                continue
            elif _matches(path, root, options.include or ("*",)) and not _matches(path, root, options.exclude):
                yield path


def _matches(path: Path, root: Path, globs: Sequence[str]) -> bool:
    below = path.relative_to(root).as_posix()
    return any(fnmatch(path.name, glob) or fnmatch(below, glob) or fnmatch(below, f"{glob}/*") for glob in globs)


def _add(path: Path, found: Scan) -> None:
    try:
        status = path.stat()
    except OSError as error:
        code = FailureCode.NO_PERMISSION if isinstance(error, PermissionError) else FailureCode.VANISHED
        found.failures.append(FileFailure(str(path), code, f"The file cannot be read: {error.strerror}."))
        return
    if not stat.S_ISREG(status.st_mode):
        found.failures.append(
            FileFailure(str(path), FailureCode.UNSUPPORTED, "This is a device, pipe or socket, not a file.")
        )
        return
    found.files.append(ScannedFile(path, status.st_size, status.st_mtime_ns))


def scanned(path: Path) -> ScannedFile | None:
    """One file as it is now; None when it is gone, not a regular file, or must not be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode) or not os.access(path, os.R_OK):
        return None
    return ScannedFile(path, status.st_size, status.st_mtime_ns)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
