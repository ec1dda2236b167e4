"""The vocabulary every room shares: frozen values, states, and the ports between layers.

All of it on one page on purpose: it is the glossary, and nothing here does anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Embeddings, shape (n, dimension), float32, each row of unit length."""


# ---------------------------------------------------------------- knowledge bases and generations


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


@dataclass(frozen=True, slots=True)
class PinnedQuery:
    """A query whose first `top` documents must hold every one of `must_find`, or no generation is promoted.

    Each is a name of documents as a person gives it: an id, a path, a file name, or a pattern.
    """

    id: int
    query: str
    must_find: tuple[str, ...]
    top: int


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A query that is kept to measure the search with. `judgments` maps document names to grades, above 0: relevant.

    A document is named by its external id or its path, so that a judgment outlives the generation it was made on.
    """

    id: int
    name: str
    query: str
    judgments: Mapping[str, int]
    created_ms: int

    @property
    def relevant(self) -> int:
        """How many documents are judged relevant."""
        return sum(grade > 0 for grade in self.judgments.values())


# ---------------------------------------------------------------- documents and chunks


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a document's text that shares a location. Offsets are code points, end exclusive.

    `hard`: no chunk may run across the start of this span (a new page). `whole`: a table or code, kept in one chunk
    where it fits.
    """

    start: int
    end: int
    page: int | None = None
    anchor: str = ""
    hard: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class PageCounts:
    """How much of a document could be read, in pages, slides or sheets. All zero for formats without.

    `readable` had text of their own, `ocr` have it from text recognition, `empty` have none, `failed` cannot be opened;
    together they are `total`.
    """

    total: int = 0
    readable: int = 0
    empty: int = 0
    failed: int = 0
    ocr: int = 0


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """Text of one document as a parser gives it.

    `text` is what chunks, offsets and the text preview refer to. `spans` are ordered, do not
    overlap, and cover every character that belongs to a page or heading. `segments` are ordered
    (start, end) pairs of sentence-like units that cover the text; the chunker packs them.
    `external_id` names a row of a tabular file (its `_id` or `id`), else "".
    """

    text: str
    spans: tuple[Span, ...]
    segments: tuple[tuple[int, int], ...]
    kind: str
    title: str = ""
    author: str = ""
    licence: str = ""
    created: str = ""
    external_id: str = ""
    row: int = 0
    pages: PageCounts = PageCounts()
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ParseProgress:
    """A sign of life from a parser: `done` of `total` pages (or members of an archive) are behind it."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class PartFailure:
    """A member of an archive (its path inside), or another part of a file, that could not be read; the rest goes on."""

    part: str
    error: str
    reason: str


ParserEvent = ParsedDocument | ParseProgress | PartFailure


class DocumentStatus(StrEnum):
    """`indexed` is never said of a document without text."""

    INDEXED = "indexed"
    FAILED = "failed"


def place_of(source_path: str, external_id: str) -> str:
    """Where a document lies: the path of its file, in which a row or member lies as if that were a folder."""
    return f"{source_path}/{external_id}" if external_id else source_path


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """One document at one path, as a generation lists it."""

    document_id: str
    source_path: str
    sha256: str
    size_bytes: int
    mtime_ns: int
    kind: str
    title: str
    author: str
    licence: str
    external_id: str
    row: int
    pages: PageCounts
    chunks: int
    status: DocumentStatus
    error: str
    reason: str
    created: str = ""
    """Date the document gives itself, as it is written there (ISO 8601 where the format allows)."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What else the document says about itself (front matter, columns of its row, office properties), by name."""
    change_stamp: int = field(default=0, compare=False)
    """Of the file's ctime and inode, 0 where they are not known: as long as it stays, the file need not be read. The
    document is the same with another one."""


CONTEXT = "context"
"""Key of a chunk's metadata: what stood before its text when it was embedded, and stands there for BM25."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage. `chunk_id` is derived from document id and offsets, so it is the same on every run."""

    chunk_id: str
    document_id: str
    content: str
    content_hash: str
    page_number: int | None
    anchor: str
    char_start: int
    char_end: int
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def context(self) -> str:
        """Title and heading path that precede the text for embedding and BM25, "" for none; never shown."""
        return str(self.metadata.get(CONTEXT, ""))

    @property
    def indexed_text(self) -> str:
        """What is embedded, and what BM25 knows the chunk by."""
        return f"{self.context}\n{self.content}" if self.context else self.content


# ---------------------------------------------------------------- search


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


@dataclass(frozen=True, slots=True)
class StoredText:
    """The extracted text of a document, readable when its source file is gone."""

    text: str
    spans: tuple[Span, ...]


# ---------------------------------------------------------------- ingest


class FileState(StrEnum):
    """Where a file of a job stands."""

    WAITING = "waiting"
    PARSING = "parsing"
    EMBEDDING = "embedding"
    INDEXED = "indexed"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FileProgress:
    """One file of a job. `error` and `reason` are set when it failed, `pages_done` while it is read."""

    path: str
    state: FileState
    chunks_done: int = 0
    chunks_total: int = 0
    pages: int = 0
    seconds: float = 0.0
    error: str = ""
    reason: str = ""
    pages_done: int = 0


class IngestStage(StrEnum):
    """What a job is doing as a whole."""

    SCANNING = "scanning"
    INDEXING = "indexing"
    SEALING = "sealing"
    PROMOTING = "promoting"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """A snapshot of a job. `changed` holds only the files that moved since the last snapshot.

    `paused` says in a sentence why the job waits, "" while it goes on.
    """

    job_id: str
    kb_id: str
    stage: IngestStage
    files_total: int = 0
    files_done: int = 0
    files_failed: int = 0
    chunks_done: int = 0
    chunks_per_second: float = 0.0
    seconds_left: float | None = None
    changed: tuple[FileProgress, ...] = ()
    paused: str = ""


@dataclass(frozen=True, slots=True)
class FileFailure:
    """A file that could not be indexed: absolute path, stable code, sentence for a person."""

    path: str
    error: str
    reason: str


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How a folder is read. Globs match the path below the given folder and the bare name.

    `hidden`: hidden and system files are read too. `allow_removals`: so many documents may go that would be held back
    otherwise, because their files look mislaid and not deleted.
    """

    recursive: bool = True
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    promote: bool = True
    jobs: int = 2
    hidden: bool = False
    allow_removals: int = 0


ALL_REMOVALS = 2**31 - 1
"""`IngestOptions.allow_removals` of somebody who says yes to whatever it is."""


@dataclass(frozen=True, slots=True)
class HeldRemovals:
    """Documents that stay although their files are gone: how many, of which folder, and why, in a sentence."""

    folder: str
    count: int
    why: str


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What a job did. `generation` is None when nothing changed and none was built.

    `held` says why the generation was built and not promoted, "" if it was or was not meant to be. `stages` are the
    seconds each stage was busy (several at once), `embed_idle` the seconds in which the model had nothing to do
    between its first batch and its last. `skipped` is what was found and left out on purpose, `held_removals` what
    would have been removed and waits for somebody to allow it, `left` the number of files that were not begun since the
    job was to finish early.
    """

    job_id: str
    kb_id: str
    generation: int | None
    promoted: bool
    added: int
    updated: int
    unchanged: int
    removed: int
    failed: tuple[FileFailure, ...]
    chunks_added: int
    embedded: int
    reused: int
    seconds: float
    chunks_per_second: float
    held: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)
    skipped: tuple[SkippedFiles, ...] = ()
    held_removals: tuple[HeldRemovals, ...] = ()
    left: int = 0


class JobKind(StrEnum):
    """What a job does: read files, drop documents, chunk and embed all anew, or one of the two repairs."""

    INGEST = "ingest"
    REMOVE = "remove"
    REBUILD = "rebuild"
    REINDEX = "reindex"
    RESTORE = "restore"


class JobState(StrEnum):
    """Life of a job. `running` is also that of one whose program died: it goes on where it was."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RESUMED = "resumed"

    @property
    def ended(self) -> bool:
        """Whether nothing remains to be done for it."""
        return self not in (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)


@dataclass(frozen=True, slots=True)
class Job:
    """A request for one knowledge base that survives a crash. Jobs run by ascending `position`.

    `wish` is what somebody asks of it while it runs: "pause", "cancel", "finish" (keep what is done) or "".
    """

    id: str
    kb_id: str
    kind: JobKind
    state: JobState
    paths: tuple[str, ...]
    options: Mapping[str, Any]
    position: int = 0
    wish: str = ""
    files_total: int = 0
    files_done: int = 0
    files_failed: int = 0
    generation: int | None = None
    error: str = ""
    created_ms: int = 0
    updated_ms: int = 0

    @property
    def ingest_options(self) -> IngestOptions:
        """How an ingest request reads folders."""
        globs = {name: tuple(self.options[name]) for name in ("include", "exclude")}
        return IngestOptions(**{**self.options, **globs})


@dataclass(frozen=True, slots=True)
class SkippedFiles:
    """Files that would not be indexed, for one reason: how many, and a few of them."""

    reason: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preflight:
    """What an ingest of some paths would take, estimated from a sample before anything is changed.

    `complete` is False when the folders are so large that the look at them was cut short. `kinds` counts files by kind.
    `sampled` files were read; `chunks`, `seconds`, `disk_bytes` and `peak_memory_bytes` follow from them. `removed` is
    without what would be held back.
    """

    files: int
    bytes: int
    new: int
    changed: int
    unchanged: int
    removed: int
    kinds: Mapping[str, int]
    skipped: tuple[SkippedFiles, ...]
    sampled: int
    chunks: int
    seconds: float
    disk_bytes: int
    peak_memory_bytes: int
    free_disk_bytes: int
    complete: bool = True
    held_removals: tuple[HeldRemovals, ...] = ()


ProgressSink = Callable[[IngestProgress], None]


# ---------------------------------------------------------------- models and checks


RANK_POOLING = "rank"
"""`ModelInfo.pooling` of a reranker."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A GGUF model on disk, or one that can be installed (`installed` False, `path` None)."""

    name: str
    sha256: str
    dimension: int
    max_tokens: int
    pooling: str
    size_bytes: int
    licence: str
    installed: bool
    path: Path | None

    @property
    def kind(self) -> str:
        """What it is for: "embedder", or "reranker" for one that scores a query and a passage together."""
        return "reranker" if self.pooling == RANK_POOLING else "embedder"

    @property
    def identity(self) -> ModelIdentity:
        """The part of this that vectors depend on."""
        return ModelIdentity(self.name, self.sha256, self.dimension, self.pooling)


@dataclass(frozen=True, slots=True)
class LostDocument:
    """A document that a repair could bring back in part or not at all, and why."""

    knowledge_base: str
    path: str
    document_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant as `doctor` found it. `repair` says what would mend it, "" if nothing is wrong."""

    name: str
    ok: bool
    detail: str
    repair: str = ""
    lost: tuple[LostDocument, ...] = ()


# ---------------------------------------------------------------- ports


class Embedder(Protocol):
    """Text to vectors. Implementations live behind a process boundary."""

    @property
    def model(self) -> ModelInfo:
        """The model that answers."""

    async def embed(self, texts: Sequence[str], *, interactive: bool = False) -> Vectors:
        """Embed texts, shape (len(texts), dimension), rows L2-normalised.

        `interactive` requests overtake batch requests that wait. Raises WorkerDied, ModelFault.
        """

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text in the model's vocabulary, without special tokens."""

    async def close(self) -> None:
        """End the worker process; idempotent."""


class EmbedderProvider(Protocol):
    """Hands out the embedder of a model, starting its worker when needed."""

    async def embedder(self, model: str) -> Embedder:
        """The running embedder of the named model. Raises ModelFault."""

    async def close(self) -> None:
        """End every worker."""


class Reranker(Protocol):
    """Judges passages by reading each together with the query; slower than comparing vectors, and finer."""

    @property
    def name(self) -> str:
        """As it is chosen by."""

    async def scores(self, query: str, passages: Sequence[str]) -> list[float]:
        """How well each passage answers the query, higher is better; only their order means something.

        Raises ModelFault (also when it takes too long), WorkerDied.
        """


class DocumentParser(Protocol):
    """Files to text. Implementations live behind a process boundary."""

    def recognises_text(self) -> bool:
        """Whether pages without text can be read now."""

    def parse(
        self, path: Path, *, passwords: Sequence[str] = (), roots: Sequence[Path] = ()
    ) -> AsyncIterator[ParserEvent]:
        """Documents of one file, streamed (many for a tabular file or an archive), between signs of life.

        `roots` are the files and folders that the job is about: what reads the file may open nothing else.
        `passwords` are tried on what is protected. Raises DocumentFault for anything wrong with the file.
        """

    async def close(self) -> None:
        """End every worker."""


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
