"""Search as you type: the query, its mode and filters, and the results."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, QTimer, Signal

from studio.domain import DocumentRecord, DocumentStatus, SearchMode, SearchRequest, SearchResult
from studio.errors import StudioError
from studio.viewmodels.base import Index, ItemListModel, ViewModel
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.ports import Library, Search
from studio.viewmodels.text import count, document_title, where

_DEBOUNCE_MS = 120
_PAGE_SIZE = 30


@dataclass(frozen=True, slots=True)
class FilterChoices:
    """What the filters offer for the present scope."""

    kinds: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters in force; "" filters nothing."""

    kind: str = ""
    folder: str = ""

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """As a search request takes them."""
        return tuple((key, value) for key, value in (("type", self.kind), ("folder", self.folder)) if value)


class ResultModel(ItemListModel[SearchResult]):
    """The results; asks for the next page when a view comes to the end of it."""

    more_wanted = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.has_more = False

    def describe(self, row: int, item: SearchResult) -> str:
        place = where(item)
        return f"Result {row + 1}: {document_title(item)}{', ' + place if place else ''}. {item.snippet[:160]}"

    def tip(self, item: SearchResult) -> str:
        return item.citation.source_path

    def canFetchMore(self, parent: Index) -> bool:
        return self.has_more and not parent.isValid()

    def fetchMore(self, parent: Index) -> None:
        self.has_more = False  # until the page is here; a view asks several times a second
        self.more_wanted.emit()


class SearchViewModel(ViewModel):
    """Runs the newest query and drops the answers of older ones."""

    changed = Signal()
    """Summary, message, banner or state changed."""
    results_changed = Signal()
    """Another list of results is in place; `current_row` says which one to show."""
    choices_changed = Signal()
    """The filters offer something else."""

    def __init__(
        self, search: Search, library: Library, sources: LibraryViewModel, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.results = ResultModel(self)
        self.results.more_wanted.connect(self._fetch_more)
        self._search = search
        self._library = library
        self._sources = sources
        self._query = ""
        self._mode = SearchMode.HYBRID
        self._filters = Filters()
        self._answered: SearchRequest | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DEBOUNCE_MS)
        self._timer.timeout.connect(self.run_now)
        self.choices = FilterChoices()
        self.current_row = -1
        self.busy = False
        self.summary = ""
        self.message = ""
        self.degraded = ""
        sources.selection_changed.connect(self._scope_changed)
        sources.changed.connect(self.refresh)

    @property
    def query(self) -> str:
        return self._query

    @property
    def mode(self) -> SearchMode:
        return self._mode

    @property
    def filters(self) -> Filters:
        return self._filters

    def set_query(self, query: str) -> None:
        """Search for this as soon as typing pauses."""
        if query.strip() == self._query.strip():
            self._query = query
            return
        self._query = query
        if query.strip():
            self._timer.start()
        else:
            self.run_now()

    def set_mode(self, mode: SearchMode) -> None:
        """Answer with both sides or one of them."""
        if mode is not self._mode:
            self._mode = mode
            self.run_now()

    def set_filters(self, filters: Filters) -> None:
        """Restrict the results."""
        if filters != self._filters:
            self._filters = filters
            self.changed.emit()
            self.run_now()

    def refresh(self) -> None:
        """Ask again, after a promotion or a change in the library; the selected passage stays selected."""
        self.launch("choices", self._read_choices())
        if self._query.strip() and not self._timer.isActive():
            self.run_now(keep_place=True)
        else:
            self.changed.emit()

    def run_now(self, *, keep_place: bool = False) -> None:
        """Search without waiting for a pause."""
        self._timer.stop()
        if not self._query.strip():
            self.cancel("search")
            self._answered = None
            self._show([], has_more=False, keep_place=False)
            self.summary = self.message = self.degraded = ""
            self.busy = False
            self.changed.emit()
            return
        scope = self._sources.scope
        if not scope or (self._sources.selected is not None and self._sources.selected.active_generation is None):
            self.cancel("search")
            self._show([], has_more=False, keep_place=False)
            self.summary = self.degraded = ""
            self.busy = False
            self.message = "Nothing is indexed here yet. Drop a folder on the window."
            self.changed.emit()
            return
        request = SearchRequest(
            knowledge_bases=scope,
            query=self._query.strip(),
            mode=self._mode,
            limit=_PAGE_SIZE,
            filters=self._filters.pairs,
        )
        self.busy = True
        self.changed.emit()
        self.launch("search", self._run(request, keep_place))

    async def _run(self, request: SearchRequest, keep_place: bool) -> None:
        try:
            response = await self._search.search(request)
        except StudioError as error:
            self.busy = False
            self._show([], has_more=False, keep_place=False)
            self.summary = ""
            self.degraded = ""
            self.message = error.full_message
            self.changed.emit()
            return
        self.busy = False
        self._answered = request
        self.degraded = response.degraded or ""
        self.summary = f"{count(response.total_candidates, 'passage')} · {response.took_ms:.0f} ms"
        self.message = "" if response.results else _nothing_found(request)
        more = len(response.results) == request.limit and response.total_candidates > request.limit
        self._show(list(response.results), has_more=more, keep_place=keep_place)
        self.changed.emit()

    def _show(self, results: list[SearchResult], *, has_more: bool, keep_place: bool) -> None:
        kept = self.current.chunk_id if keep_place and self.current is not None else None
        unchanged = keep_place and results == list(self.results.items[: len(results)]) and bool(results)
        if unchanged:
            return
        self.results.has_more = has_more
        self.results.reset(results)
        rows = [row for row, result in enumerate(results) if result.chunk_id == kept]
        self.current_row = rows[0] if rows else (0 if results else -1)
        self.results_changed.emit()

    @property
    def current(self) -> SearchResult | None:
        """The selected result."""
        rows = self.results.items
        return rows[self.current_row] if 0 <= self.current_row < len(rows) else None

    def _fetch_more(self) -> None:
        if self._answered is not None:
            self.launch("more", self._more(replace(self._answered, offset=len(self.results.items))))

    async def _more(self, request: SearchRequest) -> None:
        response = await self._search.search(request)
        first = self._answered
        if first is None or replace(request, offset=0) != first or len(self.results.items) != request.offset:
            return  # the list was replaced while this page was on its way
        self.results.append(list(response.results))
        self.results.has_more = len(response.results) == request.limit

    def _scope_changed(self) -> None:
        self._filters = Filters()
        self.refresh()

    async def _read_choices(self) -> None:
        """Kinds and folders of the documents in scope. Of one knowledge base; all sources offer none."""
        kb = self._sources.selected
        choices = FilterChoices()
        if kb is not None and kb.active_generation is not None:
            try:
                documents = await self._library.documents(kb.id)
            except StudioError:
                documents = []  # the generation went away; the next change of the library asks again
            choices = await asyncio.to_thread(_choices, documents)
        if choices != self.choices:
            self.choices = choices
            self.choices_changed.emit()


def _choices(documents: Sequence[DocumentRecord]) -> FilterChoices:
    indexed = [record for record in documents if record.status is DocumentStatus.INDEXED]
    # os.path, not pathlib: a path object for each of ten thousand documents costs ten times as much.
    folders = {os.path.dirname(record.source_path) for record in indexed}  # noqa: PTH120
    return FilterChoices(tuple(sorted({record.kind for record in indexed if record.kind})), tuple(sorted(folders)[:40]))


def _nothing_found(request: SearchRequest) -> str:
    if request.filters:
        return f"No passage matches “{request.query}” with these filters."
    if request.mode is SearchMode.KEYWORD:
        return f"No passage contains the words of “{request.query}”. Hybrid search also finds by meaning."
    return f"No passage matches “{request.query}”."
