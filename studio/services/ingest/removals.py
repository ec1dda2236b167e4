"""Which documents stay although their files are gone, until a person says that they may go.

A folder that is empty, a drive that is not mounted and files that a cloud keeps elsewhere look like deletions.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.documents.kinds import file_kind
from studio.domain import DocumentRecord, DocumentStatus, HeldRemovals, IngestOptions
from studio.errors import NotFound
from studio.services.scan import Scan, ScannedFile, readable

MANY, SHARE = 20, 0.2
"""More documents than this, and more than this share of those in the folders that were named, do not go at once …"""
WHOLE_KIND = 3
"""… nor does a whole kind of files, if there were so many …"""
WHOLE_FOLDER = 2
"""… nor all there was in a folder within those named, if it held so many documents, nor what so many files held that
have no content any more: one may have been meant."""

NOT_THERE = "It is not there."
EMPTY = "There is nothing in it any more."
CUT_OFF = "The files have no content any more."
ELSEWHERE = "Only placeholders of them are on this computer."
TOO_MANY = "More than a fifth of the documents would go at once."


@dataclass(frozen=True, slots=True)
class Removals:
    """`kept` are the paths whose documents stay as they are, unread; `held` says why, and how many documents."""

    kept: frozenset[str] = frozenset()
    held: tuple[HeldRemovals, ...] = ()


@dataclass(slots=True)
class _Lost:
    """Documents that would go, as `paths` with how many each holds.

    `vanished` have no file any more, `emptied` one with nothing in it, `ruled_out` one that is left out now; of
    `elsewhere` only a placeholder is here.
    """

    vanished: dict[str, int]
    emptied: dict[str, int]
    ruled_out: dict[str, int]
    elsewhere: dict[str, int]


def decide(records: Sequence[DocumentRecord], found: Scan, options: IngestOptions) -> Removals:
    """What the documents of the active generation, held against the files that were found, must not lose by haste.

    Files that only moved lose nothing, and a file that was given itself is read whatever became of it. What is held
    goes all the same where `options.allow_removals` is as much. Takes 3 µs a document, and 40 one that is gone.
    """
    by_path = _documents(records)
    lost = _lost(by_path, found, options)
    places: dict[str, tuple[str, str]] = {}
    for paths, why in ((lost.elsewhere, ELSEWHERE), (lost.emptied, CUT_OFF)):
        if paths and (why == ELSEWHERE or sum(paths.values()) >= WHOLE_FOLDER):
            places |= {path: (_root(path, found, options), why) for path in paths}
    gone = {**lost.vanished, **{path: n for path, n in lost.emptied.items() if path not in places}}
    places |= _whole_folders(gone, found, options)
    rest = {path: n for path, n in {**gone, **lost.ruled_out}.items() if path not in places}
    if _too_many(rest, by_path, found, options):
        places |= {path: (_root(path, found, options), TOO_MANY) for path in rest}
    else:
        for path, kind in _whole_kinds(rest, found):
            places[path] = _root(path, found, options), f"All of its files of the kind “{kind}” would go."
    counts: Counter[tuple[str, str]] = Counter()
    for path, place in places.items():
        counts[place] += len(by_path[path])
    if counts.total() <= options.allow_removals:
        return Removals()
    held = tuple(HeldRemovals(folder, count, why) for (folder, why), count in sorted(counts.items()))
    return Removals(frozenset(places), held)


def check_known(records: Iterable[DocumentRecord], found: Scan) -> None:
    """Raise NotFound where a path that was given is not there, and no document comes from it either."""
    missing = {str(path) for path in found.missing}
    for record in records if missing else ():
        if record.status is DocumentStatus.INDEXED:
            missing.difference_update(map(str, (Path(record.source_path), *Path(record.source_path).parents)))
    if missing:
        raise NotFound(f"There is no file or folder {readable(min(missing))}.", way_out="Check the path.")


def _documents(records: Iterable[DocumentRecord]) -> Mapping[str, list[DocumentRecord]]:
    """The documents with a text, by path."""
    by_path: defaultdict[str, list[DocumentRecord]] = defaultdict(list)
    for record in records:
        if record.status is DocumentStatus.INDEXED:
            by_path[record.source_path].append(record)
    return by_path


def _lost(by_path: Mapping[str, Sequence[DocumentRecord]], found: Scan, options: IngestOptions) -> _Lost:
    files = {file.source_path: file for file in found.files}
    moved = Counter(file.state[:2] for path, file in files.items() if path not in by_path and file.size_bytes)
    lost = _Lost({}, {}, {}, {})
    for path, documents in by_path.items():
        old, file = documents[0], files.get(path)
        if file is not None:
            if _is_elsewhere(file, old) and path not in found.named:
                lost.elsewhere[path] = len(documents)
            elif not file.size_bytes and old.size_bytes and path not in found.named:
                lost.emptied[path] = len(documents)
        elif not found.covers(Path(path), options):
            continue
        elif path in found.placeholders:
            lost.elsewhere[path] = len(documents)
        elif found.left_out and not found.left_out.isdisjoint(map(str, (Path(path), *Path(path).parents))):
            lost.ruled_out[path] = len(documents)
        elif moved[old.size_bytes, old.mtime_ns] > 0:
            moved[old.size_bytes, old.mtime_ns] -= 1
        else:
            lost.vanished[path] = len(documents)
    return lost


def _is_elsewhere(file: ScannedFile, old: DocumentRecord) -> bool:
    """Whether a file would have to be fetched to tell what is in it now; size and time of before are enough."""
    return file.placeholder and file.state[:2] != (old.size_bytes, old.mtime_ns)


def _root(path: str, found: Scan, options: IngestOptions) -> str:
    """The path that was given at or below which a document lies, else its folder."""
    root = found.root_of(Path(path), options)
    return str(root) if root is not None else os.path.dirname(path)  # noqa: PTH120


def _whole_folders(vanished: Mapping[str, int], found: Scan, options: IngestOptions) -> dict[str, tuple[str, str]]:
    """Path → (folder, why) of what lies in the outermost folder that no file is left in."""
    if not vanished:
        return {}
    inhabited = _inhabited(file.source_path for file in found.files if file.size_bytes)
    inside: defaultdict[str, list[str]] = defaultdict(list)
    roots: set[str] = set()
    for path in vanished:
        root = _root(path, found, options)
        folder, outermost = path, ""
        while folder != root:
            folder = os.path.dirname(folder)  # noqa: PTH120
            if folder in inhabited:
                break
            outermost = folder
        if path == root:  # a file that was given
            outermost = path
        if outermost:
            inside[outermost].append(path)
            roots.add(root)
    missing = {str(path) for path in found.missing}
    places: dict[str, tuple[str, str]] = {}
    for folder, paths in inside.items():
        if folder in roots or sum(vanished[path] for path in paths) >= WHOLE_FOLDER:
            places |= dict.fromkeys(paths, (folder, NOT_THERE if folder in missing else EMPTY))
    return places


def _inhabited(paths: Iterable[str]) -> set[str]:
    """Every folder that one of the files lies in, at whatever depth."""
    folders: set[str] = set()
    for path in paths:
        folder = os.path.dirname(path)  # noqa: PTH120
        while folder not in folders:
            folders.add(folder)
            folder = os.path.dirname(folder)  # noqa: PTH120
    return folders


def _too_many(
    rest: Mapping[str, int], by_path: Mapping[str, Sequence[DocumentRecord]], found: Scan, options: IngestOptions
) -> bool:
    count = sum(rest.values())
    if count <= MANY:
        return False
    looked_at = sum(
        len(documents) for path, documents in by_path.items() if found.root_of(Path(path), options) is not None
    )
    return count > SHARE * looked_at


def _whole_kinds(rest: Mapping[str, int], found: Scan) -> list[tuple[str, str]]:
    """(path, kind) of what would go where no file of its kind is left."""
    kinds = {path: file_kind(Path(path)) for path in rest}
    often = {kind for kind, count in Counter(kinds.values()).items() if count >= WHOLE_KIND}
    if not often:
        return []
    often -= {file_kind(file.path) for file in found.files if file.source_path not in rest}
    return [(path, kind) for path, kind in kinds.items() if kind in often]
