"""Search: a request becomes a page of cited, explained results."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from studio.concurrency import SEARCHES
from studio.documents.texts import read_text
from studio.domain import EmbedderProvider, SearchRequest, SearchResponse, SearchResult, StoredText
from studio.errors import EnvironmentFault, InvalidRequest, NotFound, StudioError
from studio.index.catalog import Outcome
from studio.index.generations import Stores
from studio.index.ranking import Fused
from studio.index.vectors import load_library, text_key
from studio.services.search.arranging import Arrangement, arrange
from studio.services.search.filters import DocumentFilters, check
from studio.services.search.marking import Marker
from studio.services.search.passages import Passages
from studio.services.search.query_embeddings import QueryEmbeddings
from studio.services.search.ranker import Ranker, Ranking, ms_since
from studio.services.search.rerank import Rerankers
from studio.services.search.results import results_of
from studio.services.search.search_log import SearchLog

MAX_QUERY_CHARS = 20_000
MAX_LIMIT = 1000

log = logging.getLogger(__name__)


class SearchService:
    """Answers queries from the active generations."""

    def __init__(
        self,
        stores: Stores,
        embedders: EmbedderProvider,
        rerankers: Rerankers | None = None,
        searches: SearchLog | None = None,
        reranker: Callable[[], str] = str,
    ) -> None:
        """`reranker` names the one for requests that name none, "" for none."""
        self._stores = stores
        self._embeddings = QueryEmbeddings(embedders)
        self._filters = DocumentFilters(stores)
        self._ranker = Ranker(stores, self._embeddings, self._filters)
        self._rerankers = rerankers
        self._reranker = reranker
        self._searches = searches
        self._passages = Passages()
        self._marker = Marker()

    async def search(self, request: SearchRequest) -> SearchResponse:
        """One page of results, remembered for the health report.

        Raises InvalidRequest, NotFound, StorageFault; a side that is missing only degrades.
        """
        started = time.perf_counter()
        preset = "" if request.reranker else self._reranker()
        try:
            response = await self._answer_with(request, preset) if preset else await self.answer(request)
        except EnvironmentFault:
            await self._remember(request, ms_since(started), Outcome.FAILED)
            raise
        outcome = Outcome.DEGRADED if response.degraded else Outcome.ANSWERED
        await self._remember(request, response.took_ms, outcome, response.timings_ms)
        return response

    async def _answer_with(self, request: SearchRequest, preset: str) -> SearchResponse:
        """An answer reranked as it is set; without, where that reranker is not known any more."""
        try:
            return await self.answer(replace(request, reranker=preset))
        except InvalidRequest as refusal:
            response = await self.answer(request)
            return replace(response, notes=(*response.notes, f"Not reranked, in fused order: {refusal}"))

    async def rerankers(self) -> tuple[str, Sequence[str]]:
        """(the one that orders results where a request names none, or "", all that can be used now)."""
        return self._reranker(), await self._rerankers.names() if self._rerankers is not None else []

    async def answer(self, request: SearchRequest) -> SearchResponse:
        """As `search`, of which nothing is remembered: for questions that no person asked."""
        started = time.perf_counter()
        async with self.ranking(request) as ranking:
            begun = time.perf_counter()
            arrangement = await arrange(ranking, request, self._passages, self._rerankers)
            ranking.timings_ms["arrange"] = ms_since(begun)
            begun = time.perf_counter()
            page = arrangement.order[request.offset : request.offset + request.limit]
            results = await SEARCHES.run(self._results_at_hand, ranking, request, page, arrangement)
            if results is None:
                found = await self._passages.fetch(ranking, [item.chunk for item in page])
                if found.fault is not None:
                    ranking.degraded = ranking.degraded or f"Some results are left out: {found.fault.full_message}"
                results = await SEARCHES.run(results_of, ranking, request, page, found, arrangement, self._marker)
            ranking.timings_ms["fetch"] = ms_since(begun) - ranking.timings_ms["mark"]
            return SearchResponse(
                query=request.query,
                mode=request.mode,
                degraded=ranking.degraded,
                generations={scope.kb.name: scope.snapshot.generation.number for scope in ranking.scopes},
                took_ms=ms_since(started),
                timings_ms=dict(ranking.timings_ms),
                total_candidates=len(arrangement.order),
                results=tuple(results),
                weight=ranking.weight,
                notes=tuple(ranking.notes),
                understood=ranking.query.understood(),
            )

    def _results_at_hand(
        self, ranking: Ranking, request: SearchRequest, page: Sequence[Fused], arrangement: Arrangement
    ) -> list[SearchResult] | None:
        """The results of a page whose rows need not be waited for, so that one turn in a thread makes all of them."""
        found = self._passages.at_hand(ranking, [item.chunk for item in page])
        return results_of(ranking, request, page, found, arrangement, self._marker) if found is not None else None

    @asynccontextmanager
    async def ranking(self, request: SearchRequest) -> AsyncIterator[Ranking]:
        """The fused candidates of a request, their generations pinned while the block runs."""
        _check(request)
        async with self._ranker.ranking(request) as ranking:
            yield ranking

    async def _remember(
        self, request: SearchRequest, took_ms: float, outcome: Outcome, timings_ms: Mapping[str, float] | None = None
    ) -> None:
        if self._searches is None or request.offset or not request.query.strip():
            return
        if outcome is Outcome.ANSWERED and not {"keyword", "vector"} & (timings_ms or {}).keys():
            return  # the answers of a moment ago in another order
        for name in dict.fromkeys(request.knowledge_bases):
            kb = await self._stores.knowledge_base(name)
            self._searches.record(kb.id, request.query, took_ms, outcome, timings_ms)

    def forget(self) -> None:
        """Answer every query anew: for measuring."""
        self._embeddings.forget()
        self._ranker.forget()
        self._passages.forget()
        self._marker.forget()

    def drop(self) -> None:
        """Keep nothing of earlier answers, nor what filters look at."""
        self.forget()
        self._filters.forget()

    def held_bytes(self) -> int:
        """What is kept of earlier answers, as far as it can tell its size. For any thread."""
        return sum(part.held_bytes() for part in (self._embeddings, self._passages, self._marker))

    async def document_text(self, kb: str, generation: int, document_id: str) -> StoredText:
        """The extracted text of a document, for previews. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        store = self._stores.store(base.id)
        async with store.reading(generation) as snapshot:
            records = await snapshot.tables.documents([document_id])
        if not records:
            raise NotFound("This document is not in the generation any more.")
        record = records[0]
        return await asyncio.to_thread(read_text, store.paths.texts, text_key(record.sha256, record.kind), record.row)

    async def warm_up(self) -> None:
        """Load what the first query would wait for: libraries, the model, the active generations and their indexes."""
        await load_library()
        for kb in await self._stores.catalog.knowledge_bases():
            if kb.active_generation is None:
                continue
            try:
                await self._embeddings.embed(kb.settings.model, None, "warm up")
                async with self._stores.store(kb.id).reading() as snapshot:
                    await snapshot.tables.prewarm()
                    await self._filters.count(snapshot)
                async with self.ranking(SearchRequest((kb.id,), "warm up")):
                    pass
            except StudioError as error:
                log.warning("warming up “%s”: %s", kb.name, error)


def _check(request: SearchRequest) -> None:
    if not request.query.strip() and not request.similar_to and not request.filters:
        raise InvalidRequest("The query is empty.", way_out="Type at least one word.")
    if len(request.query) > MAX_QUERY_CHARS:
        raise InvalidRequest(f"The query is longer than {MAX_QUERY_CHARS:,} characters.", way_out="Shorten it.")
    if not request.knowledge_bases:
        raise InvalidRequest("Name a knowledge base to search.")
    if not 1 <= request.limit <= MAX_LIMIT:
        raise InvalidRequest(f"The limit must be between 1 and {MAX_LIMIT}.")
    if request.offset < 0:
        raise InvalidRequest("The offset cannot be negative.")
    if not 1 <= request.candidates <= MAX_LIMIT:
        raise InvalidRequest(f"The depth must be between 1 and {MAX_LIMIT}.")
    if request.weight is not None and not 0.0 <= request.weight <= 1.0:
        raise InvalidRequest("The weight must be between 0 and 1.")
    if not 0.0 <= request.diversity <= 1.0:
        raise InvalidRequest("The diversity must be between 0 and 1.")
    if request.minimum_similarity is not None and not -1.0 <= request.minimum_similarity <= 1.0:
        raise InvalidRequest("The similarity must be between -1 and 1.")
    if request.generation is not None and len(request.knowledge_bases) > 1:
        raise InvalidRequest("A generation can be named for one knowledge base only.")
    check(request.filters)
