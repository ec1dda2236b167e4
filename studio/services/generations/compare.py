"""Diff of two generations: which documents came, went and changed, and which hits queries gained and lost."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from studio.documents.identity import key_of
from studio.domain import DocumentRecord, DocumentStatus, SearchMode, SearchRequest, SearchResult
from studio.errors import InvalidRequest
from studio.index.generations import Stores
from studio.services.quality import lines_of
from studio.services.search import SearchService

SHINGLE_CHARS = 8
SAME_PASSAGE = 0.5
"""Two texts of one document are the same passage, cut anew or edited, when this share of the shorter one's
shingles is in the other (containment: Broder, "On the resemblance and containment of documents", 1997).
Neighbouring chunks share about an eighth."""


@dataclass(frozen=True, slots=True)
class DocumentItem:
    """A document at a path; `key` is its row in a tabular file, else ""."""

    path: str
    key: str
    document_id: str
    title: str
    chunks: int


@dataclass(frozen=True, slots=True)
class ChangedDocument(DocumentItem):
    """The same path with other content."""

    document_id_before: str
    chunks_before: int


@dataclass(frozen=True, slots=True)
class MovedDocument(DocumentItem):
    """The same content under another path."""

    path_before: str


@dataclass(frozen=True, slots=True)
class DocumentChanges:
    """What differs between two lists of documents, each part by path; only indexed documents count."""

    added: tuple[DocumentItem, ...]
    changed: tuple[ChangedDocument, ...]
    removed: tuple[DocumentItem, ...]
    moved: tuple[MovedDocument, ...]
    unchanged: int


@dataclass(frozen=True, slots=True)
class HitChange:
    """A passage found by a query. Ranks from 1; rank and score are None on the side that does not find it."""

    path: str
    document_id: str
    title: str
    page: int | None
    rank_before: int | None
    rank_after: int | None
    score_before: float | None
    score_after: float | None
    snippet: str


@dataclass(frozen=True, slots=True)
class QueryChange:
    """What a query finds in the second generation and not in the first, the other way round, and elsewhere.

    `unchanged` counts the hits of equal rank. `degraded` says which generation answered by keywords only, and why.
    """

    id: str
    query: str
    gained: tuple[HitChange, ...]
    lost: tuple[HitChange, ...]
    moved: tuple[HitChange, ...]
    unchanged: int
    degraded: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Generation `b` seen from generation `a`."""

    kb: str
    a: int
    b: int
    documents: DocumentChanges
    queries: tuple[QueryChange, ...]


class CompareService:
    """Compares two generations of a knowledge base, also across a change of the embedding model."""

    def __init__(self, stores: Stores, search: SearchService) -> None:
        self._stores = stores
        self._search = search

    async def compare(
        self,
        kb: str,
        a: int,
        b: int,
        queries: Path | Sequence[str] | None = None,
        mode: SearchMode = SearchMode.HYBRID,
        limit: int = 10,
    ) -> Comparison:
        """Compare the documents, and the first `limit` hits of every query in `queries`.

        A file of them holds JSON lines with `text` (and `_id`), or one query a line. Raises NotFound, InvalidRequest.
        """
        base = await self._stores.knowledge_base(kb)
        if isinstance(queries, Path):
            asked = await asyncio.to_thread(read_questions, queries)
        else:
            asked = [(str(number), text) for number, text in enumerate(queries or (), start=1)]
        store = self._stores.store(base.id)
        async with store.reading(a) as first, store.reading(b) as second:  # neither is collected between two queries
            before, after = await first.tables.documents(), await second.tables.documents()
            documents = await asyncio.to_thread(compare_documents, before, after)
            now = await asyncio.to_thread(_identities, documents.changed, before, after)
            changes = []
            for number, text in asked:
                old, new = [
                    await self._search.answer(SearchRequest((base.id,), text, mode, limit=limit, generation=generation))
                    for generation in (a, b)
                ]
                degraded = _degraded({a: old.degraded, b: new.degraded})
                changes.append(
                    await asyncio.to_thread(compare_hits, number, text, old.results, new.results, now, degraded)
                )
        return Comparison(base.name, a, b, documents, tuple(changes))


# ---------------------------------------------------------------- documents


def compare_documents(before: Iterable[DocumentRecord], after: Iterable[DocumentRecord]) -> DocumentChanges:
    """Match documents by place (path and row), then what is left over by content. Some microseconds a document."""
    old, new = _by_place(before), _by_place(after)
    added: list[DocumentRecord] = []
    removed: list[DocumentRecord] = []
    changed: list[tuple[DocumentRecord, DocumentRecord]] = []
    unchanged = 0
    for place in sorted(old.keys() | new.keys()):
        here = old.get(place, [])
        gone, come = _unlike(here, new.get(place, [])), _unlike(new.get(place, []), here)
        unchanged += len(here) - len(gone)
        pairs = list(zip(gone, come, strict=False))
        changed += pairs
        removed += gone[len(pairs) :]
        added += come[len(pairs) :]
    # A file that kept its name is the likelier origin of a copy than one that did not.
    by_name, removed, added = _pair(removed, added, lambda item: (item.document_id, PurePath(item.source_path).name))
    by_content, removed, added = _pair(removed, added, lambda item: item.document_id)
    moved = sorted(by_name + by_content, key=lambda pair: _place(pair[1]))
    return DocumentChanges(
        added=tuple(_item(record) for record in added),
        changed=tuple(
            ChangedDocument(*_values(is_), document_id_before=was.document_id, chunks_before=was.chunks)
            for was, is_ in changed
        ),
        removed=tuple(_item(record) for record in removed),
        moved=tuple(MovedDocument(*_values(is_), path_before=was.source_path) for was, is_ in moved),
        unchanged=unchanged,
    )


def _place(record: DocumentRecord) -> tuple[str, str]:
    return record.source_path, key_of(record)


def _by_place(records: Iterable[DocumentRecord]) -> dict[tuple[str, str], list[DocumentRecord]]:
    """Records by path and row key; several where a table uses an id twice."""
    places: dict[tuple[str, str], list[DocumentRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda item: (item.source_path, item.row)):
        if record.status is DocumentStatus.INDEXED:
            places[_place(record)].append(record)
    return places


def _unlike(records: Sequence[DocumentRecord], others: Sequence[DocumentRecord]) -> list[DocumentRecord]:
    """Those whose content the others do not have."""
    left = Counter(record.document_id for record in others)
    unlike = []
    for record in records:
        left[record.document_id] -= 1
        if left[record.document_id] < 0:
            unlike.append(record)
    return unlike


def _pair(
    removed: Sequence[DocumentRecord], added: Sequence[DocumentRecord], key: Callable[[DocumentRecord], object]
) -> tuple[list[tuple[DocumentRecord, DocumentRecord]], list[DocumentRecord], list[DocumentRecord]]:
    """(removed and added records of equal key, one to one; what is left of the removed; of the added)."""
    waiting: dict[object, list[DocumentRecord]] = defaultdict(list)
    for record in added:
        waiting[key(record)].append(record)
    pairs, alone = [], []
    for record in removed:
        matches = waiting.get(key(record))
        if matches:
            pairs.append((record, matches.pop(0)))
        else:
            alone.append(record)
    return pairs, alone, sorted((record for left in waiting.values() for record in left), key=_place)


def _values(record: DocumentRecord) -> tuple[str, str, str, str, int]:
    title = record.title or PurePath(record.source_path).name
    return record.source_path, key_of(record), record.document_id, title, record.chunks


def _item(record: DocumentRecord) -> DocumentItem:
    return DocumentItem(*_values(record))


def _identities(
    changed: Iterable[ChangedDocument], before: Iterable[DocumentRecord], after: Iterable[DocumentRecord]
) -> dict[str, str]:
    """Id of a document that is gone → id of the one that took its place; each takes one place only."""
    known_before = {record.document_id for record in before}
    known_after = {record.document_id for record in after}
    now: dict[str, str] = {}
    taken: set[str] = set()
    for item in changed:
        old, new = item.document_id_before, item.document_id
        if old not in known_after and new not in known_before and old not in now and new not in taken:
            now[old] = new
            taken.add(new)
    return now


# ---------------------------------------------------------------- hits


def compare_hits(
    number: str,
    query: str,
    before: Sequence[SearchResult],
    after: Sequence[SearchResult],
    now: Mapping[str, str],
    degraded: str | None,
) -> QueryChange:
    """Match the hits of one query, each list best first. `now` maps ids of changed documents to their new ids.

    A passage is known by its document and its text (and which of several equal ones it is), so an edit elsewhere in
    the document or another path leave it the same; what is left over is matched by the text two passages share.
    """
    old, new = _passages(before, now), _passages(after, {})
    same = [(key, key) for key in old if key in new]
    same += _alike(old.keys() - new.keys(), new.keys() - old.keys())
    pairs = [(old.pop(was), new.pop(is_)) for was, is_ in same]
    moved = sorted((pair for pair in pairs if pair[0][0] != pair[1][0]), key=lambda pair: pair[1][0])
    return QueryChange(
        id=number,
        query=query,
        gained=tuple(_change(hit[1], None, hit) for hit in sorted(new.values(), key=lambda hit: hit[0])),
        lost=tuple(_change(hit[1], hit, None) for hit in sorted(old.values(), key=lambda hit: hit[0])),
        moved=tuple(_change(is_[1], was, is_) for was, is_ in moved),
        unchanged=len(pairs) - len(moved),
        degraded=degraded,
    )


Hit = tuple[int, SearchResult]
"""Rank and result."""

Passage = tuple[str, str, int]
"""Document id, text, and which of the equal passages of the document it is."""


def _passages(results: Sequence[SearchResult], now: Mapping[str, str]) -> dict[Passage, Hit]:
    passages: dict[Passage, Hit] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for rank, result in sorted(enumerate(results, start=1), key=lambda hit: hit[1].citation.char_start):
        passage = now.get(result.document_id, result.document_id), result.content
        passages[*passage, seen[passage]] = rank, result
        seen[passage] += 1
    return passages


def _alike(old: Iterable[Passage], new: Iterable[Passage]) -> list[tuple[Passage, Passage]]:
    """Pairs of passages of one document that share most of their text, each in one pair at most."""
    holders: dict[tuple[str, str], list[Passage]] = defaultdict(list)
    sizes: dict[Passage, int] = {}
    for passage in new:
        shingles = _shingles(passage[1])
        sizes[passage] = len(shingles)
        for shingle in shingles:
            holders[passage[0], shingle].append(passage)
    shares = []
    for was in old:
        shingles = _shingles(was[1])
        shared = Counter(is_ for shingle in shingles for is_ in holders.get((was[0], shingle), ()))
        shares += [(count / min(len(shingles), sizes[is_]), was, is_) for is_, count in shared.items()]
    pairs: dict[Passage, Passage] = {}
    for share, was, is_ in sorted(shares, reverse=True):
        if share >= SAME_PASSAGE and was not in pairs and is_ in sizes:
            pairs[was] = is_
            del sizes[is_]
    return list(pairs.items())


def _shingles(text: str) -> set[str]:
    text = " ".join(text.split())
    return {text[at : at + SHINGLE_CHARS] for at in range(max(1, len(text) - SHINGLE_CHARS + 1))}


def _change(shown: SearchResult, was: Hit | None, is_: Hit | None) -> HitChange:
    return HitChange(
        path=shown.citation.source_path, document_id=shown.document_id, title=shown.citation.title,
        page=shown.citation.page_number, snippet=shown.snippet,
        rank_before=was[0] if was else None, score_before=was[1].score if was else None,
        rank_after=is_[0] if is_ else None, score_after=is_[1].score if is_ else None,
    )  # fmt: skip


def _degraded(reasons: Mapping[int, str | None]) -> str | None:
    told = [f"Generation {number}: {reason}" for number, reason in reasons.items() if reason]
    return " ".join(told) or None


# ---------------------------------------------------------------- the file of queries


def read_questions(path: Path) -> list[tuple[str, str]]:
    """(id, text) of every query. JSON lines where the first line is a JSON object, else plain text, numbered by line.

    Blank lines do not count. Raises NotFound; InvalidRequest naming the line, or when there is no query at all.
    """
    lines = [(number, line.strip()) for number, line in enumerate(lines_of(path), start=1) if line.strip()]
    if not lines:
        raise InvalidRequest(f"There is no query in {path}.", way_out="Write one query a line.")
    if not isinstance(_json(lines[0][1]), dict):
        return [(str(number), line) for number, line in lines]
    questions = []
    for number, line in lines:
        row = _json(line)
        text = row.get("text") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(text, str) or not text.strip():
            raise InvalidRequest(
                f"{path}, line {number}, is not a query.", way_out='Each line: {"_id": "…", "text": "…"}.'
            )
        questions.append((str(row.get("_id", number)), text))
    return questions


def _json(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None
