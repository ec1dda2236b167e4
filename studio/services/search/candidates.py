"""What one side of a search found, made ready to be ranked with what the other scopes and the other side found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from studio.domain import Hit
from studio.index.keywords import Query
from studio.services.search.scopes import Scope


def comparable(scopes: Sequence[Scope], query: Query) -> list[Mapping[str, float] | None]:
    """Per scope the factor of each term that makes BM25 scores of several indexes comparable.

    A term weighs by its inverse document frequency, which differs between indexes: it is weighed as if all were one.
    """
    told = [scope.snapshot.lexical.frequencies(query) for scope in scopes]
    chunks = sum(count for count, _ in told)
    frequencies: dict[str, int] = {}
    for _, terms in told:
        for term, count in terms.items():
            frequencies[term] = frequencies.get(term, 0) + count
    return [
        {term: _idf(chunks, frequencies[term]) / _idf(count, terms[term]) for term in terms if terms[term]}
        for count, terms in told
    ]


def _idf(chunks: int, frequency: int) -> float:
    """Inverse document frequency as Tantivy's BM25 has it."""
    return math.log(1.0 + (chunks - frequency + 0.5) / (frequency + 0.5))


def spread(found: Sequence[Hit]) -> list[Hit]:
    """Scores brought to 0..1."""
    if not found:
        return []
    high, low = max(item.score for item in found), min(item.score for item in found)
    return [item._replace(score=(item.score - low) / (high - low) if high > low else 1.0) for item in found]
