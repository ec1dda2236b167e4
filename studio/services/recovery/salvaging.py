"""What a damaged generation held, told from everything that survives: its rows, its passages, stored texts and jobs.

The rows of its own list of documents come first. Where that list has gaps, rows of older generations and of data files
without a manifest fill them, then passages and texts that no row names; paths of those are found by comparing files
that past jobs read.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from studio.documents.identity import text_hash
from studio.documents.kinds import TABULAR_KINDS, document_id, file_kind
from studio.documents.texts import TextStoreWriter, stored_keys, texts_are_sound, texts_left
from studio.domain import (
    CONTEXT,
    Chunk,
    DocumentRecord,
    DocumentStatus,
    Generation,
    PageCounts,
    ParsedDocument,
    Span,
    StoredText,
)
from studio.index.generations import READABLE, Stores
from studio.index.vectors import (
    DOCUMENTS_TABLE,
    by_path,
    chunks_left,
    records_left,
    table_folder,
    table_folders,
    text_key,
)
from studio.services.scan import hash_or_none

UNKNOWN_PLACE = "documents of unknown paths"
"""Folder of `lost+found` that stands in the path of a document whose own path nothing tells."""


@dataclass(slots=True)
class Salvage:
    """What is left of a generation. `chunks` are its passages by document id, as far as they are sound."""

    records: list[DocumentRecord] = field(default_factory=list)
    listed: bool = False
    """Whether the list of documents is the generation's own, and whole."""
    chunks: dict[str, list[Chunk]] = field(default_factory=dict)
    passages: bool = False
    """Whether every passage is there."""
    missing: list[str] = field(default_factory=list)
    """Paths of files that past jobs indexed and that no record names; only where the list has gaps."""

    @property
    def indexed(self) -> list[DocumentRecord]:
        """The records of documents that were searchable."""
        return [record for record in self.records if record.status is DocumentStatus.INDEXED]


async def salvage(stores: Stores, generation: Generation) -> Salvage:
    """Read what is left of a generation. Changes nothing; takes as long as reading every row once."""
    store = stores.store(generation.kb_id)
    table, documents = table_folder(store.paths.vectors, generation.chunks_table), _documents(store.paths.vectors)
    found = Salvage()
    own = await records_left(documents, generation.documents_version)
    passages = await chunks_left(table, generation.chunks_version)
    found.records, found.listed, found.passages = own.rows, own.whole, passages.whole
    _collect(found, passages.rows)
    generations = await stores.catalog.generations(generation.kb_id)
    others = [item for item in generations if item.state in READABLE and item.number != generation.number]
    others.sort(key=lambda item: -item.number)
    if not found.passages:
        for other in others:
            other_table = table_folder(store.paths.vectors, other.chunks_table)
            _collect(found, (await chunks_left(other_table, other.chunks_version)).rows)
        for folder in await asyncio.to_thread(table_folders, store.paths.vectors, "chunks*"):
            _collect(found, (await chunks_left(folder, None)).rows)
    if found.listed:
        return found
    for other in others:
        _fill(found, (await records_left(documents, other.documents_version)).rows)
    _fill(found, list(reversed((await records_left(documents, None)).rows)))
    known = await stores.catalog.jobs.known_files(generation.kb_id)
    await _identify(found, store.paths.texts, stores.paths.lost_found / UNKNOWN_PLACE, known)
    found.records = by_path(_counted(found, record) for record in found.records)
    named = {record.source_path for record in found.records}
    found.missing = [path for path in known if path not in named]
    return found


def _documents(vectors: Path) -> Path:
    return table_folder(vectors, DOCUMENTS_TABLE)


def _collect(found: Salvage, chunks: Iterable[Chunk]) -> None:
    for chunk in chunks:
        held = found.chunks.setdefault(chunk.document_id, [])
        if all(other.chunk_id != chunk.chunk_id for other in held):
            held.append(chunk)


def _fill(found: Salvage, rows: Sequence[DocumentRecord]) -> None:
    """Add the rows of paths that have none yet; with every passage at hand, those of documents that have one."""
    named = {(record.source_path, record.row, record.external_id) for record in found.records}
    ids = {record.document_id for record in found.records}
    paths = {record.source_path for record in found.records}
    for record in rows:
        if record.status is not DocumentStatus.INDEXED:
            if record.source_path not in paths:
                found.records.append(record)
            continue
        if found.passages and record.document_id not in found.chunks:
            continue
        place = (record.source_path, record.row, record.external_id)
        if place not in named and (record.source_path not in paths or record.document_id not in ids):
            named.add(place)
            found.records.append(record)


def _counted(found: Salvage, record: DocumentRecord) -> DocumentRecord:
    if not found.passages or record.status is not DocumentStatus.INDEXED:
        return record
    return replace(record, chunks=len(found.chunks.get(record.document_id, ())))


# ------------------------------------------------------------ documents that no row names


@dataclass(frozen=True, slots=True)
class _Orphan:
    identity: str
    sha256: str
    kind: str
    row: int
    title: str


async def _identify(found: Salvage, texts: Path, nowhere: Path, known: Sequence[str]) -> None:
    """Make records for stored texts and passages that no record names."""
    orphans = await asyncio.to_thread(_orphans, found, texts)
    if not orphans:
        return
    paths: dict[tuple[str, str], list[str]] = defaultdict(list)
    gone: dict[str, list[str]] = defaultdict(list)
    hashes: dict[str, tuple[str, str]] = {}
    named = {record.source_path for record in found.records}
    for path in known:
        if path in named:
            continue
        kind = file_kind(Path(path))
        if (sha256 := await hash_or_none(Path(path))) is not None:
            paths[sha256, kind].append(path)
            hashes[document_id(sha256, kind)] = (sha256, kind)
        else:
            gone[kind].append(path)
    files: dict[tuple[str, str], list[_Orphan]] = defaultdict(list)
    for orphan in orphans:
        sha256, kind = hashes.get(orphan.identity, (orphan.sha256, orphan.kind))
        files[sha256, kind].append(replace(orphan, sha256=sha256, kind=kind))
    nameless: dict[str, list[list[_Orphan]]] = defaultdict(list)
    for key, members in files.items():
        if key in paths:
            for path in paths[key]:
                found.records += [_record(orphan, path) for orphan in members]
        else:
            nameless[key[1]].append(members)
    for kind, groups in nameless.items():
        _place(found, groups, gone[kind], nowhere)


def _place(found: Salvage, groups: list[list[_Orphan]], gone: list[str], nowhere: Path) -> None:
    """Give files of one kind paths of files that are gone: by title, else the last that is left, else made-up ones."""
    left = list(gone)
    waiting = []
    for members in groups:
        same = [path for path in left if Path(path).stem == members[0].title or Path(path).name == members[0].title]
        if len(same) == 1:
            left.remove(same[0])
            found.records += [_record(orphan, same[0]) for orphan in members]
        else:
            waiting.append(members)
    if len(waiting) == len(left) == 1:
        found.records += [_record(orphan, left[0]) for orphan in waiting[0]]
        return
    for members in waiting:
        first = members[0]
        name = f"{first.title or first.sha256[:12]}".replace("/", "_").replace("\\", "_")
        path = str(nowhere / f"{first.sha256[:12]} {name[:80]}")
        found.records += [_record(orphan, path) for orphan in members]


def _orphans(found: Salvage, texts: Path) -> list[_Orphan]:
    ids = {record.document_id for record in found.indexed}
    keys = {text_key(record.sha256, record.kind) for record in found.indexed if record.kind not in TABULAR_KINDS}
    orphans: list[_Orphan] = []
    for key in stored_keys(texts):
        if key in keys:
            continue
        sha256, kind = key.split(".", 1)
        for row, stored in sorted(texts_left(texts, key).items()):
            identity = _identity(found, ids, sha256, kind, row, stored)
            if identity in ids or (found.passages and identity not in found.chunks):
                continue
            ids.add(identity)
            orphans.append(_Orphan(identity, sha256, kind, row, _title(found.chunks.get(identity, ()))))
    for identity, chunks in found.chunks.items():
        if identity not in ids and (text := text_of(chunks)) is not None:
            ids.add(identity)
            orphans.append(_Orphan(identity, text_hash(text.text), "text", 0, _title(chunks)))
    return orphans


def _identity(found: Salvage, ids: set[str], sha256: str, kind: str, row: int, stored: StoredText) -> str:
    """The document id of a stored text; that of a row with a name of its own is told by its passages."""
    if kind not in TABULAR_KINDS and row == 0:
        return document_id(sha256, kind)
    identity = document_id(text_hash(stored.text), kind, str(row))
    if identity in found.chunks or identity in ids:
        return identity
    for other, chunks in found.chunks.items():
        if all(stored.text[chunk.char_start : chunk.char_end] == chunk.content for chunk in chunks):
            return other
    return identity


def _title(chunks: Sequence[Chunk]) -> str:
    context = str(chunks[0].metadata.get(CONTEXT, "")) if chunks else ""
    return context.split(" › ")[0].strip()


def _record(orphan: _Orphan, path: str) -> DocumentRecord:
    size = mtime = 0
    with suppress(OSError):
        status = Path(path).stat()
        size, mtime = status.st_size, status.st_mtime_ns
    return DocumentRecord(
        orphan.identity, path, orphan.sha256, size, mtime, orphan.kind, orphan.title or Path(path).stem, "", "", "",
        orphan.row, PageCounts(), 0, DocumentStatus.INDEXED, "", "",
    )  # fmt: skip


# ------------------------------------------------------------ texts


def text_of(chunks: Sequence[Chunk]) -> StoredText | None:
    """A text put together from passages at their offsets; blanks stand for what none of them covers."""
    text, page = "", None
    spans: list[Span] = []
    for chunk in sorted(chunks, key=lambda chunk: chunk.char_start):
        if chunk.char_end - chunk.char_start != len(chunk.content) or chunk.char_start < 0:
            continue
        if chunk.char_end <= len(text):
            continue
        text += "\n" * (chunk.char_start - len(text))
        start = len(text)
        text += chunk.content[start - chunk.char_start :]
        hard = bool(spans) and chunk.page_number != page
        page = chunk.page_number
        spans.append(Span(start, len(text), page, chunk.anchor, hard))
    return StoredText(text, tuple(spans)) if text else None


async def mend_texts(texts: Path, records: Sequence[DocumentRecord], chunks: Mapping[str, Sequence[Chunk]]) -> set[str]:
    """Store texts again that are gone or damaged and whose files are gone too, from passages; returns their keys."""
    files: dict[str, dict[int, DocumentRecord]] = defaultdict(dict)
    paths: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.status is DocumentStatus.INDEXED:
            files[text_key(record.sha256, record.kind)][record.row] = record
            paths[text_key(record.sha256, record.kind)].add(record.source_path)
    mended = set()
    for key, rows in files.items():
        if await asyncio.to_thread(texts_are_sound, texts, key):
            continue
        if await asyncio.to_thread(_any_is_there, paths[key]):
            continue
        if await asyncio.to_thread(_store, texts, key, rows, chunks):
            mended.add(key)
    return mended


def _any_is_there(paths: Iterable[str]) -> bool:
    return any(Path(path).is_file() for path in paths)


def _store(texts: Path, key: str, rows: Mapping[int, DocumentRecord], chunks: Mapping[str, Sequence[Chunk]]) -> bool:
    left = texts_left(texts, key)
    found = {}
    for row, record in sorted(rows.items()):
        text = left.get(row) or text_of(chunks.get(record.document_id, ()))
        if text is not None:
            found[row] = ParsedDocument(text.text, text.spans, (), record.kind, row=row)
    if not found:
        return False
    with TextStoreWriter(texts, key) as writer:
        for row, parsed in found.items():
            writer.add(row, parsed)
        writer.commit()
    return True
