"""Where text may be cut: sentences, lines, and what has to stay together, in many scripts at once.

The parser's process does not know the language of the knowledge base, and documents mix languages anyway: one list
of abbreviations serves all. A sentence end that is missed makes a longer unit; a wrong one tears "z. B." or "Dr. Who"
apart. So the doubtful cases are no ends.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_NEVER_LAST = """
    mr mrs ms dr prof st sr jr rev gen col capt lt sgt hon gov rep messrs mme mmes mlle mm hr fr frl dipl ing sra srta
    dra sres ud uds vd dª sig sigg dott avv exmo exma ilmo dhr mevr mw drs ir mgr inż
    vs viz cf al ca approx resp ibid op cit ff vgl bzw ggf evtl bspw sog insb inkl exkl zzgl hrsg aufl verf geb gest jh
    jhd etw env ndlr éd cap ej aprox pág pags págs núm tel tfno av avda dpto pag pagg cfr ed tav séc bijv evt blz np tzw
    tzn ul ee uu dept univ assn bros ave blvd rd
    им ул рис см табл стр гл тыс млн млрд руб коп обл проф акад св др напр
"""
"""English, German, French, Spanish, Italian, Portuguese, Dutch, Polish, Russian."""
_BEFORE_NUMBERS = """
    no nos nr nº n° num art arts fig figs abb tab vol bd p pp s kap ch chap sec sect eq eqs par § ziff abs hl ex app anm
    pos rn rz jan feb mar apr jun jul aug sep sept oct nov dec okt dez ст
"""
"""Where a number follows; "no." and "art." are words as well."""
_BEFORE_SMALL_LETTERS = "etc usw usf ecc itd osv enz inc ltd corp co est min max std incl excl ev jhdt sp"
"""Where no capital follows."""

_ABBREVIATIONS = frozenset(_NEVER_LAST.split())
_NUMBERED = frozenset(_BEFORE_NUMBERS.split())
_OFTEN_LAST = frozenset(_BEFORE_SMALL_LETTERS.split())

_SPACED_MARKS = ".!?…"
_MARKS = "。！？｡।॥၊။។៕։።፧؟۔།༎"
"""They end a sentence without a space: CJK, Devanagari, Burmese, Khmer, Armenian, Ethiopic, Arabic, Urdu, Tibetan."""

_CLOSERS = "\"'”’»)\\]」』）】"
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Thai, Lao, Burmese, Khmer: no spaces between words, one where a clause or sentence ends."""

_BOUNDARY = re.compile(
    rf"""\n\s*\n                                                    # blank line
      | (?<![{_SPACED_MARKS}])(?P<mark>[{_SPACED_MARKS}]++)(?P<closed>[{_CLOSERS}]*+)\s+  # a run is looked at once
      | (?:[{_MARKS}]|．(?!\d))+[{_CLOSERS}]*\s*
      | (?<=[{_UNSPACED}])[ ]+(?=[{_UNSPACED}])
      | \n""",
    re.VERBOSE,
)
_LINE_END = re.compile(r"\n(?:\s*\n)?")
_SENTENCE_END = re.compile(rf"([{_SPACED_MARKS}]+|[:{_MARKS}．])([{_CLOSERS}]*)\s*\Z|[{_UNSPACED}][ ]+\Z")
_SOFT_BREAK = re.compile(r"\s+|[;，、；：،؛]+\s*|,+(?!\d)\s*")
_LAST_WORD = re.compile(r"[\w.°ª§]+\Z")

_TAIL_CHARS = 40
_JOINED_CHARS = 16
"""How far a cut moves to keep characters together; text that is nothing but marks is cut all the same."""
_LEADING_VOWELS = "เแโใไເແໂໃໄ"
_VIRAMA = 9


def boundaries(text: str, start: int, end: int) -> Iterator[int]:
    """Offsets in `text[start:end]` after which a sentence, line or paragraph begins, ascending."""
    for match in _BOUNDARY.finditer(text, start, end):
        cut = match.end()
        plain = match["mark"] == "." and not match["closed"] and "\n" not in match.group()
        if plain and _abbreviated(text, match.start(), cut):
            continue
        if cut == len(text) or unicodedata.category(text[cut])[0] != "M":
            yield cut


def line_ends(text: str, start: int, end: int) -> Iterator[int]:
    """Offsets in `text[start:end]` at which a line of a table or of code begins, ascending."""
    return (match.end() for match in _LINE_END.finditer(text, start, end))


def ends_sentence(text: str, start: int, end: int) -> bool:
    """Whether `text[start:end]` ends with a sentence, a colon or a paragraph, as far as can be told."""
    first = max(start, end - _TAIL_CHARS)
    tail = text[first:end]
    if tail.count("\n") > 1:
        return True
    match = _SENTENCE_END.search(tail)
    if match is None:
        return False
    return match[1] != "." or bool(match[2]) or not _abbreviated(text, first + match.start(), end)


def soft_cut(text: str, start: int, latest: int) -> int:
    """The last good place to cut in the second half of `text[start:latest]`, else `latest`, or a little behind it.

    Never between a letter and its accent, inside a syllable of an Indic script or an emoji sequence.
    """
    best = 0
    for match in _SOFT_BREAK.finditer(text, start + (latest - start) // 2, latest):
        best = match.end()
    cut = best if best > start else latest
    last = min(len(text), cut + _JOINED_CHARS)
    while cut < last and _joined(text[cut - 1], text[cut]):
        cut += 1
    return cut


def letter_start(text: str, start: int, at: int) -> int:
    """Where the letter begins that `at` falls into, `start` at the earliest."""
    while at > start and _joined(text[at - 1], text[at]):
        at -= 1
    return at


def _joined(before: str, after: str) -> bool:
    return (
        unicodedata.category(after)[0] == "M"
        or "\u200d" in (before, after)
        or "\u1160" <= after <= "\u11ff"  # the rest of a Hangul syllable in parts
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones
        or before in _LEADING_VOWELS
        or unicodedata.combining(before) == _VIRAMA
    )


def _abbreviated(text: str, dot: int, following: int) -> bool:
    """Whether the full stop at `dot` belongs to an abbreviation, an initial or an ordinal number.

    `following` is where the text goes on.
    """
    after = text[following : following + 1]
    match = _LAST_WORD.search(text[max(0, dot - 24) : dot])
    if match is None:
        return False
    word = match.group().casefold().strip(".")
    if "." in word and all(len(part) == 1 and part.isalpha() for part in word.split(".")):  # e.g, U.S
        return True
    if word.isdigit():
        return len(word) <= 2  # “am 3. Mai”, “1. Einleitung”
    word = word.rpartition(".")[2]
    if len(word) == 1 and word.isalpha():
        return word != "i" and word != word.upper()  # “so do I.” ends; no script without capitals has initials
    return (
        word in _ABBREVIATIONS or (word in _NUMBERED and after.isdigit()) or (word in _OFTEN_LAST and after.islower())
    )
