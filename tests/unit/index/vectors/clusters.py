"""Generations of made-up vectors that lie in clusters, and what an exact search finds in them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from studio.domain import AnnIndex, Candidate, Chunk, Generation, Metric, ModelIdentity, Vectors
from studio.index.generations import Snapshot
from studio.index.vectors import Within
from studio.index.vectors.flat_vectors import similarities
from tests.helpers.toy import Bench, record_of

DIMENSION = 32
MODEL = ModelIdentity("toy", "b" * 64, DIMENSION, "mean")
ROWS_PER_DOCUMENT = 25
_SPREAD = 0x9E3779B97F4A7C15


def vectors(rows: int, seed: int = 0) -> Vectors:
    """Unit vectors in clusters, with most of the variance in few directions, as embeddings have it."""
    chance = np.random.default_rng(seed)
    spread = (np.arange(1, DIMENSION + 1) ** -0.5).astype(np.float32)
    centres = chance.normal(size=(50, DIMENSION)).astype(np.float32) * spread
    found = centres[chance.integers(50, size=rows)]
    found = found + 0.7 * chance.normal(size=found.shape).astype(np.float32) * spread + spread
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def queries(matrix: Vectors, count: int) -> Vectors:
    """Some of the vectors, a little disturbed."""
    chance = np.random.default_rng(7)
    picked = matrix[chance.choice(len(matrix), count, replace=False)]
    return np.asarray(picked + 0.05 * chance.normal(size=picked.shape), np.float32)


def chunk_id(number: int) -> str:
    """As those of the program: 32 hexadecimal digits."""
    return f"{number * _SPREAD:032x}"


def number_of(chunk: str) -> int:
    """The row of a chunk id."""
    return int(chunk, 16) // _SPREAD


def document_id(number: int) -> str:
    return f"d{number // ROWS_PER_DOCUMENT:06d}"


async def generation_of(
    bench: Bench, matrix: Vectors, *, first: int = 0, index: AnnIndex = AnnIndex.AUTO
) -> Generation:
    """A promoted generation with these vectors more; row n is chunk `first` + n."""
    kb = await bench.stores.knowledge_base(bench.kb.id)
    settings = replace(kb.settings, index=index)
    await bench.stores.catalog.update_settings(bench.kb.id, settings)
    build = await bench.begin(MODEL)
    numbers = range(first, first + len(matrix))
    chunks = [Chunk(chunk_id(n), document_id(n), f"word{n % 97}", f"h{n}", 1, "", 0, 1) for n in numbers]
    await build.add_chunks(chunks, matrix)
    for document in sorted({document_id(n) for n in numbers}):
        await build.add_record(record_of(document, f"/docs/{document}", ROWS_PER_DOCUMENT))
    return await bench.promote(await bench.store.seal(build))


def truth(matrix: Vectors, query: Vectors, metric: Metric, passing: np.ndarray | None = None) -> list[str]:
    scores = similarities(matrix, query[None], metric)[:, 0]
    if passing is not None:
        scores[~passing] = -np.inf
    return [chunk_id(int(n)) for n in np.argsort(-scores, kind="stable")[:10]]


async def search(
    snapshot: Snapshot, query: Vectors, *, limit: int = 10, within: Within | None = None, exact: bool = False
) -> list[Candidate]:
    generation = snapshot.generation
    return await snapshot.tables.nearest(
        query, metric=generation.settings.metric, limit=limit, within=within, ann=generation.ann, exact=exact
    )


async def recall(
    snapshot: Snapshot, matrix: Vectors, within: Within | None = None, passing: np.ndarray | None = None
) -> float:
    hits, wanted = 0, 0
    for query in queries(matrix, 12):
        expected = truth(matrix, query, snapshot.generation.settings.metric, passing)
        found = await search(snapshot, query, within=within)
        assert len(found) == 10
        assert all(before.score >= after.score for before, after in pairwise(found))
        hits += len({item.chunk_id for item in found} & set(expected))
        wanted += 10
    return hits / wanted
