"""Phrases word for word: the keyword index knows stems and where they stand, the passages are read for the rest."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice, pairwise

from studio.concurrency import SEARCHES
from studio.documents.texts import read_text
from studio.domain import Candidate, Chunk, StoredText
from studio.errors import EnvironmentFault, NotFound
from studio.index.generations import Stores
from studio.index.keywords import Condition, Operand, Pattern, Phrase, Query, has_phrase, words_of
from studio.index.vectors import text_key
from studio.services.search.scopes import Scope, conditions_in

CHECKED = 1000
"""Passages that are read for a query's phrases, the best ones; some 50 ms."""
ENOUGH = 10
"""Passages that have a phrase; with fewer it is looked for across the ends of passages, too."""
_ACROSS = 200
_PIECE = 8
_NUMBERS = re.compile(r"\d+")
_PROSE = 16
"""Words outside of quotation marks that make a query a text, whose punctuation means nothing."""


@dataclass(frozen=True, slots=True)
class Exact:
    """What one knowledge base has word for word.

    `hits` are the passages that have what the query demands, best first, None where it demands no phrase. `without` are
    the passages that have a phrase which the query excludes. `notes` are for the person who asked.
    """

    hits: list[Candidate] | None = None
    without: frozenset[str] = frozenset()
    notes: tuple[str, ...] = field(default=())


def as_words(query: Query) -> Query:
    """A query whose phrases, wildcards and exclusions are words; conditions stay."""
    operands = [item for group in query.required for item in group]
    said = [item.text for item in operands if isinstance(item, Phrase)]
    said += [item.letters for item in (*operands, *query.excluded) if isinstance(item, Pattern)]
    more = [item.text for item in query.excluded if not isinstance(item, Condition | Pattern)]
    return replace(
        query,
        text=" ".join(filter(None, (query.text, *more))),
        words=" ".join(filter(None, (query.words, *said, *more))),
        required=tuple(group for group in query.required if len(conditions_in(group)) == len(group)),
        excluded=tuple(conditions_in(query.excluded)),
    )


def is_prose(query: Query) -> bool:
    """Whether quotation marks and dashes in a query are those of a text."""
    operands = any(len(conditions_in(group)) < len(group) for group in (*query.required, query.excluded))
    return operands and len(query.words.split()) >= _PROSE


def may_be_loosened(query: Query) -> bool:
    """Whether a query that finds nothing is asked by its words: one that is only a phrase was meant so."""
    if not (query.required or query.excluded):
        return False
    loose = as_words(query)
    return bool(query.words.strip()) and (loose.required, loose.excluded) != (query.required, query.excluded)


def without_phrases(query: Query) -> Query:
    """A query that excludes no phrases."""
    return replace(query, excluded=tuple(item for item in query.excluded if not isinstance(item, Phrase)))


def has(query: Query, kind: type[Phrase | Pattern]) -> bool:
    """Whether a query demands or excludes a phrase, for which passages have to be read, or a pattern."""
    return any(isinstance(item, kind) for group in (*query.required, query.excluded) for item in group)


async def exact(stores: Stores, scope: Scope, query: Query) -> Exact:
    """What a knowledge base has of a query's phrases. Raises StorageFault."""
    notes: list[str] = []
    without: set[str] = set()
    for item in query.excluded:
        if isinstance(item, Phrase):
            opposite = Query("", "", "", required=((item,),))
            without.update(hit.chunk_id for hit in await _checked(scope, opposite, notes))
    asked = without_phrases(query)
    if not any(isinstance(item, Phrase) for group in query.required for item in group):
        return Exact(None, frozenset(without))
    hits = [hit for hit in await _checked(scope, asked, notes) if hit.chunk_id not in without]
    phrases = [group for group in query.required if len(conditions_in(group)) != len(group)]
    if len(hits) < ENOUGH and len(phrases) == 1 and len(phrases[0]) == 1 and isinstance(phrases[0][0], Phrase):
        known = {hit.chunk_id for hit in hits} | without
        across = await _across(stores, scope, asked, phrases[0][0])
        hits += [hit for hit in across if hit.chunk_id not in known]
    return Exact(hits, frozenset(without), tuple(notes))


async def _checked(scope: Scope, query: Query, notes: list[str]) -> list[Candidate]:
    lexical = scope.snapshot.lexical
    found = await SEARCHES.run(lexical.search, query, limit=CHECKED, document_ids=scope.documents, holds=scope.holds)
    if len(found) == CHECKED:
        notes.append(f"Only the best {CHECKED:,} passages were looked through for the exact phrase.")
    chunks = await _chunks(scope, [hit.chunk_id for hit in found])

    def check() -> list[Candidate]:
        return [hit for hit in found if hit.chunk_id in chunks and _fulfils(scope, query, chunks[hit.chunk_id])]

    return await SEARCHES.run(check)


async def _chunks(scope: Scope, ids: Sequence[str]) -> Mapping[str, Chunk]:
    at_hand = await SEARCHES.run(scope.snapshot.tables.passages_at_hand, ids)
    return at_hand if at_hand is not None else await scope.snapshot.tables.passages(ids)


def _fulfils(scope: Scope, query: Query, chunk: Chunk) -> bool:
    """Whether a passage has one operand of each group that a phrase is in."""
    groups = (group for group in query.required if any(isinstance(item, Phrase) for item in group))
    return all(any(_holds(scope, query, item, chunk) for item in group) for group in groups)


def _holds(scope: Scope, query: Query, item: Operand, chunk: Chunk) -> bool:
    if isinstance(item, Phrase):
        return has_phrase(chunk.indexed_text, item.text)
    if isinstance(item, Condition):
        return chunk.document_id in scope.holds.get(item, ())
    lexical = scope.snapshot.lexical
    if isinstance(item, Pattern):
        terms: Iterable[str] = lexical.expansion(query).like.get(item.text, ())
    else:
        terms = lexical.analyzer.whole(item.text) or lexical.analyzer.terms(item.text)
    return not set(lexical.analyzer.terms(chunk.indexed_text)).isdisjoint(terms)


async def _across(stores: Stores, scope: Scope, query: Query, phrase: Phrase) -> list[Candidate]:
    """Passages that have a part of a phrase whose rest stands beside them, over a page break or a passage's end."""
    words = words_of(phrase.text)
    if len(words) < 2:
        return []
    half = (len(words) + 1) // 2
    size = half if half <= _PIECE else _PIECE
    pieces = [words[at : at + size] for at in range(0, len(words) - size + 1, size)] + [words[-size:]]
    either = tuple(dict.fromkeys(Phrase(" ".join(piece)) for piece in pieces))
    conditions = tuple(group for group in query.required if len(conditions_in(group)) == len(group))
    found = await SEARCHES.run(
        scope.snapshot.lexical.search, Query("", "", "", required=(either, *conditions), excluded=query.excluded),
        limit=_ACROSS, document_ids=scope.documents, holds=scope.holds,
    )  # fmt: skip
    chunks = await _chunks(scope, [hit.chunk_id for hit in found])
    by_document: dict[str, list[Candidate]] = {}
    for hit in found:
        if hit.chunk_id in chunks:
            by_document.setdefault(chunks[hit.chunk_id].document_id, []).append(hit)
    records = {record.document_id: record for record in await scope.snapshot.tables.documents(list(by_document))}
    texts = stores.paths.kb(scope.kb.id).texts
    room = 2 * len(phrase.text) + 200
    across: list[Candidate] = []
    for document_id, hits in by_document.items():
        if (record := records.get(document_id)) is None:
            continue
        try:
            stored = await asyncio.to_thread(read_text, texts, text_key(record.sha256, record.kind), record.row)
        except (NotFound, EnvironmentFault):
            continue
        text = await asyncio.to_thread(_without_running_lines, stored)
        places = [(hit, chunks[hit.chunk_id]) for hit in hits]
        across += [
            hit
            for hit, chunk in places
            if has_phrase(text[max(0, chunk.char_start - room) : chunk.char_end + room], phrase.text)
        ]
    return list(islice(across, _ACROSS))


def _without_running_lines(stored: StoredText) -> str:
    """A text with spaces for the first and the last line of pages that have it in common with the page before."""
    text = stored.text
    spans = (list(group) for page, group in groupby(stored.spans, lambda span: span.page) if page is not None)
    pages = [(group[0].start, group[-1].end) for group in spans]
    blank: list[tuple[int, int]] = []
    for (before, before_end), (start, end) in pairwise(pages):
        for one, other in zip(_edges(text, before, before_end), _edges(text, start, end), strict=True):
            if _NUMBERS.sub("", text[slice(*one)]) == _NUMBERS.sub("", text[slice(*other)]):
                blank += [one, other]
    for start, end in dict.fromkeys(blank):
        text = text[:start] + " " * (end - start) + text[end:]
    return text


def _edges(text: str, start: int, end: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where the first and the last line of a page are."""
    inner = text[start:end].rstrip()
    begun = start + len(inner) - len(inner.lstrip())
    end = start + len(inner)
    first, last = text.find("\n", begun, end), text.rfind("\n", begun, end)
    return (begun, first if first >= 0 else begun), (last + 1 if last >= 0 else end, end)
