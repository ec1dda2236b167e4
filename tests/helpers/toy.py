"""A knowledge base with small made-up vectors: the index needs no model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from studio.domain import (
    Chunk,
    DocumentRecord,
    DocumentStatus,
    Generation,
    KbSettings,
    KnowledgeBase,
    ModelIdentity,
    PageCounts,
    Retention,
    Vectors,
)
from studio.index.generations import Build, GenerationStore, Stores
from studio.index.upkeep import GcReport, collect
from studio.index.vectors import CHUNK_TEXT, TableReader, indexed_texts

DIMENSION = 8
MODEL = ModelIdentity("toy", "a" * 64, DIMENSION, "mean")


def vector_of(text: str) -> Vectors:
    """A unit vector that depends on nothing but the text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    vector = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
    return vector / np.linalg.norm(vector)


def chunk_of(document: str, text: str, at: int = 0) -> Chunk:
    key = hashlib.sha256(f"{document}{at}{text}".encode()).hexdigest()
    return Chunk(key[:32], document, text, hashlib.sha256(text.encode()).hexdigest(), 1, "A › B", at, at + len(text))


def record_of(document: str, path: str, chunks: int = 1) -> DocumentRecord:
    return DocumentRecord(
        document, path, "s" * 64, 10, 20, "text", f"Title of {document}", "", "", "", 0, PageCounts(), chunks,
        DocumentStatus.INDEXED, "", "",
    )  # fmt: skip


async def contents_of(tables: TableReader) -> list[tuple[str, str, str]]:
    """(chunk id, document id, indexed text) of every chunk."""
    return [row async for batch in tables.batches(CHUNK_TEXT) for row in indexed_texts(batch)]


async def chunk_ids_of(tables: TableReader) -> list[str]:
    """Every chunk id."""
    return [chunk_id for chunk_id, _, _ in await contents_of(tables)]


class Bench:
    """One knowledge base under test."""

    def __init__(self, stores: Stores, kb: KnowledgeBase) -> None:
        self.stores = stores
        self.kb = kb

    @classmethod
    async def create(cls, stores: Stores, name: str = "Bench") -> Bench:
        kb = await stores.catalog.create_kb(name, KbSettings())
        stores.paths.kb(kb.id).create()
        return cls(stores, kb)

    @property
    def store(self) -> GenerationStore:
        return self.stores.store(self.kb.id)

    async def begin(self, model: ModelIdentity = MODEL, *, from_scratch: bool = False) -> Build:
        kb = await self.stores.knowledge_base(self.kb.id)
        return await self.store.begin(kb, model, note="test", from_scratch=from_scratch)

    async def add(self, build: Build, document: str, texts: Sequence[str]) -> None:
        chunks = [chunk_of(document, text, at * 1000) for at, text in enumerate(texts)]
        await build.add_chunks(chunks, np.stack([vector_of(chunk.content) for chunk in chunks]))
        await build.add_record(record_of(document, f"/docs/{document}.txt", len(texts)))

    async def built(self, documents: dict[str, Sequence[str]], *, delete: Sequence[str] = ()) -> Generation:
        build = await self.begin()
        await build.tables.delete_paths(f"/docs/{name}.txt" for name in delete)
        for document, texts in documents.items():
            await self.add(build, document, texts)
        await build.flush()
        await build.delete_documents(delete)
        return await self.store.seal(build)

    async def promote(self, generation: Generation) -> Generation:
        return await self.stores.catalog.promote(self.kb.id, generation.number)

    async def collect(self, keep_archived: int) -> GcReport:
        self.store.release()
        retention = Retention(keep_archived=keep_archived)
        return await collect(self.store, self.stores.catalog, retention=retention, dry_run=False)

    async def contents(self, number: int | None = None) -> set[str]:
        async with self.store.reading(number) as snapshot:
            assert sorted(await chunk_ids_of(snapshot.tables)) == sorted(snapshot.lexical.chunk_ids())
            return {content for _, _, content in await contents_of(snapshot.tables)}


async def states(bench: Bench) -> dict[int, str]:
    """The state of each generation by its number."""
    items = await bench.stores.catalog.generations(bench.kb.id)
    return {item.number: item.state.value for item in items}
