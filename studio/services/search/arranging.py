"""The order in which a ranking is shown: reranked, near-duplicates folded, varied, grouped by document."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from studio.domain import NOT_RERANKED, ChunkInGeneration, SearchRequest
from studio.errors import EnvironmentFault
from studio.index.ranking import Fused, diversified, folded, grouped, suspects
from studio.services.search.passages import Passages
from studio.services.search.ranker import Ranking
from studio.services.search.rerank import Rerankers

log = logging.getLogger(__name__)

RERANKED = 50
"""How many of the first results a reranker orders anew: a cross-encoder of this size needs a second or two for them."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Candidates in the order shown; what grouping and folding put behind one of them."""

    order: list[Fused]
    more: Mapping[ChunkInGeneration, int] = field(default_factory=dict)
    duplicates: Mapping[ChunkInGeneration, tuple[ChunkInGeneration, ...]] = field(default_factory=dict)


async def arrange(
    ranking: Ranking, request: SearchRequest, passages: Passages, rerankers: Rerankers | None
) -> Arrangement:
    """Arrange the candidates as the request wants. What fails leaves the fused order, and a note.

    Raises InvalidRequest for an unknown reranker.
    """
    order = ranking.fused
    reranked = request.reranker not in ("", NOT_RERANKED)
    if reranked and rerankers is not None and order:
        order = await _reranked(ranking, rerankers, request.reranker, order, passages)
    ids = [item.chunk for item in order]
    duplicates: Mapping[ChunkInGeneration, tuple[ChunkInGeneration, ...]] = {}
    more: Mapping[ChunkInGeneration, int] = {}
    try:
        if request.fold or request.diversity > 0:
            vectors = await passages.vectors(ranking, ids)
            if request.fold and (pairs := suspects(ids, vectors)):
                found = await passages.fetch(ranking, dict.fromkeys(chunk for pair in pairs for chunk in pair))
                ids, duplicates = folded(ids, pairs, {key: chunk.content for key, chunk in found.chunks.items()})
            if request.diversity > 0:
                scores = {item.chunk: float(-at) for at, item in enumerate(order)}
                if not reranked:
                    scores = {item.chunk: item.score for item in order}
                ids = diversified(ids, [scores[chunk] for chunk in ids], vectors, request.diversity)
        if request.group:
            documents = dict(ranking.documents)
            if unknown := [chunk for chunk in ids if chunk not in documents]:
                found = await passages.fetch(ranking, unknown)
                documents.update((key, chunk.document_id) for key, chunk in found.chunks.items())
            ids, more = grouped(ids, {chunk: (chunk.scope, document) for chunk, document in documents.items()})
    except EnvironmentFault as fault:
        log.warning("results are shown as fused: %s", fault)
        ranking.doubt(fault)
        ranking.notes.append(f"Results are neither grouped nor folded: {fault.full_message}")
    by_id = {item.chunk: item for item in order}
    return Arrangement([by_id[chunk] for chunk in ids], more, duplicates)


async def _reranked(
    ranking: Ranking, rerankers: Rerankers, name: str, order: Sequence[Fused], passages: Passages
) -> list[Fused]:
    head, tail = list(order[:RERANKED]), list(order[RERANKED:])
    try:
        reranker = await rerankers.reranker(name)
        found = await passages.fetch(ranking, [item.chunk for item in head])
        head = [item for item in head if item.chunk in found.chunks]
        scores = await reranker.scores(ranking.query.text, [found.chunks[item.chunk].indexed_text for item in head])
    except EnvironmentFault as fault:
        log.warning("not reranked: %s", fault)
        ranking.doubt(fault)
        ranking.notes.append(f"Not reranked, in fused order: {fault.full_message}")
        return list(order)
    told = [item._replace(score=score, rerank_score=score) for item, score in zip(head, scores, strict=True)]
    return sorted(told, key=lambda item: -item.score) + tail
