"""Installed embedders beside each other: speed, memory, and how well their vectors alone find.

    .venv/bin/python tests/benchmarks/embedders.py COLLECTION... [--models NAME ...] [--passages 300] [--queries 200]

A COLLECTION is a folder with corpus.jsonl, queries.jsonl and qrels.tsv (BEIR). Each model embeds, in its worker process
and with its prefixes, so many passages (those that the judgments name first, then others) and queries; every query is
compared with every passage. Printed of each model and collection: nDCG@10, passages a second and tokens a second of
wall time with one thread, p50 of a query's embedding, and the resident memory of the worker, also without mapped files.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studio.embedding.models import ModelCatalog
from studio.embedding.pool import EmbedderPool
from studio.memory import process_reading
from studio.paths import DataPaths, default_data_dir

DEPTH = 10


@dataclass(frozen=True, slots=True)
class Collection:
    """Passages and queries by their ids, and the relevant passages of each query."""

    name: str
    passages: dict[str, str]
    queries: dict[str, str]
    relevant: dict[str, dict[str, int]]


def _rows(file: Path) -> dict[str, str]:
    values = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {value["_id"]: f"{value.get('title', '')} {value['text']}".strip() for value in values}


def read(folder: Path, passages: int, queries: int) -> Collection:
    """A collection cut to so many queries and passages; every judged passage of a kept query stays."""
    relevant: dict[str, dict[str, int]] = {}
    with (folder / "qrels.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if int(row["score"]) > 0:
                relevant.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    asked = _rows(folder / "queries.jsonl")
    every = [query for query in asked if query in relevant]
    kept = every[:: max(1, len(every) // queries)][:queries]  # spread over the whole file
    corpus = _rows(folder / "corpus.jsonl")
    wanted = dict.fromkeys(passage for query in kept for passage in relevant[query])
    chosen = [*wanted, *(passage for passage in corpus if passage not in wanted)][: max(passages, len(wanted))]
    return Collection(
        folder.name,
        {passage: corpus[passage] for passage in chosen},
        {query: asked[query] for query in kept},
        {query: relevant[query] for query in kept},
    )


def ndcg(order: list[str], relevant: dict[str, int]) -> float:
    """nDCG@10 of one query."""
    weights = 1 / np.log2(np.arange(2, DEPTH + 2))
    gains = [relevant.get(passage, 0) for passage in order[:DEPTH]]
    best = sorted(relevant.values(), reverse=True)[:DEPTH]
    return float(np.dot(gains, weights[: len(gains)]) / np.dot(best, weights[: len(best)]))


async def measure(pool: EmbedderPool, model: str, data: Collection) -> list[str]:
    """One line of the table."""
    embedder = await pool.embedder(model)
    texts = list(data.passages.values())
    tokens = sum(await embedder.count_tokens(texts))
    begun = time.perf_counter()
    passages = await embedder.embed(texts)
    took = time.perf_counter() - begun
    ids, scores, times = list(data.passages), [], []
    for query, text in data.queries.items():
        begun = time.perf_counter()
        vector = (await embedder.embed([text], interactive=True, query=True))[0]
        times.append(time.perf_counter() - begun)
        order = [ids[row] for row in np.argsort(-(passages @ vector))[:DEPTH]]
        scores.append(ndcg(order, data.relevant[query]))
    pid = next(loaded.pid for loaded in pool.loaded() if loaded.name == model)
    reading = process_reading(pid)
    resident, own = (reading.resident >> 20, reading.private >> 20) if reading is not None else (0, 0)
    speed = f"{len(texts) / took:.1f}", f"{tokens / took:.0f}", f"{1000 * statistics.median(times):.1f}"
    return [data.name, model, f"{statistics.mean(scores):.3f}", *speed, str(resident), str(own)]


async def run(options: argparse.Namespace) -> None:
    catalog = ModelCatalog(DataPaths(options.data_dir))
    installed = [info.name for info in catalog.list() if info.installed and info.kind == "embedder"]
    rows = [["COLLECTION", "MODEL", "nDCG@10", "PASSAGES/s", "TOKENS/s", "QUERY ms", "MiB", "OWN MiB"]]
    for folder in options.collections:
        data = read(folder, options.passages, options.queries)
        for model in options.models or installed:
            pool = EmbedderPool(catalog)
            try:
                rows.append(await measure(pool, model, data))
            finally:
                await pool.close()
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+", type=Path)
    parser.add_argument("--models", nargs="*", default=[])
    parser.add_argument("--passages", type=int, default=300)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--data-dir", type=Path, default=default_data_dir())
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
