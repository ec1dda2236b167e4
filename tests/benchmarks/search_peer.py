"""One peer of `search.py`: `search_peer.py lancedb|chromadb|qdrant build|nearest|answer|show FOLDER`. Prints JSON.

`build` indexes FOLDER/vectors.npy and texts.txt below FOLDER/NAME; `nearest`, in a new process, tells what each query
finds by vector; `answer` answers the queries, `show` with words marked and snippets cut, by what RAG Studio does that
with, as no peer has the like.
chromadb and qdrant have no BM25: bm25s stands beside them, and the two lists are fused as RAG Studio fuses them.
"""

from __future__ import annotations

import importlib
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psutil

DEPTH = 100
PAGE = 10
ROWS = 2048


def batches(folder: Path) -> Iterator[tuple[int, list[str], Any]]:
    """(number of the first row, texts, vectors), some thousand at a time."""
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    with (folder / "texts.txt").open(encoding="utf-8") as lines:
        for first in range(0, len(vectors), ROWS):
            texts = [line.rstrip("\n") for line in itertools.islice(lines, ROWS)]
            yield first, texts, np.ascontiguousarray(vectors[first : first + ROWS])


class Peer(Protocol):
    """What is compared. Rows are known by their numbers."""

    def build(self, folder: Path) -> None: ...

    def open(self, ann: Mapping[str, Any]) -> None: ...

    def nearest(self, vector: Any, limit: int) -> dict[int, float]: ...

    def hybrid(self, text: str, vector: Any) -> list[str]: ...


class Words:
    """bm25s over the same texts, its index mapped from disk."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def build(self, folder: Path) -> None:
        import bm25s

        texts = itertools.chain.from_iterable(texts for _, texts, _ in batches(folder))
        retriever = bm25s.BM25()
        retriever.index(bm25s.tokenize(list(texts), stopwords="en", show_progress=False), show_progress=False)
        retriever.save(str(self._place))

    def open(self) -> None:
        import bm25s

        self._retriever = bm25s.BM25.load(str(self._place), mmap=True)

    def search(self, text: str) -> dict[int, float]:
        import bm25s

        tokens = bm25s.tokenize([text], stopwords="en", show_progress=False)
        rows, scores = self._retriever.retrieve(tokens, k=DEPTH, show_progress=False)
        return {int(row): float(score) for row, score in zip(rows[0], scores[0], strict=True) if score > 0}


def fused(vector: dict[int, float], keyword: dict[int, float]) -> list[int]:
    """The first page of a convex combination of normalised scores, half and half."""
    totals: dict[int, float] = {}
    for side in (vector, keyword):
        low, high = min(side.values(), default=0.0), max(side.values(), default=0.0)
        for row, score in side.items():
            totals[row] = totals.get(row, 0.0) + 0.5 * ((score - low) / (high - low) if high > low else 1.0)
    return sorted(totals, key=lambda row: (-totals[row], row))[:PAGE]


class Chroma:
    """A persistent chromadb collection with as wide a search as its recall needs: of 100,000 passages it finds .999 of
    the ten nearest with the least that 100 results need, of a million .970 with twice as much.
    """

    def __init__(self, place: Path) -> None:
        import chromadb

        self._client = chromadb.PersistentClient(str(place / "chroma"))
        self._words = Words(place / "bm25s")

    def build(self, folder: Path) -> None:
        rows = len(np.load(folder / "vectors.npy", mmap_mode="r"))
        space = {"hnsw": {"space": "cosine", "ef_search": DEPTH if rows <= 100_000 else 2 * DEPTH}}
        collection = self._client.create_collection("passages", configuration=space, embedding_function=None)
        for first, texts, vectors in batches(folder):
            ids = [str(first + offset) for offset in range(len(texts))]
            collection.add(ids=ids, documents=texts, embeddings=vectors)
        self._words.build(folder)

    def open(self, ann: Mapping[str, Any]) -> None:
        self._collection = self._client.get_collection("passages", embedding_function=None)
        self._words.open()

    def nearest(self, vector: Any, limit: int) -> dict[int, float]:
        found = self._collection.query(query_embeddings=[vector], n_results=limit, include=["distances"])
        return {int(row): 1.0 - distance for row, distance in zip(found["ids"][0], found["distances"][0], strict=True)}

    def hybrid(self, text: str, vector: Any) -> list[str]:
        page = fused(self.nearest(vector, DEPTH), self._words.search(text))
        return self._collection.get(ids=[str(row) for row in page], include=["documents"])["documents"]


class Qdrant:
    """qdrant-client without a server: it compares with every vector."""

    def __init__(self, place: Path) -> None:
        from qdrant_client import QdrantClient

        self._client = QdrantClient(path=str(place / "qdrant"))
        self._words = Words(place / "bm25s")

    def build(self, folder: Path) -> None:
        from qdrant_client import models

        dimension = np.load(folder / "vectors.npy", mmap_mode="r").shape[1]
        vectors = models.VectorParams(size=dimension, distance=models.Distance.COSINE)
        self._client.create_collection("passages", vectors_config=vectors)
        for first, texts, rows in batches(folder):
            ids = list(range(first, first + len(texts)))
            payloads = [{"text": text} for text in texts]
            self._client.upsert("passages", models.Batch(ids=ids, vectors=rows.tolist(), payloads=payloads))
        self._client.close()
        self._words.build(folder)

    def open(self, ann: Mapping[str, Any]) -> None:
        self._words.open()

    def nearest(self, vector: Any, limit: int) -> dict[int, float]:
        found = self._client.query_points("passages", query=vector.tolist(), limit=limit, with_payload=False)
        return {point.id: point.score for point in found.points}

    def hybrid(self, text: str, vector: Any) -> list[str]:
        page = fused(self.nearest(vector, DEPTH), self._words.search(text))
        return [point.payload["text"] for point in self._client.retrieve("passages", ids=page)]


class Lance:
    """A LanceDB table with a vector index of the kind RAG Studio chose, a full-text index, and its hybrid query."""

    def __init__(self, place: Path) -> None:
        import lancedb

        self._db = lancedb.connect(str(place))

    def build(self, folder: Path) -> None:
        import pyarrow as pa

        table = None
        for first, texts, vectors in batches(folder):
            flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
            rows = pa.table(
                {"id": pa.array(range(first, first + len(texts)), pa.int64()), "text": texts, "vector": flat}
            )
            if table is None:
                table = self._db.create_table("passages", rows)
            else:
                table.add(rows)
        assert table is not None
        ann = _queries(folder)["ann"]
        if ann["trained_rows"]:
            kind = {"hnsw_flat": "IVF_HNSW_FLAT", "hnsw_sq": "IVF_HNSW_SQ", "hnsw_pq": "IVF_HNSW_PQ"}
            table.create_index(metric="cosine", index_type=kind.get(ann["index"], ann["index"].upper()))
        table.create_fts_index("text", use_tantivy=False)

    def open(self, ann: Mapping[str, Any]) -> None:
        self._table = self._db.open_table("passages")
        self._ann = ann

    def _tuned(self, query: Any) -> Any:
        for name in ("nprobes", "refine_factor", "ef"):
            if self._ann[name]:
                query = getattr(query, name)(self._ann[name])
        return query

    def nearest(self, vector: Any, limit: int) -> dict[int, float]:
        query = self._tuned(self._table.search(vector).distance_type("cosine"))
        rows = query.limit(limit).select(["id", "_distance"]).to_arrow()
        return dict(zip(rows["id"].to_pylist(), (1.0 - rows["_distance"].to_numpy()).tolist(), strict=True))

    def hybrid(self, text: str, vector: Any) -> list[str]:
        query = self._table.search(query_type="hybrid").vector(vector).text(text).distance_type("cosine")
        return [row["text"] for row in self._tuned(query).limit(DEPTH).to_arrow().slice(0, PAGE).to_pylist()]


PEERS: dict[str, tuple[Any, ...]] = {
    "lancedb": (Lance, "lancedb"),
    "chromadb": (Chroma, "chromadb", "bm25s"),
    "qdrant": (Qdrant, "qdrant_client", "bm25s"),
}


def answered(peer: Peer, folder: Path, show: Callable[[str, list[str]], None] | None = None) -> dict[str, Any]:
    """Milliseconds of each hybrid query, and resident bytes. `show` is part of an answer: of a query and its texts."""
    told = _queries(folder)
    vectors = np.load(folder / "queries.npy")
    peer.open(told["ann"])
    times = []
    for text, vector in zip(told["texts"], vectors, strict=True):
        begun = time.perf_counter()
        texts = peer.hybrid(text, vector)
        if show is not None:
            show(text, texts)
        times.append((time.perf_counter() - begun) * 1000)
    return {"times_ms": times[told["warm_up"] :], "memory": psutil.Process().memory_info().rss}


def nearest(peer: Peer, folder: Path) -> list[list[int]]:
    """The ten nearest by vector of every query."""
    peer.open(_queries(folder)["ann"])
    return [[*peer.nearest(vector, DEPTH)][:PAGE] for vector in np.load(folder / "queries.npy")]


def _queries(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "queries.json").read_text("utf-8"))
    return told


def marking() -> Callable[[str, list[str]], None]:
    """Marks the words of a query in texts, and cuts these to snippets, as RAG Studio does."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from studio.index.keywords import Analyzer
    from studio.index.ranking import snippet

    analyzer = Analyzer("en")

    def show(query: str, texts: list[str]) -> None:
        terms = dict.fromkeys(analyzer.terms(query))
        for text in texts:
            snippet(text, analyzer.highlights(text, terms)[0])

    return show


def main() -> None:
    """One step of one peer."""
    name, step, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    kind, *libraries = PEERS[name]
    for library in libraries:
        importlib.import_module(library)
    code = psutil.Process().memory_info().rss
    place = folder / name
    place.mkdir(exist_ok=True)
    peer = kind(place)
    if step == "build":
        begun = time.perf_counter()
        peer.build(folder)
        told: dict[str, Any] = {"index_s": time.perf_counter() - begun}
    elif step == "nearest":
        told = {"nearest": nearest(peer, folder)}
    else:
        told = {"code": code, **answered(peer, folder, marking() if step == "show" else None)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
