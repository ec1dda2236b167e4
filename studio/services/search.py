"""Search: embed ‖ BM25 → vectors ‖ → fuse → a page of cited, explained results."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import PurePath

from studio.documents.texts import read_text
from studio.domain import (
    CONTEXT,
    Candidate,
    Chunk,
    Citation,
    DocumentRecord,
    DocumentStatus,
    EmbedderProvider,
    KnowledgeBase,
    ModelIdentity,
    SearchMode,
    SearchRequest,
    SearchResponse,
    SearchResult,
    StoredText,
    Vectors,
)
from studio.errors import EnvironmentFault, InvalidRequest, ModelFault, NotFound, StorageFault, StudioError
from studio.index.fusion import Fused, fuse, single
from studio.index.reading import Snapshot
from studio.index.rows import text_key
from studio.index.snippets import snippet
from studio.index.stores import Stores
from studio.index.vectors import TableReader, load_library

MAX_QUERY_CHARS = 20_000
MAX_LIMIT = 1000
QUERY_CACHE = 256
DEFAULT_WEIGHT = 0.5
_SIDES = (SearchMode.KEYWORD, SearchMode.VECTOR)
FILTER_KEYS = ("document", "folder", "path", "title", "type")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Scope:
    """One knowledge base of a request, pinned."""

    kb: KnowledgeBase
    snapshot: Snapshot
    document_ids: list[str] | None


@dataclass(slots=True)
class Ranking:
    """Fused candidates over all scopes; chunk ids carry the scope's number in front."""

    scopes: list[_Scope]
    fused: list[Fused]
    degraded: str | None
    timings_ms: dict[str, float] = field(default_factory=dict)

    def doubt(self, fault: EnvironmentFault) -> None:
        """What could not be read is opened anew the next time."""
        if isinstance(fault, StorageFault):
            for scope in self.scopes:
                scope.snapshot.doubted = True

    def split(self, fused: Fused) -> tuple[_Scope, str]:
        """The scope and the bare chunk id of a candidate."""
        number, _, chunk_id = fused.chunk_id.partition(":")
        return self.scopes[int(number)], chunk_id


class SearchService:
    """Answers queries from the active generations."""

    def __init__(self, stores: Stores, embedders: EmbedderProvider) -> None:
        self._stores = stores
        self._embedders = embedders
        self._queries: OrderedDict[tuple[str, str], Vectors] = OrderedDict()

    async def search(self, request: SearchRequest) -> SearchResponse:
        """One page of results. Raises InvalidRequest, NotFound, StorageFault; a side that is missing only degrades."""
        started = time.perf_counter()
        async with self.ranking(request) as ranking:
            begun = time.perf_counter()
            page = ranking.fused[request.offset : request.offset + request.limit]
            results = await self._results(ranking, page, request.query)
            ranking.timings_ms["fetch"] = _ms_since(begun)
            return SearchResponse(
                query=request.query,
                mode=request.mode,
                degraded=ranking.degraded,
                generations={scope.kb.name: scope.snapshot.generation.number for scope in ranking.scopes},
                took_ms=_ms_since(started),
                timings_ms=dict(ranking.timings_ms),
                total_candidates=len(ranking.fused),
                results=tuple(results),
            )

    @asynccontextmanager
    async def ranking(self, request: SearchRequest) -> AsyncIterator[Ranking]:
        """The fused candidates of a request, their generations pinned while the block runs."""
        _check(request)
        async with AsyncExitStack() as stack:
            scopes = await self._scopes(stack, request)
            weight = request.weight if request.weight is not None else DEFAULT_WEIGHT
            ranking = Ranking(scopes, [], None)
            wanted = max(request.candidates, request.offset + request.limit)
            keyword, vector = await self._sides(ranking, request, wanted)
            begun = time.perf_counter()
            if vector is None:
                ranking.fused = single(keyword or [], vector=False)
            elif keyword is None:
                ranking.fused = single(vector, vector=True)
            else:
                ranking.fused = fuse(vector, keyword, weight=weight, method=request.fusion)
            ranking.timings_ms["fuse"] = _ms_since(begun)
            yield ranking

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
        """Load what the first query would wait for: libraries, the model, the active generations."""
        await load_library()
        for kb in await self._stores.thread.run(self._stores.catalog.knowledge_bases):
            if kb.active_generation is None:
                continue
            try:
                await self._embed(kb.settings.model, None, "warm up")
                async with self._stores.store(kb.id).reading():
                    pass
            except StudioError as error:
                log.warning("warming up “%s”: %s", kb.name, error)

    # ------------------------------------------------------------ the two sides

    async def _scopes(self, stack: AsyncExitStack, request: SearchRequest) -> list[_Scope]:
        scopes = []
        for name in dict.fromkeys(request.knowledge_bases):
            kb = await self._stores.knowledge_base(name)
            if kb.active_generation is None and request.generation is None:
                continue  # an empty knowledge base has no results, which is not an error
            snapshot = await stack.enter_async_context(self._stores.store(kb.id).reading(request.generation))
            document_ids = await _filtered(snapshot, request.filters) if request.filters else None
            scopes.append(_Scope(kb, snapshot, document_ids))
        return scopes

    async def _sides(
        self, ranking: Ranking, request: SearchRequest, limit: int
    ) -> tuple[list[Candidate] | None, list[Candidate] | None]:
        """(keyword candidates, vector candidates), None for a side that was not asked or cannot answer.

        The other side then stands in, and `ranking.degraded` says why. Raises StorageFault when neither can answer.
        """
        asked = [mode for mode in _SIDES if request.mode in (mode, SearchMode.HYBRID)]
        answers = dict(
            zip(
                asked, await asyncio.gather(*(self._side(mode, ranking, request, limit) for mode in asked)), strict=True
            )
        )
        for mode in _SIDES:
            if mode not in answers and isinstance(answers[request.mode], EnvironmentFault):
                answers[mode] = await self._side(mode, ranking, request, limit)
        keyword, vector = answers.get(SearchMode.KEYWORD), answers.get(SearchMode.VECTOR)
        if isinstance(keyword, EnvironmentFault):
            if isinstance(vector, EnvironmentFault):
                raise StorageFault(f"{keyword} {vector}", way_out="Run: rag-studio doctor --repair.") from keyword
            ranking.degraded = f"Vector results only: {keyword.full_message}"
            return None, vector
        if isinstance(vector, EnvironmentFault):
            ranking.degraded = f"Keyword results only: {vector.full_message}"
            return keyword, None
        return keyword, vector

    async def _side(
        self, mode: SearchMode, ranking: Ranking, request: SearchRequest, limit: int
    ) -> list[Candidate] | EnvironmentFault:
        side = self._keyword_side if mode is SearchMode.KEYWORD else self._vector_side
        try:
            return await side(ranking, request, limit)
        except EnvironmentFault as fault:
            log.warning("no %s results: %s", mode, fault)
            ranking.doubt(fault)
            return fault

    async def _keyword_side(self, ranking: Ranking, request: SearchRequest, limit: int) -> list[Candidate]:
        begun = time.perf_counter()
        found: list[Candidate] = []
        for number, scope in enumerate(ranking.scopes):
            hits = await asyncio.to_thread(
                scope.snapshot.lexical.search, request.query, limit=limit, document_ids=scope.document_ids
            )
            found.extend(Candidate(f"{number}:{hit.chunk_id}", hit.score) for hit in hits)
        ranking.timings_ms["keyword"] = _ms_since(begun)
        return sorted(found, key=lambda item: -item.score)[:limit]

    async def _vector_side(self, ranking: Ranking, request: SearchRequest, limit: int) -> list[Candidate]:
        found: list[Candidate] = []
        for number, scope in enumerate(ranking.scopes):
            generation = scope.snapshot.generation
            if generation.chunks == 0:
                continue
            begun = time.perf_counter()
            vector = await self._embed(generation.settings.model, generation.model, request.query)
            embedded = time.perf_counter()
            hits = await scope.snapshot.tables.nearest(
                vector, metric=generation.settings.metric, limit=limit, document_ids=scope.document_ids
            )
            found.extend(Candidate(f"{number}:{hit.chunk_id}", hit.score) for hit in hits)
            timings = ranking.timings_ms
            timings["embed"] = timings.get("embed", 0.0) + (embedded - begun) * 1000
            timings["vector"] = timings.get("vector", 0.0) + _ms_since(embedded)
        return sorted(found, key=lambda item: -item.score)[:limit]

    async def _embed(self, model: str, identity: ModelIdentity | None, query: str) -> Vectors:
        """The query's embedding, shape (dimension,). Raises ModelFault when the model is not the one of `identity`."""
        embedder = await self._embedders.embedder(model)
        if identity is not None and embedder.model.sha256 != identity.sha256:
            raise ModelFault(
                f"This generation was built with another file of the model {model}.",
                way_out="Build a new generation with the present model, or install the old one again.",
            )
        key = (embedder.model.sha256, query)
        cached = self._queries.get(key)
        if cached is None:
            cached = (await embedder.embed([query], interactive=True))[0]
            self._queries[key] = cached
            if len(self._queries) > QUERY_CACHE:
                self._queries.popitem(last=False)
        else:
            self._queries.move_to_end(key)
        return cached

    # ------------------------------------------------------------ results

    async def _results(self, ranking: Ranking, page: Sequence[Fused], query: str) -> list[SearchResult]:
        wanted: dict[int, list[str]] = {}
        for item in page:
            scope_number, _, chunk_id = item.chunk_id.partition(":")
            wanted.setdefault(int(scope_number), []).append(chunk_id)
        chunks: dict[str, Chunk] = {}
        documents: dict[str, list[DocumentRecord]] = {}
        for number, ids in wanted.items():
            tables = ranking.scopes[number].snapshot.tables
            found, fault = await _readable(tables, ids)
            if fault is not None:
                if not found:
                    raise fault
                ranking.doubt(fault)
                ranking.degraded = ranking.degraded or f"Some results are left out: {fault.full_message}"
                page = [
                    item
                    for item in page
                    if ranking.split(item)[0] is not ranking.scopes[number] or ranking.split(item)[1] in found
                ]
            chunks.update((f"{number}:{key}", chunk) for key, chunk in found.items())
            for record in await tables.documents(sorted({chunk.document_id for chunk in found.values()})):
                documents.setdefault(f"{number}:{record.document_id}", []).append(record)
        return await asyncio.to_thread(_assemble, ranking, page, query, chunks, documents)


def _assemble(
    ranking: Ranking,
    page: Sequence[Fused],
    query: str,
    chunks: Mapping[str, Chunk],
    documents: Mapping[str, Sequence[DocumentRecord]],
) -> list[SearchResult]:
    results = []
    words = {scope.kb.id: _query_words(scope.snapshot, query) for scope in ranking.scopes}
    for item in page:
        scope, _ = ranking.split(item)
        chunk = chunks.get(item.chunk_id)
        number = item.chunk_id.partition(":")[0]
        records = documents.get(f"{number}:{chunk.document_id}") if chunk else None
        if chunk is None or not records:
            log.error("chunk %s is in the keyword index but not in the tables", item.chunk_id)
            continue
        record = records[0]
        terms = words[scope.kb.id]
        ranges = scope.snapshot.lexical.analyzer.highlights(chunk.content, terms)
        text, highlights = snippet(chunk.content, ranges)
        present = set(scope.snapshot.lexical.analyzer.terms(" ".join(chunk.content[a:b] for a, b in ranges)))
        metadata = {"type": record.kind, "author": record.author, "sha256": record.sha256, **chunk.metadata}
        metadata.pop(CONTEXT, None)  # part of what was indexed, not of what is shown
        results.append(
            SearchResult(
                chunk_id=chunk.chunk_id, document_id=chunk.document_id, kb_id=scope.kb.id, kb_name=scope.kb.name,
                generation=scope.snapshot.generation.number, score=item.score, content=chunk.content, snippet=text,
                highlights=highlights, metadata=metadata,
                citation=Citation(
                    title=record.title or PurePath(record.source_path).name, source_path=record.source_path,
                    licence=record.licence, version=record.sha256[:12], anchor=chunk.anchor,
                    page_number=chunk.page_number, char_start=chunk.char_start, char_end=chunk.char_end,
                    also_at=tuple(sorted({other.source_path for other in records} - {record.source_path})),
                ),
                explanation=replace(
                    item.explanation,
                    matched_terms=tuple(dict.fromkeys(word for term, word in terms.items() if term in present)),
                ),
            )
        )  # fmt: skip
    return results


async def _readable(tables: TableReader, chunk_ids: Sequence[str]) -> tuple[dict[str, Chunk], StorageFault | None]:
    """Chunks by id; when files are gone those that are in other files, and the fault."""
    try:
        return await tables.chunks(chunk_ids), None
    except StorageFault as fault:
        found: dict[str, Chunk] = {}
        for chunk_id in chunk_ids:
            with suppress(StorageFault):
                found.update(await tables.chunks([chunk_id]))
        return found, fault


def _query_words(snapshot: Snapshot, query: str) -> dict[str, str]:
    """Index term → the word of the query it comes from."""
    analyzer = snapshot.lexical.analyzer
    words: dict[str, str] = {}
    for word in query.replace('"', " ").split():
        for term in analyzer.terms(word):
            words.setdefault(term, word.strip(".,;:!?()[]{}'“”‘’«»"))
    return words


async def _filtered(snapshot: Snapshot, filters: Sequence[tuple[str, str]]) -> list[str]:
    """Ids of the documents that pass every filter."""
    records = await snapshot.tables.documents()
    return list(
        dict.fromkeys(
            record.document_id
            for record in records
            if record.status is DocumentStatus.INDEXED and all(_passes(record, key, value) for key, value in filters)
        )
    )


def _passes(record: DocumentRecord, key: str, value: str) -> bool:
    path = PurePath(record.source_path)
    if key == "document":
        return value in (record.document_id, record.external_id)
    if key == "folder":
        return path.is_relative_to(value) or PurePath(value).name in path.parent.parts
    if key == "path":
        return fnmatchcase(record.source_path, value) or fnmatchcase(path.name, value)
    if key == "type":
        return value.lower().lstrip(".") in (record.kind, path.suffix.lower().lstrip("."))
    return value.casefold() in record.title.casefold()


def _check(request: SearchRequest) -> None:
    if not request.query.strip():
        raise InvalidRequest("The query is empty.", way_out="Type at least one word.")
    if len(request.query) > MAX_QUERY_CHARS:
        raise InvalidRequest(f"The query is longer than {MAX_QUERY_CHARS:,} characters.", way_out="Shorten it.")
    if not request.knowledge_bases:
        raise InvalidRequest("Name a knowledge base to search.")
    if not 1 <= request.limit <= MAX_LIMIT:
        raise InvalidRequest(f"The limit must be between 1 and {MAX_LIMIT}.")
    if request.offset < 0:
        raise InvalidRequest("The offset cannot be negative.")
    if request.weight is not None and not 0.0 <= request.weight <= 1.0:
        raise InvalidRequest("The weight must be between 0 and 1.")
    for key, _ in request.filters:
        if key not in FILTER_KEYS:
            raise InvalidRequest(f"There is no filter “{key}”.", way_out=f"Filters: {', '.join(FILTER_KEYS)}.")
    if request.generation is not None and len(request.knowledge_bases) > 1:
        raise InvalidRequest("A generation can be named for one knowledge base only.")


def _ms_since(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000
