"""From a request to one ranking: pin and restrict, ask both sides at once, fuse, arrange."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from operator import itemgetter

from studio.concurrency import SEARCHES
from studio.domain import Candidate, ChunkInGeneration, Hit, SearchMode, SearchRequest, Vectors
from studio.errors import EnvironmentFault, NotFound, StorageFault
from studio.index.generations import Stores
from studio.index.keywords import Condition, Pattern, Phrase, Query, parse
from studio.index.ranking import EVEN_WEIGHT, Fused, fuse, single
from studio.index.vectors import Within
from studio.services.search.candidates import comparable, spread
from studio.services.search.exact import (
    Exact,
    as_words,
    exact,
    has,
    is_prose,
    may_be_loosened,
    without_phrases,
)  # fmt: skip
from studio.services.search.filters import DocumentFilters
from studio.services.search.query_embeddings import QueryEmbeddings
from studio.services.search.recent import Recent
from studio.services.search.scopes import Scope, conditions_in, doubts, open_scopes
from studio.services.search.weighting import weight_for
from studio.ways_out import RunRepair

log = logging.getLogger(__name__)

KEPT_ANSWERS = 64
"""Candidates of the last queries: some 30 KB each. A moved weight, another page and a toggled view find them here."""

MATCHING = 20_000
"""Passages that fulfil a query's phrases and exclusions are named to the vector side up to here; beyond, its candidates
are checked one by one."""

_SIDES = (SearchMode.KEYWORD, SearchMode.VECTOR)
_score = itemgetter(1)


@dataclass(frozen=True, slots=True)
class Answers:
    """What both sides found, best first; None for a side that was not asked or could not answer.

    `weight` is the vector side's share that suits the query.
    """

    keyword: list[Hit] | None
    vector: list[Hit] | None
    degraded: str | None
    weight: float
    notes: tuple[str, ...] = ()

    @property
    def documents(self) -> dict[ChunkInGeneration, str]:
        """The document of each chunk, as far as the sides know it."""
        found = (*(self.keyword or ()), *(self.vector or ()))
        return {chunk: document_id for chunk, _, document_id in found if document_id}


@dataclass(slots=True)
class Ranking:
    """Fused candidates over all scopes. `documents` is the document of each chunk, as far as the sides know it."""

    scopes: list[Scope]
    query: Query
    fused: list[Fused]
    exact: dict[str, Exact] = field(default_factory=dict)
    """Knowledge base → what it has of the query's phrases, for queries with some."""
    documents: Mapping[ChunkInGeneration, str] = field(default_factory=dict)
    degraded: str | None = None
    weight: float = 0.5
    notes: list[str] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)
    embedded: asyncio.Event = field(default_factory=asyncio.Event)
    """The model is done with the query, or never will be."""

    def doubt(self, fault: EnvironmentFault) -> None:
        """What could not be read is opened anew the next time."""
        if isinstance(fault, StorageFault):
            for scope in self.scopes:
                scope.snapshot.doubted = True


class Ranker:
    """Makes rankings. Keeps the candidates of the last queries, by generation, so that a promotion forgets them."""

    def __init__(self, stores: Stores, embeddings: QueryEmbeddings, filters: DocumentFilters) -> None:
        self._stores = stores
        self._embeddings = embeddings
        self._filters = filters
        self._kept = Recent[tuple[object, ...], Answers](KEPT_ANSWERS)

    @asynccontextmanager
    async def ranking(self, request: SearchRequest) -> AsyncIterator[Ranking]:
        """The fused candidates of a request, their generations pinned while the block runs."""
        begun = time.perf_counter()
        query = _meant(request)
        async with AsyncExitStack() as stack:
            scopes = await open_scopes(stack, self._stores, self._filters, request, query)
            ranking = Ranking(scopes, query, [], notes=await doubts(scopes, self._filters))
            ranking.timings_ms["open"] = ms_since(begun)
            answers = await self._answers(ranking, request)
            if may_be_loosened(query) and not (answers.keyword or answers.vector or answers.degraded):
                ranking.query = as_words(query)
                ranking.exact = {}
                answers = replace(
                    await self._answers(ranking, request),
                    notes=("Nothing is just as the query demands: its words are searched, without quotation marks, "
                           "stars and exclusions.",),
                )  # fmt: skip
            ranking.notes += answers.notes
            begun = time.perf_counter()
            ranking.degraded = answers.degraded
            ranking.documents = answers.documents
            ranking.weight = request.weight if request.weight is not None else answers.weight
            if answers.vector is None:
                ranking.weight = 0.0
                ranking.fused = single(answers.keyword or [], vector=False)
            elif answers.keyword is None:
                ranking.weight = 1.0
                ranking.fused = single(answers.vector, vector=True)
            else:
                ranking.fused = fuse(
                    answers.vector, answers.keyword, weight=ranking.weight, method=request.fusion,
                    depth=request.candidates,
                )  # fmt: skip
            ranking.timings_ms["fuse"] = ms_since(begun)
            yield ranking

    def forget(self) -> None:
        """Ask both sides anew."""
        self._kept.clear()

    async def _answers(self, ranking: Ranking, request: SearchRequest) -> Answers:
        limit = max(request.candidates, request.offset + request.limit)
        key = (
            tuple((scope.kb.id, scope.snapshot.generation.number) for scope in ranking.scopes),
            ranking.query, request.mode, limit, request.filters, request.minimum_similarity, request.similar_to,
            request.exact,
        )  # fmt: skip
        if (found := self._kept.get(key)) is not None:
            return found
        found = await self._ask(ranking, request, limit)
        # A person's tags change without a new generation, and what failed once may answer the next time.
        if found.degraded is None and not _names_tags(ranking.query, request):
            self._kept.keep(key, found)
        return found

    # ------------------------------------------------------------ the two sides

    async def _ask(self, ranking: Ranking, request: SearchRequest, limit: int) -> Answers:
        """Ask the sides of the mode; one that fails is stood in for by the other, and `degraded` says why.

        Raises StorageFault when neither can answer.
        """
        has_text = bool(ranking.query.text.strip())
        notes = await self._read_phrases(ranking)
        asked = [mode for mode in _SIDES if request.mode in (mode, SearchMode.HYBRID)]
        if not has_text and not request.similar_to:
            asked = [SearchMode.KEYWORD]  # only conditions: a list of what fulfils them
        elif not has_text:
            asked = [SearchMode.VECTOR]
        sides, weight = await asyncio.gather(
            asyncio.gather(*(self._side(mode, ranking, request, limit) for mode in asked)),
            self._weight(ranking, asked),
        )
        answers = dict(zip(asked, sides, strict=True))
        for mode in _SIDES:
            if mode not in answers and has_text and isinstance(answers.get(request.mode), EnvironmentFault):
                answers[mode] = await self._side(mode, ranking, request, limit)
        keyword, vector = answers.get(SearchMode.KEYWORD), answers.get(SearchMode.VECTOR)
        if isinstance(keyword, EnvironmentFault):
            if vector is None or isinstance(vector, EnvironmentFault):
                raise StorageFault(f"{keyword} {vector or ''}".strip(), way_out=RunRepair())
            return Answers(None, vector, f"Vector results only: {keyword.full_message}", 1.0, notes)
        if isinstance(vector, EnvironmentFault):
            if keyword is None:
                raise vector
            return Answers(keyword, None, f"Keyword results only: {vector.full_message}", 0.0, notes)
        if keyword is not None and vector is not None:
            keyword = await self._near_enough(ranking, request, keyword, vector)
        return Answers(keyword, vector, None, weight, notes)

    async def _read_phrases(self, ranking: Ranking) -> tuple[str, ...]:
        """Look for the query's phrases word for word; returns what there is to say of them and of words with stars."""
        notes: dict[str, None] = {}
        for scope in ranking.scopes:
            try:
                if has(ranking.query, Pattern):
                    notes.update(dict.fromkeys(await SEARCHES.run(_notes_of, scope, ranking.query)))
                if has(ranking.query, Phrase):
                    found = await exact(self._stores, scope, ranking.query)
                    ranking.exact[scope.kb.id] = found
                    notes.update(dict.fromkeys(found.notes))
            except EnvironmentFault as fault:  # the keyword side meets it too, and says so
                log.warning("no phrases: %s", fault)
        return tuple(notes)

    async def _side(
        self, mode: SearchMode, ranking: Ranking, request: SearchRequest, limit: int
    ) -> list[Hit] | EnvironmentFault:
        side = self._keyword_side if mode is SearchMode.KEYWORD else self._vector_side
        try:
            return await side(ranking, request, limit)
        except EnvironmentFault as fault:
            log.warning("no %s results: %s", mode, fault)
            ranking.doubt(fault)
            return fault
        finally:
            if mode is SearchMode.VECTOR:
                ranking.embedded.set()

    async def _keyword_side(self, ranking: Ranking, request: SearchRequest, limit: int) -> list[Hit]:
        timings = ranking.timings_ms
        begun = time.perf_counter()
        several = len(ranking.scopes) > 1
        boosts = await SEARCHES.run(comparable, ranking.scopes, ranking.query) if several else [None]
        found: list[Hit] = []
        for number, scope in enumerate(ranking.scopes):
            checked = ranking.exact.get(scope.kb.id, Exact())
            hits = checked.hits if checked.hits is not None else await SEARCHES.run(
                scope.snapshot.lexical.search, without_phrases(ranking.query), limit=limit + len(checked.without),
                document_ids=scope.documents, holds=scope.holds, boosts=boosts[number],
            )  # fmt: skip
            hits = [hit for hit in hits if hit.chunk_id not in checked.without][:limit]
            timings["keyword"] = ms_since(begun)
            found.extend(Hit.of(number, (hit for hit in hits if hit.chunk_id != request.similar_to)))
        return sorted(found, key=_score, reverse=True)[:limit]

    async def _vector_side(self, ranking: Ranking, request: SearchRequest, limit: int) -> list[Hit]:
        likes = await self._likes(ranking, request)
        by_model: dict[str, list[Hit]] = {}
        timings = ranking.timings_ms
        for number, scope in enumerate(ranking.scopes):
            generation = scope.snapshot.generation
            if generation.chunks == 0:
                continue
            begun = time.perf_counter()
            if likes is not None and likes.model == (generation.model.sha256 if generation.model else ""):
                vector = likes.vector
            else:
                text = ranking.query.text if likes is None else likes.text
                vector = await self._embeddings.embed(generation.settings.model, generation.model, text)
            embedded = time.perf_counter()
            ranking.embedded.set()
            hits = await self._nearest(ranking, scope, vector, request, limit)
            model = generation.model.sha256 if generation.model else ""
            by_model.setdefault(model, []).extend(Hit.of(number, hits))
            timings["embed"] = timings.get("embed", 0.0) + (embedded - begun) * 1000
            timings["vector"] = timings.get("vector", 0.0) + ms_since(embedded)
        if len(by_model) > 1:
            ranking.notes.append(
                "These knowledge bases use different models: each one's vector scores are put on 0..1."
            )
            by_model = {model: spread(found) for model, found in by_model.items()}
        return sorted(chain.from_iterable(by_model.values()), key=_score, reverse=True)[:limit]

    async def _nearest(
        self, ranking: Ranking, scope: Scope, vector: Vectors, request: SearchRequest, limit: int
    ) -> list[Candidate]:
        generation, tables = scope.snapshot.generation, scope.snapshot.tables
        within, demanding = await self._within(ranking, scope, request)
        depth = limit
        while True:
            hits = await tables.nearest(
                vector, metric=generation.settings.metric, limit=depth, within=within, ann=generation.ann,
                minimum=request.minimum_similarity, exact=request.exact, estimated=request.mode is SearchMode.HYBRID,
            )  # fmt: skip
            if not demanding:
                return hits
            fulfil = await SEARCHES.run(
                scope.snapshot.lexical.matching, without_phrases(ranking.query), limit=generation.chunks,
                document_ids=frozenset(hit.document_id for hit in hits), holds=scope.holds,
            )  # fmt: skip
            passing = [hit for hit in hits if hit.chunk_id in (fulfil or ())]
            if len(passing) >= limit or len(hits) < depth:
                return passing[:limit]
            depth *= 4

    async def _within(self, ranking: Ranking, scope: Scope, request: SearchRequest) -> tuple[Within | None, bool]:
        """(what the vector side may return, whether words still have to be looked at).

        The vector side does not know words: phrases and exclusions are answered by the keyword index first.
        """
        lexical, chunks = scope.snapshot.lexical, max(1, scope.snapshot.generation.chunks)
        checked = ranking.exact.get(scope.kb.id, Exact())
        without = frozenset({request.similar_to} - {""}) | checked.without
        query = without_phrases(ranking.query)
        barred = tuple(item for item in query.excluded if not isinstance(item, Condition))
        if checked.hits is not None:
            passed = frozenset(hit.chunk_id for hit in checked.hits)
            return Within(scope.documents, passed, without, len(passed) / chunks), False
        if demands_words(query):
            passing = await SEARCHES.run(
                lexical.matching, query, limit=MATCHING, document_ids=scope.documents, holds=scope.holds
            )
            if passing is None:
                return Within(scope.documents, None, without, scope.share), True
            return Within(scope.documents, frozenset(passing), without, len(passing) / chunks), False
        if barred:
            opposite = Query("", "", "", required=(barred,))
            hit = await SEARCHES.run(lexical.matching, opposite, limit=MATCHING)
            if hit is None:
                return Within(scope.documents, None, without, scope.share), True
            without |= hit
        if scope.documents is None and not without:
            return None, False
        return Within(scope.documents, None, without, scope.share), False

    async def _near_enough(
        self, ranking: Ranking, request: SearchRequest, keyword: list[Hit], vector: list[Hit]
    ) -> list[Hit]:
        """The keyword candidates that are as similar as the request wants."""
        if request.minimum_similarity is None:
            return keyword
        known = {item.chunk for item in vector}
        left: dict[int, list[str]] = {}
        for item in keyword:
            if item.chunk not in known:
                left.setdefault(item.chunk.scope, []).append(item.chunk.chunk_id)
        for at, ids in left.items():
            scope = ranking.scopes[at]
            generation = scope.snapshot.generation
            vector_of = await self._embeddings.embed(generation.settings.model, generation.model, ranking.query.text)
            hits = await scope.snapshot.tables.nearest(
                vector_of, metric=generation.settings.metric, limit=len(ids), minimum=request.minimum_similarity,
                within=Within(chunk_ids=frozenset(ids), share=0.0), exact=True,
            )  # fmt: skip
            known.update(ChunkInGeneration(at, hit.chunk_id) for hit in hits)
        return [item for item in keyword if item.chunk in known]

    async def _likes(self, ranking: Ranking, request: SearchRequest) -> _Likes | None:
        """The passage whose likes are wanted. Raises NotFound when no scope has it."""
        if not request.similar_to:
            return None
        for scope in ranking.scopes:
            vectors = await scope.snapshot.tables.vectors_of([request.similar_to])
            if request.similar_to in vectors:
                chunk = (await scope.snapshot.tables.chunks([request.similar_to]))[request.similar_to]
                model = scope.snapshot.generation.model
                return _Likes(vectors[request.similar_to], model.sha256 if model else "", chunk.indexed_text)
        raise NotFound("The passage whose likes are wanted is not there any more.", way_out="Search for it again.")

    async def _weight(self, ranking: Ranking, asked: Sequence[SearchMode]) -> float:
        """The vector side's share that suits the query; that of the first knowledge base's model."""
        if len(asked) < len(_SIDES) or not ranking.scopes:
            return EVEN_WEIGHT
        generation = ranking.scopes[0].snapshot.generation
        await ranking.embedded.wait()  # until then the model's process has more urgent things to do
        try:
            embedder = await self._embeddings.embedder(generation.settings.model, generation.model)
            return await weight_for(embedder, ranking.query.text)
        except EnvironmentFault:  # the vector side meets it too, and says so
            return EVEN_WEIGHT


@dataclass(frozen=True, slots=True)
class _Likes:
    vector: Vectors
    model: str
    text: str


def _notes_of(scope: Scope, query: Query) -> tuple[str, ...]:
    return scope.snapshot.lexical.expansion(query).notes


def _meant(request: SearchRequest) -> Query:
    """The query; one that says nothing, beside filters, asks for all that passes them."""
    query = parse(request.query)
    if is_prose(query):
        query = as_words(query)
    if query.text or query.required or query.excluded or request.similar_to:
        return query
    return replace(query, required=tuple((Condition(key, value),) for key, value in request.filters))


def demands_words(query: Query) -> bool:
    """Whether a passage must hold certain words, which the vector side does not know."""
    return any(len(conditions_in(group)) < len(group) for group in query.required)


def _names_tags(query: Query, request: SearchRequest) -> bool:
    named = {key for key, _ in request.filters}
    for operands in (*query.required, query.excluded):
        named.update(condition.key for condition in conditions_in(operands))
    return "tag" in named


def ms_since(begun: float) -> float:
    """Milliseconds since a reading of `time.perf_counter`."""
    return (time.perf_counter() - begun) * 1000
