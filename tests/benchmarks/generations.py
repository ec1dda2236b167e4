"""What a small change costs in a large knowledge base: bytes and time against the full build.

    .venv/bin/python tests/benchmarks/generations.py [--chunks 100000]

Builds a generation of made-up chunks (no model: embedding is left out on both sides), then changes one document of
ten chunks, promotes, rolls back and collects. Prints a table.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from studio.domain import Chunk, DocumentRecord, DocumentStatus, KbSettings, ModelIdentity, PageCounts, Retention
from studio.index.generations import Build, Stores
from studio.index.upkeep import collect
from studio.paths import DataPaths

DIMENSION = 384
CHUNKS_PER_DOCUMENT = 10
MODEL = ModelIdentity("made-up", "0" * 64, DIMENSION, "mean")
WORDS = [f"word{n}" for n in range(20_000)]


def document(name: str, rng: random.Random) -> tuple[DocumentRecord, list[Chunk]]:
    """A document of ten chunks of 120 words."""
    chunks = []
    for at in range(CHUNKS_PER_DOCUMENT):
        content = " ".join(rng.choices(WORDS, k=120))
        content_hash = hashlib.sha256(content.encode()).hexdigest()
        chunks.append(Chunk(f"{name}-{content_hash[:16]}-{at}", name, content, content_hash, None, "", at, at + 1))
    record = DocumentRecord(
        name, f"/made/up/{name}", "0" * 64, 1, 1, "text", name, "", "", "", 0, PageCounts(), len(chunks),
        DocumentStatus.INDEXED, "", "",
    )  # fmt: skip
    return record, chunks


def tree_bytes(root: Path) -> int:
    """Bytes on disk below a folder; a hard-linked file counts once."""
    files = {}
    for path in root.rglob("*"):
        if path.is_file():
            status = path.stat()
            files[status.st_ino] = status.st_size
    return sum(files.values())


class Bench:
    """A knowledge base of made-up documents."""

    def __init__(self, stores: Stores, kb_id: str) -> None:
        self.stores, self.kb_id = stores, kb_id
        self.store = stores.store(kb_id)
        self.rng, self.vectors = random.Random(1), np.random.default_rng(1)

    async def fill(self, build: Build, names: Sequence[str]) -> None:
        for name in names:
            record, chunks = document(name, self.rng)
            vectors = self.vectors.normal(size=(len(chunks), DIMENSION)).astype(np.float32)
            await build.add_chunks(chunks, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
            await build.add_record(record)

    async def build(self, names: Sequence[str], *, replaced: Sequence[str] = ()) -> tuple[int, float]:
        begun = time.perf_counter()
        build = await self.store.begin(await self.stores.knowledge_base(self.kb_id), MODEL, note="benchmark")
        await build.tables.delete_paths(f"/made/up/{name}" for name in replaced)
        await self.fill(build, names)
        await build.flush()
        await build.delete_documents(replaced)
        generation = await self.store.seal(build)
        return generation.number, time.perf_counter() - begun

    async def promote(self, number: int) -> float:
        begun = time.perf_counter()
        await self.stores.catalog.promote(self.kb_id, number)
        return time.perf_counter() - begun


async def measure(chunks: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        stores = await Stores.open(DataPaths(Path(folder)))
        kb = await stores.catalog.create_kb("Benchmark", KbSettings())
        stores.paths.kb(kb.id).create()
        bench, root = Bench(stores, kb.id), stores.paths.kb(kb.id).root
        names = [f"d{n}" for n in range(chunks // CHUNKS_PER_DOCUMENT)]
        number, full_s = await bench.build(names)
        await bench.promote(number)
        full_bytes = tree_bytes(root)
        print(f"{'step':<34}{'seconds':>10}{'share':>9}{'MB':>10}{'share':>9}")
        print(f"{'full build':<34}{full_s:>10.2f}{'':>9}{full_bytes / 1e6:>10.1f}")
        before = full_bytes
        for at in range(4):
            number, seconds = await bench.build([f"new{at}"], replaced=[f"d{at}"])
            written = tree_bytes(root) - before
            promote_s = await bench.promote(number)
            before = tree_bytes(root)
            print(
                f"{f'change of one document (g{number})':<34}{seconds:>10.2f}{seconds / full_s:>9.1%}"
                f"{written / 1e6:>10.2f}{written / full_bytes:>9.2%}   promotion {promote_s * 1000:.1f} ms"
            )
        begun = time.perf_counter()
        await stores.catalog.promote(kb.id, number - 1)
        async with bench.store.reading() as snapshot:
            assert snapshot.generation.number == number - 1
        print(f"{'rollback, until it can be read':<34}{time.perf_counter() - begun:>10.3f}")
        bench.store.release()
        begun = time.perf_counter()
        report = await collect(bench.store, stores.catalog, retention=Retention(0), dry_run=False)
        print(
            f"{'collection of the rest':<34}{time.perf_counter() - begun:>10.2f}"
            f"{'':>9}{report.freed_bytes / 1e6:>10.1f}"
        )
        await stores.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    asyncio.run(measure(parser.parse_args().chunks))
