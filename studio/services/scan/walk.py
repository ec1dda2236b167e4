"""From the paths a person gave to the files to index. Blocking; run it in a thread."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

from studio.documents.names import has_hidden_name
from studio.domain import FileFailure, IngestOptions, SkippedFiles
from studio.errors import FailureCode, InvalidRequest, StorageFault
from studio.services.scan.file_state import ScannedFile, stands_for, state_of
from studio.services.scan.filenames import (
    HIDDEN_BY_FLAG,
    has_hidden_flag,
    identity,
    is_junction,
    is_too_long,
    readable,
    storable,
)
from studio.services.scan.ignore import IGNORE_FILE, Globs, IgnoreRules, read_rules

HIDDEN = "hidden or system files"
IGNORED = f"ignored by {IGNORE_FILE}"
EXCLUDED = "excluded"
NOT_INCLUDED = "not included"
LINKED_FOLDERS = "links to folders"
OWN_DATA = "this program’s own data"
ELSEWHERE = "placeholders of files that are not on this computer"

EXAMPLES = 3
ENTRIES_PER_CHECK = 512
"""Entries of a folder between two looks at whether to stop; about 2 ms."""


@dataclass(slots=True)
class Scan:
    """What was found, by path. `skipped` counts what was left out on purpose; a folder counts once, unseen.

    `unreadable` are files and folders that are there, but of which no more is known: nothing at or below them is
    removed. `complete` is False when the scan was stopped: then nothing at all is. `named` are files that were given
    themselves, `missing` paths that were given and are not there, `left_out` files and folders that are there and that
    a rule leaves out, `placeholders` the paths of files that something else stands for until they are fetched.
    """

    files: list[ScannedFile] = field(default_factory=list)
    failures: list[FileFailure] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)
    skipped: list[SkippedFiles] = field(default_factory=list)
    named: set[str] = field(default_factory=set)
    missing: list[Path] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)
    placeholders: set[str] = field(default_factory=set)
    complete: bool = True

    def covers(self, path: Path, options: IngestOptions) -> bool:
        """True when `path` would have been found, had it existed and no rule left it out: it counts as gone."""
        if not self.complete:
            return False
        if self.unreadable and not self.unreadable.isdisjoint(map(str, (path, *path.parents))):
            return False
        return self.root_of(path, options) is not None

    def root_of(self, path: Path, options: IngestOptions) -> Path | None:
        """The path that was given at or below which `path` lies, the innermost of several."""
        around = path.parents if options.recursive else (path.parent,)
        return next((place for place in (path, *around) if place in self.folders or place in self.missing), None)


def scan(
    paths: Sequence[Path],
    options: IngestOptions,
    *,
    own: Path | None = None,
    stop: Callable[[], bool] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Scan:
    """Find the files below `paths`, by path.

    Left out are hidden and system files (unless `options.hidden`), what a `.ragignore` in the folder or below names,
    and what the globs leave out; a path that is given itself is always read. Symbolic links to files are followed,
    links to folders are not (they can form loops). `own` is the data directory of this program, which is never read.
    Once `stop` says so, the scan ends with what it has. `progress` hears now and then how many files were found.

    A path that is not there is noted as `missing`. Raises InvalidRequest for a folder whose name cannot be stored,
    StorageFault for a folder that cannot be listed or that goes away meanwhile.
    """
    walk = _Walk(options, own, stop or (lambda: False), progress or (lambda found: None))
    for path in paths:
        walk.add(Path(os.path.abspath(path.expanduser())))  # noqa: PTH100  (normalises "..", keeps symbolic links)
    return walk.end()


Around = tuple[tuple[int, IgnoreRules], ...]
"""The rules that hold in a folder, innermost first, each with the length of its folder's path and separator."""


class _Stopped(Exception):
    """The scan was asked to end."""


class _RulesUnreadable(Exception):
    """What to leave out of a folder is not known."""


class _Walk:
    """One scan under way."""

    def __init__(
        self, options: IngestOptions, own: Path | None, stop: Callable[[], bool], progress: Callable[[int], None]
    ) -> None:
        self._options = options
        self._include, self._exclude = Globs(options.include), Globs(options.exclude)
        self._own = os.path.realpath(own) if own is not None else None
        self._own_identity = identity(self._own) if self._own is not None else None
        self._stop = stop
        self._progress = progress
        self._found = Scan()
        self._skipped: dict[str, list[str]] = {}
        self._skipped_counts: dict[str, int] = {}
        self._root = ""
        self._vanished = False

    def add(self, path: Path) -> None:
        """Find what is at or below one path."""
        if not self._found.complete:
            return
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._found.missing.append(path)
            return
        except OSError as error:
            raise StorageFault(
                f"{readable(path)} cannot be read: {error.strerror}.", way_out="Check its permissions."
            ) from error
        name = str(path)
        if self._is_own(name):
            self._skip(OWN_DATA, name)
        elif not stat.S_ISDIR(status.st_mode):
            self._found.named.add(name)
            self._file(name, status)
        elif not storable(name):
            raise InvalidRequest(
                f"The path {readable(path)} is not valid text, so that no file in it can be listed.",
                way_out="Rename the folder.",
            )
        else:
            self._found.folders.append(path)
            self._vanished = False
            try:
                self._folders_from(name)
            except _Stopped:
                self._found.complete = False
            if self._vanished and identity(name) != (status.st_dev, status.st_ino):
                raise StorageFault(
                    f"The folder {name} went away while it was read.",
                    way_out="Connect its drive again; what was indexed before is intact.",
                )

    def end(self) -> Scan:
        """What was found in all."""
        found = self._found
        found.files.sort(key=attrgetter("source_path"))
        last = ""
        unique = 0
        for file in found.files:  # in place: a path that was given twice, or lies in two of the folders
            if file.source_path != last:
                last = file.source_path
                found.files[unique] = file
                unique += 1
        del found.files[unique:]
        found.failures = list({failure.path: failure for failure in found.failures}.values())
        found.skipped = [
            SkippedFiles(reason, count, tuple(sorted(self._skipped[reason])))
            for reason, count in self._skipped_counts.items()
        ]
        self._progress(unique)
        return found

    # ------------------------------------------------------------ folders

    def _folders_from(self, root: str) -> None:
        self._root = root
        pending: list[tuple[str, Around]] = [(root, ())]
        while pending:
            if self._stop():
                raise _Stopped
            folder, around = pending.pop()
            try:
                rules = self._rules(folder)
                if rules is not None:
                    around = ((_below(folder), rules), *around)
                with os.scandir(folder) as listing:
                    subfolders = self._entries(listing, around)
            except _RulesUnreadable:
                continue
            except OSError as error:
                if folder == root:
                    raise StorageFault(
                        f"The folder {folder} cannot be read: {error.strerror}.", way_out="Check its permissions."
                    ) from error
                self._trouble(folder, error, "folder")
                continue
            pending.extend((subfolder, around) for subfolder in sorted(subfolders, reverse=True))

    def _rules(self, folder: str) -> IgnoreRules | None:
        """The rules in a folder. Raises OSError when it cannot be entered, _RulesUnreadable when only they cannot."""
        try:
            return read_rules(folder)
        except OSError as error:
            path = os.path.join(folder, IGNORE_FILE)  # noqa: PTH118
            if is_too_long(path, error) or not os.access(folder, os.X_OK):
                raise
            self._fail(
                path, FailureCode.NO_PERMISSION,
                f"The rules of what to ignore cannot be read ({error.strerror}), so its folder was left as it is.",
                "Make the file readable, or delete it.",
            )  # fmt: skip
            self._found.unreadable.add(folder)
            raise _RulesUnreadable from error

    def _entries(self, listing: Iterable[os.DirEntry[str]], around: Around) -> list[str]:
        """Take in the entries of a folder as they come, a million of them if need be; returns its folders."""
        subfolders: list[str] = []
        files = self._found.files
        for number, entry in enumerate(listing):
            if number % ENTRIES_PER_CHECK == ENTRIES_PER_CHECK - 1:
                self._progress(len(files))
                if self._stop():
                    raise _Stopped
            path = entry.path
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
                if entry.name == IGNORE_FILE and not is_folder:
                    continue
                if not is_folder and (name := stands_for(entry.name)):
                    self._found.placeholders.add(path.removesuffix(entry.name) + name)
                    self._skip(ELSEWHERE, path)
                elif reason := self._left_out(entry, path, is_folder, around):
                    self._found.left_out.add(path)
                    self._skip(reason, path + os.sep if is_folder else path)
                elif is_folder:
                    if self._enters(path):
                        subfolders.append(path)
                elif entry.is_symlink():
                    self._link(path)
                else:
                    self._file(path, _status(entry))
            except OSError as error:
                self._trouble(path, error, "file")
        return subfolders

    def _left_out(self, entry: os.DirEntry[str], path: str, is_folder: bool, around: Around) -> str:
        """Why an entry of a folder is not read, "" if it is."""
        name = entry.name
        if not self._options.hidden and (
            has_hidden_name(name) or (HIDDEN_BY_FLAG and has_hidden_flag(entry.stat(follow_symlinks=False)))
        ):
            return HIDDEN
        for start, rules in around:
            ignored = rules.decide(_slashed(path[start:]), name, is_folder=is_folder)
            if ignored is not None:
                if ignored:
                    return IGNORED
                break
        if self._exclude or (self._include and not is_folder):
            below = _slashed(path[_below(self._root) :])
            if self._exclude and self._exclude.match(below, name):
                return EXCLUDED
            if self._include and not is_folder and not self._include.match(below, name):
                return NOT_INCLUDED
        return ""

    def _enters(self, path: str) -> bool:
        """Whether to look into a folder; what is wrong with it is noted."""
        if not self._options.recursive:
            return False
        if not storable(path):
            self._unstorable(path, "folder")
            return False
        status = os.lstat(path)
        if is_junction(status):
            self._skip(LINKED_FOLDERS, path + os.sep)
            return False
        if (status.st_dev, status.st_ino) == self._own_identity:  # however it is mounted
            self._skip(OWN_DATA, path + os.sep)
            return False
        return True

    # ------------------------------------------------------------ files

    def _link(self, path: str) -> None:
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                what = "This link leads nowhere: what it points to is not there."
            elif error.errno == errno.ELOOP:
                what = "This link leads back to itself."
            else:
                raise
            self._fail(path, FailureCode.VANISHED, what, "Mend the link, or delete it.")
            return
        if stat.S_ISDIR(status.st_mode):
            self._skip(LINKED_FOLDERS, path)
        elif self._own is not None and self._is_own(path):
            self._skip(OWN_DATA, path)
        else:
            self._file(path, status)

    def _file(self, path: str, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            self._fail(path, FailureCode.UNSUPPORTED, "This is a device, pipe or socket, not a file.")
        elif not storable(path):
            self._unstorable(path, "file")
        else:
            self._found.files.append(state_of(path, status))

    def _is_own(self, path: str) -> bool:
        if self._own is None:
            return False
        real = os.path.realpath(path)
        return real == self._own or real.startswith(self._own.rstrip(os.sep) + os.sep) or (
            self._own_identity is not None and identity(path) == self._own_identity
        )  # fmt: skip

    # ------------------------------------------------------------ what is not read

    def _skip(self, reason: str, path: str) -> None:
        self._skipped_counts[reason] = self._skipped_counts.get(reason, 0) + 1
        examples = self._skipped.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append(readable(path))

    def _fail(self, path: str, code: FailureCode, what: str, way_out: str = "") -> None:
        self._found.failures.append(FileFailure(readable(path), code, f"{what} {way_out}".rstrip()))

    def _unstorable(self, path: str, what: str) -> None:
        self._fail(
            path, FailureCode.UNSUPPORTED, f"The name of this {what} is not valid text (it is not Unicode).",
            f"Rename the {what}, then add it again.",
        )  # fmt: skip

    def _trouble(self, path: str, error: OSError, what: str) -> None:
        """Note that something which is there cannot be read; what vanished in the meantime is simply gone."""
        if is_too_long(path, error):
            self._fail(
                path, FailureCode.UNSUPPORTED, f"The path of this {what} is longer than the system allows.",
                "Shorten the names of the folders it lies in.",
            )  # fmt: skip
        elif isinstance(error, FileNotFoundError | NotADirectoryError):
            self._vanished = True
            return
        elif isinstance(error, PermissionError):
            self._fail(
                path, FailureCode.NO_PERMISSION, f"There is no permission to read this {what}.",
                "Check its permissions and those of the folder it lies in.",
            )  # fmt: skip
        else:
            self._fail(path, FailureCode.CORRUPT, f"This {what} cannot be read: {error.strerror or error}.")
        self._found.unreadable.add(path)


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    """Of a file that is no link; Windows keeps no number of a file in a listing."""
    return os.lstat(entry.path) if os.name == "nt" else entry.stat(follow_symlinks=False)


def _below(folder: str) -> int:
    """Where, in the path of what lies below a folder, the part below it begins."""
    return len(folder) + (not folder.endswith(os.sep))


def _slashed(path: str) -> str:
    return path if os.sep == "/" else path.replace(os.sep, "/")
