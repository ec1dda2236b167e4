"""Evaluation: how well each mode finds what judgments say it should.

Collections are in BEIR form: queries as JSON lines (`_id`, `text`), judgments as tab-separated lines
(query id, document id, grade). A document's id is the `_id` of its row or its file stem, and it ranks by its
best chunk.
"""

from __future__ import annotations

import asyncio
import csv
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from studio.domain import Fusion, SearchMode, SearchRequest
from studio.errors import InvalidRequest, NotFound, storage_fault
from studio.index.stores import Stores
from studio.services.search import SearchService

Judgments = dict[str, dict[str, int]]
"""Query id → document id → grade; above 0 is relevant."""


@dataclass(frozen=True, slots=True)
class ModeQuality:
    """Means over the judged queries, cut off at k, and latency percentiles in milliseconds."""

    ndcg: float
    recall: float
    mrr: float
    map: float
    precision: float
    latency_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` found."""

    k: int
    queries: int
    modes: Mapping[str, ModeQuality]


class QualityService:
    """Runs judged queries against a knowledge base."""

    def __init__(self, stores: Stores, search: SearchService) -> None:
        self._stores = stores
        self._search = search

    async def evaluate(
        self,
        kb: str,
        queries: Path,
        qrels: Path,
        *,
        modes: Sequence[SearchMode] = tuple(SearchMode),
        k: int = 10,
        weight: float | None = None,
        fusion: Fusion = Fusion.MINMAX,
        progress: Callable[[int, int], None] | None = None,
    ) -> Evaluation:
        """Search every judged query in every mode. Raises NotFound, InvalidRequest."""
        if k < 1:
            raise InvalidRequest("k must be at least 1.")
        base = await self._stores.knowledge_base(kb)
        texts = await asyncio.to_thread(read_queries, queries)
        judgments = await asyncio.to_thread(read_qrels, qrels)
        judged = [query for query in texts if any(grade > 0 for grade in judgments.get(query, {}).values())]
        if not judged:
            raise InvalidRequest("No query has a judgment.", way_out="Check that both files use the same query ids.")
        external = await self._external_ids(base.id)
        results = {}
        for at, mode in enumerate(modes):
            rankings, latencies = {}, []
            for number, query in enumerate(judged):
                request = SearchRequest((base.id,), texts[query], mode, limit=max(k, 10), weight=weight, fusion=fusion)
                begun = time.perf_counter()
                rankings[query] = await self._documents(request, external)
                latencies.append((time.perf_counter() - begun) * 1000)
                if progress is not None and number % 50 == 0:
                    progress(at * len(judged) + number, len(modes) * len(judged))
            results[mode.value] = _measure(rankings, judgments, k, latencies)
        return Evaluation(k, len(judged), results)

    async def _external_ids(self, kb_id: str) -> dict[str, str]:
        """Chunk id → external document id, for the active generation."""
        async with self._stores.store(kb_id).reading() as snapshot:
            names = {
                record.document_id: record.external_id or PurePath(record.source_path).stem
                for record in await snapshot.tables.documents()
            }
            return {chunk: names[document] for chunk, document, _ in await snapshot.tables.contents()}

    async def _documents(self, request: SearchRequest, external: Mapping[str, str]) -> list[str]:
        async with self._search.ranking(request) as ranking:
            if ranking.degraded:
                raise NotFound(ranking.degraded)
            return list(dict.fromkeys(external[ranking.split(item)[1]] for item in ranking.fused))


def read_queries(path: Path) -> dict[str, str]:
    """Query id → text. Raises NotFound, InvalidRequest naming the line."""
    queries: dict[str, str] = {}
    for number, line in enumerate(lines_of(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            queries[str(row["_id"])] = str(row["text"])
        except (ValueError, KeyError, TypeError):
            raise InvalidRequest(
                f"{path}, line {number}, is not a query.", way_out='Each line: {"_id": "…", "text": "…"}.'
            ) from None
    return queries


def read_qrels(path: Path) -> Judgments:
    """Judgments from three tab-separated columns (BEIR) or four columns (TREC). Raises NotFound, InvalidRequest."""
    judgments: Judgments = {}
    for number, row in enumerate(csv.reader(lines_of(path), delimiter="\t"), start=1):
        cells = row if len(row) >= 3 else " ".join(row).split()
        if len(cells) == 4:
            cells = [cells[0], cells[2], cells[3]]
        if not cells or (number == 1 and cells[-1] == "score"):
            continue
        try:
            query, document, grade = cells
            judgments.setdefault(query, {})[document] = int(grade)
        except ValueError:
            raise InvalidRequest(
                f"{path}, line {number}, is not a judgment.", way_out="Each line: query id, document id, grade."
            ) from None
    return judgments


def lines_of(path: Path) -> list[str]:
    """The lines of a text file. Raises NotFound, StorageFault, and InvalidRequest when it is not UTF-8."""
    try:
        return path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path} is not a text file in UTF-8.", way_out="Save it as UTF-8.") from None
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.") from None
    except OSError as error:
        raise storage_fault(error, "reading the collection", path) from error


def _measure(
    rankings: Mapping[str, Sequence[str]], judgments: Judgments, k: int, latencies_ms: Sequence[float]
) -> ModeQuality:
    rows = [query_measures(ranking, judgments[query], k) for query, ranking in rankings.items()]
    ndcg, recall, mrr, average_precision, precision = (float(np.mean(column)) for column in zip(*rows, strict=True))
    p50, p95, p99 = (float(value) for value in np.percentile(latencies_ms, (50, 95, 99)))
    return ModeQuality(ndcg, recall, mrr, average_precision, precision, {"p50": p50, "p95": p95, "p99": p99})


def query_measures(
    ranking: Sequence[str], grades: Mapping[str, int], k: int
) -> tuple[float, float, float, float, float]:
    """(nDCG, recall, reciprocal rank, average precision, precision) of one ranking at k.

    nDCG with linear gain and log2 discount, as trec_eval computes it (Järvelin, Kekäläinen, TOIS 2002).
    """
    relevant = {document for document, grade in grades.items() if grade > 0}
    gain = hits = precisions = 0.0
    first = 0.0
    for rank, document in enumerate(ranking[:k], start=1):
        if document not in relevant:
            continue
        gain += grades[document] / math.log2(rank + 1)
        hits += 1
        precisions += hits / rank
        first = first or 1.0 / rank
    best = sorted((grades[document] for document in relevant), reverse=True)[:k]
    ideal = sum(grade / math.log2(rank + 1) for rank, grade in enumerate(best, start=1))
    return gain / ideal, hits / len(relevant), first, precisions / min(len(relevant), k), hits / k
