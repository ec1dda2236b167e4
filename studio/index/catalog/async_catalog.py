"""The catalog as coroutines: what services and stores ask, each call run on the one thread that may use SQLite.

Each coroutine runs a method of the blocking class of the same concern, where its statements are; arguments, result,
errors and docstring are those of that method. One call is one turn of the thread: what has to happen together is one
method, and calls take effect in the order they are made.

Not for: who opens a catalog for a moment, without an event loop (`Catalog`).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from studio.concurrency import Executor
from studio.index.catalog.catalog import Catalog
from studio.index.catalog.glance import Moment
from studio.index.catalog.jobs import Jobs
from studio.index.catalog.judgments import EvaluationRuns, SavedQueries
from studio.index.catalog.names import DocumentNames
from studio.index.catalog.pins import Pins
from studio.index.catalog.query_log import QueryLog
from studio.index.catalog.tags import DocumentTags
from studio.index.catalog.watched import WatchedFolders

S_co = TypeVar("S_co", covariant=True)
P = ParamSpec("P")
T = TypeVar("T")


class _Face(Generic[S_co]):
    """Has coroutines that run methods of `blocking` on a thread."""

    def __init__(self, blocking: S_co, thread: Executor) -> None:
        self._blocking = blocking
        self._thread = thread


def _coroutine(
    method: Callable[Concatenate[S_co, P], T],
) -> Callable[Concatenate[_Face[S_co], P], Coroutine[Any, Any, T]]:
    """The method of a face that runs a method of its blocking class.

    Cancelling the caller does not interrupt a call that has begun: its transaction is whole. One that waits for its
    turn is not made any more.
    """

    @functools.wraps(method)
    async def run(face: _Face[S_co], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await face._thread.run(method, face._blocking, *args, **kwargs)

    return run


class AsyncJobs(_Face[Jobs]):
    """See `Jobs`."""

    create = _coroutine(Jobs.create)
    get = _coroutine(Jobs.get)
    open = _coroutine(Jobs.open)
    ended = _coroutine(Jobs.ended)
    unfinished = _coroutine(Jobs.unfinished)
    begin = _coroutine(Jobs.begin)
    set_state = _coroutine(Jobs.set_state)
    finish = _coroutine(Jobs.finish)
    finish_early = _coroutine(Jobs.finish_early)
    wish = _coroutine(Jobs.wish)
    asked_of = _coroutine(Jobs.asked_of)
    pause = _coroutine(Jobs.pause)
    withdraw = _coroutine(Jobs.withdraw)
    report_of = _coroutine(Jobs.report_of)
    move = _coroutine(Jobs.move)
    add_files = _coroutine(Jobs.add_files)
    update_files = _coroutine(Jobs.update_files)
    record = _coroutine(Jobs.record)
    checkpoint_of = _coroutine(Jobs.checkpoint_of)
    files = _coroutine(Jobs.files)
    known_files = _coroutine(Jobs.known_files)
    suspended = _coroutine(Jobs.suspended)


class AsyncDocumentNames(_Face[DocumentNames]):
    """See `DocumentNames`."""

    of = _coroutine(DocumentNames.of)
    renaming = _coroutine(DocumentNames.renaming)


class AsyncPins(_Face[Pins]):
    """See `Pins`."""

    list = _coroutine(Pins.list)
    add = _coroutine(Pins.add)
    load = _coroutine(Pins.load)
    remove = _coroutine(Pins.remove)
    max_drop = _coroutine(Pins.max_drop)
    set_max_drop = _coroutine(Pins.set_max_drop)


class AsyncQueryLog(_Face[QueryLog]):
    """See `QueryLog`."""

    append = _coroutine(QueryLog.append)
    recent = _coroutine(QueryLog.recent)
    forget_texts = _coroutine(QueryLog.forget_texts)


class AsyncSavedQueries(_Face[SavedQueries]):
    """See `SavedQueries`."""

    list = _coroutine(SavedQueries.list)
    find = _coroutine(SavedQueries.find)
    save = _coroutine(SavedQueries.save)
    rename = _coroutine(SavedQueries.rename)
    remove = _coroutine(SavedQueries.remove)
    judge = _coroutine(SavedQueries.judge)
    load = _coroutine(SavedQueries.load)


class AsyncEvaluationRuns(_Face[EvaluationRuns]):
    """See `EvaluationRuns`."""

    add = _coroutine(EvaluationRuns.add)
    list = _coroutine(EvaluationRuns.list)
    get = _coroutine(EvaluationRuns.get)
    remove = _coroutine(EvaluationRuns.remove)


class AsyncWatchedFolders(_Face[WatchedFolders]):
    """See `WatchedFolders`."""

    list = _coroutine(WatchedFolders.list)
    add = _coroutine(WatchedFolders.add)
    remove = _coroutine(WatchedFolders.remove)
    enable = _coroutine(WatchedFolders.enable)


class AsyncDocumentTags(_Face[DocumentTags]):
    """See `DocumentTags`."""

    by_path = _coroutine(DocumentTags.by_path)
    paths = _coroutine(DocumentTags.paths)
    change = _coroutine(DocumentTags.change)


class AsyncCatalog(_Face[Catalog]):
    """One open catalog and its thread. See `Catalog`."""

    def __init__(self, blocking: Catalog, thread: Executor) -> None:
        super().__init__(blocking, thread)
        self.jobs = AsyncJobs(blocking.jobs, thread)
        self.names = AsyncDocumentNames(blocking.names, thread)
        self.pins = AsyncPins(blocking.pins, thread)
        self.queries = AsyncQueryLog(blocking.queries, thread)
        self.saved = AsyncSavedQueries(blocking.saved, thread)
        self.runs = AsyncEvaluationRuns(blocking.runs, thread)
        self.watched = AsyncWatchedFolders(blocking.watched, thread)
        self.tags = AsyncDocumentTags(blocking.tags, thread)

    @classmethod
    async def open(cls, path: Path) -> AsyncCatalog:
        """Open the catalog in a file, on a thread of its own. Raises StorageFault."""
        thread = Executor("catalog")
        try:
            return cls(await thread.run(Catalog, path), thread)
        except BaseException:
            thread.close()
            raise

    async def close(self) -> None:
        """Close the catalog, then its thread."""
        await self._thread.run(self._blocking.close)
        await asyncio.to_thread(self._thread.close)

    @property
    def read_only(self) -> str | None:
        """See `Catalog.read_only`."""
        return self._blocking.read_only

    def moment(self) -> Moment | None:
        """See `Catalog.moment`, which may be asked on any thread."""
        return self._blocking.moment()

    stamp = _coroutine(Catalog.stamp)
    integrity = _coroutine(Catalog.integrity)
    require_writable = _coroutine(Catalog.require_writable)

    describe = _coroutine(Catalog.describe)
    adopt = _coroutine(Catalog.adopt)
    dump = _coroutine(Catalog.dump)
    horizon = _coroutine(Catalog.horizon)
    horizons = _coroutine(Catalog.horizons)

    knowledge_bases = _coroutine(Catalog.knowledge_bases)
    knowledge_base = _coroutine(Catalog.knowledge_base)
    create_kb = _coroutine(Catalog.create_kb)
    begin_import = _coroutine(Catalog.begin_import)
    finish_import = _coroutine(Catalog.finish_import)
    imports = _coroutine(Catalog.imports)
    rename_kb = _coroutine(Catalog.rename_kb)
    update_settings = _coroutine(Catalog.update_settings)
    set_retention = _coroutine(Catalog.set_retention)
    delete_kb = _coroutine(Catalog.delete_kb)

    generations = _coroutine(Catalog.generations)
    active_models = _coroutine(Catalog.active_models)
    generation = _coroutine(Catalog.generation)
    begin_generation = _coroutine(Catalog.begin_generation)
    mark_ready = _coroutine(Catalog.mark_ready)
    set_state = _coroutine(Catalog.set_state)
    annotate = _coroutine(Catalog.annotate)
    mark_for_deletion = _coroutine(Catalog.mark_for_deletion)
    forget_generation = _coroutine(Catalog.forget_generation)
    promote = _coroutine(Catalog.promote)
