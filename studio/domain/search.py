"""A search: request, results and how they came about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple


class SearchMode(StrEnum):
    """Which sides answer a query."""

    HYBRID = "hybrid"
    VECTOR = "vector"
    KEYWORD = "keyword"


class Fusion(StrEnum):
    """How two ranked lists become one."""

    MINMAX = "minmax"
    RRF = "rrf"
    ADAPTIVE = "adaptive"


NOT_RERANKED = "none"
"""`SearchRequest.reranker` of one that wants the fused order, whatever is set."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A query against one or more knowledge bases (names or ids).

    `query` may use the query syntax (see `index.query`). `weight` is the vector side's share in 0..1, None for one
    that is chosen for the query; `candidates` is the depth of each side. `filters` are KEY=VALUE pairs: path, folder,
    type, document, title, tag, author, after, before, or the name of a metadata field. `generation` pins one other
    than the active (one knowledge base only).

    `minimum_similarity` keeps only passages at least so similar to the query (-1..1). `similar_to` is the id of a chunk
    whose likes are wanted; the query may then be empty. `group` gives each document one place, `fold` leaves out
    near-duplicates of a result above, `diversity` in 0..1 trades score for difference (maximal marginal relevance).
    `reranker` names one that orders the first results anew, `NOT_RERANKED` none, "" the one that is set. `exact`
    searches without the vector index.
    """

    knowledge_bases: tuple[str, ...]
    query: str
    mode: SearchMode = SearchMode.HYBRID
    limit: int = 10
    offset: int = 0
    fusion: Fusion = Fusion.MINMAX
    weight: float | None = None
    candidates: int = 100
    filters: tuple[tuple[str, str], ...] = ()
    generation: int | None = None
    minimum_similarity: float | None = None
    similar_to: str = ""
    group: bool = False
    fold: bool = False
    diversity: float = 0.0
    reranker: str = ""
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a passage stands. Offsets are code points into the extracted text.

    `also_at` are the other paths where the same document lies.
    """

    title: str
    source_path: str
    licence: str
    version: str
    anchor: str
    page_number: int | None
    char_start: int
    char_end: int
    also_at: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a result stands where it stands. Ranks from 1; None where that side did not find it.

    `fused_rank` and `fused_score` are those before reranking, diversity and folding; `rerank_score` is None unless a
    reranker ordered it. `filters` are the conditions it passed, as a person would type them.
    """

    fusion: str
    weight: float
    vector_rank: int | None = None
    vector_score: float | None = None
    vector_normalised: float | None = None
    keyword_rank: int | None = None
    keyword_score: float | None = None
    keyword_normalised: float | None = None
    matched_terms: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    fused_rank: int | None = None
    fused_score: float | None = None
    rerank_score: float | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One hit. `highlights` are (start, end) code-point ranges of matched terms in `snippet`.

    `more_in_document` counts the candidates of the same document that grouping put behind it, `duplicates` are the ids
    of the near-identical chunks that folding put behind it.
    """

    chunk_id: str
    document_id: str
    kb_id: str
    kb_name: str
    generation: int
    score: float
    content: str
    snippet: str
    highlights: tuple[tuple[int, int], ...]
    metadata: Mapping[str, Any]
    citation: Citation
    explanation: Explanation
    more_in_document: int = 0
    duplicates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchResponse:
    """A page of results.

    `degraded` says in words why fewer sides answered than were asked for, `notes` what else did not go as asked (a
    reranker that failed). `weight` is the vector side's share that was used. `understood` is the query as the syntax
    was read: "words", "phrases", "excluded", "filters", "any_of".
    """

    query: str
    mode: SearchMode
    degraded: str | None
    generations: Mapping[str, int]
    took_ms: float
    timings_ms: Mapping[str, float]
    total_candidates: int
    results: tuple[SearchResult, ...]
    weight: float = 0.5
    notes: tuple[str, ...] = ()
    understood: Mapping[str, Any] = field(default_factory=dict)


class Candidate(NamedTuple):
    """A chunk one side of the search found. Higher score is better. `document_id` is "" where that side knows none."""

    chunk_id: str
    score: float
    document_id: str = ""

    @classmethod
    def of(cls, chunk_ids: Iterable[str], scores: Iterable[float], document_ids: Iterable[str]) -> list[Candidate]:
        """Those that these say, in half the time of as many calls."""
        return list(map(_candidate, zip(chunk_ids, scores, document_ids, strict=True)))


_candidate: Callable[[tuple[str, float, str]], Candidate] = partial(tuple.__new__, Candidate)


class ChunkInGeneration(NamedTuple):
    """A chunk of one of the generations that a search looks into; `scope` is the number of that one among them.

    A tuple, since a search makes hundreds and looks each up several times.
    """

    scope: int
    chunk_id: str

    def __str__(self) -> str:
        return f"{self.scope}:{self.chunk_id}"


class Hit(NamedTuple):
    """A candidate that can be told from those of other generations."""

    chunk: ChunkInGeneration
    score: float
    document_id: str = ""

    @classmethod
    def of(cls, scope: int, candidates: Iterable[Candidate]) -> list[Hit]:
        """The candidates of one generation."""
        chunk_ids, scores, document_ids = tuple(zip(*candidates, strict=True)) or ((), (), ())
        chunks = map(_chunk_in_generation, [(scope, chunk_id) for chunk_id in chunk_ids])
        return list(map(_hit, zip(chunks, scores, document_ids, strict=True)))


_chunk_in_generation: Callable[[tuple[int, str]], ChunkInGeneration] = partial(tuple.__new__, ChunkInGeneration)


_hit: Callable[[tuple[ChunkInGeneration, float, str]], Hit] = partial(tuple.__new__, Hit)


class CitationStyle(StrEnum):
    """How a citation is written out."""

    PLAIN = "plain"
    MARKDOWN = "markdown"
    BIBTEX = "bibtex"
