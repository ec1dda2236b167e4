"""The part of a passage to show: the sentences with the most, and the rarest, of the matched terms.

A snippet is one stretch of the passage, or two where those hold terms that no single stretch holds together. It ends
where a sentence or a word ends, never inside a character that is written with several code points.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

SNIPPET_CHARS = 320
GAP = " … "
"""What stands between two stretches."""

Range = tuple[int, int]

# Beginning with a set of rare characters makes it fast.
_BREAK = re.compile(
    r"[.!?…。！？｡।॥۔؟\n](?:(?<=[.!?…])[.!?…]*[\"'”’»)\]]*\s+"
    r"|(?<=[。！？｡।॥۔؟])[。！？｡।॥۔؟]*[」』”’）】]*\s*|(?<=\n)\n*)"
)
_CLAUSE_CHARS = 80
"""A sentence too long to be shown whole is dealt with in pieces of at most this length, cut between words."""
_JOINED_CHARS = 32
"""No real character is written with more code points; what claims to be one is cut all the same."""
_NEAR_CHARS = 8.0
_PROXIMITY = 0.5
"""What two different terms side by side add, in units of a term that occurs once; half of it at `_NEAR_CHARS`."""
_LONG = 0.6
"""The share of a snippet from which on a sentence is too long to be taken or left as a whole."""
_LEAD = 3
"""A sentence is shown from its beginning where that costs at most this part (a third) of the snippet."""

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Scripts without spaces between words."""
_LEADING_VOWELS = "เแโใไເແໂໃໄ"
_FOLLOWING_VOWELS = "ำຳ"
_VIRAMA = 9
_FIRST_JOINED = "\u0300"
"""All characters below it, those of Western European languages, stand by themselves."""


class _Pieces:
    """Sentences, or parts of long ones, in order: a list of each of their properties, which is quicker than objects.

    `keys` are the terms marked in a piece, a bit each; `opens` says whether a sentence begins with it, `before` how
    long those before it are, with white space folded and a space behind each. `marked` are the pieces with marks.
    """

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.keys: list[int] = []
        self.opens: list[bool] = []
        self.before = [0]
        self.marked: list[int] = []

    def size(self, first: int, last: int) -> int:
        """The length of the pieces `first`..`last`, white space folded."""
        return self.before[last + 1] - self.before[first] - 1


class _Run(NamedTuple):
    """The pieces `first`..`last`: what their terms are worth, and what these gain by standing side by side."""

    first: int
    last: int
    size: int
    keys: int
    worth: float
    closeness: float


def snippet(content: str, highlights: Sequence[Range], length: int = SNIPPET_CHARS) -> tuple[str, tuple[Range, ...]]:
    """Cut `content` to at most `length` characters around the best of its highlights.

    Returns the snippet, its white space folded to single spaces, and the highlights that lie in it as code-point
    ranges of the snippet. A highlight covers whole characters: an accent that follows its letter belongs to it.
    Without highlights the snippet is the beginning.
    """
    marks = _marks(content, highlights)
    if len(content) <= length:
        return _written(content, [(0, len(content))], marks)
    keys, weights = _weighted([_key(content[start:end]) for start, end in marks])
    pieces = _pieces(content, marks, keys, length)
    if pieces.before[-1] - len(pieces.ends) <= length and _size(content, 0, len(content)) <= length:
        return _written(content, [(0, len(content))], marks)
    chosen = _Chooser(pieces, marks, keys, weights).stretches(length)
    return _written(content, [(pieces.starts[first], pieces.ends[last]) for first, last in chosen], marks)


def _weighted(terms: Sequence[str]) -> tuple[list[int], dict[int, float]]:
    """The terms as keys, each a bit of its own, so that several make a set; and key → weight, more for a rare one."""
    occurrences: dict[str, int] = {}
    for term in terms:
        occurrences[term] = occurrences.get(term, 0) + 1
    bits = {term: 1 << at for at, term in enumerate(occurrences)}
    weights = {bits[term]: 1.0 + math.log(len(terms) / number) for term, number in occurrences.items()}
    return [bits[term] for term in terms], weights


class _Chooser:
    """Finds the runs of pieces to show, each as (first, last)."""

    def __init__(self, pieces: _Pieces, marks: Sequence[Range], keys: Sequence[int], weights: dict[int, float]) -> None:
        self._pieces = pieces
        self._final = len(pieces.ends) - 1
        self._weights = weights
        self._worths: dict[int, float] = dict(weights)
        self._near = _neighbours(pieces, marks, keys)

    def stretches(self, length: int) -> list[Range]:
        runs = self._runs(length)
        whole = self._best(runs, length)
        if whole is None:
            return [self._filled((0, 0), length, self._final)]
        if whole.keys < sum(self._weights) and (first := self._best(runs, length // 2)) is not None:
            others = [run for run in runs if run.last < first.first or first.last < run.first]
            second = self._best(others, length - len(GAP) - first.size, first.keys)
            if second is not None and self._worth(first.keys | second.keys) > self._worth(whole.keys):
                left, right = sorted((first, second))
                return self._both((left.first, left.last), (right.first, right.last), length)
        return [self._filled((whole.first, whole.last), length, self._final)]

    def _runs(self, length: int) -> list[_Run]:
        """The runs of at most `length` that begin and end with a marked piece."""
        pieces, near, worths = self._pieces, self._near, self._worths
        runs: list[_Run] = []
        for at, first in enumerate(pieces.marked):
            start, before, keys, closeness = pieces.starts[first], pieces.before[first] + 1, 0, 0.0
            closest: dict[int, float] = {}  # each pair of different terms counts once
            for last in pieces.marked[at:]:
                if (size := pieces.before[last + 1] - before) > length:
                    break
                keys |= pieces.keys[last]
                if last in near:
                    for left, pair, bonus in near[last]:
                        if start <= left and bonus > closest.get(pair, 0.0):
                            closest[pair] = bonus
                    closeness = sum(closest.values())
                runs.append(_Run(first, last, size, keys, worths.get(keys) or self._worth(keys), closeness))
        return runs

    def _best(self, runs: Iterable[_Run], length: int, known: int = 0) -> _Run | None:
        """The run of at most `length` that adds most to the terms in `known`: the shortest, then the first of them."""
        best, best_rank = None, (0.0, 0)
        for run in runs:
            if run.size <= length and (added := run.keys & ~known):
                rank = ((self._worth(added) if known else run.worth) + run.closeness, -run.size)
                if rank > best_rank:
                    best, best_rank = run, rank
        return best

    def _worth(self, keys: int) -> float:
        if keys not in self._worths:
            self._worths[keys] = math.fsum([weight for key, weight in self._weights.items() if key & keys])
        return self._worths[keys]

    def _filled(self, run: Range, length: int, latest: int) -> Range:
        """The run with what follows it, as far as there is room; at the end of the passage with what precedes it."""
        first, last = run
        size, opens = self._pieces.size, self._pieces.opens
        opening = next(at for at in range(first, -1, -1) if opens[at])
        if self._pieces.before[first] - self._pieces.before[opening] <= length // _LEAD:
            first = opening if size(opening, last) <= length else first
        while last < latest and size(first, last + 1) <= length:
            last += 1
        while last == self._final and first > 0 and size(first - 1, last) <= length:
            first -= 1
        return first, last

    def _both(self, left: Range, right: Range, length: int) -> list[Range]:
        room = length - len(GAP)
        left = self._filled(left, room - self._pieces.size(*right), right[0] - 1)
        right = self._filled(right, room - self._pieces.size(*left), self._final)
        if right[0] <= left[1] + 1:
            return [(left[0], right[1])]
        return [left, right]


def _neighbours(
    pieces: _Pieces, marks: Sequence[Range], keys: Sequence[int]
) -> dict[int, list[tuple[int, int, float]]]:
    """Every two different terms that follow one another: piece in which they end → (start, the terms, bonus)."""
    found: dict[int, list[tuple[int, int, float]]] = {}
    at = 0
    for (left, one), (right, other) in pairwise(zip(marks, keys, strict=True)):
        if one != other:
            while pieces.ends[at] < right[1]:
                at += 1
            gap = right[0] - left[1]
            found.setdefault(at, []).append((left[0], one | other, _PROXIMITY / (1.0 + gap / _NEAR_CHARS)))
    return found


# ---------------------------------------------------------------- pieces


def _pieces(content: str, marks: Sequence[Range], keys: Sequence[int], length: int) -> _Pieces:
    pieces = _Pieces()
    printable = content.isprintable()  # then there is no other white space than spaces
    plain = printable and "  " not in content
    ahead = [*marks, (len(content), len(content) + 1)]
    start = mark = before = 0
    opens = True
    for end, closes in _ends(content, length, simple=printable and content.isascii()):
        while ahead[mark][1] <= start:
            mark += 1
        held = 0
        if ahead[mark][0] < end:
            at = mark
            while ahead[at][0] < end:
                held |= keys[at]
                at += 1
            if ahead[at - 1][1] > end and end - start < length:
                continue  # no cut inside a marked phrase
            pieces.marked.append(len(pieces.ends))
        before += 1 + (len(content[start:end].strip()) if plain else _size(content, start, end))
        pieces.before.append(before)
        pieces.starts.append(start)
        pieces.ends.append(end)
        pieces.keys.append(held)
        pieces.opens.append(opens)
        start, opens = end, closes
    return pieces


def _ends(content: str, length: int, *, simple: bool) -> list[tuple[int, bool]]:
    """Where pieces end, and whether a sentence does; a `simple` text has no white space but spaces, nothing joined."""
    ends: list[tuple[int, bool]] = []
    limit = min(_CLAUSE_CHARS, max(1, length // 4))
    start = 0
    for end in _sentence_ends(content):
        if end - start > length * _LONG:
            while end - start > limit:
                cut = content.rfind(" ", start, start + limit) + 1 if simple else 0
                start = cut or _word_end(content, start, start + limit)
                if start >= end:
                    break
                ends.append((start, False))
        ends.append((end, True))
        start = end
    return ends


def _sentence_ends(content: str) -> Iterator[int]:
    for match in _BREAK.finditer(content):
        end = match.end()
        if end < len(content) and (content[end] < _FIRST_JOINED or not _joined(content[end - 1], content[end])):
            yield end
    yield len(content)


def _word_end(content: str, start: int, latest: int) -> int:
    """The last place in `content[start:latest]` behind a word; where there is none, behind a whole character."""
    space = content.rfind(" ", start, latest)
    if space >= start and content[space + 1] < _FIRST_JOINED and content[space + 1 : latest].isprintable():
        return space + 1  # the same as below, for most texts: printable characters are no other white space
    word = f"{content[start:latest]}.".rsplit(None, 1)[-1]  # what is cut off, and a dot
    for cut in range(latest + 1 - len(word), start, -1):
        if content[cut - 1].isspace() and not _joined(content[cut - 1], content[cut]):
            return cut
    for cut in range(latest, start, -1):
        if not _joined(content[cut - 1], content[cut]) and not _same_word(content[cut - 1], content[cut]):
            return cut
    for cut in range(latest, max(start, latest - _JOINED_CHARS), -1):
        if not _joined(content[cut - 1], content[cut]):
            return cut
    return latest


def _same_word(before: str, after: str) -> bool:
    return (before.isalnum() and after.isalnum()) and not (_UNSPACED.match(before) or _UNSPACED.match(after))


def _joined(before: str, after: str) -> bool:
    """Whether two code points belong to one character as people see it."""
    if before < _FIRST_JOINED and after < _FIRST_JOINED:
        return False
    return (
        unicodedata.category(after)[0] == "M"
        or "\u200d" in (before, after)
        or "\u1160" <= after <= "\u11ff"  # the rest of a Hangul syllable in parts
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= after <= "\U000e007f"  # flags of regions
        or ("\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff")  # flags of countries
        or before in _LEADING_VOWELS
        or after in _FOLLOWING_VOWELS
        or unicodedata.combining(before) == _VIRAMA
    )


# ---------------------------------------------------------------- marks and writing


def _marks(content: str, highlights: Sequence[Range]) -> list[Range]:
    """The highlights in order, without overlaps, each of whole characters."""
    marks: list[Range] = []
    plain = content.isascii()
    for start, end in sorted(highlights):
        if not 0 <= start < end <= len(content):
            continue
        first, last = (start, end) if plain else _whole(content, start, end)
        if marks and first < marks[-1][1]:
            first, last = marks[-1][0], max(last, marks.pop()[1])
        marks.append((first, last))
    return marks


def _whole(content: str, start: int, end: int) -> Range:
    """The whole characters of which a range has some part."""
    first, last = start, end
    while first > max(0, start - _JOINED_CHARS) and _joined(content[first - 1], content[first]):
        first -= 1
    while last < min(len(content), end + _JOINED_CHARS) and _joined(content[last - 1], content[last]):
        last += 1
    return first, last


def _key(text: str) -> str:
    """What two highlights share that come from one term: “loop” and “Loops”, “traced” and “tracing”."""
    if text.isascii():
        folded = text.lower()
        return folded[: max(4, len(folded) - 3)]
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    folded = "".join(char for char in decomposed if unicodedata.category(char)[0] != "M") or decomposed
    return folded[: max(4, len(folded) - 3)]


def _size(content: str, start: int, end: int) -> int:
    """How long `content[start:end]` is with white space folded."""
    text = content[start:end].strip()
    if text.isprintable() and "  " not in text:  # printable characters are no other white space
        return len(text)
    return len(" ".join(text.split()))


def _written(content: str, stretches: Sequence[Range], marks: Sequence[Range]) -> tuple[str, tuple[Range, ...]]:
    """The stretches with white space folded, and the marks that lie in them."""
    text = ""
    ranges: list[Range] = []
    for start, end in stretches:
        text += GAP if text else ""
        inside = [(a, b) for a, b in marks if start <= a and b <= end]
        places = [place for mark in inside for place in mark]
        folded, moved = _folded(content, start, end, places)
        for at in range(0, len(moved), 2):
            first, last = moved[at], min(moved[at + 1], len(folded))
            if first < last:
                ranges.append((len(text) + first, len(text) + last))
        text += folded
    return text, tuple(ranges)


def _folded(content: str, start: int, end: int, places: Sequence[int]) -> tuple[str, list[int]]:
    """The stretch with white space folded, and where each of its `places`, which are in order, went."""
    stretch = content[start:end].rstrip()
    # Printable characters are no other white space.
    text = stretch if stretch.isprintable() and "  " not in stretch else " ".join(stretch.split())
    if len(text) == len(stretch) and text[:1] != " ":  # nothing moves
        return text, [place - start for place in places]
    text = ""
    moved = []
    at = start
    for place in (*places, end):
        part = " ".join(f".{content[at:place]}.".split())[1:-1]  # the dots keep the white space at both ends
        text += part[1:] if part[:1] == " " and text[-1:] in ("", " ") else part
        moved.append(len(text))
        at = place
    return text.rstrip(" "), moved[:-1]
