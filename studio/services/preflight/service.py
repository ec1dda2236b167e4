"""A look ahead: what an ingest would read, leave out, and take in time, disk and memory. Nothing is changed."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studio.concurrency import first_error
from studio.domain import (
    DocumentParser,
    DocumentRecord,
    DocumentStatus,
    Embedder,
    EmbedderProvider,
    Generation,
    HeldRemovals,
    IngestOptions,
    KbSettings,
    KnowledgeBase,
    Preflight,
    SkippedFiles,
)
from studio.errors import FailureCode, ModelFault, WorkerDied
from studio.index.generations import Stores
from studio.memory import MemoryCoordinator
from studio.services.costs import (
    APPLICATION_BYTES,
    FILE_BYTES,
    MODEL,
    MODEL_EXTRA_BYTES,
    MODEL_FILES,
    PARSERS,
    READER_BYTES,
)
from studio.services.ingest import check_known, decide
from studio.services.library import LibraryService
from studio.services.preflight.sampling import (
    READERS,
    Amount,
    ByLength,
    Sampler,
    estimate,
    examples,
    kind_of,
    seconds_per_byte,
)
from studio.services.scan import EXAMPLES, Scan, ScannedFile, scan

LIMIT_S = 3.0
SCAN_SHARE, READ_SHARE = 0.5, 0.8
"""Of the time: when listing ends at the latest, and when reading does; the rest is for the model."""

DIMENSION, MAX_TOKENS, MODEL_BYTES = 384, 512, 45 << 20
"""Of the default model, where that of the knowledge base is not at hand."""
SECONDS_PER_BYTE = 60e-6
"""Of the default model on one thread of a machine of 2023, at 240 µs a token."""
FIXED_S, SECONDS_PER_CHUNK = 2.0, 0.6e-3
"""To begin and to seal a generation, and to write a passage; measured on 4,247 passages."""

CHUNK_BYTES, PER_TEXT_BYTE, DOCUMENT_BYTES = 200, 1.75, 750
"""On disk, beside the vector: ids and hashes of a passage, then for every byte of its text 0.8 in the table, 0.55 in
the keyword index and 0.4 in the store of extracted texts, and the row of a document. Measured on 4,000 passages each of
154, 385 and 1,158 bytes, compressed as the stores do it."""


NEEDS_PASSWORD = "protected by a password"
NEEDS_OCR = "without text of their own (scans need OCR)"
_LABELS = {
    FailureCode.ENCRYPTED: NEEDS_PASSWORD,
    FailureCode.NEEDS_OCR: NEEDS_OCR,
    FailureCode.NO_TEXT: "without text",
    FailureCode.EMPTY: "empty",
    FailureCode.UNSUPPORTED: "of a kind that cannot be read",
    FailureCode.TOO_LARGE: "too large",
    FailureCode.CORRUPT: "damaged",
    FailureCode.NO_PERMISSION: "without permission to read them",
    FailureCode.VANISHED: "links that lead nowhere",
}
_OTHER = "that cannot be read"
FAILED_BEFORE = "failed before and did not change"


@dataclass(slots=True)
class Differences:
    """The files that were found, against the documents of a generation. `to_read` have to be read, by path."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    held: tuple[HeldRemovals, ...] = ()
    bytes: int = 0
    to_read: list[ScannedFile] = field(default_factory=list)
    failed_before: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)


class PreflightService:
    """Looks at what a person is about to ingest."""

    def __init__(
        self,
        stores: Stores,
        library: LibraryService,
        embedders: EmbedderProvider,
        parser: DocumentParser,
        memory: MemoryCoordinator,
    ) -> None:
        self._stores = stores
        self._library = library
        self._embedders = embedders
        self._parser = parser
        self._memory = memory

    async def look(
        self,
        kb: str | None,
        paths: Sequence[Path],
        options: IngestOptions | None = None,
        *,
        limit_s: float = LIMIT_S,
        passwords: Sequence[str] = (),
    ) -> Preflight:
        """Estimate what ingesting `paths` would take; `kb` None stands for a new one with default settings.

        Takes about `limit_s` seconds at most, and what it takes to read the list of the documents. Folders too large to
        be listed in half of it are judged by what was found until then. Raises NotFound, InvalidRequest, StorageFault.
        """
        options = options or IngestOptions()
        started = time.monotonic()
        base = await self._stores.knowledge_base(kb) if kb is not None else None
        settings = base.settings if base is not None else self._library.default_settings()
        try:
            async with asyncio.TaskGroup() as group:
                starting = group.create_task(self._embedder(settings.model, SCAN_SHARE * limit_s))
                scanning = group.create_task(self._scan(paths, options, started + SCAN_SHARE * limit_s))
                active, records = await self._documents(base)
                found = await scanning
                differences = await asyncio.to_thread(compare, found, records, options, retry=bool(passwords))
                overdue = max(0.0, time.monotonic() - started - SCAN_SHARE * limit_s)  # the list was long
                sampler = Sampler(self._parser, starting, settings, passwords, paths)
                await sampler.read(differences.to_read, started + overdue + READ_SHARE * limit_s, limit_s)
        except BaseExceptionGroup as errors:
            raise first_error(errors) from None
        amount = await asyncio.to_thread(estimate, sampler.readings, differences.to_read)
        embedder = starting.result()
        speed = None
        if not isinstance(embedder, ByLength):
            try:
                async with asyncio.timeout(limit_s):
                    speed = await seconds_per_byte(embedder, sampler.readings, started + overdue + limit_s)
            except (TimeoutError, ModelFault, WorkerDied):
                pass  # the usual speed will do
        skipped = _skipped(found, differences, sampler)
        embedded = Amount(amount.chunks, amount.text_bytes)
        embedded.add(_rebuilt(active, settings, amount))
        seconds = max(embedded.text_bytes * (speed or SECONDS_PER_BYTE), amount.seconds / min(options.jobs, READERS))
        documents = differences.new + differences.changed
        return Preflight(
            files=len(found.files), bytes=differences.bytes, new=differences.new, changed=differences.changed,
            unchanged=differences.unchanged, removed=differences.removed, kinds=dict(differences.kinds.most_common()),
            skipped=skipped, sampled=len(sampler.readings), chunks=round(embedded.chunks),
            seconds=seconds + embedded.chunks * SECONDS_PER_CHUNK + FIXED_S * bool(documents or differences.removed),
            disk_bytes=round(
                embedded.chunks * (embedder.model.dimension * 4 + CHUNK_BYTES) + embedded.text_bytes * PER_TEXT_BYTE
                + documents * DOCUMENT_BYTES
            ),
            peak_memory_bytes=await asyncio.to_thread(self._peak_memory, embedder, len(found.files)),
            free_disk_bytes=(await asyncio.to_thread(shutil.disk_usage, self._stores.paths.root)).free,
            complete=found.complete, held_removals=differences.held,
        )  # fmt: skip

    async def _scan(self, paths: Sequence[Path], options: IngestOptions, deadline: float) -> Scan:
        left = threading.Event()
        try:
            return await asyncio.to_thread(
                scan, paths, options, own=self._stores.paths.root,
                stop=lambda: left.is_set() or time.monotonic() > deadline,
            )  # fmt: skip
        finally:
            left.set()

    async def _embedder(self, model: str, limit_s: float) -> Embedder:
        """The model, if it runs or starts soon, else something that counts as it would."""
        try:
            async with asyncio.timeout(limit_s):
                return await self._embedders.embedder(model)
        except (TimeoutError, ModelFault, WorkerDied):
            return ByLength(DIMENSION, MAX_TOKENS, MODEL_BYTES)

    async def _documents(self, base: KnowledgeBase | None) -> tuple[Generation | None, Sequence[DocumentRecord]]:
        if base is None or base.active_generation is None:
            return None, []
        active = await self._stores.catalog.generation(base.id, base.active_generation)
        return active, await self._library.documents(base.id)

    def _peak_memory(self, embedder: Embedder, files: int) -> int:
        now = self._memory.snapshot()
        model = now.parts.get(MODEL, 0) + now.parts.get(MODEL_FILES, 0)
        parsers = now.parts.get(PARSERS, 0)
        return (
            max(APPLICATION_BYTES, now.used_bytes - model - parsers)
            + max(embedder.model.size_bytes + MODEL_EXTRA_BYTES, model)
            + max(READERS * READER_BYTES, parsers)
            + files * FILE_BYTES
        )


def compare(found: Scan, records: Sequence[DocumentRecord], options: IngestOptions, *, retry: bool) -> Differences:
    """Which files are new or changed, by size and time. `retry`: protected ones are tried again.

    New files of which a vanished one had size and time were moved: they are counted as new and need no reading. Raises
    NotFound for a path that is not there and of which there are no documents.
    """
    check_known(records, found)
    removals = decide(records, found, options)
    old: dict[str, DocumentRecord] = {}
    indexed: set[str] = set()
    for record in records:
        old.setdefault(record.source_path, record)
        if record.status is DocumentStatus.INDEXED:
            indexed.add(record.source_path)
    there = {file.source_path for file in found.files}
    gone = [old[path] for path in old.keys() - there - removals.kept if found.covers(Path(path), options)]
    moved = Counter((record.size_bytes, record.mtime_ns) for record in gone)
    result = Differences(removed=len(gone), held=removals.held)
    for file in found.files:
        result.bytes += file.size_bytes
        result.kinds[kind_of(file)] += 1
        known = old.get(file.source_path)
        if file.source_path in removals.kept:
            result.unchanged += 1
            continue
        if known is None:
            result.new += 1
            if moved[(file.size_bytes, file.mtime_ns)] > 0:
                moved[(file.size_bytes, file.mtime_ns)] -= 1
                continue
        elif (known.size_bytes, known.mtime_ns) != (file.size_bytes, file.mtime_ns):
            result.changed += 1
        else:
            result.unchanged += 1
            if file.source_path in indexed:
                continue
            if not (retry and known.error == FailureCode.ENCRYPTED):
                result.failed_before.append(file.source_path)
                continue
        if file.size_bytes:
            result.to_read.append(file)
        else:
            result.empty.append(file.source_path)
    return result


def _rebuilt(active: Generation | None, settings: KbSettings, amount: Amount) -> Amount:
    """What is embedded anew because the settings of the knowledge base changed."""
    if active is None or active.settings.same_content(settings):
        return Amount()
    chunks = active.chunks * active.settings.chunk_tokens / settings.chunk_tokens
    per_chunk = amount.text_bytes / amount.chunks if amount.chunks else settings.chunk_tokens * 3
    return Amount(chunks, chunks * per_chunk)


def _skipped(found: Scan, differences: Differences, sampler: Sampler) -> tuple[SkippedFiles, ...]:
    """What would not be indexed, by reason. What only reading can tell is told of the files that were read."""
    skipped = list(found.skipped)
    by_label: defaultdict[str, list[str]] = defaultdict(list)
    for failure in found.failures:
        if failure.error == FailureCode.UNSUPPORTED:
            by_label["devices, pipes, or paths that cannot be stored"].append(failure.path)
        else:
            by_label[_LABELS.get(FailureCode(failure.error), _OTHER)].append(failure.path)
    by_label[FAILED_BEFORE] = differences.failed_before
    by_label[_LABELS[FailureCode.EMPTY]] = differences.empty
    total, read = len(differences.to_read), len(sampler.readings)
    for code, paths in examples(sampler.readings).items():
        label = _LABELS.get(code, _OTHER)
        by_label[label if read == total else f"{label} (of {read} looked into)"] += paths
    skipped += [SkippedFiles(label, len(paths), tuple(paths[:EXAMPLES])) for label, paths in by_label.items() if paths]
    return tuple(sorted(skipped, key=lambda item: -item.count))
