"""What becomes of a ranking after fusion: near-duplicates folded, variety, one place for each document."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from studio.domain import Vectors

FOLD_SIMILARITY = 0.92
"""Cosine above which two passages are looked at as possible near-duplicates; what decides is their text."""

FOLD_RESEMBLANCE = 0.75
"""Share of three-word shingles in common above which two texts are the same one (Broder, "On the Resemblance and
Containment of Documents", 1997). An invoice and the next one, whose embeddings are nearly equal, share fewer."""

K = TypeVar("K", bound=Hashable)
"""What a passage is known by."""

_WORD = re.compile(r"\w+")
_SHINGLE = 3


def suspects(ids: Sequence[K], vectors: Mapping[K, Vectors]) -> list[tuple[K, K]]:
    """Pairs (earlier, later) of a ranking whose unit vectors are close enough to be near-duplicates."""
    known = [chunk for chunk in ids if chunk in vectors]
    if len(known) < 2:
        return []
    matrix = np.stack([vectors[chunk] for chunk in known])
    close = np.triu(matrix @ matrix.T >= FOLD_SIMILARITY, k=1)
    return [(known[a], known[b]) for a, b in zip(*np.nonzero(close), strict=True)]


def folded(
    ids: Sequence[K], pairs: Sequence[tuple[K, K]], texts: Mapping[K, str]
) -> tuple[list[K], dict[K, tuple[K, ...]]]:
    """(ids that stay, in order; near-duplicates by the id they are folded into).

    A passage is folded into the first above it that stays and says the same, so that no chain of small differences
    folds two texts that differ.
    """
    earlier: dict[K, list[K]] = {}
    for first, second in pairs:
        earlier.setdefault(second, []).append(first)
    shingles = {chunk: _shingles(texts[chunk]) for pair in pairs for chunk in pair if chunk in texts}
    kept: list[K] = []
    under: dict[K, list[K]] = {}
    for chunk in ids:
        same = (
            other
            for other in earlier.get(chunk, ())
            if other in under and chunk in shingles and other in shingles
            and _resemblance(shingles[chunk], shingles[other]) >= FOLD_RESEMBLANCE
        )  # fmt: skip
        into = next(same, None)
        if into is None:
            kept.append(chunk)
            under[chunk] = []
        else:
            under[into].append(chunk)
    return kept, {chunk: tuple(others) for chunk, others in under.items() if others}


def diversified(ids: Sequence[K], scores: Sequence[float], vectors: Mapping[K, Vectors], diversity: float) -> list[K]:
    """The order by maximal marginal relevance (Carbonell, Goldstein, SIGIR 1998).

    `diversity` in 0..1 is one minus their lambda. Relevance is the score brought to 0..1, likeness the cosine of unit
    vectors; passages without a vector are like nothing. Quadratic in their number: meant for some hundred.
    """
    if len(ids) < 2 or diversity <= 0.0:
        return list(ids)
    relevance = np.asarray(scores, dtype=np.float64)
    spread = float(relevance.max() - relevance.min())
    relevance = (relevance - relevance.min()) / spread if spread > 0 else np.ones(len(ids))
    width = next((len(vector) for vector in vectors.values()), 1)
    matrix = np.stack([vectors.get(chunk, np.zeros(width, dtype=np.float32)) for chunk in ids])
    likeness = np.zeros(len(ids))
    left = np.ones(len(ids), dtype=bool)
    order: list[K] = []
    for _ in ids:
        gain = (1.0 - diversity) * relevance - diversity * likeness
        gain[~left] = -np.inf
        best = int(np.argmax(gain))  # the first of equals: the better one
        left[best] = False
        order.append(ids[best])
        likeness = np.maximum(likeness, matrix @ matrix[best])
    return order


def grouped(ids: Sequence[K], documents: Mapping[K, Hashable]) -> tuple[list[K], dict[K, int]]:
    """(the best chunk of each document, in order; how many more of its document stand behind it).

    `documents` is the document of each chunk; a chunk without one stands for itself.
    """
    first: dict[Hashable, K] = {}
    more: dict[K, int] = {}
    for chunk in ids:
        leader = first.setdefault(documents.get(chunk, chunk), chunk)
        more[leader] = more.get(leader, -1) + 1
    return list(first.values()), {chunk: count for chunk, count in more.items() if count}


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    return {tuple(words[at : at + _SHINGLE]) for at in range(max(1, len(words) - _SHINGLE + 1))}


def _resemblance(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    return len(one & other) / len(one | other) if one or other else 1.0
