"""What a job has to do: the files found against the documents of the active generation."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from studio.documents.kinds import file_kind
from studio.domain import (
    DocumentParser,
    DocumentRecord,
    DocumentStatus,
    FileFailure,
    FileState,
    HeldRemovals,
    IngestOptions,
    Vectors,
    place_of,
)
from studio.errors import FailureCode
from studio.services.ingest.progress import ProgressTracker
from studio.services.ingest.removals import decide
from studio.services.ingest.sources import Source
from studio.services.scan import Scan, ScannedFile, hash_or_none, scanned, settled_stamp, sha256_of

RESTAMPED_FILES, RESTAMPED_BYTES = 1_000, 256 << 20
"""A generation is made for the stamps alone of so many files: every job would take a second or more to hash them."""

FILES_PER_TURN = 200
"""Files compared before the event loop gets a turn: a window shares this thread."""


@dataclass(slots=True)
class Plan:
    """What a job has to do, against the active generation."""

    existing: list[DocumentRecord]
    sources: list[Source] = field(default_factory=list)
    touched: list[DocumentRecord] = field(default_factory=list)
    """Same content, other file time or stamp: rows to rewrite when a generation is built anyway."""
    unstamped: list[DocumentRecord] = field(default_factory=list)
    """Those of `touched`, one a file, that had no stamp before."""
    removed: list[DocumentRecord] = field(default_factory=list)
    held: Sequence[HeldRemovals] = ()
    """What is not removed, although it is gone, until a person allows it."""
    failures: list[FileFailure] = field(default_factory=list)
    """Files known to fail that did not change since."""
    unchanged: int = 0

    @property
    def restamps(self) -> bool:
        """Whether rows lack so many stamps that it is worth a generation to write them."""
        hashed = sum(record.size_bytes for record in self.unstamped)
        return len(self.unstamped) >= RESTAMPED_FILES or hashed >= RESTAMPED_BYTES


@dataclass(frozen=True, slots=True)
class Basis:
    """What a build begins with.

    `known` maps the ids of documents whose chunks it holds to their chunk counts, `copies` maps (sha256, kind) to the
    records of a file with that content, `references` counts the records that stay as they are per document id.
    `doubtful` are documents whose chunks it holds, perhaps without a record. `salvaged` are embeddings of an
    interrupted run by embedding key; `counts` is what that run did. The rows of `rewritten_paths` are deleted first,
    then those `carried_over` are added again: of touched files, and of a table of which others are removed.
    """

    known: dict[str, int]
    copies: Mapping[tuple[str, str], Sequence[DocumentRecord]]
    references: Counter[str]
    rewritten_paths: Collection[str] = ()
    carried_over: Sequence[DocumentRecord] = ()
    doubtful: Sequence[str] = ()
    salvaged: Mapping[str, Vectors] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


def basis_of(plan: Plan) -> Basis:
    """Work out the basis of a build. Takes some microseconds a document; call it from a thread."""
    removed_paths = {record.source_path for record in plan.removed}
    removed = {(record.document_id, record.source_path) for record in plan.removed}
    survivors = [
        record
        for record in plan.existing
        if record.source_path in removed_paths and (record.document_id, record.source_path) not in removed
    ]
    touched_paths = {record.source_path for record in plan.touched}
    indexed = [record for record in plan.existing if record.status is DocumentStatus.INDEXED]
    gone = removed_paths | {str(source.path) for source in plan.sources}
    references = Counter(record.document_id for record in indexed if record.source_path not in gone)
    references.update(record.document_id for record in survivors)
    copies: dict[tuple[str, str], list[DocumentRecord]] = defaultdict(list)
    first_path: dict[tuple[str, str], str] = {}
    in_part = {record.source_path for record in plan.existing if record.status is DocumentStatus.FAILED}
    for record in indexed:
        key = (record.sha256, record.kind)
        if record.source_path in in_part:  # an archive with members that could not be read: they are tried again
            continue
        if first_path.setdefault(key, record.source_path) == record.source_path:
            copies[key].append(record)
    return Basis(
        known={record.document_id: record.chunks for record in indexed},
        copies=copies,
        references=references,
        rewritten_paths=removed_paths | touched_paths,
        carried_over=[*plan.touched, *survivors],
    )


async def plan_ingest(
    existing: Sequence[DocumentRecord],
    found: Scan,
    options: IngestOptions,
    parser: DocumentParser,
    tracker: ProgressTracker,
    passwords: Sequence[str] = (),
    base: Sequence[DocumentRecord] | None = None,
) -> Plan:
    """Compare the files that were found with the documents that exist.

    A file of the same size, time and stamp costs nothing. One of the same size otherwise is hashed, and so is one that
    was given itself. `base` are the documents of the active generation where `existing` are those of a build that goes
    on.
    """
    plan = Plan(list(existing), failures=list(found.failures))
    removals = await asyncio.to_thread(decide, plan.existing if base is None else base, found, options)
    plan.held = removals.held
    by_path = await asyncio.to_thread(rows_by_path, plan.existing)
    # What failed before is tried again when what it lacked is there.
    helped = {FailureCode.ENCRYPTED} if passwords else set()
    if await asyncio.to_thread(parser.recognises_text):
        helped.add(FailureCode.NEEDS_OCR)
    for first in range(0, len(found.files), FILES_PER_TURN):
        tracker.expect((file.path, file.size_bytes) for file in found.files[first : first + FILES_PER_TURN])
        await asyncio.sleep(0)
    roots = await asyncio.to_thread(_roots, found)
    for number, file in enumerate(found.files):
        if number % FILES_PER_TURN == 0:
            await asyncio.sleep(0)
        old = by_path.pop(file.source_path, [])
        if file.source_path in removals.kept:
            tracker.file(file.path, FileState.UNCHANGED, pages=old[0].pages.total if old else 0)
            continue
        named = file.source_path in found.named
        failed = {record.error for record in old if record.status is DocumentStatus.FAILED}
        try_again = bool(failed) if named else not helped.isdisjoint(failed)
        await _plan_file(
            plan,
            file,
            old,
            parser,
            named=named,
            try_again=try_again,
            tracker=tracker,
            passwords=passwords,
            roots=roots,
        )
    for path, records in by_path.items():
        if path not in removals.kept and found.covers(Path(path), options):
            plan.removed.extend(records)
    return plan


def _roots(found: Scan) -> tuple[Path, ...]:
    """The folders that were looked through, and the files that were named."""
    folders = set(found.folders)
    named = [file.path for file in found.files if folders.isdisjoint(file.path.parents)]
    return (*found.folders, *named)


def folders_of(paths: Iterable[str]) -> tuple[Path, ...]:
    """The folders these files lie in."""
    return tuple(sorted({Path(path).parent for path in paths}))


def rows_by_path(records: Sequence[DocumentRecord]) -> dict[str, list[DocumentRecord]]:
    """Records grouped by source path."""
    by_path: dict[str, list[DocumentRecord]] = defaultdict(list)
    for record in records:
        by_path[record.source_path].append(record)
    return by_path


async def _plan_file(
    plan: Plan,
    file: ScannedFile,
    old: list[DocumentRecord],
    parser: DocumentParser,
    *,
    named: bool,
    try_again: bool,
    tracker: ProgressTracker,
    passwords: Sequence[str],
    roots: Sequence[Path],
) -> None:
    indexed = [record for record in old if record.status is DocumentStatus.INDEXED]
    if old and old[0].size_bytes == file.size_bytes and not try_again:
        same = not named and _is_same(file, old[0])
        stamp = settled_stamp(file)
        if not same and indexed and await hash_or_none(file.path) == indexed[0].sha256:
            _touch(plan, file, old, stamp)
            same = True
        if same:
            plan.unchanged += len(indexed)
            failures = [record for record in old if record.status is DocumentStatus.FAILED]
            for record in failures:
                place = place_of(file.source_path, record.external_id)
                plan.failures.append(FileFailure(place, record.error, record.reason))
            whole = next((record for record in failures if not record.external_id), None)
            if whole is None:
                tracker.file(file.path, FileState.UNCHANGED, pages=old[0].pages.total)
            else:
                tracker.file(file.path, FileState.FAILED, error=whole.error, reason=whole.reason)
            return
    plan.sources.append(file_source(file, old, parser, passwords=passwords, roots=roots))


def _is_same(file: ScannedFile, old: DocumentRecord) -> bool:
    """Whether a file need not be opened to know that it is the one of before.

    What could not be read is tried again only when something is known to have changed, and what would have to be
    fetched is not fetched for a stamp.
    """
    same_time = (old.size_bytes, old.mtime_ns) == file.state[:2]
    unstamped = old.status is DocumentStatus.FAILED and not old.change_stamp
    return same_time and (old.change_stamp == file.stamp or file.placeholder or unstamped)


def _touch(plan: Plan, file: ScannedFile, old: Sequence[DocumentRecord], stamp: int) -> None:
    """Note that a file was hashed and is the one of before."""
    if old[0].change_stamp == 0:
        plan.unstamped.append(old[0])
    if (old[0].mtime_ns, old[0].change_stamp) != (file.mtime_ns, stamp):
        plan.touched.extend(replace(record, mtime_ns=file.mtime_ns, change_stamp=stamp) for record in old)


def file_source(
    file: ScannedFile,
    old: Sequence[DocumentRecord],
    parser: DocumentParser,
    *,
    keep_old: bool = True,
    passwords: Sequence[str] = (),
    roots: Sequence[Path] = (),
) -> Source:
    """A file to be read, with what the base of the build has of it. `roots` are what the job is about."""

    async def changed() -> bool:
        now = await asyncio.to_thread(scanned, file.path)
        return now is None or now.state != file.state

    @asynccontextmanager
    async def copied() -> AsyncIterator[Source]:
        with TemporaryDirectory(prefix="rag-studio-", ignore_cleanup_errors=True) as folder:
            now = await asyncio.to_thread(scanned, file.path)
            if now is None:
                raise FileNotFoundError(file.path)
            place = Path(folder, file.path.name)  # titles come from file names
            copy = source(now, place)
            await asyncio.to_thread(shutil.copyfile, file.path, place)
            yield copy

    def source(at: ScannedFile, place: Path) -> Source:
        return Source(
            file.path, file_kind(file.path), at.size_bytes, at.mtime_ns, settled_stamp(at), old,
            sha256=lambda: asyncio.to_thread(sha256_of, place),
            documents=lambda: parser.parse(place, passwords=passwords, roots=roots),
            keep_old=keep_old,
        )  # fmt: skip

    found = source(file, file.path)
    found.changed, found.copied = changed, copied
    return found
