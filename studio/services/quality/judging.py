"""Saved queries: which documents a person finds relevant to them, and their files.

A judgment names its document by external id, else by path: chunks and document ids change with the text, those stay.
A file that moves takes its judgments along (`Renaming`).
Only a row of a table without an id has nothing else than its document id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath

from studio.documents.kinds import TABULAR_KINDS
from studio.domain import DocumentRecord, DocumentStatus, KnowledgeBase, SavedQuery
from studio.errors import InvalidRequest, NotFound
from studio.index.catalog import Renaming
from studio.index.generations import Stores
from studio.services.library import naming
from studio.services.quality.judged_files import (
    BEIR_FILES,
    MAX_GRADE,
    TREC_FILES,
    read_qrels,
    read_queries,
    write_beir,
    write_trec,
)
from studio.services.search import MAX_QUERY_CHARS
from studio.ways_out import Listing, See

MAX_NAME = 80


class JudgedForm(StrEnum):
    """Forms of judged queries in files."""

    BEIR = "beir"
    TREC = "trec"

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files an export writes."""
        return TREC_FILES if self is JudgedForm.TREC else BEIR_FILES


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came from files: queries, judgments of them, and how many judgments belong to none of the queries."""

    queries: int
    judgments: int
    unknown: int


class JudgingService:
    """Keeps saved queries and judgments of each knowledge base."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._saved = stores.catalog.saved

    async def queries(self, kb: str) -> list[SavedQuery]:
        """The saved queries of a knowledge base, oldest first. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        return await self._saved.list(base.id)

    async def find(self, kb: str, query: str) -> SavedQuery:
        """The saved query with this text, else of this name. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        return await self._known(base, query)

    async def save(self, kb: str, query: str, name: str = "") -> SavedQuery:
        """Save a query, unless the same text is saved already. Without a name the text's beginning is its name.

        Raises InvalidRequest, NotFound.
        """
        base = await self._stores.knowledge_base(kb)
        return await self._save(base, query, name)

    async def rename(self, kb: str, query_id: int, name: str) -> SavedQuery:
        """Give a saved query another name. Raises InvalidRequest, NotFound, Conflict."""
        base = await self._stores.knowledge_base(kb)
        return await self._saved.rename(base.id, query_id, _name(name))

    async def delete(self, kb: str, query_id: int) -> None:
        """Forget a saved query and its judgments. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        await self._saved.remove(base.id, query_id)

    async def judge(self, kb: str, query: str, document: str, grade: int = 1) -> SavedQuery:
        """Say how relevant a document is to a query (0: not at all); a new query is saved by it.

        The query is given by its text or name, the document by any name of it (`naming`). Raises InvalidRequest,
        NotFound.
        """
        if not 0 <= grade <= MAX_GRADE:
            raise InvalidRequest(f"A grade is a number from 0 (not relevant) to {MAX_GRADE}, not {grade}.")
        base = await self._stores.knowledge_base(kb)
        records = await self._meant(base, document)
        saved = await self._save(base, query, "")
        renaming = await self._renaming(base)
        known = next(
            (name for record in records for name in names_of(record, renaming) if name in saved.judgments), None
        )
        return await self._saved.judge(base.id, saved.id, {known or lasting_name(records[0]): grade})

    async def unjudge(self, kb: str, query: str, document: str) -> SavedQuery:
        """Take a judgment back. The document may be gone from the knowledge base. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        saved = await self._known(base, query)
        names = {document}
        if document not in saved.judgments:
            renaming = await self._renaming(base)
            with suppress(NotFound):
                names |= {name for record in await self._meant(base, document) for name in names_of(record, renaming)}
        judged = [name for name in saved.judgments if name in names]
        if not judged:
            raise NotFound(f"“{document}” is not judged for the query “{saved.name}”.")
        return await self._saved.judge(base.id, saved.id, dict.fromkeys(judged))

    async def grades(
        self, kb: str, query: str, document_ids: Sequence[str], generation: int | None = None
    ) -> dict[str, int]:
        """Document id → grade, for those of these documents of a generation that are judged for a query."""
        base = await self._stores.knowledge_base(kb)
        saved = await self._saved.find(base.id, query.strip())
        if saved is None or not saved.judgments or not document_ids:
            return {}
        async with self._stores.store(base.id).reading(generation) as snapshot:
            records = await snapshot.tables.documents(document_ids)
            renaming = await self._renaming(base, snapshot.generation.number)
        names = {
            record.document_id: name
            for record in records
            for name in names_of(record, renaming)
            if name in saved.judgments
        }
        return {document_id: saved.judgments[name] for document_id, name in names.items()}

    async def load(self, kb: str, queries: Path, qrels: Path | None = None) -> Loaded:
        """Add the queries and judgments of files, in BEIR or TREC form. Raises NotFound, InvalidRequest, StorageFault.

        Queries of a name that is there are replaced, their judgments added. Nothing is added when a file is faulty.
        """
        base = await self._stores.knowledge_base(kb)
        texts = await asyncio.to_thread(read_queries, queries)
        judgments = await asyncio.to_thread(read_qrels, qrels) if qrels else {}
        rows = [(name, _query(text), judgments.get(name, {})) for name, text in texts.items()]
        await self._saved.load(base.id, rows)
        unknown = sum(len(grades) for name, grades in judgments.items() if name not in texts)
        return Loaded(len(rows), sum(len(row[2]) for row in rows), unknown)

    async def export(self, kb: str, folder: Path, form: str = JudgedForm.BEIR) -> list[Path]:
        """Write all saved queries with their judgments into a folder; returns the files.

        Raises InvalidRequest, NotFound, StorageFault.
        """
        base = await self._stores.knowledge_base(kb)
        saved = await self._saved.list(base.id)
        if not saved:
            raise NotFound(f"“{base.name}” has no saved queries.", way_out="Judge a result, or import queries.")
        write = write_trec if JudgedForm(form) is JudgedForm.TREC else write_beir
        texts = {query.name: query.query for query in saved}
        return await asyncio.to_thread(write, folder, texts, {query.name: dict(query.judgments) for query in saved})

    async def _known(self, base: KnowledgeBase, query: str) -> SavedQuery:
        saved = await self._saved.find(base.id, query.strip())
        if saved is None:
            raise NotFound(f"“{base.name}” has no saved query “{query}”.", way_out=See(Listing.QUERIES))
        return saved

    async def _save(self, base: KnowledgeBase, query: str, name: str) -> SavedQuery:
        query = _query(query)
        return await self._saved.save(base.id, _name(name or query), query)

    async def _renaming(self, base: KnowledgeBase, generation: int | None = None) -> Renaming:
        return await self._stores.catalog.names.renaming(base.id, generation)

    async def _meant(self, base: KnowledgeBase, name: str) -> list[DocumentRecord]:
        """The records of the document that a name means in the active generation, as named, then at its other paths.

        Of copies, the oldest file comes first: it is the likeliest to stay, and to be in other generations. Raises
        NotFound, InvalidRequest.
        """
        async with self._stores.store(base.id).reading() as snapshot:
            # An id, as the window gives it, need not be looked for in all of them.
            records = await snapshot.tables.documents([name]) or await snapshot.tables.documents()
            indexed = [record for record in records if record.status is DocumentStatus.INDEXED]
            documents = await naming(self._stores, base, indexed, snapshot.generation.number)
            found = await asyncio.to_thread(documents.single, name)
            copies = await snapshot.tables.documents(sorted(found.ids))
        return [*sorted(found.documents, key=_age), *copies]


def lasting_name(record: DocumentRecord) -> str:
    """The name that judgments call a document by."""
    return record.external_id or (record.document_id if _is_row(record) else record.source_path)


def short_name(record: DocumentRecord) -> str:
    """The name that run files call a document by when no judgment has another."""
    return record.external_id or (record.document_id if _is_row(record) else PurePath(record.source_path).stem)


def names_of(record: DocumentRecord, renaming: Renaming) -> tuple[str, ...]:
    """Every name a judgment may call a document by. A row of a table is not what its file is called."""
    of_file = () if _is_row(record) else renaming.names(record.source_path)
    return tuple(name for name in (record.external_id, record.document_id, *of_file) if name)


def _age(record: DocumentRecord) -> tuple[int, str]:
    return record.mtime_ns, record.source_path


def _is_row(record: DocumentRecord) -> bool:
    return record.kind in TABULAR_KINDS


def _query(text: str) -> str:
    text = text.strip()
    if not text or len(text) > MAX_QUERY_CHARS:
        raise InvalidRequest(f"A saved query needs 1 to {MAX_QUERY_CHARS:,} characters.")
    return text


def _name(text: str) -> str:
    """A name of one line."""
    line = " ".join(text.split())
    if not line:
        raise InvalidRequest("The name is empty.", way_out="Give the query a name.")
    return line if len(line) <= MAX_NAME else line[: MAX_NAME - 1] + "…"
