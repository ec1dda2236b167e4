"""The BM25 side of a search: Tantivy directories, one per generation, read.

Only this module, its writer and the analysis import `tantivy`. Queries are built from terms, never parsed by it, so
that no input is a syntax error.
"""

from __future__ import annotations

import re
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from pathlib import Path
from types import MappingProxyType
from typing import Any

from studio.domain import Candidate
from studio.errors import InvariantViolated, StorageFault
from studio.index.keywords.analysis import PART_WEIGHT, Terms, analyzer_for, is_spaceless, text_analyzer
from studio.index.keywords.expansion import Expander, Expansion, field_of
from studio.index.keywords.faults import mapped
from studio.index.keywords.lexical_writer import ANALYZER, has_every_field
from studio.index.keywords.mirror import mirrored, remove
from studio.index.keywords.query import Condition, Operand, Pattern, Phrase, Query, Word, parse
from studio.ways_out import RunRepair

_MAX_QUERY_TERMS = 256
_COMPOUND_WEIGHT = 0.3
"""What a word counts that has a word of the query as a part, or is a part of one."""
_MANY_DOCUMENTS = 600
"""So many documents are looked up for the hits; fewer are part of the query (of 50,000, for 40,000: 1 and 40 ms)."""

_FIRST_LOOK = 10
_MOST_HITS = 8_000
"""How many times more hits than asked for are looked at first, and how many at most before the documents become part of
the query after all. Between them, as many as the share of those that passed makes likely."""

_SET_FROM = 1000
"""From so many documents on Tantivy's set query is used: alternatives of single terms are 3 times faster for fewer."""

Holds = Mapping[Condition, Collection[str]]
"""Condition → ids of the documents that fulfil it."""

_NOTHING: Holds = MappingProxyType({})


class LexicalReader:
    """One generation's BM25 index; safe to use from several threads.

    Raises StorageFault when the directory is gone or damaged. One that cannot be written is read all the same.
    """

    def __init__(self, path: Path, language: str) -> None:
        self._path = path
        self.analyzer = analyzer_for(language)
        self._drop_mirror: Callable[[], object] = lambda: None
        self._expander = Expander(self.analyzer)
        with mapped(path):
            try:
                self._open(path, language)
            except ValueError as error:
                # To load the segments Tantivy makes a lock file beside them, or cannot: read-only, not ours, disk full.
                if "Lockfile" not in str(error) or "IoError" not in str(error):
                    raise
                mirror = mirrored(path)
                self._drop_mirror = weakref.finalize(self, remove, mirror)
                self._open(mirror, language)

    def _open(self, path: Path, language: str) -> None:
        import tantivy

        index = tantivy.Index.open(str(path))
        index.register_tokenizer(ANALYZER, text_analyzer(language))
        self._opened = (path, language)
        self._index: Any = index
        self._searcher: Any = index.searcher()
        if not has_every_field(path):
            raise StorageFault(f"The keyword index in {path} was made by an older program.", way_out=RunRepair())

    @property
    def path(self) -> Path:
        """Its directory."""
        return self._path

    def reopen(self) -> None:
        """Map the files anew, so that no page of them is in memory. Searches that run finish on the mapping they have,
        or go on with the new one: the files never change. Blocking, some milliseconds.
        """
        if self._index is not None:
            with mapped(self._path):
                self._open(*self._opened)

    def close(self) -> None:
        """Let go of the mapped files."""
        self._index = self._searcher = None
        self._drop_mirror()

    @property
    def chunks(self) -> int:
        """How many chunks the index holds."""
        return int(self._searcher.num_docs)

    # ------------------------------------------------------------ searching

    def search(
        self,
        query: Query | str,
        *,
        limit: int,
        document_ids: Collection[str] | None = None,
        holds: Holds = _NOTHING,
        boosts: Mapping[str, float] | None = None,
    ) -> list[Candidate]:
        """The `limit` best chunks by BM25, best first, of `document_ids` (None: all). Blocking, about a millisecond.

        Words are joined by OR, of a query of nothing but stop words all must be there; a repeated word counts as often
        as it occurs, those of a phrase count like others. What the query demands must hold, what it excludes must not;
        a query of nothing else gives every chunk that passes, with the same score, in the order of the index. Words
        that are not indexed demand nothing. A query that says nothing finds nothing. `holds` answers every condition of
        the query. `boosts` are factors for single terms.
        """
        query = parse(query) if isinstance(query, str) else query
        with mapped(self._path):
            weights = self._weights(query)
            common = [] if weights else self._common(query)
            demanded, barred, allowed, banned = self._demands(query, document_ids, holds)
            operands = [item for group in (*query.required, query.excluded) for item in group]
            if not (weights or common or demanded or barred or any(isinstance(item, Condition) for item in operands)):
                return []
            scored = self._scored(weights, boosts) if weights else _boolean(common, [], []) if common else _all()
            if demanded or barred:
                needed = not weights or self._speaks_freely(query)
                scored = _boolean([*demanded, *([scored] if needed else [])], [] if needed else [scored], barred)
            hits = self._passing(scored, limit, allowed, banned)
            addresses = [address for _, address in hits]
            documents = self._columns("document", addresses)
            return [
                Candidate(chunk_id, float(score), document or "")
                for (score, _), chunk_id, document in zip(hits, self._ids(addresses), documents, strict=True)
            ]

    def matching(
        self, query: Query, *, limit: int, document_ids: Collection[str] | None = None, holds: Holds = _NOTHING
    ) -> set[str] | None:
        """Ids of the chunks that fulfil what the query demands and excludes, None when they are more than `limit`.

        Its words count for nothing here.
        """
        with mapped(self._path):
            demanded, barred, allowed, banned = self._demands(query, document_ids, holds)
            hits = self._passing(_boolean([*demanded, _all()], [], barred), limit + 1, allowed, banned)
            return None if len(hits) > limit else set(self._ids([address for _, address in hits]))

    def frequencies(self, query: Query) -> tuple[int, dict[str, int]]:
        """(chunks, how many of them hold each term the query looks for)."""
        with mapped(self._path):
            terms = dict.fromkeys(term for terms in self._weights(query) for term in terms)
            return self.chunks, {term: self._searcher.doc_freq(field_of(term), term) for term in terms}

    def chunk_ids(self) -> list[str]:
        """Every chunk id (for checks)."""
        if self.chunks == 0:
            return []
        hits = self._searcher.search(_all(), self.chunks, count=False).hits
        return self._ids([address for _, address in hits])

    # ------------------------------------------------------------ what counts

    def expansion(self, query: Query) -> Expansion:
        """The terms that the words of a query stand for beside their own; the last ones are kept."""
        return self._expander.of(query, self._searcher)

    def _weights(self, query: Query) -> dict[Terms, float]:
        """Terms that stand for a word → how much the word counts; the most frequent words of a very long query."""
        expansion = self.expansion(query)
        weights: Counter[Terms] = Counter()
        for terms, weight in expansion.wanted:
            weights[terms] += weight  # type: ignore[assignment]
        for terms in expansion.like.values():
            if terms:
                weights[terms] += 1
        for terms in expansion.parts.values():
            weights[terms] += _COMPOUND_WEIGHT  # type: ignore[assignment]
        return dict(weights.most_common(_MAX_QUERY_TERMS))

    def _common(self, query: Query) -> list[Any]:
        """Queries for the stop words of a query, of which all must hold."""
        if query.required:
            return []
        return [self._term("common", word, 1.0) for word in self.analyzer.common(query.words)[:_MAX_QUERY_TERMS]]

    def _speaks_freely(self, query: Query) -> bool:
        """Whether a chunk must hold one of the words: there are some that no group of the query is made of."""
        groups = [item for group in query.required for item in group]
        if not groups:
            return True
        words = Counter(terms for terms, _ in self.analyzer.wanted(query.words))
        for item in groups:
            if isinstance(item, Word):
                words.subtract(terms for terms, _ in self.analyzer.wanted(item.text))
        phrases = (group[0].text for group in query.required if len(group) == 1 and isinstance(group[0], Phrase))
        return not any(map(self.analyzer.sequence, phrases)) and any(count > 0 for count in words.values())

    def _scored(self, weights: Mapping[Terms, float], boosts: Mapping[str, float] | None) -> Any:
        import tantivy

        clauses = []
        for terms, weight in weights.items():
            for inner in (False, True):
                fields = {term: "inner" if inner else field_of(term) for term in terms}
                if inner or terms[1:]:
                    fields = {term: field for term, field in fields.items() if self._searcher.doc_freq(field, term)}
                queries = [
                    self._term(
                        field,
                        term,
                        weight * (PART_WEIGHT if inner else 1.0) * (boosts.get(term, 1.0) if boosts else 1.0),
                    )
                    for term, field in fields.items()
                ]
                if queries:
                    one = queries[0] if len(queries) == 1 else tantivy.Query.disjunction_max_query(queries)
                    clauses.append((tantivy.Occur.Should, one))
        return tantivy.Query.boolean_query(clauses)

    # ------------------------------------------------------------ what must hold

    def _demands(
        self, query: Query, document_ids: Collection[str] | None, holds: Holds
    ) -> tuple[list[Any], list[Any], Set[str] | None, Set[str]]:
        """(queries that must match, queries that must not, documents that are let in, documents that are kept out)."""
        demanded, barred = [], []
        allowed = None if document_ids is None else _as_set(document_ids)
        banned: set[str] = set()
        for group in query.required:
            conditions = [item for item in group if isinstance(item, Condition)]
            if len(conditions) == len(group):
                held = set().union(*(_held(item, holds) for item in conditions))
                allowed = held if allowed is None else allowed & held
                continue
            options = [built for item in group if (built := self._operand(query, item, holds)) is not None]
            if options:
                demanded.append(_unscored(_boolean([], options, [])))
        for item in query.excluded:
            if isinstance(item, Condition):
                banned |= set(_held(item, holds))
            elif (built := self._operand(query, item, holds)) is not None:
                barred.append(built)
        return demanded, barred, allowed, banned

    def _operand(self, query: Query, operand: Operand, holds: Holds) -> Any | None:
        """A query for the chunks of which an operand holds, None when its words are not indexed."""

        if isinstance(operand, Condition):
            return self._of_documents(_held(operand, holds))
        if isinstance(operand, Pattern):
            terms = next((terms for text, terms in self.expansion(query).like.items() if text == operand.text), ())
            return _boolean([], [self._term(field, term) for term in terms for field in self._fields(term)], [])
        if isinstance(operand, Word) and (terms := self.analyzer.whole(operand.text)):
            return _boolean([], [self._term(field, term) for term in terms for field in self._fields(term)], [])
        options = [self._sequence(words) for words in self.analyzer.sequences(operand.text) if words]
        common = [self._term("common", word) for word in self.analyzer.common(operand.text)]
        if isinstance(operand, Word) or not common:
            return _boolean([], options, []) if options else None
        return _boolean([*common, *([_boolean([], options, [])] if options else [])], [], [])

    def _sequence(self, words: Sequence[tuple[int, str]]) -> Any:
        """A query for words at their places."""
        import tantivy

        words = words[:_MAX_QUERY_TERMS]
        if len(words) < 2:
            return _boolean([], [self._term(field, words[0][1]) for field in self._fields(words[0][1])], [])
        phrase: list[Any] = [*words]
        (first, begin), (last, end) = words[0], words[-1]
        if is_spaceless(begin) or is_spaceless(end):  # the text may go on beside that character
            phrase = [(place, re.escape(term)) for place, term in words]
            if is_spaceless(begin):
                phrase[0] = (first, f".?{begin}")
            if is_spaceless(end):
                phrase[-1] = (last, f"{end}.?")
            return tantivy.Query.regex_phrase_query(self._index.schema, "body", phrase)
        fields = ("body", "inner")
        return _boolean([], [tantivy.Query.phrase_query(self._index.schema, field, phrase) for field in fields], [])

    def _of_documents(self, document_ids: Collection[str]) -> Any:
        import tantivy

        if len(document_ids) < _SET_FROM:
            return _boolean([], [self._term("document_id", document_id) for document_id in document_ids], [])
        return tantivy.Query.term_set_query(self._index.schema, "document_id", list(document_ids))

    def _fields(self, term: str) -> tuple[str, ...]:
        """Where a word may stand."""
        field = field_of(term)
        return (field, "inner") if field == "body" else (field,)

    def _term(self, field: str, term: str, weight: float | None = None) -> Any:
        """A query for a term; with a weight it is scored."""
        import tantivy

        option = "basic" if weight is None else "freq"
        query = tantivy.Query.term_query(self._index.schema, field, term, index_option=option)
        return query if weight is None or weight == 1.0 else tantivy.Query.boost_query(query, weight)

    # ------------------------------------------------------------ hits

    def _passing(self, built: Any, limit: int, allowed: Set[str] | None, banned: Set[str]) -> list[tuple[float, Any]]:
        """The first `limit` hits in documents that are let in. Those of a few documents are asked for; of many, the
        hits are looked through, and only when that does not give enough the documents become part of the query.
        """
        if allowed is not None:
            allowed, banned = allowed - banned if banned else allowed, frozenset()
            if not allowed:
                return []
        many = len(banned if allowed is None else allowed) > _MANY_DOCUMENTS
        depth = limit * _FIRST_LOOK if many else _MOST_HITS + 1
        while depth <= _MOST_HITS:
            hits = self._hits(built, depth)
            documents = self._columns("document", [address for _, address in hits])
            if None in documents:
                break
            passing = [
                hit
                for hit, document in zip(hits, documents, strict=True)
                if (document in allowed if allowed is not None else document not in banned)
            ]
            if len(passing) >= limit or len(hits) < depth:
                return passing[:limit]
            depth = max(2 * depth, limit * depth * 3 // (2 * len(passing) + 1))
        if allowed is not None:
            built = _boolean([built, _unscored(self._of_documents(allowed))], [], [])
        elif banned:
            built = _boolean([built], [], [self._of_documents(banned)])
        return self._hits(built, limit)

    def _hits(self, built: Any, limit: int) -> list[tuple[float, Any]]:
        hits: list[tuple[float, Any]] = self._searcher.search(built, limit, count=False).hits
        return hits

    def _ids(self, addresses: list[Any]) -> list[str]:
        return [
            bytes(self._searcher.doc(address).get_first("name")).decode() if chunk_id is None else chunk_id
            for chunk_id, address in zip(self._columns("chunk", addresses), addresses, strict=True)
        ]

    def _columns(self, name: str, addresses: list[Any]) -> list[str | None]:
        """The ids of hits that are kept as columns, None for others."""
        high, low = (self._searcher.fast_field_values(f"{name}_{part}", addresses) for part in ("high", "low"))
        return [None if pair[0] is None else "%016x%016x" % pair for pair in zip(high, low, strict=True)]  # noqa: UP031 - the fastest


def _boolean(must: Iterable[Any], should: Iterable[Any], must_not: Iterable[Any]) -> Any:
    import tantivy

    parts = ((tantivy.Occur.Must, must), (tantivy.Occur.Should, should), (tantivy.Occur.MustNot, must_not))
    return tantivy.Query.boolean_query([(occur, one) for occur, queries in parts for one in queries])


def _unscored(query: Any) -> Any:
    import tantivy

    return tantivy.Query.const_score_query(query, 0.0)


def _all() -> Any:
    import tantivy

    return tantivy.Query.all_query()


def _held(condition: Condition, holds: Holds) -> Collection[str]:
    if condition not in holds:
        raise InvariantViolated(f"It was not said which documents fulfil “{condition}”.")
    return holds[condition]


def _as_set(document_ids: Collection[str]) -> Set[str]:
    return document_ids if isinstance(document_ids, Set) else frozenset(document_ids)
