"""Making one ranking of two.

The default is a convex combination of min-max-normalised scores with weight ½: measured best on 14
collections (nDCG@10 .618 against .595 for reciprocal rank fusion; see Bruch, Gai, Ingber, "An Analysis of
Fusion Functions for Hybrid Retrieval", ACM TOIS 2023). Adding a raw cosine to a raw BM25 score mixes
units and is not offered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from studio.domain import Candidate, Explanation, Fusion

RRF_K = 60
"""Rank constant of Cormack, Clarke, Büttcher, "Reciprocal Rank Fusion", SIGIR 2009."""


@dataclass(frozen=True, slots=True)
class Fused:
    """A chunk with its final score and how it came about (matched terms are added later)."""

    chunk_id: str
    score: float
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class _Side:
    rank: int
    score: float
    normalised: float


def fuse(vector: Sequence[Candidate], keyword: Sequence[Candidate], *, weight: float, method: Fusion) -> list[Fused]:
    """Fuse two lists, each best first. `weight` in 0..1 is the vector side's share.

    A chunk only one side found gets 0 from the other. Ties are broken by chunk id, so that the same
    query gives the same order every time.
    """
    sides_vector = _sides(vector, method)
    sides_keyword = _sides(keyword, method)
    fused = []
    for chunk_id in {**sides_vector, **sides_keyword}:
        v, k = sides_vector.get(chunk_id), sides_keyword.get(chunk_id)
        score = weight * (v.normalised if v else 0.0) + (1 - weight) * (k.normalised if k else 0.0)
        explanation = Explanation(
            fusion=method.value,
            weight=weight,
            vector_rank=v.rank if v else None,
            vector_score=v.score if v else None,
            vector_normalised=v.normalised if v else None,
            keyword_rank=k.rank if k else None,
            keyword_score=k.score if k else None,
            keyword_normalised=k.normalised if k else None,
        )
        fused.append(Fused(chunk_id, score, explanation))
    return sorted(fused, key=lambda item: (-item.score, item.chunk_id))


def single(candidates: Sequence[Candidate], *, vector: bool) -> list[Fused]:
    """The ranking of one side alone, with its raw scores."""
    fused = []
    for chunk_id, side in _sides(candidates, Fusion.MINMAX).items():
        if vector:
            explanation = Explanation(
                "none", 1.0, vector_rank=side.rank, vector_score=side.score, vector_normalised=side.normalised
            )
        else:
            explanation = Explanation(
                "none", 0.0, keyword_rank=side.rank, keyword_score=side.score, keyword_normalised=side.normalised
            )
        fused.append(Fused(chunk_id, side.score, explanation))
    return fused


def _sides(candidates: Sequence[Candidate], method: Fusion) -> dict[str, _Side]:
    if not candidates:
        return {}
    ordered = sorted(candidates, key=lambda item: (-item.score, item.chunk_id))
    high, low = ordered[0].score, ordered[-1].score
    spread = high - low
    sides: dict[str, _Side] = {}
    for rank, item in enumerate(ordered, start=1):
        if method is Fusion.RRF:
            normalised = 1.0 / (RRF_K + rank)
        else:
            normalised = (item.score - low) / spread if spread > 0 else 1.0
        sides.setdefault(item.chunk_id, _Side(rank, item.score, normalised))
    return sides
