"""What the view-models ask of the services: the part of their interface the window uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from studio.concurrency import Attention
from studio.domain import (
    DocumentRecord,
    FileProgress,
    Generation,
    IngestOptions,
    Job,
    KbSettings,
    KnowledgeBase,
    ModelInfo,
    PinnedQuery,
    Preflight,
    Retention,
    SavedQuery,
    SearchMode,
    SearchRequest,
    SearchResponse,
    StoredText,
)
from studio.index.upkeep import GcReport
from studio.memory import MemorySnapshot
from studio.services.generations import BundleInfo, ByteProgress, Comparison, Imported
from studio.services.health import HealthReport
from studio.services.jobs import JobEvent
from studio.services.library import TagCount
from studio.services.quality import Evaluation, GateReport, Loaded, RunSummary, Setting
from studio.services.search import Verification
from studio.services.watch import FolderStatus


class Library(Protocol):
    """Knowledge bases."""

    @property
    def read_only(self) -> str | None: ...

    async def require_writable(self) -> None: ...

    async def list(self) -> list[KnowledgeBase]: ...

    async def create(self, name: str, settings: KbSettings | None = None) -> KnowledgeBase: ...

    async def rename(self, name_or_id: str, new_name: str) -> KnowledgeBase: ...

    async def delete(self, name_or_id: str) -> None: ...

    async def documents(self, name_or_id: str, generation: int | None = None) -> Sequence[DocumentRecord]: ...

    async def stamp(self) -> int: ...

    async def retention(self, name_or_id: str) -> Retention: ...

    async def set_retention(self, name_or_id: str, retention: Retention | None) -> Retention: ...


class JobQueue(Protocol):
    """Jobs that survive the program."""

    def subscribe(self, listener: Callable[[JobEvent], None]) -> Callable[[], None]: ...

    async def start(self) -> None: ...

    async def add(
        self, kb: str, paths: Sequence[Path], options: IngestOptions = ..., passwords: Sequence[str] = ()
    ) -> Job: ...

    async def add_rebuild(self, kb: str) -> Job: ...

    async def add_removal(self, kb: str, documents: Sequence[str]) -> Job: ...

    async def jobs(self) -> list[Job]: ...

    async def ended(self, kb: str | None = None) -> list[Job]: ...

    async def files(self, job_id: str, failed: bool = False) -> list[FileProgress]: ...

    async def pause(self, job_id: str) -> None: ...

    async def resume(self, job_id: str) -> None: ...

    async def cancel(self, job_id: str, *, keep: bool = False) -> None: ...

    async def move(self, job_id: str, before: str | None) -> None: ...

    async def retry(self, job_id: str, passwords: Sequence[str] = ()) -> Job: ...


class Watch(Protocol):
    """Folders that knowledge bases follow."""

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]: ...

    async def folders(self, kb: str | None = None) -> list[FolderStatus]: ...

    async def add(self, kb: str, folders: Sequence[Path]) -> None: ...

    async def remove(self, kb: str, folders: Sequence[Path]) -> None: ...

    async def enable(self, kb: str, enabled: bool, folder: Path | None = None) -> None: ...


class Preflights(Protocol):
    """What an ingest would take."""

    async def look(
        self,
        kb: str | None,
        paths: Sequence[Path],
        options: IngestOptions = ...,
        *,
        limit_s: float = ...,
        passwords: Sequence[str] = (),
    ) -> Preflight: ...


class Search(Protocol):
    """Answering queries."""

    async def search(self, request: SearchRequest) -> SearchResponse: ...

    async def rerankers(self) -> tuple[str, Sequence[str]]: ...

    async def document_text(self, kb: str, generation: int, document_id: str) -> StoredText: ...

    async def warm_up(self) -> None: ...


class Tags(Protocol):
    """Tags of documents."""

    async def counts(self, name_or_id: str) -> Sequence[TagCount]: ...


class Citing(Protocol):
    """What became of cited passages."""

    async def verify(self, text: str) -> Verification: ...


class Maintenance(Protocol):
    """Generations after they were built."""

    async def generations(self, kb: str) -> list[Generation]: ...

    async def promote(self, kb: str, number: int, *, force: bool = False) -> Generation: ...

    async def rollback(self, kb: str, number: int | None = None) -> Generation: ...

    async def roll_forward(self, kb: str) -> Generation: ...

    async def annotate(self, kb: str, number: int, note: str) -> Generation: ...

    async def collect(self, kb: str | None = None, *, dry_run: bool = False) -> GcReport: ...


class Compare(Protocol):
    """The difference of two generations."""

    async def compare(
        self,
        kb: str,
        a: int,
        b: int,
        queries: Path | Sequence[str] | None = None,
        mode: SearchMode = ...,
        limit: int = ...,
    ) -> Comparison: ...


class Gate(Protocol):
    """Pinned queries."""

    async def pins(self, kb: str) -> list[PinnedQuery]: ...

    async def add(self, kb: str, query: str, must_find: Sequence[str], top: int = ...) -> PinnedQuery: ...

    async def remove(self, kb: str, number: int) -> None: ...

    async def check(self, kb: str, number: int | None = None) -> GateReport: ...


class Judging(Protocol):
    """Saved queries and what was judged of them."""

    async def queries(self, kb: str) -> list[SavedQuery]: ...

    async def save(self, kb: str, query: str, name: str = "") -> SavedQuery: ...

    async def rename(self, kb: str, query_id: int, name: str) -> SavedQuery: ...

    async def delete(self, kb: str, query_id: int) -> None: ...

    async def judge(self, kb: str, query: str, document: str, grade: int = 1) -> SavedQuery: ...

    async def unjudge(self, kb: str, query: str, document: str) -> SavedQuery: ...

    async def grades(
        self, kb: str, query: str, document_ids: Sequence[str], generation: int | None = None
    ) -> dict[str, int]: ...

    async def load(self, kb: str, queries: Path, qrels: Path | None = None) -> Loaded: ...

    async def export(self, kb: str, folder: Path, form: str = ...) -> list[Path]: ...


class Quality(Protocol):
    """How well settings answer the saved queries."""

    @property
    def judging(self) -> Judging: ...

    async def evaluate(
        self,
        kb: str,
        *,
        settings: Sequence[Setting] = (),
        store: bool = ...,
        progress: Callable[[int, int], None] | None = None,
    ) -> Evaluation: ...

    async def runs(self, kb: str) -> list[RunSummary]: ...

    async def run(self, kb: str, run_id: int) -> Evaluation: ...

    async def delete_run(self, kb: str, run_id: int) -> None: ...


class Bundles(Protocol):
    """Generations as files."""

    async def export(
        self,
        kb: str,
        file: Path,
        generation: int | None = None,
        *,
        overwrite: bool = False,
        progress: ByteProgress | None = None,
    ) -> BundleInfo: ...

    async def load(self, file: Path, name: str | None = None, progress: ByteProgress | None = None) -> Imported: ...


class Models(Protocol):
    """Embedding models."""

    async def list(self) -> list[ModelInfo]: ...


class Health(Protocol):
    """How searching stands."""

    async def report(self, kb: str | None = None, *, measure: bool = True) -> HealthReport: ...

    async def forget_queries(self) -> None: ...


class MemoryBudget(Protocol):
    """How much memory the program keeps to, and could have at most, in bytes."""

    @property
    def total(self) -> int: ...

    @property
    def ceiling(self) -> int: ...


class Memory(Protocol):
    """The memory budget and who holds what of it."""

    @property
    def budget(self) -> MemoryBudget: ...

    def snapshot(self) -> MemorySnapshot: ...

    def register(self, name: str, held: Callable[[], int]) -> Callable[[], None]: ...

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]: ...


class Settings(Protocol):
    """The settings file."""

    def get(self, key: str) -> object: ...

    async def save(self, key: str, value: str) -> None: ...


class Paths(Protocol):
    """Where things lie on disk."""

    @property
    def root(self) -> Path: ...


class Sample(Protocol):
    """The sample knowledge base."""

    async def ensure(self) -> KnowledgeBase: ...


class StudioServices(Protocol):
    """Everything the window works with, as the composition root builds it."""

    @property
    def paths(self) -> Paths: ...

    @property
    def config(self) -> Settings: ...

    @property
    def library(self) -> Library: ...

    @property
    def queue(self) -> JobQueue: ...

    @property
    def watch(self) -> Watch: ...

    @property
    def preflight(self) -> Preflights: ...

    @property
    def search(self) -> Search: ...

    @property
    def tags(self) -> Tags: ...

    @property
    def citing(self) -> Citing: ...

    @property
    def maintenance(self) -> Maintenance: ...

    @property
    def compare(self) -> Compare: ...

    @property
    def gate(self) -> Gate: ...

    @property
    def quality(self) -> Quality: ...

    @property
    def bundles(self) -> Bundles: ...

    @property
    def models(self) -> Models: ...

    @property
    def health(self) -> Health: ...

    @property
    def attention(self) -> Attention: ...

    @property
    def memory(self) -> Memory: ...

    @property
    def sample(self) -> Sample: ...
