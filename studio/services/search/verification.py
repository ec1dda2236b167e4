"""Whether what was cited is still there: the same, moved, changed, or gone."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from studio.documents.texts import read_text
from studio.domain import (
    Chunk,
    Citation,
    CitationStyle,
    DocumentRecord,
    DocumentStatus,
    Explanation,
    SearchResult,
    StoredText,
)
from studio.errors import InvalidRequest, NotFound, StorageFault
from studio.index.generations import Snapshot, Stores
from studio.index.vectors import text_key
from studio.services.search.citations import Locator, citation, locators, text_hash
from studio.ways_out import PassageIds

__all__ = ["CitationStyle", "CitingService", "Place", "Verification", "VerificationStatus", "citation", "locators"]

MAX_WINDOWS = 1_000_000
MAX_HASHED = 1 << 30
"""Places of a document that are tried for a passage of which only the hash is left, and characters that are hashed for
it: some seconds."""
MAX_DOCUMENTS = 200
"""Documents at one path (rows of a table) that are looked through."""
_READ_BYTES = 1 << 20


class VerificationStatus(StrEnum):
    """`same`: the passage stands where it stood. `moved`: it stands elsewhere. `changed`: the document is there, the
    passage is not in it. `gone`: the document is not there.
    """

    SAME = "same"
    MOVED = "moved"
    CHANGED = "changed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a passage stands now."""

    path: str
    page_number: int | None
    anchor: str
    char_start: int
    char_end: int


@dataclass(frozen=True, slots=True)
class Verification:
    """What became of a cited passage. `detail` says it in sentences; `where` is None when it was not found."""

    status: VerificationStatus
    detail: str
    where: Place | None
    locator: Locator


class CitingService:
    """Writes citations of passages by id, and tells what became of cited passages."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def cite(self, kb: str, chunk_id: str, style: CitationStyle = CitationStyle.PLAIN) -> str:
        """The citation of a passage of the active generation. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        async with self._stores.store(base.id).reading() as snapshot:
            chunk = (await snapshot.tables.chunks([chunk_id])).get(chunk_id)
            records = await snapshot.tables.documents([chunk.document_id]) if chunk is not None else []
        if chunk is None or not records:
            raise NotFound(
                f"“{base.name}” has no passage {chunk_id}.",
                way_out=PassageIds(),
            )
        return citation(_as_result(base.id, base.name, snapshot.generation.number, chunk, records), style)

    async def verify(self, text: str) -> Verification:
        """What became of the passage that `text` cites (a locator, or a text with one; the first counts).

        Raises InvalidRequest when there is no locator in it, StorageFault.
        """
        found = locators(text)
        if not found:
            raise InvalidRequest(
                "This text holds no citation that can be verified.",
                way_out="Paste a citation as it was copied, with the part that begins with “rag-studio:”.",
            )
        cited = found[0]
        try:
            base = await self._stores.knowledge_base(cited.kb_id)
        except NotFound:
            return _gone(cited, "The knowledge base of this citation is not here.")
        if base.active_generation is None:
            return _gone(cited, f"“{base.name}” is empty.")
        passage = await self._passage(cited)
        async with self._stores.store(base.id).reading() as snapshot:
            return await _Look(cited, passage, snapshot, self._stores.paths.kb(base.id).texts).result()

    async def _passage(self, cited: Locator) -> str | None:
        """The cited text, if the generation or the file's texts are still kept."""
        store = self._stores.store(cited.kb_id)
        files = await asyncio.to_thread(lambda: list(store.paths.texts.glob(f"{cited.sha256}.*")))
        names = {(path.suffix[1:], 0) for path in files}
        try:
            async with store.reading(cited.generation) as snapshot:
                names.update(
                    (record.kind, record.row) for record in await snapshot.tables.documents([cited.document_id])
                )
        except (NotFound, StorageFault):
            pass
        for kind, row in sorted(names):
            text = await _stored(store.paths.texts, text_key(cited.sha256, kind), row)
            if text is not None and _holds(text.text, cited, cited.char_start):
                return text.text[cited.char_start : cited.char_end]
        return None


class _Look:
    """One look for a cited passage in the active generation."""

    def __init__(self, cited: Locator, passage: str | None, snapshot: Snapshot, texts: Path) -> None:
        self._cited = cited
        self._passage = passage
        self._snapshot = snapshot
        self._texts = texts

    async def result(self) -> Verification:
        cited = self._cited
        own = _indexed(await self._snapshot.tables.documents([cited.document_id]))
        own.sort(key=lambda record: record.source_path != cited.path)
        found = await self._in_documents(own[:1])
        if found is not None:
            return await self._found(*found)
        everything = _indexed(await self._snapshot.tables.documents())
        there = own or [record for record in everything if record.source_path == cited.path]
        found = await self._in_documents(there[:MAX_DOCUMENTS]) or await self._in_chunks(everything)
        if found is not None:
            return await self._found(*found)
        if there:
            return await self._said(
                VerificationStatus.CHANGED,
                f"{there[0].source_path} does not hold the cited passage any more.",
                there[0],
            )
        return _gone(cited, f"{cited.path or 'The document'} is not in generation {self._number} any more.")

    async def _found(self, record: DocumentRecord, place: Place) -> Verification:
        cited = self._cited
        status = VerificationStatus.MOVED
        if place.path != cited.path:
            detail = f"The passage is now in {place.path}{_at(place)}."
        elif (place.char_start, place.char_end) != (cited.char_start, cited.char_end):
            detail = f"The passage is now elsewhere in {place.path}{_at(place)}."
        else:
            status, detail = (
                VerificationStatus.SAME,
                f"The passage stands where it was cited: {place.path}{_at(place)}.",
            )
        if place.path == cited.path and record.sha256 != cited.sha256:
            detail += " The rest of the file is not what it was then."
        return await self._said(status, detail, record, place)

    @property
    def _number(self) -> int:
        return self._snapshot.generation.number

    async def _in_documents(self, records: Sequence[DocumentRecord]) -> tuple[DocumentRecord, Place] | None:
        """The passage in one of these documents, where it was cited if it is still there."""
        for record in records:
            text = await _stored(self._texts, text_key(record.sha256, record.kind), record.row)
            if text is None:
                continue
            at = await asyncio.to_thread(_find, text.text, self._cited, self._passage)
            if at is not None:
                return record, _place(record, text, at, at + self._cited.char_end - self._cited.char_start)
        return None

    async def _in_chunks(self, records: Iterable[DocumentRecord]) -> tuple[DocumentRecord, Place] | None:
        """A passage of any document that has the cited text."""
        by_id = {record.document_id: record for record in records}
        columns = ("content_hash", "document_id", "chunk_id")
        async for batch in self._snapshot.tables.batches(columns):
            rows = await asyncio.to_thread(lambda part: [part[name].to_pylist() for name in columns], batch)
            for content_hash, document_id, chunk_id in zip(*rows, strict=True):
                if content_hash.startswith(self._cited.text_hash) and (record := by_id.get(document_id)):
                    chunk = (await self._snapshot.tables.chunks([chunk_id]))[chunk_id]
                    place = Place(record.source_path, chunk.page_number, chunk.anchor, chunk.char_start, chunk.char_end)
                    return record, place
        return None

    async def _said(
        self, status: VerificationStatus, detail: str, record: DocumentRecord, place: Place | None = None
    ) -> Verification:
        note = await asyncio.to_thread(_file_note, Path(record.source_path), record.sha256)
        return Verification(status, f"{detail} Checked in generation {self._number}.{note}", place, self._cited)


def _gone(cited: Locator, detail: str) -> Verification:
    return Verification(VerificationStatus.GONE, detail, None, cited)


def _indexed(records: Iterable[DocumentRecord]) -> list[DocumentRecord]:
    return [record for record in records if record.status is DocumentStatus.INDEXED]


async def _stored(texts: Path, key: str, row: int) -> StoredText | None:
    try:
        return await asyncio.to_thread(read_text, texts, key, row)
    except (NotFound, StorageFault):
        return None


def _find(text: str, cited: Locator, passage: str | None) -> int | None:
    """Where the cited text begins in `text`."""
    if _holds(text, cited, cited.char_start):
        return cited.char_start
    if passage is not None:
        at = text.find(passage)
        return at if at >= 0 else None
    length = cited.char_end - cited.char_start
    windows = min(len(text) - length + 1, MAX_WINDOWS, MAX_HASHED // length)
    return next((at for at in range(windows) if _holds(text, cited, at)), None)


def _holds(text: str, cited: Locator, start: int) -> bool:
    return text_hash(text[start : start + cited.char_end - cited.char_start]) == cited.text_hash


def _place(record: DocumentRecord, text: StoredText, start: int, end: int) -> Place:
    span = next((span for span in text.spans if span.start <= start < span.end), None)
    return Place(record.source_path, span.page if span else None, span.anchor if span else "", start, end)


def _at(place: Place) -> str:
    page = f", p. {place.page_number}" if place.page_number is not None else ""
    return f"{page}, characters {place.char_start}–{place.char_end}"


def _file_note(path: Path, sha256: str) -> str:
    """What there is to say about the file itself."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    except FileNotFoundError:
        return " The file itself is not there any more; its indexed text is."
    except (OSError, ValueError):
        return " The file itself cannot be read; its indexed text can."
    return "" if digest.hexdigest() == sha256 else " The file has changed since it was indexed."


def _as_result(
    kb_id: str, kb_name: str, generation: int, chunk: Chunk, records: Sequence[DocumentRecord]
) -> SearchResult:
    """A passage that was not searched for, as if it had been found."""
    record = records[0]
    place = Citation(
        record.title, record.source_path, record.licence, record.sha256[:12], chunk.anchor, chunk.page_number,
        chunk.char_start, chunk.char_end,
        also_at=tuple(sorted({other.source_path for other in records} - {record.source_path})),
    )  # fmt: skip
    return SearchResult(
        chunk.chunk_id, chunk.document_id, kb_id, kb_name, generation, 0.0, chunk.content, chunk.content, (),
        {"author": record.author, "sha256": record.sha256}, place, Explanation("none", 0.0),
    )  # fmt: skip
