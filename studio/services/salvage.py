"""The documents of a generation whose list cannot be read: told from what is left of it, from stored texts, from the
files that jobs have read, and from passages; and by name those that nothing holds any more.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from studio.documents.kinds import TABULAR_KINDS, document_id, file_kind
from studio.documents.texts import TextStoreWriter, stored_texts
from studio.domain import (
    Chunk,
    DocumentRecord,
    DocumentStatus,
    FileFailure,
    Generation,
    KnowledgeBase,
    PageCounts,
    ParsedDocument,
    Span,
    StoredText,
)
from studio.errors import FailureCode
from studio.index.rows import text_key
from studio.index.salvage import salvaged_chunks, salvaged_records
from studio.index.stores import Stores
from studio.index.vectors import DOCUMENTS_TABLE
from studio.paths import KbPaths
from studio.services.plan import hash_or_none

GONE = "Neither the file, its stored text nor its passages are there."
NAMELESS = "It may be one of the documents that came back without their names."
_TEXT = "text"


@dataclass(slots=True)
class Salvage:
    """Rows of documents that can be made again from stored texts, files to read that nothing else tells of, losses."""

    records: list[DocumentRecord] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)
    lost: list[FileFailure] = field(default_factory=list)


async def salvage(stores: Stores, base: KnowledgeBase, broken: Generation) -> Salvage:
    """Find every document of a generation that any file still holds. Writes no more than texts made of passages."""
    paths = stores.paths.kb(base.id)
    told = await salvaged_records(paths.vectors / f"{DOCUMENTS_TABLE}.lance", broken.documents_version)
    result = Salvage(list(told.records))
    if told.complete:
        return result
    read = await stores.thread.run(stores.catalog.jobs.read_files, base.id)
    chunks = await salvaged_chunks(paths.vectors / f"{broken.chunks_table}.lance", broken.chunks_version)
    nameless = _Nameless(paths, chunks, {text_key(record.sha256, record.kind) for record in told.records})
    await asyncio.to_thread(nameless.look)
    missing = {path: count for path, count in read.items() if path not in {row.source_path for row in told.records}}
    for path in [*missing]:
        if (sha256 := await hash_or_none(Path(path))) is not None:
            del missing[path]
            key = text_key(sha256, file_kind(Path(path)))
            if key in nameless.texts:
                result.records += nameless.named(key, path)
            else:
                result.unread.append(Path(path))
    for key, path in nameless.matches(missing).items():
        del missing[path]
        result.records += nameless.named(key, path)
    kinds = Counter(file_kind(Path(path)) for path in missing)
    left = Counter(key.partition(".")[2] for key in nameless.texts)
    for path in sorted(missing):
        kind = file_kind(Path(path))
        why = NAMELESS if left[kind] >= kinds[kind] else GONE
        result.lost.append(FileFailure(path, FailureCode.VANISHED, why))
    place = stores.paths.lost_found / "nameless" / base.id
    for key in sorted(nameless.texts):
        result.records += nameless.named(key, str(place / key))
    covered = {record.document_id for record in result.records}
    result.records += await asyncio.to_thread(nameless.from_passages, covered, place)
    return result


class _Nameless:
    """Stored texts that no row refers to, and passages that none does."""

    def __init__(self, paths: KbPaths, chunks: Sequence[Chunk], claimed: set[str]) -> None:
        self._directory = paths.texts
        self._claimed = claimed
        self._chunks: dict[str, list[Chunk]] = defaultdict(list)
        for chunk in chunks:
            self._chunks[chunk.document_id].append(chunk)
        self.texts: dict[str, Mapping[int, StoredText]] = {}
        self._rows: list[StoredText] = []

    def look(self) -> None:
        """Read the texts. Blocking."""
        names = (file.name for file in self._directory.iterdir()) if self._directory.is_dir() else ()
        for name in sorted(set(names) - self._claimed):
            sha256, _, kind = name.partition(".")
            if len(sha256) == 64 and kind.isalnum() and (found := stored_texts(self._directory, name)):
                self.texts[name] = found
                self._rows += found.values() if kind in TABULAR_KINDS else ()

    def matches(self, missing: Mapping[str, int]) -> dict[str, str]:
        """Text → path, for the paths (with their numbers of passages) that only one text of their kind fits."""
        found: dict[str, str] = {}
        for by_count in (False, True):
            keys, names = defaultdict(list), defaultdict(list)
            for key in self.texts.keys() - found.keys():
                keys[key.partition(".")[2], by_count and self._passages(key)].append(key)
            for path, count in missing.items():
                if path not in found.values():
                    names[file_kind(Path(path)), by_count and count].append(path)
            found |= {keys[what][0]: same[0] for what, same in names.items() if len(same) == 1 and len(keys[what]) == 1}
        return found

    def _passages(self, key: str) -> int:
        sha256, _, kind = key.partition(".")
        return len(self._chunks.get(document_id(sha256, kind), ()))

    def named(self, key: str, path: str) -> list[DocumentRecord]:
        """The rows of a text that gets a path; it is nameless no more."""
        sha256, _, kind = key.partition(".")
        return [
            _record(path, sha256, kind, row, stored, self._title(document_id(sha256, kind)))
            for row, stored in sorted(self.texts.pop(key).items())
        ]

    def _title(self, document: str) -> str:
        contexts = (chunk.context for chunk in self._chunks.get(document, ()))
        return next((context.splitlines()[0] for context in contexts if context), "")

    def from_passages(self, covered: set[str], place: Path) -> list[DocumentRecord]:
        """Texts put together from the passages of documents of which nothing else is left. Blocking."""
        records = []
        for document, chunks in sorted(self._chunks.items()):
            if document in covered or any(self._stands(chunks[0], row) for row in self._rows):
                continue
            parsed = _joined(chunks)
            sha256 = hashlib.sha256(parsed.text.encode("utf-8", "replace")).hexdigest()
            with TextStoreWriter(self._directory, text_key(sha256, _TEXT)) as writer:
                writer.add(0, parsed)
                writer.commit()
            stored = StoredText(parsed.text, parsed.spans)
            records.append(_record(str(place / f"{document}.txt"), sha256, _TEXT, 0, stored, self._title(document)))
        return records

    @staticmethod
    def _stands(chunk: Chunk, stored: StoredText) -> bool:
        return stored.text[chunk.char_start : chunk.char_end] == chunk.content


def _joined(chunks: Iterable[Chunk]) -> ParsedDocument:
    """The text that passages come from, as far as they tell; what lay between them is blank."""
    text, spans = "", []
    for chunk in sorted(chunks, key=lambda chunk: chunk.char_start):
        text = text.ljust(chunk.char_start)
        start = len(text)
        text += chunk.content[start - chunk.char_start :]
        if len(text) > start:
            spans.append(Span(start, len(text), chunk.page_number, chunk.anchor))
    return ParsedDocument(text, tuple(spans), (), _TEXT)


def _record(path: str, sha256: str, kind: str, row: int, stored: StoredText, title: str) -> DocumentRecord:
    pages = max((span.page or 0 for span in stored.spans), default=0)
    return DocumentRecord(
        document_id=document_id(sha256, kind), source_path=path, sha256=sha256, size_bytes=0, mtime_ns=0, kind=kind,
        title=title, author="", licence="", external_id="", row=row, pages=PageCounts(pages, pages), chunks=0,
        status=DocumentStatus.INDEXED, error="", reason="",
    )  # fmt: skip
