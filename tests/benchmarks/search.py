"""Search against its parts, and against peers, on made-up passages.

    .venv/bin/python tests/benchmarks/search.py [--sizes 10000x768 100000x384 1000000x384] [--queries 200]
                                                [--peers PYTHON] [--against lancedb chromadb qdrant]
                                                [--turns 3] [--folder DIR]

For each size a data directory is filled by the program's own building, so that the indexes are what the program makes.
Then each query is answered four ways, in turn: (a) its embedding by the default model's worker, (b) LanceDB alone
with the generation's own index and parameters, (c) Tantivy alone, an OR of the query's terms, (d) our hybrid search.
Sides go 100 deep, pages have 10 results. Printed: p50, p95, p99, ratio of the p50 to (a) + the slower of (b) and (c),
recall@10 of our vector side against comparing with every vector, bytes on disk, and the resident memory of a fresh
process that answered the queries, also without what interpreter and libraries take. Below our search stand its steps.

What the model embeds, every time and timed, is a stretch of English of as many words: made-up words fall into more
tokens than words do. The vector then searched is one made up with the passages, near that of the passage asked for. So
it is for 768 numbers too, although the model gives 384.

With `--peers`, an interpreter that has chromadb, qdrant-client, bm25s and tantivy, the same passages and vectors go
into those two (hybrid: their vectors and bm25s, fused as we do), and into LanceDB's own hybrid query in our
interpreter. The query's vector is given to all of them, to us as well, so that the table compares searching alone. They
are asked by turns, each time in a fresh process, as the same one takes a third more or less from one minute to the next
on a machine that is shared: shown are the median turn, and the p50 of the quickest and of the slowest. Answers of two
kinds are compared: the texts of ten results, which is what the peers give, and what a person is shown, words marked and
snippets cut. For the second the peers' texts are marked and cut by our functions, in processes of their own; tantivy is
for that. Our answers of the first kind are those of the second without the time of marking and cutting.

Needs the default model (`rag-studio model install all-MiniLM-L6-v2`). With a million passages it takes 10 GB of disk.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from search_data import CHUNKS_PER_DOCUMENT, Data, Exact, Query, chunks_of, document_id, number_of
from search_tables import Turns, mib, print_compared, print_times

from studio.domain import (
    AnnIndex,
    AnnState,
    DocumentRecord,
    DocumentStatus,
    Embedder,
    KbSettings,
    ModelInfo,
    PageCounts,
    SearchMode,
    SearchRequest,
    SearchResponse,
    Vectors,
)
from studio.embedding.models import ModelCatalog
from studio.embedding.pool import EmbedderPool
from studio.index.generations import Stores
from studio.index.vectors import load_library
from studio.index.vectors.ann import refine_for
from studio.paths import DataPaths
from studio.services.search import SearchService

PEER = Path(__file__).with_name("search_peer.py")
NAME = "benchmark"
DEPTH = 100
WARM_UP = 20
PEERS = ("lancedb", "chromadb", "qdrant")
SIZES = ("10000x768", "100000x384", "1000000x384")


class GivenVectors:
    """An embedder whose vectors are those of the queries. `real`, where there is one, embeds words for each as well."""

    def __init__(self, model: ModelInfo, queries: Sequence[Query], real: Embedder | None = None) -> None:
        self.model = model
        self._queries = {query.text: query for query in queries}
        self._real = real

    async def embedder(self, model: str) -> Embedder:
        return self

    async def embed(self, texts: Sequence[str], *, interactive: bool = False, query: bool = False) -> Vectors:
        if self._real is not None:
            await self._real.embed([self._queries[text].english for text in texts], interactive=interactive)
        return np.stack([self._queries[text].vector for text in texts])

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        if self._real is not None:
            return await self._real.count_tokens([self._queries[text].english for text in texts])
        return [len(text.split()) for text in texts]

    async def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Filled:
    """A data directory with one generation, and what its queries should find."""

    exact: Exact
    seconds: float
    vector_bytes: int
    keyword_bytes: int
    ann: AnnState


async def fill(stores: Stores, data: Data, queries: list[Query], model: ModelInfo, export: Path | None) -> Filled:
    """Build and promote a generation of `data`; with `export` also write vectors and texts for the peers."""
    settings = KbSettings(model=model.name)
    kb = await stores.catalog.create_kb(NAME, settings)
    stores.paths.kb(kb.id).create()
    store, exact = stores.store(kb.id), Exact(queries)
    lines = matrix = None
    if export is not None:
        lines = (export / "texts.txt").open("w", encoding="utf-8")
        matrix = np.lib.format.open_memmap(export / "vectors.npy", "w+", np.float32, (data.rows, data.dimension))
    lock = await store.lock_for_writing(NAME)
    seconds = 0.0
    try:
        build = await store.begin(kb, model.identity, note="")
        for batch in data.batches():
            exact.see(batch)
            if lines is not None and matrix is not None:
                lines.writelines(f"{text}\n" for text in batch.texts)
                matrix[batch.first : batch.first + len(batch.texts)] = batch.vectors
            chunks = chunks_of(batch)
            begun = time.perf_counter()
            await build.add_chunks(chunks, batch.vectors)
            seconds += time.perf_counter() - begun
        for number in range(-(-data.rows // CHUNKS_PER_DOCUMENT)):
            await build.add_record(_record(number))
        begun = time.perf_counter()
        generation = await store.seal(build)
        await stores.catalog.promote(kb.id, generation.number)
        seconds += time.perf_counter() - begun
    finally:
        lock.release()
        if lines is not None:
            lines.close()
    sizes = [_bytes_below(path) for path in (store.paths.vectors, store.paths.lexical)]
    return Filled(exact, seconds, *sizes, generation.ann)


def _record(number: int) -> DocumentRecord:
    return DocumentRecord(
        document_id(number), f"/benchmark/{number // 1000}/{number}.txt", f"{number:064x}", 20_000, 0, "txt",
        f"Document {number}", "", "", "", 0, PageCounts(), CHUNKS_PER_DOCUMENT, DocumentStatus.INDEXED, "", "",
    )  # fmt: skip


async def measure(folder: Path, data: Data, count: int, peers: Path | None, against: Sequence[str], turns: int) -> None:
    """Fill a data directory of one size and print its tables."""
    queries = data.queries(count + WARM_UP)
    stores = await Stores.open(DataPaths.resolve(folder / "data"))
    models = EmbedderPool(ModelCatalog(stores.paths), threads=1)
    try:
        real = await models.embedder(KbSettings().model)
        model = replace(real.model, dimension=data.dimension)
        filled = await fill(stores, data, queries, model, folder if peers else None)
        print(f"\n{data.rows:,} × {data.dimension}: built in {filled.seconds:.1f} s; {_described(filled.ann)}")
        times = await _in_turn(stores, queries, GivenVectors(model, queries, real), real)
        print_times(times)
        given = SearchService(stores, GivenVectors(model, queries))
        found = [_numbers(await given.search(_request(query, SearchMode.VECTOR))) for query in queries]
        print(f"recall@10 of the vector side {filled.exact.recall(found):.4f}")
        print(f"disk: vectors and texts {mib(filled.vector_bytes)}, keywords {mib(filled.keyword_bytes)}")
    finally:
        await models.close()
        await stores.close()
    _write_queries(folder, queries, filled.ann)
    if peers:
        ours = Turns(filled.exact.recall(found), filled.seconds, filled.vector_bytes + filled.keyword_bytes)
        pythons = {name: Path(sys.executable) if name == "lancedb" else peers for name in against}
        print_compared(_compare(folder, model, filled.exact, ours, pythons, turns))
    else:
        fresh = _fresh(folder, model)
        print(
            f"resident memory of a fresh process that answered them {mib(fresh['memory'])}, "
            f"{mib(fresh['memory'] - fresh['code'])} more than after its imports",
            flush=True,
        )


def _compare(
    folder: Path, model: ModelInfo, exact: Exact, ours: Turns, pythons: Mapping[str, Path], turns: int
) -> dict[str, Turns]:
    """What we and the peers, whose interpreters are given, tell by turns."""
    rows = {"RAG Studio": ours}
    for name, python in pythons.items():
        built = _peer(name, "build", python, folder)
        if built and (found := _peer(name, "nearest", python, folder)):
            rows[name] = Turns(exact.recall(found["nearest"]), built["index_s"], _bytes_below(folder / name))
    for _ in range(turns):
        fresh = _fresh(folder, model)
        ours.add(fresh)
        ours.shown_ms.append(fresh["times_ms"])
        ours.texts_ms.append(np.array(fresh["times_ms"]) - fresh["marking_ms"])
        for name, python in pythons.items():
            if name in rows and (answered := _peer(name, "answer", python, folder)):
                rows[name].add(answered)
                rows[name].texts_ms.append(answered["times_ms"])
            if name in rows and (shown := _peer(name, "show", python, folder)):
                rows[name].shown_ms.append(shown["times_ms"])
    return rows


async def _in_turn(
    stores: Stores, queries: Sequence[Query], embedders: GivenVectors, real: Embedder
) -> dict[str, list[float]]:
    """Milliseconds of each way by name, and of each step of our search; which way is first changes by query."""
    service = SearchService(stores, embedders)
    kb = await stores.knowledge_base(NAME)
    times: dict[str, list[float]] = defaultdict(list)
    async with stores.store(kb.id).reading() as snapshot:
        bare_words = _bare_tantivy(stores.store(kb.id).paths.lexical_generation(snapshot.generation.number))
        for number, query in enumerate(queries):
            terms = snapshot.lexical.analyzer.terms(query.text)
            ways: list[tuple[str, Callable[[], Awaitable[Any]]]] = [
                ("query embedding", lambda query=query: real.embed([query.english], interactive=True)),
                (
                    "LanceDB alone",
                    lambda query=query: _bare_lance(snapshot.tables._chunks, query.vector, snapshot.generation.ann),
                ),
                ("Tantivy alone", lambda terms=terms: asyncio.to_thread(bare_words, terms)),
                ("hybrid search", lambda query=query: service.search(_request(query))),
            ]
            for name, way in ways[number % 4 :] + ways[: number % 4]:
                begun = time.perf_counter()
                answer = await way()
                if number >= WARM_UP:
                    times[name].append((time.perf_counter() - begun) * 1000)
                    if isinstance(answer, SearchResponse):
                        for step, spent in answer.timings_ms.items():
                            times[f"  {step}"].append(spent)
    return times


async def _bare_lance(table: Any, vector: Vectors, ann: AnnState) -> None:
    query = table.query().nearest_to(vector).distance_type("cosine").limit(DEPTH)
    refine = refine_for(ann, DEPTH)
    query = query.bypass_vector_index() if ann.index is AnnIndex.FLAT else query.nprobes(ann.nprobes)
    if refine:
        query = query.refine_factor(refine)
    if ann.ef:
        query = query.ef(max(ann.ef, DEPTH * max(1, refine)))
    await query.select(["chunk_id", "_distance"]).to_arrow()


def _bare_tantivy(directory: Path) -> Callable[[Sequence[str]], None]:
    import tantivy

    index = tantivy.Index.open(str(directory))
    searcher = index.searcher()

    def search(terms: Sequence[str]) -> None:
        words = [tantivy.Query.term_query(index.schema, "body", term, index_option="freq") for term in terms]
        searcher.search(tantivy.Query.boolean_query([(tantivy.Occur.Should, word) for word in words]), DEPTH)

    return search


def _request(query: Query, mode: SearchMode = SearchMode.HYBRID) -> SearchRequest:
    return SearchRequest((NAME,), query.text, mode)


def _numbers(response: SearchResponse) -> list[int]:
    return [number_of(result.chunk_id) for result in response.results]


def _write_queries(folder: Path, queries: Sequence[Query], ann: AnnState) -> None:
    np.save(folder / "queries.npy", np.stack([query.vector for query in queries]))
    told = {
        "texts": [query.text for query in queries],
        "warm_up": WARM_UP,
        "ann": {**asdict(ann), "refine_factor": refine_for(ann, DEPTH)},
    }
    (folder / "queries.json").write_text(json.dumps(told), "utf-8")


def _fresh(folder: Path, model: ModelInfo) -> dict[str, Any]:
    """What a new process tells that opened the data directory and answered every query; no model in it."""
    told = json.dumps({**asdict(model), "path": None})
    command = [sys.executable, __file__, "--answer", str(folder), told]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


async def answer(folder: Path, model: ModelInfo) -> None:
    """Answer the queries in `folder`, as the peers do; print the times that it took, what of each was spent on marking,
    and this process's resident bytes after the imports ("code") and in the end.
    """
    await load_library()
    importlib.import_module("tantivy")
    code = psutil.Process().memory_info().rss
    told = json.loads((folder / "queries.json").read_text("utf-8"))
    pairs = zip(told["texts"], np.load(folder / "queries.npy"), strict=True)
    queries = [Query(text, "", vector, 0) for text, vector in pairs]
    stores = await Stores.open(DataPaths.resolve(folder / "data"))
    service = SearchService(stores, GivenVectors(model, queries))
    kb = await stores.knowledge_base(NAME)
    async with stores.store(kb.id).reading() as snapshot:
        await snapshot.tables.prewarm()
    gc.freeze()  # both as the program does when it starts
    times, marking = [], []
    for query in queries:
        begun = time.perf_counter()
        response = await service.search(_request(query))
        times.append((time.perf_counter() - begun) * 1000)
        marking.append(response.timings_ms["mark"])
    memory = psutil.Process().memory_info().rss
    first = told["warm_up"]
    print(json.dumps({"code": code, "memory": memory, "times_ms": times[first:], "marking_ms": marking[first:]}))
    await stores.close()


def _peer(name: str, step: str, python: Path, folder: Path) -> dict[str, Any]:
    """What a peer tells of one of its steps, in a process of its own; nothing if it failed."""
    done = subprocess.run(
        [str(python), str(PEER), name, step, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        print(f"{name} failed to {step}: {done.stderr.strip().splitlines()[-1:]}")
        return {}
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _described(ann: AnnState) -> str:
    settings = {key: getattr(ann, key) for key in ("nprobes", "refine_factor", "ef") if getattr(ann, key)}
    measured = f", recall {ann.recall:.4f} on {ann.sampled} of its own vectors" if ann.recall is not None else ""
    return f"vector index {ann.index}" + "".join(f", {key} {value}" for key, value in settings.items()) + measured


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def folder_for(name: str) -> Path:
    """The folder an option names, made if need be."""
    folder = Path(name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def run(options: argparse.Namespace) -> None:
    """Every size in a directory of its own."""
    for size in options.sizes:
        rows, dimension = map(int, size.split("x"))
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            data = Data(rows, dimension)
            await measure(Path(folder), data, options.queries, options.peers, options.against, options.turns)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer"]:
        asyncio.run(answer(Path(sys.argv[2]), ModelInfo(**json.loads(sys.argv[3]))))
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=SIZES[:2], metavar="ROWSxDIMENSION")
    parser.add_argument("--queries", type=int, default=200, metavar="N")
    parser.add_argument("--peers", type=Path, metavar="PYTHON")
    parser.add_argument("--against", nargs="+", default=PEERS, choices=PEERS)
    parser.add_argument("--turns", type=int, default=3, metavar="N")
    parser.add_argument("--folder", type=folder_for, metavar="DIR")
    asyncio.run(run(parser.parse_args()))
