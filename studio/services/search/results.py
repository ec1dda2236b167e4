"""Results as a person gets them: snippet, highlights, citation, explanation."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import PurePath

from studio.domain import CONTEXT, Chunk, Citation, DocumentRecord, SearchRequest, SearchResult
from studio.index.ranking import Fused
from studio.services.search.arranging import Arrangement
from studio.services.search.marking import Marked, Marker, query_words
from studio.services.search.passages import Fetched
from studio.services.search.ranker import Ranking, ms_since
from studio.services.search.scopes import Scope

log = logging.getLogger(__name__)


def results_of(
    ranking: Ranking,
    request: SearchRequest,
    page: Sequence[Fused],
    found: Fetched,
    arrangement: Arrangement,
    marker: Marker,
) -> list[SearchResult]:
    """The results of a page; a candidate whose row is missing is left out. Blocking, a millisecond or two, of which
    `timings_ms` tells what marking took.
    """
    shown = []
    for item in page:
        number = item.chunk.scope
        chunk = found.chunks.get(item.chunk)
        records = found.documents.get((number, chunk.document_id)) if chunk else None
        if chunk is not None and records:
            shown.append((ranking.scopes[number], item, chunk, records))
        elif found.fault is None:
            log.error("chunk %s is in the keyword index but not in the tables", item.chunk)
    begun = time.perf_counter()
    words = {scope.kb.id: query_words(scope.snapshot, ranking.query) for scope in ranking.scopes}
    marks = [marker.mark(scope.snapshot, chunk, words[scope.kb.id]) for scope, _, chunk, _ in shown]
    ranking.timings_ms["mark"] = ms_since(begun)
    told = (*(f"{key}:{value}" for key, value in request.filters), *ranking.query.understood().get("filters", ()))
    return [_result(*parts, marked, told, arrangement) for parts, marked in zip(shown, marks, strict=True)]


def _result(
    scope: Scope,
    item: Fused,
    chunk: Chunk,
    records: Sequence[DocumentRecord],
    marked: Marked,
    told: tuple[str, ...],
    arrangement: Arrangement,
) -> SearchResult:
    record = records[0]
    metadata = {
        "type": record.kind, "author": record.author, "sha256": record.sha256, **record.metadata, **chunk.metadata,
    }  # fmt: skip
    metadata.pop(CONTEXT, None)  # part of what was indexed, not of what is shown
    return SearchResult(
        chunk_id=chunk.chunk_id, document_id=chunk.document_id, kb_id=scope.kb.id, kb_name=scope.kb.name,
        generation=scope.snapshot.generation.number, score=item.score, content=chunk.content, snippet=marked.snippet,
        highlights=marked.highlights, metadata=metadata,
        citation=Citation(
            title=record.title or PurePath(record.source_path).name, source_path=record.source_path,
            licence=record.licence, version=record.sha256[:12], anchor=chunk.anchor,
            page_number=chunk.page_number, char_start=chunk.char_start, char_end=chunk.char_end,
            also_at=tuple(sorted({other.source_path for other in records} - {record.source_path})),
        ),
        explanation=item.explained(marked.words, told),
        more_in_document=arrangement.more.get(item.chunk, 0),
        duplicates=tuple(other.chunk_id for other in arrangement.duplicates.get(item.chunk, ())),
    )  # fmt: skip
