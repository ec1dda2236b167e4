"""A knowledge base to damage and have mended. Only the embedding model is a stand-in, for speed."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa

from studio.config import Config
from studio.documents.pool import ParserPool
from studio.domain import (
    Check,
    Embedder,
    Generation,
    GenerationState,
    KbSettings,
    ModelInfo,
    SearchMode,
    SearchRequest,
    SearchResponse,
    Vectors,
)
from studio.embedding.models import ModelCatalog
from studio.errors import ModelFault
from studio.index.generations import GenerationStore, Stores
from studio.services.generations import MaintenanceService, Promotion
from studio.services.health import DoctorService
from studio.services.ingest import IngestService
from studio.services.jobs import JobQueue, Requests
from studio.services.library import LibraryService
from studio.services.quality import GateService
from studio.services.search import SearchService
from tests.helpers.catalog_sql import catalog_sql

Write = Callable[[str, str], Path]
DIMENSION = 8
MODEL = ModelInfo("toy", "c" * 64, DIMENSION, 64, "mean", 1, "none", True, None)
TEXTS = {
    "whale.txt": "The blue whale is the largest animal. It sings in the deep sea for hours and hours on end.",
    "piano.txt": "A piano has eighty-eight keys. Its hammers strike strings of steel, which a frame of iron holds.",
    "glacier.txt": "A glacier is a river of ice. It grinds rock to flour and carves valleys on its way to the sea.",
}
ROWS = [{"_id": f"r{n}", "text": f"Row number {n} speaks of subject {n}."} for n in range(5)]


class ToyEmbedder:
    """Vectors from hashes; `gone` is a model that is not installed."""

    model = MODEL
    gone = False
    embedded = 0

    async def embed(self, texts: Sequence[str], *, interactive: bool = False, query: bool = False) -> Vectors:
        self.embedded += not interactive and len(texts)
        rows = [np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)[:DIMENSION] for text in texts]
        return np.array(rows, np.float32).reshape(len(texts), DIMENSION) + 1.0

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    async def close(self) -> None:
        pass

    async def embedder(self, model: str) -> Embedder:
        if self.gone:
            raise ModelFault("The embedding model toy is not installed.", way_out="Install it.")
        return self


class Ward:
    """One knowledge base of three generations: a document each, the last one also a table and a copy."""

    def __init__(self, stores: Stores, toy: ToyEmbedder, parser: ParserPool, folder: Path) -> None:
        config = Config(stores.paths.config)
        self.stores, self.toy, self.folder = stores, toy, folder
        self.library = LibraryService(stores, config)
        self.search = SearchService(stores, toy)
        promotion = Promotion(stores, GateService(stores, self.search))
        maintenance = MaintenanceService(stores, config, promotion)
        work = IngestService(stores, toy, parser, promotion, maintenance.collect_if_due)
        self.ingest = Requests(stores, JobQueue(stores, work), work)
        self.doctor = DoctorService(stores, ModelCatalog(stores.paths), self.ingest)
        self.kb_id = ""

    async def fill(self) -> None:
        kb = await self.library.create("Care", KbSettings(chunk_tokens=16, chunk_overlap=0))
        self.kb_id = kb.id
        for name, text in TEXTS.items():
            (self.folder / name).write_text(text)
            if name == "glacier.txt":
                (self.folder / "copy of whale.txt").write_text(TEXTS["whale.txt"])
                (self.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
            await self.ingest.ingest(kb.id, [self.folder])
        self.close()

    def close(self) -> None:
        """Let go of everything that is open, as the end of the program does."""
        self.store.close()

    @property
    def store(self) -> GenerationStore:
        return self.stores.store(self.kb_id)

    async def generations(self) -> list[Generation]:
        return await self.stores.catalog.generations(self.kb_id)

    async def states(self) -> dict[int, str]:
        return {item.number: item.state.value for item in await self.generations()}

    async def active(self) -> Generation:
        (item,) = [item for item in await self.generations() if item.state is GenerationState.ACTIVE]
        return item

    async def wrong(self) -> dict[str, str]:
        return wrong(await self.doctor.check())

    async def repaired(self) -> dict[str, str]:
        return wrong(await self.doctor.repair())

    async def results(self, query: str) -> SearchResponse:
        """What a search by words finds."""
        return await self.search.search(SearchRequest((self.kb_id,), query, SearchMode.KEYWORD, limit=100))

    async def found(self, mode: SearchMode = SearchMode.HYBRID) -> set[str]:
        """Names of the documents that a search for everything finds. Both sides must answer."""
        query = "whale piano glacier row number speaks"
        response = await self.search.search(SearchRequest((self.kb_id,), query, mode, limit=100))
        assert response.degraded is None
        return {Path(result.citation.source_path).name for result in response.results}

    async def answers(self) -> None:
        """Every mode of search finds every document, and every result can be looked up in its text."""
        for mode in SearchMode:
            found = await self.found(mode)
            assert {"piano.txt", "glacier.txt", "rows.jsonl"} <= found, mode
            assert found & {"whale.txt", "copy of whale.txt"}, mode

    def files(self, pattern: str) -> list[Path]:
        """Oldest first."""
        found = [path for path in self.store.paths.root.glob(pattern) if path.is_file()]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    async def prints(self, *numbers: int) -> dict[Path, str]:
        """Hashes of every file that these generations read; the hint at a table's head is not one of them."""
        files = set(self.files("texts/*"))
        for item in await self.generations():
            if item.number in numbers:
                files.update(self.files(f"lexical/g{item.number}/*"))
                for table, version in ((item.chunks_table, item.chunks_version), ("documents", item.documents_version)):
                    files.update(await self.store.vectors.files(table, version))
        return {
            file: hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
            if file.is_file() and file.suffix != ".lock" and "hint" not in file.name
        }

    async def dataset(self, table: str = "chunks") -> lance.LanceDataset:
        generation = await self.active()
        versions = {"documents": generation.documents_version, generation.chunks_table: generation.chunks_version}
        uri = str(self.store.paths.vectors / f"{table}.lance")
        return await asyncio.to_thread(lance.dataset, uri, version=versions[table])

    async def overwrite(self, change: Callable[[pa.Table], pa.Table]) -> None:
        """Replace the rows of the active generation's chunks behind the program's back."""
        dataset = await self.dataset()
        table = change(dataset.to_table())
        other = await asyncio.to_thread(lambda: lance.write_dataset(table, dataset.uri, mode="overwrite"))
        generation = await self.active()
        await asyncio.to_thread(other.tags.update, f"g{generation.number}", other.version)
        record = "UPDATE generation SET chunks_version = ? WHERE kb_id = ? AND number = ?"
        catalog_sql(self.stores.paths, record, (other.version, self.kb_id, generation.number))
        self.store.vectors.forget_caches()


def wrong(checks: Sequence[Check]) -> dict[str, str]:
    """What failed; the model is a toy, which no folder of models holds."""
    assert all(not check.repair for check in checks if check.ok)
    return {check.name: check.detail for check in checks if not check.ok and check.name != "models"}


def replaced(table: pa.Table, name: str, values: list[object]) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
