"""Knowledge bases and their settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Metric(StrEnum):
    """Distance between embeddings."""

    COSINE = "cosine"
    L2 = "l2"
    DOT = "dot"


class AnnIndex(StrEnum):
    """How a generation finds the nearest vectors. `auto` chooses by size, `flat` compares with every vector."""

    AUTO = "auto"
    FLAT = "flat"
    IVF_FLAT = "ivf_flat"
    IVF_SQ = "ivf_sq"
    IVF_PQ = "ivf_pq"
    IVF_RQ = "ivf_rq"
    HNSW_FLAT = "hnsw_flat"
    HNSW_SQ = "hnsw_sq"
    HNSW_PQ = "hnsw_pq"


@dataclass(frozen=True, slots=True)
class KbSettings:
    """What shapes the index of a knowledge base; a generation keeps the copy it was built with."""

    model: str = "all-MiniLM-L6-v2"
    chunk_tokens: int = 240
    chunk_overlap: int = 32
    metric: Metric = Metric.COSINE
    language: str = "en"
    contextual: bool = False
    """Whether title and heading path stand before a chunk's text where it is embedded and looked up by words."""
    index: AnnIndex = AnnIndex.AUTO

    def same_content(self, other: KbSettings) -> bool:
        """Whether both make the same passages and vectors, which may differ in how they are indexed."""
        return replace(self, index=other.index) == other


@dataclass(frozen=True, slots=True)
class Retention:
    """Which archived generations stay: at most `keep_archived`, the newest, and of them no more than
    `max_archived_mib` together (0: no limit); none goes before it has been archived for `min_age_hours`.
    """

    keep_archived: int = 3
    min_age_hours: float = 0.0
    max_archived_mib: int = 0


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    """A named collection. `active_generation` is None until the first promotion.

    `retention` is None where the program's defaults apply.
    """

    id: str
    name: str
    settings: KbSettings
    active_generation: int | None
    documents: int = 0
    chunks: int = 0
    size_bytes: int = 0
    created_ms: int = 0
    retention: Retention | None = None
