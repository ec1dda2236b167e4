"""Making one ranking of two.

The default is a convex combination of min-max-normalised scores with weight ½: measured best on 14
collections (nDCG@10 .618 against .595 for reciprocal rank fusion; see Bruch, Gai, Ingber, "An Analysis of
Fusion Functions for Hybrid Retrieval", ACM TOIS 2023). Adding a raw cosine to a raw BM25 score mixes
units and is not offered. Of other normalisations none was better on 20 collections in eight languages: z-scores +.001
(p .15), the theoretical minimum in place of the least score -.005 to -.015; 50 a side instead of 100 costs .0015.

½ is right for a language the model knows. For one that it does not, the vectors mislead; `weight_of_vectors` gives them
less there.

`adaptive` is the same combination with a weight that also depends on the answers: the side whose first hit stands out
more from those behind it counts more. It gained .003 nDCG@10 on those collections [.002, .005], on the English ones
.003 [.000, .006], p .09: too little for a weight that a person cannot foresee, so it is not the default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import gt, neg
from typing import NamedTuple

from studio.domain import ChunkInGeneration, Explanation, Fusion, Hit

RRF_K = 60
"""Rank constant of Cormack, Clarke, Büttcher, "Reciprocal Rank Fusion", SIGIR 2009."""


_STANDING_OUT_DEPTH = 10
_ADAPTIVE_RANGE = (0.1, 0.9)

EVEN_WEIGHT = 0.5
STRANGE_WEIGHT = 0.2
_KNOWN_TOKENS_PER_WORD = 1.5
_STRANGE_TOKENS_PER_WORD = 2.0


class Side(NamedTuple):
    """How one side ranked a chunk; `normalised` is in 0..1 (a reciprocal rank for RRF)."""

    rank: int
    score: float
    normalised: float


# A search makes hundreds of these: without a call in Python for each, that takes half as long.
_side: Callable[[tuple[int, float, float]], Side] = partial(tuple.__new__, Side)


class Fused(NamedTuple):
    """A chunk with its final score and how that came about; `rank` and `fused` are its place and score by fusion."""

    chunk: ChunkInGeneration
    score: float
    method: str
    weight: float
    vector: Side | None
    keyword: Side | None
    rank: int
    fused: float
    rerank_score: float | None = None

    def explained(self, matched_terms: tuple[str, ...] = (), filters: tuple[str, ...] = ()) -> Explanation:
        """The same for people, with the query's words that the chunk has and the conditions it passed."""
        vector, keyword = self.vector, self.keyword
        return Explanation(
            fusion=self.method,
            weight=self.weight,
            vector_rank=vector.rank if vector else None,
            vector_score=vector.score if vector else None,
            vector_normalised=vector.normalised if vector else None,
            keyword_rank=keyword.rank if keyword else None,
            keyword_score=keyword.score if keyword else None,
            keyword_normalised=keyword.normalised if keyword else None,
            matched_terms=matched_terms,
            filters=filters,
            fused_rank=self.rank,
            fused_score=self.fused,
            rerank_score=self.rerank_score,
        )


_fused: Callable[[tuple[object, ...]], Fused] = partial(tuple.__new__, Fused)


def fuse(
    vector: Sequence[Hit],
    keyword: Sequence[Hit],
    *,
    weight: float,
    method: Fusion,
    depth: int | None = None,
) -> list[Fused]:
    """Fuse two lists, each best first. `weight` in 0..1 is the vector side's share.

    A chunk only one side found gets 0 from the other. Ties are broken by the better rank, then by scope and chunk id,
    so that the same query gives the same order every time. Scores are normalised over the first `depth` of each list
    (None: all), and what lies deeper gets 0: a later page, for which more was asked, leaves the earlier ones as they
    are.
    """
    sides_vector = _sides(vector, method, depth)
    sides_keyword = _sides(keyword, method, depth)
    if method is Fusion.ADAPTIVE:
        weight = adaptive_weight(weight, sides_vector, sides_keyword)
    found: list[tuple[float, int, ChunkInGeneration, Side | None, Side | None]] = []
    for chunk, v in sides_vector.items():
        if (k := sides_keyword.get(chunk)) is not None:
            found.append((-(weight * v[2] + (1 - weight) * k[2]), min(v[0], k[0]), chunk, v, k))
        else:
            found.append((-(weight * v[2]), v[0], chunk, v, None))
    for chunk, k in sides_keyword.items():
        if chunk not in sides_vector:
            found.append((-((1 - weight) * k[2]), k[0], chunk, None, k))
    found.sort()  # no two have the same id, so that sides are never compared
    name = method.value
    return [
        _fused((chunk, -score, name, weight, v, k, rank, -score, None))
        for rank, (score, _, chunk, v, k) in enumerate(found, start=1)
    ]


def weight_of_vectors(tokens_per_word: float) -> float:
    """The vector side's share, by how many tokens the model cuts a word of the query into.

    A vocabulary has whole words for the language it was made from; words of another fall into pieces, and a model that
    sees pieces has not learnt what they mean ("fertility" of Rust et al., "How Good is Your Tokenizer?", ACL 2021). The
    English default model takes 1.1 to 1.4 tokens for an English word, 1.7 for a French, 2.2 for a German one, and 4 or
    more for what stands between two spaces of Russian, Japanese or Chinese. Up to 1.5 the share is ½, from 2 on ⅕, in
    between on the line that joins them. ⅕ and not 0: names, numbers and borrowed words still mean something, and from
    .1 to .3 the share makes no difference to speak of.
    """
    strange = (tokens_per_word - _KNOWN_TOKENS_PER_WORD) / (_STRANGE_TOKENS_PER_WORD - _KNOWN_TOKENS_PER_WORD)
    return EVEN_WEIGHT - (EVEN_WEIGHT - STRANGE_WEIGHT) * min(max(strange, 0.0), 1.0)


def adaptive_weight(
    weight: float, vector: Mapping[ChunkInGeneration, Side], keyword: Mapping[ChunkInGeneration, Side]
) -> float:
    """The vector side's share for one query, in 0.1..0.9 unless `weight` is 0 or 1.

    `weight` sets the odds before looking; each side multiplies its own by the root of how far its first hit stands
    out: 1 - the mean normalised score of the ten hits behind it.
    """
    if not vector or not keyword or weight in (0.0, 1.0):
        return weight
    odds_vector = weight * _standing_out(vector) ** 0.5
    odds_keyword = (1 - weight) * _standing_out(keyword) ** 0.5
    total = odds_vector + odds_keyword
    return min(max(odds_vector / total, _ADAPTIVE_RANGE[0]), _ADAPTIVE_RANGE[1]) if total > 0 else weight


def _standing_out(sides: Mapping[ChunkInGeneration, Side]) -> float:
    behind = [side.normalised for side in sides.values()][1 : _STANDING_OUT_DEPTH + 1]
    return 1.0 - sum(behind) / len(behind) if behind else 0.5


def single(candidates: Sequence[Hit], *, vector: bool) -> list[Fused]:
    """The ranking of one side alone, with its raw scores."""
    weight = 1.0 if vector else 0.0
    return [
        Fused(
            chunk, side.score, "none", weight, side if vector else None, None if vector else side, side.rank,
            side.score,
        )
        for chunk, side in _sides(candidates, Fusion.MINMAX).items()
    ]  # fmt: skip


def _sides(candidates: Sequence[Hit], method: Fusion, depth: int | None = None) -> dict[ChunkInGeneration, Side]:
    if not candidates:
        return {}
    chunks, scores, _ = zip(*candidates, strict=True)
    if not all(map(gt, scores, scores[1:])):  # two score the same, or they are not in order
        negated, chunks = zip(*sorted(zip(map(neg, scores), chunks, strict=True)), strict=True)
        scores = tuple(map(neg, negated))
    high, low = scores[0], scores[:depth][-1]
    spread = high - low
    if method is Fusion.RRF:
        normalised = [1.0 / (RRF_K + rank) for rank in range(1, len(chunks) + 1)]
    elif spread > 0:
        normalised = [(score - low) / spread if score > low else 0.0 for score in scores]
    else:
        normalised = [float(score >= low) for score in scores]
    sides = list(map(_side, zip(range(1, len(chunks) + 1), scores, normalised, strict=True)))
    found = dict(zip(chunks, sides, strict=True))
    if len(found) < len(chunks):  # of those with the same id the best counts
        found = {}
        for chunk, side in zip(chunks, sides, strict=True):
            found.setdefault(chunk, side)
    return found
