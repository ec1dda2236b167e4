"""A knowledge base whose embedding model is a stand-in for the port, fast and easy to break; all else is real."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from studio.domain import DocumentStatus, Embedder, ModelInfo, Vectors
from studio.errors import ModelFault, WorkerDied
from studio.index.generations import Stores
from studio.services.ingest import IngestService
from studio.services.jobs import JobQueue, Requests
from studio.services.library import LibraryService
from tests.helpers.toy import chunk_ids_of, contents_of

Write = Callable[[str, str], Path]
MODEL = ModelInfo("toy", "c" * 64, 8, 64, "mean", 1, "none", True, None)


class ToyEmbedder:
    """Vectors from hashes. Texts with "poison" give no vector, with "kill" end the worker."""

    def __init__(self) -> None:
        self.model = MODEL
        self.embedded: list[str] = []
        self.dead = False

    async def embed(self, texts: Sequence[str], *, interactive: bool = False, query: bool = False) -> Vectors:
        await asyncio.sleep(0)
        if self.dead or any("kill" in text for text in texts):
            raise WorkerDied("The embedding process ended.")
        if any("poison" in text for text in texts):
            raise ModelFault("The model gave no usable vector.")
        self.embedded.extend(texts)
        rows = [np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)[:8] for text in texts]
        return np.array(rows, np.float32).reshape(len(texts), 8) + 1.0

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    async def close(self) -> None:
        pass


def held_after(toy: ToyEmbedder, texts: int) -> asyncio.Event:
    """Let an embedder wait for this event once it has embedded so many texts."""
    event = asyncio.Event()
    embed = toy.embed

    async def wait(batch: Sequence[str], *, interactive: bool = False) -> Vectors:
        if len(toy.embedded) >= texts:
            await event.wait()
        return await embed(batch, interactive=interactive)

    toy.embed = wait  # type: ignore[method-assign,assignment]
    return event


class ToyProvider:
    def __init__(self, embedder: ToyEmbedder) -> None:
        self.toy = embedder

    async def embedder(self, model: str) -> Embedder:
        return self.toy

    async def close(self) -> None:
        pass


class Bench:
    """`work` does what jobs are about, `queue` is not started and runs what `ingest` asks for."""

    def __init__(
        self,
        stores: Stores,
        library: LibraryService,
        ingest: Requests,
        work: IngestService,
        queue: JobQueue,
        toy: ToyEmbedder,
    ) -> None:
        self.stores, self.library, self.toy = stores, library, toy
        self.ingest, self.work, self.queue = ingest, work, queue

    async def statuses(self) -> dict[str, DocumentStatus]:
        return {Path(item.source_path).name: item.status for item in await self.library.documents("Toy")}

    async def sound(self) -> set[str]:
        """Contents of the active generation, after checking that both indexes agree."""
        kb = await self.library.get("Toy")
        async with self.stores.store(kb.id).reading() as snapshot:
            assert sorted(await chunk_ids_of(snapshot.tables)) == sorted(snapshot.lexical.chunk_ids())
            records = await snapshot.tables.documents()
            assert snapshot.generation.chunks == sum({item.document_id: item.chunks for item in records}.values())
            return {content for _, _, content in await contents_of(snapshot.tables)}

    async def chunk_ids(self) -> list[str]:
        """The chunk ids of the active generation, in order."""
        kb = await self.library.get("Toy")
        async with self.stores.store(kb.id).reading() as snapshot:
            return sorted(await chunk_ids_of(snapshot.tables))
