"""What of a passage is shown, and marked in it, for the words of a query; the last ones kept."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from studio.domain import Chunk
from studio.index.generations import Snapshot
from studio.index.keywords import Query
from studio.index.ranking import Range, snippet
from studio.services.search.recent import Recent

KEPT = 512
"""Passages kept: some 0.5 MB. Moving the weight shows mostly those that were shown before."""

_AROUND = ".,;:!?()[]{}'\"“”‘’«»"

Words = Mapping[str, str]
"""Index term → the word of the query it comes from."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A snippet, the places in it that are marked, and the words of the query that the passage has."""

    snippet: str
    highlights: tuple[Range, ...]
    words: tuple[str, ...]


class Marker:
    """Marks passages. Safe to use from several threads."""

    def __init__(self) -> None:
        self._kept = Recent[tuple[Hashable, ...], Marked](KEPT)

    def mark(self, snapshot: Snapshot, chunk: Chunk, words: Words) -> Marked:
        """A passage of a snapshot. Blocking, a fraction of a millisecond."""
        generation = snapshot.generation
        key = (generation.kb_id, generation.number, chunk.chunk_id, *words.items())
        found = self._kept.get(key)
        if found is None:
            found = _marked(snapshot, chunk, words)
            self._kept.keep(key, found)
        return found

    def held_bytes(self) -> int:
        """Of the snippets kept."""
        return self._kept.total(lambda marked: sys.getsizeof(marked.snippet))

    def forget(self) -> None:
        """Mark everything anew."""
        self._kept.clear()


def query_words(snapshot: Snapshot, query: Query) -> Words:
    """The words of a query as the index knows them."""
    words: dict[str, str] = {}
    for word in query.text.split():
        for term in snapshot.lexical.analyzer.terms(word):
            words.setdefault(term, word.strip(_AROUND))
    expansion = snapshot.lexical.expansion(query)
    for found in (expansion.like, expansion.parts):
        for word, terms in found.items():
            words.update((term, word.strip(_AROUND)) for term in terms if term not in words)
    return words


def _marked(snapshot: Snapshot, chunk: Chunk, words: Words) -> Marked:
    ranges, present = snapshot.lexical.analyzer.highlights(chunk.content, words)
    return Marked(
        *snippet(chunk.content, ranges), tuple(dict.fromkeys(word for term, word in words.items() if term in present))
    )
