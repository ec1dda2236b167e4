"""Ingest against the embedding worker alone, on the same chunks, in one run.

    .venv/bin/python tests/benchmarks/ingest.py [--rows 300]

Prints chunks per second of both and their ratio: what parsing, chunking, writing, sealing and promoting cost
on top of the model. Needs the default model (`rag-studio model install all-MiniLM-L6-v2`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from pathlib import Path

from studio.bootstrap import open_services
from studio.paths import resources_dir


def passages(rows: int) -> list[str]:
    """Passages of the length of a chunk, made of shuffled sentences of the sample library."""
    text = " ".join(path.read_text("utf-8") for path in sorted((resources_dir() / "samples").glob("*.md")))
    sentences = [part.strip() for part in text.replace("\n", " ").split(". ") if len(part) > 30]
    rng = random.Random(1)
    return [". ".join(rng.sample(sentences, 8)) for _ in range(rows)]


async def measure(rows: int) -> None:
    """Ingest the passages, then embed the very chunks again without anything else."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "passages.jsonl")
        source.write_text(
            "".join(json.dumps({"_id": str(n), "text": text}) + "\n" for n, text in enumerate(passages(rows)))
        )
        async with open_services(Path(folder, "data")) as services:
            kb = await services.library.create("Benchmark")
            await services.search.warm_up()
            embedder = await services.ingest._embedders.embedder(kb.settings.model)
            await embedder.embed(["warm up"] * 8)
            report = await services.ingest.ingest(kb.id, [source])
            async with services.library._stores.store(kb.id).reading() as snapshot:
                texts = [content for _, _, content in await snapshot.tables.contents()]
            begun = time.perf_counter()
            await embedder.embed(texts)
            alone_s = time.perf_counter() - begun
            begun = time.perf_counter()
            again = await services.ingest.ingest(kb.id, [source])
            again_s = time.perf_counter() - begun
    alone, whole = len(texts) / alone_s, report.chunks_added / report.seconds
    print(f"{'what':<28}{'chunks':>8}{'seconds':>10}{'chunks/s':>10}")
    print(f"{'embedding worker alone':<28}{len(texts):>8}{alone_s:>10.2f}{alone:>10.1f}")
    print(f"{'ingest, end to end':<28}{report.chunks_added:>8}{report.seconds:>10.2f}{whole:>10.1f}")
    print(f"{'ingest again, unchanged':<28}{again.embedded:>8}{again_s:>10.2f}{'':>10}")
    print(f"ratio {whole / alone:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300)
    asyncio.run(measure(parser.parse_args().rows))
