"""Generations of a knowledge base."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from studio.domain.knowledge_bases import AnnIndex, KbSettings


@dataclass(frozen=True, slots=True)
class AnnState:
    """The vector index a generation has, and how it is searched.

    `trained_rows` are the rows its partitions were learnt from. `nprobes`, `refine_factor` and `ef` are 0 where they do
    not apply. `recall` is recall@10 against exact search on `sampled` of the generation's own vectors, None until
    measured.
    """

    index: AnnIndex = AnnIndex.FLAT
    trained_rows: int = 0
    nprobes: int = 0
    refine_factor: int = 0
    ef: int = 0
    recall: float | None = None
    sampled: int = 0


class GenerationState(StrEnum):
    """Life of a generation; `failed` is terminal, the rest follow one another."""

    BUILDING = "building"
    READY = "ready"
    ACTIVE = "active"
    ARCHIVED = "archived"
    MARKED_FOR_DELETION = "marked_for_deletion"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What makes vectors comparable: the same identity on both sides or no comparison."""

    name: str
    sha256: str
    dimension: int
    pooling: str


@dataclass(frozen=True, slots=True)
class Generation:
    """An immutable, complete, searchable state of a knowledge base.

    `size_bytes` is everything it reads, `own_bytes` the part of it that its build wrote. `rows_version` and
    `lexical_version` are the schemas of its two indexes. `held` says why the gate keeps it from being promoted.
    """

    kb_id: str
    number: int
    state: GenerationState
    parent: int | None
    settings: KbSettings
    model: ModelIdentity | None
    chunks_table: str
    chunks_version: int
    documents_version: int
    documents: int
    chunks: int
    size_bytes: int
    own_bytes: int
    rows_version: int
    lexical_version: int
    created_ms: int
    ready_ms: int | None
    promoted_ms: int | None
    archived_ms: int | None
    note: str
    held: str
    error: str
    ann: AnnState = AnnState()

    @property
    def shared_bytes(self) -> int:
        """What it took over from its parent without writing it again."""
        return self.size_bytes - self.own_bytes
