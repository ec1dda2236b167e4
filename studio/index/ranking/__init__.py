"""Orders and texts of results, without an index: fusion, diversity, snippets.

Belongs here: functions of candidates.
Does not: fetching candidates (`vectors`, `keywords`), the request (`services.search`).
"""

from studio.index.ranking.diversity import diversified, folded, grouped, suspects
from studio.index.ranking.fusion import EVEN_WEIGHT, RRF_K, Fused, fuse, single, weight_of_vectors
from studio.index.ranking.snippets import Range, snippet

__all__ = [
    "EVEN_WEIGHT",
    "RRF_K",
    "Fused",
    "Range",
    "diversified",
    "folded",
    "fuse",
    "grouped",
    "single",
    "snippet",
    "suspects",
    "weight_of_vectors",
]
