"""Terms of an index that the words of a query stand for beside their own: words with stars, parts of compounds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from studio.index.keywords.analysis import Analyzer, Terms, is_name, is_spaceless
from studio.index.keywords.query import Pattern, Phrase, Query
from studio.index.keywords.vocabulary import MOST_TERMS, Vocabulary

_MOST_LIKE = 128
"""Terms that a word with a star stands for, the most frequent ones."""
_MOST_COMPOUNDS = 32
_LEAST_PART, _LEAST_FOREIGN_PART = 4, 5
"""Letters of parts of compounds, in languages that have them as words and in others, where only words that nothing
holds are looked for in compounds."""
_SURE_PART = 8
"""Letters of a part that is looked for in the middle of words, too, in any language."""
_NORDIC_AND_GERMAN = frozenset("äöüßåøæ")
_ENDINGS = (
    "a", "al", "an", "ar", "as", "at", "e", "ed", "el", "en", "er", "es", "et", "i", "ic", "ies", "ing", "ion", "ions",
    "is", "ité", "ity", "o", "or", "os", "s", "t", "té", "ung", "ungen", "y",
)  # fmt: skip
"""What a word may end in behind the letters before a star: its stem may be shorter than these."""
_LINKS = ("", "s", "es", "n", "en", "er", "e")
"""What stands between the parts of compounds."""
_LONG_WORD = 64
_KEPT = 16


@dataclass(frozen=True, slots=True)
class Expansion:
    """Terms of the index beside those of a query's words.

    `wanted` are those of its words and phrases and what they count, `like` those that a word with stars stands for,
    `parts` compounds that have a word as a part, and parts that a word has; `notes` say what was left out.
    """

    wanted: tuple[tuple[Terms, float], ...]
    like: Mapping[str, Terms]
    parts: Mapping[str, Terms]
    notes: tuple[str, ...]


def field_of(term: str) -> str:
    """Where a word is counted."""
    return "characters" if is_spaceless(term) else "inner" if is_name(term) else "body"


class Expander:
    """Expands queries by the terms of one index; safe to use from several threads.

    It does not hold the index, which would live on with it: each call gives the `searcher`.
    """

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._vocabulary: Vocabulary | None = None
        self._kept: dict[Query, Expansion] = {}

    def of(self, query: Query, searcher: Any) -> Expansion:
        """The terms that the words of a query stand for beside their own; the last ones are kept."""
        found = self._kept.get(query)
        if found is None:
            found = self._expand(query, searcher)
            if len(self._kept) >= _KEPT:
                self._kept = {}
            self._kept[query] = found
        return found

    def _expand(self, query: Query, searcher: Any) -> Expansion:
        like: dict[str, Terms] = {}
        notes: list[str] = []
        for item in (item for group in (*query.required, query.excluded) for item in group):
            if isinstance(item, Pattern):
                found = tuple(islice(self._like(item, searcher), _MOST_LIKE + 1))
                like[item.text] = found[:_MOST_LIKE]
                if len(found) > _MOST_LIKE:
                    notes.append(
                        f"{item.text} stands for more words: the {_MOST_LIKE} most frequent ones are searched."
                    )
        phrases = (item.text for group in query.required for item in group if isinstance(item, Phrase))
        wanted = [*self._analyzer.wanted(query.words)]
        parts: dict[str, Terms] = {}
        if any(self._may_be_compound(terms, searcher) for terms, _ in wanted):
            parts = {word: terms for word in query.words.split() if (terms := self._parts_of(word, searcher))}
        for phrase in phrases:
            wanted += self._analyzer.wanted(phrase)
        return Expansion(tuple(wanted), like, parts, tuple(notes))

    def _may_be_compound(self, terms: Terms, searcher: Any) -> bool:
        if len(terms[-1]) < _LEAST_PART:
            return False
        if self._analyzer.compounds or len(terms) > 1 or not terms[0].isascii():
            return True
        return not searcher.doc_freq(field_of(terms[0]), terms[0])

    def _terms(self, searcher: Any) -> Vocabulary:
        """Made at the first word that needs it."""
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(term for term, _ in searcher.terms_with_prefix("body", "", limit=MOST_TERMS))
        return self._vocabulary

    def _like(self, pattern: Pattern, searcher: Any) -> Iterator[str]:
        """Terms like a pattern, and stems of words like it."""
        forms = [self._analyzer.spellings(piece) if piece else [""] for piece in pattern.text.split("*")]
        if not all(forms):
            return
        seen: set[str] = set()
        for at in range(max(map(len, forms))):
            pieces = [form[min(at, len(form) - 1)] for form in forms]
            exact = "[^\n]*".join(map(re.escape, pieces))
            options = [exact]
            if not pieces[-1] and len(pieces) == 2:
                options += {
                    re.escape(term) for ending in _ENDINGS for term in self._analyzer.terms(pieces[0] + ending)[-1:]
                }
            if pieces[-1]:
                ending = self._analyzer.terms(pieces[-1])[-1:]
                options += ["[^\n]*".join(map(re.escape, (*pieces[:-1], term))) for term in ending]
            for term in self._terms(searcher).like("|".join(options)):
                if term not in seen:
                    seen.add(term)
                    yield term

    def _parts_of(self, word: str, searcher: Any) -> Terms:
        """Compounds that a word is part of, and its parts; in languages with few of them only for an unknown word."""
        terms = self._analyzer.whole(word) if len(word) >= _LEAST_PART else ()
        if not terms or len(terms[-1]) < _LEAST_PART:
            return ()
        compounds = self._analyzer.compounds or not (word.isascii() or _NORDIC_AND_GERMAN.isdisjoint(word.lower()))
        if not compounds and any(searcher.doc_freq(field_of(term), term) for term in terms):
            return ()
        if not all(map(str.isalnum, terms)) or not self._analyzer.spellings(word):
            return ()
        if len(terms[-1]) > _LONG_WORD:
            return tuple(islice(self._terms(searcher).pieces(terms[-1]), _MOST_COMPOUNDS))
        if not any(map(str.isalpha, terms[-1])):
            return ()
        least = _LEAST_PART if compounds else _LEAST_FOREIGN_PART
        whole = islice(
            (
                found
                for term in terms
                if len(term) >= least
                for found in self._terms(searcher).holding(term, compounds or len(term) >= _SURE_PART)
            ),
            _MOST_COMPOUNDS,
        )
        return (
            tuple(dict.fromkeys((*whole, *self._split(terms[-1], least, searcher)))) if len(terms[-1]) >= least else ()
        )

    def _split(self, term: str, least: int, searcher: Any) -> list[str]:
        """Terms of the index that a compound is made of, [] when it is not of two."""
        for at in range(len(term) - least, least - 1, -1):
            if not searcher.doc_freq("body", term[at:]):
                continue
            for link in _LINKS:
                left = term[: at - len(link)] if term[:at].endswith(link) else ""
                for stem in self._analyzer.terms(left) if len(left) >= least else ():
                    if searcher.doc_freq("body", stem):
                        return [stem, term[at:]]
        return []
