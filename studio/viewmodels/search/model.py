"""Search as you type: the query, what steers it, and the results."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, QTimer, Signal

from studio.domain import SearchMode, SearchRequest, SearchResponse, SearchResult
from studio.errors import StudioError
from studio.viewmodels.base import ViewModel
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.ports import Library, Search, Tags
from studio.viewmodels.search.filters import Arrangement, FilterChoices, Filters, choices_of
from studio.viewmodels.search.results import Grades, ResultModel, page_summary, passage_of
from studio.viewmodels.text import document_title
from studio.viewmodels.ways_out import clickable, sentences

_DEBOUNCE_MS = 120
_PAGE_SIZE = 30
_MAX_PAGE = 1000
_STALE_MS = 1000
"""So long the answer to what was asked before may stay while the next one is on its way: a list that goes and comes
with every key flickers."""
_DIVERSITY = 0.5
"""Even trade of score for difference, where the authors of maximal marginal relevance (Carbonell, Goldstein 1998)
begin; near-duplicates are folded anyway."""


@dataclass(frozen=True, slots=True)
class Similar:
    """The passage whose likes are wanted, and what it is called."""

    chunk_id: str
    label: str


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer belongs to: the scope with its generations, the query, and all options that decide what is found.

    An answer is shown only while its question is the one on the screen. The weight is no part of it: another weight
    arranges what was found anew.
    """

    generations: tuple[tuple[str, int | None], ...]
    request: SearchRequest


class SearchViewModel(ViewModel):
    """Runs the newest query and drops every answer to another `Question` than the one on the screen."""

    changed = Signal()
    """Summary, message, banner or state changed."""
    results_changed = Signal()
    """Another list of results is in place; `current_row` says which one to show, `kept_place` whether the view stays
    where it is."""
    choices_changed = Signal()
    """The filters offer something else."""
    judged = Signal(str, object, int)
    """(query, result, grade): a person said whether a result answers a query; 0 does not."""

    def __init__(
        self, search: Search, library: Library, tags: Tags, sources: LibraryViewModel, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.results = ResultModel(self)
        self.results.more_wanted.connect(self._fetch_more)
        self._search = search
        self._library = library
        self._tags = tags
        self._sources = sources
        self._query = ""
        self._mode = SearchMode.HYBRID
        self._filters = Filters()
        self._arrangement = Arrangement()
        self._weight: float | None = None
        self._similar: Similar | None = None
        self._answered: SearchRequest | None = None
        self._asked: Question | None = None
        self._generations: Mapping[str, int] = {}
        self._grades: dict[str, Grades] = {}
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DEBOUNCE_MS)
        self._timer.timeout.connect(self.run_now)
        self._stale = QTimer(self)
        self._stale.setSingleShot(True)
        self._stale.setInterval(_STALE_MS)
        self._stale.timeout.connect(lambda: self._blank("Searching…"))
        self.choices = FilterChoices()
        self.current_row = -1
        self.kept_place = False
        self.busy = False
        self.summary = ""
        self.message = ""
        self.degraded = ""
        self.notes = ""
        self.used_weight = 0.5
        sources.selection_changed.connect(self._scope_changed)
        sources.changed.connect(self.refresh)

    # ------------------------------------------------------------ what is asked

    @property
    def query(self) -> str:
        return self._query

    @property
    def mode(self) -> SearchMode:
        return self._mode

    @property
    def filters(self) -> Filters:
        return self._filters

    @property
    def arrangement(self) -> Arrangement:
        return self._arrangement

    @property
    def weight(self) -> float | None:
        """The share of meaning in 0..1; None while the service chooses it (`used_weight` says which it took)."""
        return self._weight

    @property
    def similar(self) -> Similar | None:
        """The passage whose likes are shown instead of answers to the query."""
        return self._similar

    def set_query(self, query: str) -> None:
        """Search for this as soon as typing pauses."""
        if query.strip() == self._query.strip() and self._similar is None:
            self._query = query
            return
        self._query = query
        if self._similar is not None:
            self._similar = None
            self.changed.emit()
        if query.strip():
            self._stop()
            self._grow_stale()
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

    def set_arrangement(self, arrangement: Arrangement) -> None:
        """Put the results in order otherwise."""
        if arrangement != self._arrangement:
            self._arrangement = arrangement
            self.run_now()

    def set_weight(self, weight: float | None) -> None:
        """Weigh meaning against words, at once; None leaves it to the service.

        While an answer is on its way nothing more is asked: when it comes, the newest weight is asked for, so that a
        slider that moves fast leaves no queue behind.
        """
        if weight == self._weight:
            return
        self._weight = weight
        self.changed.emit()
        if not self.busy and not self._timer.isActive() and self._answered is not None:
            self.run_now(keep_place=True)

    def find_similar(self, result: SearchResult | None) -> None:
        """Show what is like a passage while the query waits; None goes back to the query."""
        if result is None:
            self._similar = None
        else:
            page = result.citation.page_number
            place = f", p. {page}" if page is not None else ""
            self._similar = Similar(result.chunk_id, f"{document_title(result)}{place}")
        self.run_now()

    def refresh(self) -> None:
        """Ask again, after a promotion or a change in the library; the selected passage stays selected."""
        self.launch("choices", self._read_choices())
        if any(result.kb_id not in self._sources.scope for result in self.results.items):
            self._stop()
            self._blank("")  # of a knowledge base that is not there any more
        if self._asks and not self._timer.isActive():
            self.run_now(keep_place=True)
        else:
            self.changed.emit()

    @property
    def _asks(self) -> bool:
        return bool(self._query.strip()) or self._similar is not None

    def run_now(self, *, keep_place: bool = False) -> None:
        """Search without waiting for a pause."""
        self._stop()
        if not self._asks:
            self._blank("")
            return
        scope = self._sources.scope
        if not scope or (self._sources.selected is not None and self._sources.selected.active_generation is None):
            self._blank("Nothing is indexed here yet. Drop a folder on the window.")
            return
        self.busy = True
        self._grow_stale()
        self.changed.emit()
        self.launch("search", self._run(self._question(), self._request(scope, keep_place), keep_place))

    def _stop(self) -> None:
        """Whatever is on its way answers what was asked before."""
        self._timer.stop()
        self.cancel("search")
        self.cancel("more")
        self.busy = False

    def _grow_stale(self) -> None:
        """What is shown now goes if nothing takes its place soon."""
        if self.results.items and self._asked != self._question() and not self._stale.isActive():
            self._stale.start()

    def _question(self) -> Question:
        scope = self._sources.scope
        return Question(self._sources.generations, replace(self._request(scope, keep_place=False), weight=None))

    def _request(self, scope: tuple[str, ...], keep_place: bool) -> SearchRequest:
        shown = len(self.results.items) if keep_place else 0
        return SearchRequest(
            knowledge_bases=scope,
            query="" if self._similar is not None else self._query.strip(),
            mode=self._mode,
            limit=min(max(_PAGE_SIZE, shown), _MAX_PAGE),
            weight=self._weight,
            filters=self._filters.pairs,
            minimum_similarity=self._filters.minimum_similarity,
            similar_to=self._similar.chunk_id if self._similar is not None else "",
            group=self._arrangement.group and not self._filters.document,
            fold=self._arrangement.fold,
            diversity=_DIVERSITY if self._arrangement.diverse else 0.0,
            reranker=self._arrangement.reranker,
        )

    # ------------------------------------------------------------ what is answered

    async def _run(self, question: Question, request: SearchRequest, keep_place: bool) -> None:
        while True:
            try:
                response, said = await self._search.search(request), ""
            except StudioError as error:
                response, said = None, sentences(error)
            if question != self._question():
                return
            if response is None:
                self.busy = False
                self._blank(said)
                return
            self.busy = request.weight != self._weight
            self._asked = question
            self._show_response(request, response, keep_place)
            if not self.busy:
                return
            request, keep_place = replace(request, weight=self._weight), True

    def _show_response(self, request: SearchRequest, response: SearchResponse, keep_place: bool) -> None:
        more = len(response.results) == request.limit and response.total_candidates > request.limit
        self._answered = request
        self._generations = response.generations
        self._stale.stop()
        self.degraded = clickable(response.degraded or "")
        self.notes = clickable(" ".join(response.notes))
        self.used_weight = response.weight
        self.summary = page_summary(
            response.results, response.total_candidates, response.took_ms, grouped=request.group, more=more
        )
        self.message = "" if response.results else _nothing_found(request)
        self.results.show_grades(self._grades.get(request.query, {}))
        self._show(list(response.results), has_more=more, keep_place=keep_place)
        self.changed.emit()

    def _blank(self, message: str) -> None:
        """Show no results, and why."""
        self._stale.stop()
        self._answered = self._asked = None
        self._show([], has_more=False, keep_place=False)
        self.summary = self.degraded = self.notes = ""
        self.message = message
        self.changed.emit()

    def _show(self, results: list[SearchResult], *, has_more: bool, keep_place: bool) -> None:
        kept = passage_of(self.current) if keep_place and self.current is not None else None
        self.results.has_more = has_more
        whole = len(results) in (len(self.results.items), _MAX_PAGE)
        if keep_place and whole and results and results == list(self.results.items[: len(results)]):
            return
        if keep_place:
            self.results.rearrange(results)
        else:
            self.results.reset(results)
        rows = [row for row, result in enumerate(results) if passage_of(result) == kept]
        self.current_row = rows[0] if rows else (0 if results else -1)
        self.kept_place = keep_place
        self.results_changed.emit()

    @property
    def current(self) -> SearchResult | None:
        """The selected result."""
        rows = self.results.items
        return rows[self.current_row] if 0 <= self.current_row < len(rows) else None

    def _fetch_more(self) -> None:
        if self._answered is not None and self._asked is not None:
            shown = len(self.results.items)
            self.launch("more", self._more(self._asked, replace(self._answered, offset=shown, limit=_PAGE_SIZE)))

    async def _more(self, question: Question, request: SearchRequest) -> None:
        response = await self._search.search(request)
        answered = self._answered
        if not question == self._asked == self._question() or answered is None or answered.weight != request.weight:
            return  # the list was replaced while this page was on its way
        if response.generations != self._generations:
            self.run_now(keep_place=True)  # pages of two generations would repeat passages or miss some
            return
        if len(self.results.items) != request.offset:
            return
        self.results.append(list(response.results))
        self.results.has_more = len(response.results) == request.limit

    # ------------------------------------------------------------ judgments

    @property
    def answered_query(self) -> str:
        """The query that the results on the screen answer; "" for likes of a passage and while there are none."""
        return self._answered.query if self._answered is not None else ""

    @property
    def can_judge(self) -> bool:
        """Whether there is a result of a query to say something about."""
        return self.current is not None and bool(self.answered_query)

    def judge(self, grade: int) -> None:
        """Say of the selected result whether it answers the query: 1 it does, 0 it does not."""
        result, query = self.current, self.answered_query
        if result is not None and query:
            document = (result.kb_id, result.document_id)
            self.show_grades(query, {**self._grades.get(query, {}), document: grade})
            self.judged.emit(query, result, grade)

    def show_grades(self, query: str, grades: Grades) -> None:
        """Mark the results of a query with what their documents were judged."""
        self._grades[query] = dict(grades)
        if query and self.answered_query == query:
            self.results.show_grades(grades)

    # ------------------------------------------------------------ scope

    def _scope_changed(self) -> None:
        self._stop()
        self._filters = Filters()
        self._similar = None
        self._blank("")
        self._offer(FilterChoices(rerankers=self.choices.rerankers, reranker=self.choices.reranker))
        self.refresh()

    async def _read_choices(self) -> None:
        """What the documents in scope can be filtered by. Of one knowledge base; all sources offer none."""
        kb = self._sources.selected
        choices = FilterChoices()
        reranker, rerankers = await self._search.rerankers()
        if kb is not None and kb.active_generation is not None:
            try:
                documents = await self._library.documents(kb.id)
                tags = await self._tags.counts(kb.id)
            except StudioError:
                documents, tags = [], []  # the generation went away; the next change of the library asks again
            choices = await asyncio.to_thread(choices_of, documents, tags)
        self._offer(replace(choices, rerankers=tuple(rerankers), reranker=reranker))

    def _offer(self, choices: FilterChoices) -> None:
        if choices != self.choices:
            self.choices = choices
            self.choices_changed.emit()


def _nothing_found(request: SearchRequest) -> str:
    if request.similar_to:
        return "No other passage is like this one."
    if request.filters or request.minimum_similarity is not None:
        return f"No passage matches “{request.query}” with these filters."
    if request.mode is SearchMode.KEYWORD:
        return f"No passage contains the words of “{request.query}”. Hybrid search also finds by meaning."
    return f"No passage matches “{request.query}”."
