"""How text becomes the terms of the keyword index, and how a query becomes the terms it looks for.

A word is lower-cased, dropped when it is a stop word, stemmed in the knowledge base's language, and freed of accents.
Where stemming the unaccented spelling gives another term (French “mangé” and “mange”), that one is indexed at the same
position, so that either spelling finds the other. Scripts without spaces are overlapping pairs of characters, which
finds substrings; their single characters are kept apart, in a field of their own.

What stands inside identifiers is kept apart too, so that prose has just the statistics of its words: the parts of
`HTTPServerError` (which is one word, `snake_case` and `os.path` are two), and the whole of names with underscores or
dots (`snake_case`, `os.path`, `2.5`) and of `C++`, `C#`, `.NET`; numbers without what separates their groups; and
stop words in upper case (`IT`), which are names there. Of stop words themselves it is known which ones a text has.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from studio.index.keywords.han import SIMPLIFIED
from studio.index.keywords.numbers import joined
from studio.index.keywords.tokens import Finder, Hit, Range, Tokens

LEXICAL_VERSION = 1
"""Schema of the index and the analysis that made its terms. An index of another version is not built upon."""

LANGUAGES = {
    "ar": "arabic", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish", "fi": "finnish",
    "fr": "french", "hu": "hungarian", "it": "italian", "nl": "dutch", "no": "norwegian", "pt": "portuguese",
    "ro": "romanian", "ru": "russian", "sv": "swedish", "ta": "tamil", "tr": "turkish",
}  # fmt: skip
"""Languages that can be stemmed; any other code is indexed without stemming."""

PART_WEIGHT = 0.1
"""What a word counts that is only part of an identifier. It finds it; at 0.5, pages of code outrank the prose that
answers (nDCG@10 of a documentation site -.026, at 0.1 +.007, scientific abstracts the same)."""

_STOP_WORD_LISTS = frozenset(LANGUAGES.values()) - {"arabic", "greek", "romanian", "tamil", "turkish"}
_KEPT_LETTERS = {"nl": 0, "tr": 0, "de": 1, "fi": 1}
"""How many letters a stemmer leaves alone at the beginning of ASCII words, where not two, “y” as “i” in second place.
Dutch takes “ge” away, Turkish whole short words, German reads “ae” as “ä”, Finnish takes one of two letters away."""
_COMPOUNDING = frozenset(("da", "de", "fi", "hu", "nb", "nl", "nn", "no", "sv"))
_LONGEST_TERM = 64
_LONGEST_WORD = 65_000
"""Bytes; Tantivy takes no longer term. No passage has a longer word."""
_LONGEST_STOP_WORD, _LONGEST_ENGLISH_STOP_WORD = 12, 5
_CACHED_WORDS = 1 << 13
_CACHED_TOKENS = 1 << 14
_CACHED_QUERIES = 8
_SHORT_WORDS_KEPT = 2
_KEPT_ANALYZERS = 4
"""Analyses kept, of so many languages. One for each generation would be lost with it until Python looks for cycles,
which it seldom does among what is old, and a new generation would begin with words never met."""

CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af\U00020000-\U0002fa1f"
_SPACELESS = (  # and Thai, Lao, Burmese, Khmer; Hangul letters by themselves; half-width Kana; the newer ideographs
    CJK + "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1100-\u11ff\u3130-\u318f\uff66-\uff9f\U0002fa20-\U0003ffff"
)
_IGNORED = "\u00ad\u200c-\u200f\u2060\ufeff"  # soft hyphen, joiners, directions, word joiner, byte order mark
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670]+"
)
_IGNORED_CHARS = re.compile(f"[{_IGNORED}]+")
_RUN = re.compile(f"[{_SPACELESS}]+")
_SPELLED = {ord("ä"): "ae", ord("ö"): "oe", ord("ü"): "ue", ord("ø"): "oe", ord("å"): "aa"}
"""How letters are written where a keyboard has none of them. ASCII folding knows “æ” and “ß”."""
_ARABIC = {
    0x0671: "\u0627", 0x0629: "\u0647", 0x06C0: "\u0647", 0x06C1: "\u0647", 0x06C2: "\u0647", 0x06D5: "\u0647",
    0x0649: "\u064a", 0x06CC: "\u064a", 0x06D2: "\u064a", 0x06A9: "\u0643",
}  # fmt: skip
"""Forms of Arabic and Persian letters that are written for one another; those with hamza are taken apart before."""
_LETTER_BYTES = bytes(byte if byte < 0x80 and chr(byte).isalpha() else 0x20 for byte in range(0x100))
_LETTERS = re.compile("[^\\W\\d_]+")
_SEGMENT = re.compile(r"[^._]+")
_SEPARATORS = re.compile("_+")
_NAME_SIGNS = frozenset("._+#")
_WORD = re.compile("[A-Za-z0-9]+")
_PLAIN = re.compile("[\x00-\x7f\u00a0\u00a7\u2010-\u2027\u2030-\u205e]*")
# Every text with an identifier has one of these. Beginning with a set of rare characters makes them fast.
_CAMEL = re.compile(
    "[A-Z\u00c0-\u00de](?:(?<=[a-z\u00df-\u00ff].)|(?<=[A-Z\u00c0-\u00de].)[a-z\u00df-\u00ff]|(?<=[0-9].)[a-z])"
)
_JOINED = re.compile(
    r"[._+#](?:(?<=[^\W_][._])[._]*[^\W_]|(?<=[\u0300-\u036f][._])[._]*[^\W_]"
    r"|(?<=\.)(?<![\w.]\.)[A-Za-z]|(?<=\w\+)\+|(?<=\w#))"
)

Terms = tuple[str, ...]
"""Terms that stand for the same word; any of them will do."""


@dataclass(frozen=True, slots=True)
class Term:
    """`position` and the code points `start`..`end` count from the beginning of the unit."""

    text: str
    position: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Unit:
    """A word, an identifier or a run of characters without spaces.

    `words` take `positions` positions. `parts` stand inside of words, at positions of their own. `name` is the whole of
    several words, "" for none. `texts` are all of them.
    """

    words: tuple[Term, ...]
    positions: int
    texts: frozenset[str]
    parts: tuple[Term, ...] = ()
    name: str = ""

    @classmethod
    def of(cls, words: Sequence[Term], positions: int, parts: Sequence[Term] = (), name: str = "") -> Unit:
        texts = frozenset(term.text for term in (*words, *parts)) | ({name} if name else frozenset())
        return cls(tuple(words), positions, texts, tuple(parts), name)


class Analyzer:
    """Splits text into terms the way the index does. Safe to use from several threads."""

    def __init__(self, language: str) -> None:
        self._chain = text_analyzer(language)
        self._lower = _unaccented_lower()
        self._unit = functools.lru_cache(_CACHED_WORDS)(self._analyse)
        self._held = functools.lru_cache(_CACHED_TOKENS)(self._terms_in)
        self._tokens = Tokens(self._terms_in)
        self._finder = functools.lru_cache(_CACHED_QUERIES)(self._find)
        self._compounds = _code(language) in _COMPOUNDING
        self._simplify = _code(language) != "ja"  # which has both kinds of characters, with meanings of their own
        self._short = functools.lru_cache(_SHORT_WORDS_KEPT)(self._short_words)
        self._ascii_stop_words = _code(language) == "en"
        self._longest_stop_word = _LONGEST_ENGLISH_STOP_WORD if self._ascii_stop_words else _LONGEST_STOP_WORD
        self._is_stop_word = functools.lru_cache(_CACHED_WORDS)(self._is_stop)
        self._kept_letters = _KEPT_LETTERS.get(_code(language), 2)
        self._is_plain = functools.lru_cache(_CACHED_WORDS)(self._is_plain_word)
        self._pattern = _unit_pattern()

    # ------------------------------------------------------------ the index

    def is_plain(self, text: str) -> bool:
        """Whether the words of a text are just those that `text_analyzer` finds, at the same positions."""
        if _PLAIN.fullmatch(text) is not None:
            return True
        return all(self._is_plain(word) for word in set(text.split()) if not word.isascii())

    def words(self, text: str) -> list[tuple[str, int]]:
        """(term, position) of the words of a text, in order."""
        found: list[tuple[str, int]] = []
        at = 0
        for unit in self._units(text):
            found.extend((term.text, at + term.position) for term in unit.words)
            at += unit.positions
        return found

    def inner(self, text: str) -> list[tuple[str, int]]:
        """(term, position) of the parts and names inside a text's identifiers, in order."""
        names = (*self._upper(text), *joined(text))
        found = [(name, 2 * number) for number, name in enumerate(dict.fromkeys(names))]
        if _CAMEL.search(text) is None and _JOINED.search(text) is None:
            return found
        at = 2 * len(found)
        for unit in self._units(text):
            if unit.name:
                found.append((unit.name, at))
                at += 2
            if unit.parts:
                found.extend((term.text, at + term.position) for term in unit.parts)
                at += unit.parts[-1].position + 2  # no phrase goes from one identifier into the next
        return found

    def characters(self, text: str) -> str:
        """The characters of scripts without spaces, separated by spaces."""
        return " ".join(" ".join(self._pair_form(run)) for run in _RUN.findall(text))

    def common(self, text: str) -> list[str]:
        """The stop words of a text, each once."""
        words = dict.fromkeys([word.lower() for word in self._short(text)])
        return [word for word in words if self._is_stop_word(word)]

    # ------------------------------------------------------------ queries

    def terms(self, text: str) -> list[str]:
        """Terms of a text in order, repeated ones and those inside identifiers included."""
        found: list[str] = []
        for unit in self._units(text):
            found.extend(term.text for term in (*unit.words, *unit.parts))
            found.extend([unit.name] if unit.name else [])
        return found

    def wanted(self, text: str) -> Iterator[tuple[Terms, float]]:
        """Each word a query looks for: terms that stand for it, and what it counts."""
        for unit in self._units(text):
            weight = PART_WEIGHT if unit.positions == 1 and unit.name else 1.0  # “C” of “C++”
            yield from ((terms, weight) for terms in _by_place(unit.words))
            yield from ((terms, PART_WEIGHT) for terms in _by_place(unit.parts))
            if unit.name:
                yield (unit.name,), 1.0
        yield from (((name,), 1.0) for name in (*self._upper(text), *joined(text)))

    def sequence(self, text: str) -> list[tuple[int, str]]:
        """(position, term) of the words of a phrase; words that are not indexed leave a gap.

        The term is the one that accented and plain spelling share.
        """
        found = {position: term for term, position in self.words(text)}  # the last one is that of the plain spelling
        first = min(found, default=0)
        return [(place - first, term) for place, term in found.items()]

    def sequences(self, text: str) -> list[list[tuple[int, str]]]:
        """`sequence`, and that of the spelling with “ae” for “ä” where there is one."""
        spelled = text if text.isascii() else text.lower().translate(_SPELLED)
        return [self.sequence(text), *([self.sequence(spelled)] if spelled != text.lower() else [])]

    def whole(self, text: str) -> Terms:
        """What stands for all of a single word or identifier, () for anything else."""
        units = list(self._units(text))
        if len(units) != 1:
            return ()
        if units[0].name:
            return (units[0].name,)
        return tuple(term.text for term in units[0].words) if units[0].positions == 1 else ()

    @property
    def compounds(self) -> bool:
        """Whether the language writes its compounds as one word."""
        return self._compounds

    def spellings(self, letters: str) -> list[str]:
        """A part of a word as terms are spelled: without accents, and with what is written for them. [] for scripts
        without spaces.
        """
        if _RUN.search(letters):
            return []
        return list(dict.fromkeys((self._folded(letters), self._folded(letters.lower().translate(_SPELLED)))))

    def highlights(self, text: str, terms: Iterable[str]) -> tuple[list[Range], set[str]]:
        """Code-point ranges of the words of `text`, or parts of them, that stand for one of `terms`, in order.

        And which of the terms they stand for.
        """
        return self._finder(frozenset(terms)).highlights(text)

    def _find(self, wanted: frozenset[str]) -> Finder:
        # No unit goes beyond white space.
        return Finder(wanted, self._held, self._hit, self._tokens.holding, self._kept_letters)

    def _hit(self, token: str, wanted: frozenset[str]) -> Hit:
        if _is_simple(token):
            words = [word.span() for word in _WORD.finditer(token) if not wanted.isdisjoint(self._held(word.group()))]
            return tuple(words), wanted.intersection(self._held(token))
        ranges = self._ranges_in(token, wanted)
        return tuple(ranges), wanted.intersection(self.terms(" ".join(token[start:end] for start, end in ranges)))

    def _ranges_in(self, token: str, wanted: frozenset[str]) -> list[tuple[int, int]]:
        ranges: list[tuple[int, int]] = []
        for match in self._pattern.finditer(token):
            unit, offset = self._unit_of(match.group()), match.start()
            if unit.texts.isdisjoint(wanted):
                continue
            hits = [(term.start, term.end) for term in (*unit.words, *unit.parts) if term.text in wanted]
            if unit.name and unit.name in wanted:
                hits = [(0, match.end() - offset)]
            for start, end in sorted(hits):
                if ranges and offset + start < ranges[-1][1]:
                    ranges[-1] = (ranges[-1][0], max(offset + end, ranges[-1][1]))
                else:
                    ranges.append((offset + start, offset + end))
        return ranges

    # ------------------------------------------------------------ words

    def _units(self, text: str) -> Iterator[Unit]:
        return (self._unit_of(raw) for raw in self._pattern.findall(text))

    def _is_plain_word(self, word: str) -> bool:
        if not word.isprintable():  # and with that no lone surrogate
            return False
        return [(token.text, token.position) for token in self._chain.pre_tokenize(word).tokens] == self.words(word)

    def _terms_in(self, token: str) -> Terms:
        if _is_simple(token):
            return tuple(self._chain.analyze(token))
        return tuple(text for unit in self._units(token) for text in unit.texts)

    def _unit_of(self, raw: str) -> Unit:
        return self._unit(raw) if len(raw) <= _LONGEST_TERM else self._analyse(raw)

    def _analyse(self, raw: str) -> Unit:
        if _RUN.match(raw):
            return _pairs(self._pair_form(raw), len(raw))
        words: list[Term] = []
        parts: list[Term] = []
        positions = places = 0
        core = raw.rstrip("+#")
        segments = list(_SEGMENT.finditer(core))
        for segment in segments:
            start, end = segment.span()
            positions += _place(words, self._words(segment.group()), positions, start, end)
            bounds = [start + bound for bound in _parts(segment.group())]
            for first, last in pairwise(bounds) if len(bounds) > 2 else ():
                places += _place(parts, self._words(core[first:last]), places, first, last)
        name = ""
        if len(segments) > 1 or len(core) < len(raw) or raw[0] == ".":
            name = self._folded(_SEPARATORS.sub("_", raw))
        return Unit.of(words, positions, parts, name if len(name.encode()) <= _LONGEST_TERM else "")

    def _words(self, word: str) -> list[Terms]:
        """The terms of a word; several places where its compatibility form is several words (“½”)."""
        if word.isascii():
            return [tuple(self._chain.analyze(word))]
        clean = _composed(word)
        stemmed = [_bare(term) for term in self._chain.analyze(clean)]
        if len(stemmed) != 1:  # a stop word, or several words
            return [(term,) for term in stemmed] or [()]
        spelled = self._chain.analyze(self._folded(clean.lower().translate(_SPELLED)))
        *first, plain = dict.fromkeys((*stemmed, *self._chain.analyze(self._folded(clean))))
        return [(*first, *(term for term in spelled if term not in (*first, plain)), plain)]

    def _pair_form(self, run: str) -> str:
        composed = unicodedata.normalize("NFKC", run)
        return composed.translate(SIMPLIFIED) if self._simplify else composed

    def _is_stop(self, word: str) -> bool:
        return len(word) <= _LONGEST_STOP_WORD and not self._words(word)[0]

    def _upper(self, text: str) -> Iterator[str]:
        """Stop words that are in upper case where not all is: names, most likely."""
        found = [word for word in self._short(text) if word[1:] and word.isupper() and word.isascii()]
        if found and not (text.isupper() and " " in text.strip()):
            yield from (word for word in found if self._is_stop_word(word.lower()))

    def _short_words(self, text: str) -> dict[str, None]:
        """The words of a text that are short enough for stop words, each once, in order."""
        if text.isascii() or self._ascii_stop_words:
            words = text.encode("ascii", "replace").translate(_LETTER_BYTES).decode("ascii").split()
        else:
            words = _LETTERS.findall(text)
        most = self._longest_stop_word
        return dict.fromkeys([word for word in words if len(word) <= most])

    def _folded(self, word: str) -> str:
        """A word in lower case without accents."""
        return _bare("".join(self._lower.analyze(_composed(word))))


@functools.lru_cache(_KEPT_ANALYZERS)
def analyzer_for(language: str) -> Analyzer:
    """The analysis of a language, the same for all indexes: some 10 MB of words that it has met."""
    return Analyzer(language)


def _is_simple(token: str) -> bool:
    """Whether all units of a token are ASCII words with nothing inside; most are."""
    if token.isascii() and token.isalpha() and token[1:].islower():
        return True
    return (
        _PLAIN.fullmatch(token) is not None and "_" not in token and not (_CAMEL.search(token) or _JOINED.search(token))
    )


def _place(terms: list[Term], words: Sequence[Terms], position: int, start: int, end: int) -> int:
    """Append words from a position on; returns how many."""
    for at, alternatives in enumerate(words, position):
        terms.extend(Term(term, at, start, end) for term in alternatives)
    return len(words)


def _by_place(terms: Iterable[Term]) -> Iterator[Terms]:
    return (tuple(term.text for term in group) for _, group in groupby(terms, key=lambda term: term.position))


def _pairs(composed: str, length: int) -> Unit:
    """A run of characters, so long as it stands in the text, as overlapping pairs; a single one as itself."""
    exact = len(composed) == length
    count = max(1, len(composed) - 1)
    return Unit.of(
        [
            Term(composed[at : at + 2], at, at if exact else 0, min(at + 2, length) if exact else length)
            for at in range(count)
        ],
        count,
    )


def _parts(segment: str) -> list[int]:
    """Where the parts of `camelCase` begin, and where the last one ends; [0, length] for any other word."""
    if len(segment) > _LONGEST_TERM or _CAMEL.search(segment) is None:
        return [0, len(segment)]
    bounds = [0]
    for at in range(1, len(segment)):
        here, before, behind = segment[at], segment[at - 1], segment[at + 1 :]
        if here.isupper() and (
            before.islower()
            or (
                (before.isupper() or before.isdigit()) and behind[:1].islower() and behind != "s"
            )  # “PDFs” is no “PD” and “Fs”
        ):
            bounds.append(at)
    bounds.append(len(segment))
    if sum(last - first > 1 for first, last in pairwise(bounds)) < 2:  # “mRNA”, “iPhone”, “pH”
        return [0, len(segment)]
    return bounds


def is_name(term: str) -> bool:
    """Whether a term is the whole of a name, or one in upper case, which no word is."""
    return not _NAME_SIGNS.isdisjoint(term) or (term.isascii() and term.isupper())


def is_spaceless(term: str) -> bool:
    """Whether a term is a single character of a script without spaces."""
    return len(term) == 1 and _RUN.match(term) is not None


def in_one_spelling(text: str, spelled_out: bool) -> str:
    """A text in lower case, in one of the spellings that words are found by; `spelled_out` writes “ä” as “ae”."""
    text = _composed(text).casefold()
    if text.isascii():
        return text
    if spelled_out:
        text = text.translate(_SPELLED)
    text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))
    return text.translate(_ARABIC).translate(SIMPLIFIED)


def _composed(word: str) -> str:
    """The compatibility form of a word, without marks that cannot be seen or have no letter to stand on."""
    composed = unicodedata.normalize("NFKC", _IGNORED_CHARS.sub("", word)).replace("İ", "i")
    if not composed.isascii() and any(map(str.isdecimal, composed)):
        composed = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in composed)
    return composed if composed.isalnum() else _ACCENTS.sub("", composed)


def _bare(term: str) -> str:
    """A term without what marks of accents are left in it: those of Greek, Cyrillic, Hebrew and Arabic."""
    if term.isascii():
        return term
    return "".join(
        char if char == "й" else unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", char)))
        for char in unicodedata.normalize("NFC", term)
    ).translate(_ARABIC)


@functools.cache
def _unit_pattern() -> re.Pattern[str]:
    """Runs without spaces, and words with the dots, underscores and signs that make identifiers of them."""
    marks = "".join(
        char
        for char in map(chr, range(0x300, 0x10000))
        if unicodedata.category(char)[0] == "M" and not _RUN.match(char)
    )
    letter = rf"[^\W_{_SPACELESS}]"
    word = rf"{letter}+(?:[{marks}{_IGNORED}]+{letter}*)*"
    return re.compile(
        rf"[{_SPACELESS}]+"
        rf"|(?:(?<![\w.])\.(?=[A-Za-z]))?{word}(?:(?:_+|\.){word})*(?:\+\+(?![A-Za-z_+])|(?<=\b[A-Za-z])#(?![\w#]))?"
    )


def _code(language: str) -> str:
    """“en” of “en-GB”."""
    return language.split("-")[0].lower()


def text_analyzer(language: str) -> Any:
    """The word chain of a language, for Tantivy."""
    import tantivy

    name = LANGUAGES.get(_code(language))
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    builder = builder.filter(tantivy.Filter.remove_long(_LONGEST_WORD)).filter(tantivy.Filter.lowercase())
    if name in _STOP_WORD_LISTS:
        builder = builder.filter(tantivy.Filter.stopword(name))
    if name is not None:
        builder = builder.filter(tantivy.Filter.stemmer(name))
    return builder.filter(tantivy.Filter.ascii_fold()).build()


def _unaccented_lower() -> Any:
    import tantivy

    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw())
    return builder.filter(tantivy.Filter.lowercase()).filter(tantivy.Filter.ascii_fold()).build()
