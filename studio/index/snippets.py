"""The part of a passage to show: the sentences with the most, and the rarest, of the matched terms.

A snippet is one stretch of the passage, or two where those hold terms that no single stretch holds together. It ends
where a sentence or a word ends, never inside a character that is written with several code points.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

SNIPPET_CHARS = 320
GAP = " … "
"""What stands between two stretches."""

Range = tuple[int, int]

_BREAK = re.compile(r"[.!?…]+[\"'”’»)\]]*\s+|[。！？｡।॥۔؟]+[」』”’）】]*\s*|\n+")
_TO_FOLD = re.compile(r"[^\S ]|^ |  ")
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


@dataclass(frozen=True, slots=True)
class _Piece:
    """A sentence or part of one; `keys` are the terms marked in it, `size` its length with white space folded.

    `opens`: a sentence begins with it.
    """

    start: int
    end: int
    size: int
    keys: frozenset[str]
    opens: bool


def snippet(content: str, highlights: Sequence[Range], length: int = SNIPPET_CHARS) -> tuple[str, tuple[Range, ...]]:
    """Cut `content` to at most `length` characters around the best of its highlights.

    Returns the snippet, its white space folded to single spaces, and the highlights that lie in it as code-point
    ranges of the snippet. A highlight covers whole characters: an accent that follows its letter belongs to it.
    Without highlights the snippet is the beginning.
    """
    marks = _marks(content, highlights)
    if _size(content, 0, len(content)) <= length:
        return _written(content, [(0, len(content))], marks)
    keys = [_key(content[start:end]) for start, end in marks]
    pieces = list(_pieces(content, marks, keys, length))
    occurrences = Counter(keys)
    weights = {key: 1.0 + math.log(len(keys) / number) for key, number in occurrences.items()}
    chosen = _Chooser(pieces, marks, keys, weights).stretches(length)
    return _written(content, [(pieces[first].start, pieces[last].end) for first, last in chosen], marks)


class _Chooser:
    """Finds the runs of pieces to show, each as (first, last)."""

    def __init__(
        self, pieces: Sequence[_Piece], marks: Sequence[Range], keys: Sequence[str], weights: dict[str, float]
    ) -> None:
        self._pieces = pieces
        self._weights = weights
        self._near = list(_neighbours(marks, keys))

    def stretches(self, length: int) -> list[Range]:
        whole = self._best(length, frozenset())
        if whole is None:
            return [self._filled((0, 0), length, len(self._pieces) - 1)]
        first = self._best(length // 2, frozenset())
        if first is not None and self._keys(whole) < self._weights.keys():
            rest = length - len(GAP) - self._size(first)
            second = self._best(rest, self._keys(first), without=first)
            if second is not None and self._worth(self._keys(first) | self._keys(second)) > self._worth(
                self._keys(whole)
            ):
                return self._both(min(first, second), max(first, second), length)
        return [self._filled(whole, length, len(self._pieces) - 1)]

    def _best(self, length: int, known: frozenset[str], without: Range | None = None) -> Range | None:
        """The run of at most `length` that adds most to the terms in `known`: the shortest, then the first of them."""
        best, best_rank = None, (0.0, 0)
        for first, opening in enumerate(self._pieces):
            if not opening.keys:
                continue
            size, keys = 0, frozenset[str]()
            for last in range(first, len(self._pieces)):
                piece = self._pieces[last]
                size += piece.size + (last > first)
                if size > length or (without is not None and without[0] <= last <= without[1]):
                    break
                keys |= piece.keys
                if not piece.keys or not (added := keys - known):
                    continue
                rank = (self._worth(added) + self._closeness(first, last), -size)
                if rank > best_rank:
                    best, best_rank = (first, last), rank
        return best

    def _keys(self, run: Range) -> frozenset[str]:
        return frozenset().union(*(piece.keys for piece in self._pieces[run[0] : run[1] + 1]))

    def _worth(self, keys: frozenset[str]) -> float:
        return sum(self._weights[key] for key in keys)

    def _closeness(self, first: int, last: int) -> float:
        """What terms gain by standing side by side: each pair of different terms once, at its closest."""
        start, end = self._pieces[first].start, self._pieces[last].end
        closest: dict[tuple[str, str], float] = {}
        for left, right, pair, bonus in self._near:
            if start <= left and right <= end:
                closest[pair] = max(bonus, closest.get(pair, 0.0))
        return sum(closest.values())

    def _size(self, run: Range) -> int:
        return sum(piece.size for piece in self._pieces[run[0] : run[1] + 1]) + run[1] - run[0]

    def _filled(self, run: Range, length: int, latest: int) -> Range:
        """The run with what follows it, as far as there is room; at the end of the passage with what precedes it."""
        first, last = run
        opening = next(at for at in range(first, -1, -1) if self._pieces[at].opens)
        if self._size((opening, first)) - self._pieces[first].size <= length // _LEAD:
            first = opening if self._size((opening, last)) <= length else first
        while last < latest and self._size((first, last + 1)) <= length:
            last += 1
        while last == len(self._pieces) - 1 and first > 0 and self._size((first - 1, last)) <= length:
            first -= 1
        return first, last

    def _both(self, left: Range, right: Range, length: int) -> list[Range]:
        room = length - len(GAP)
        left = self._filled(left, room - self._size(right), right[0] - 1)
        right = self._filled(right, room - self._size(left), len(self._pieces) - 1)
        if right[0] <= left[1] + 1:
            return [(left[0], right[1])]
        return [left, right]


def _neighbours(marks: Sequence[Range], keys: Sequence[str]) -> Iterator[tuple[int, int, tuple[str, str], float]]:
    """(start, end, the two terms, bonus) of every two different terms that follow one another."""
    for (left, one), (right, other) in pairwise(zip(marks, keys, strict=True)):
        if one != other:
            gap = right[0] - left[1]
            yield left[0], right[1], (min(one, other), max(one, other)), _PROXIMITY / (1.0 + gap / _NEAR_CHARS)


# ---------------------------------------------------------------- pieces


def _pieces(content: str, marks: Sequence[Range], keys: Sequence[str], length: int) -> Iterator[_Piece]:
    start = mark = 0
    opens = True
    for end, closes in _ends(content, length):
        while mark < len(marks) and marks[mark][1] <= start:
            mark += 1
        at = mark
        while at < len(marks) and marks[at][0] < end:
            at += 1
        if at > mark and marks[at - 1][1] > end and end - start < length:
            continue  # no cut inside a marked phrase
        yield _Piece(start, end, _size(content, start, end), frozenset(keys[mark:at]), opens)
        start, opens = end, closes


def _ends(content: str, length: int) -> Iterator[tuple[int, bool]]:
    """Where pieces end, and whether a sentence ends there; the long ones are cut inside too."""
    start = 0
    for end in _sentence_ends(content):
        if end - start > length * _LONG:
            for cut in _clause_ends(content, start, end, min(_CLAUSE_CHARS, max(1, length // 4))):
                yield cut, False
        yield end, True
        start = end


def _sentence_ends(content: str) -> Iterator[int]:
    for match in _BREAK.finditer(content):
        if match.end() < len(content) and not _joined(content[match.end() - 1], content[match.end()]):
            yield match.end()
    yield len(content)


def _clause_ends(content: str, start: int, end: int, limit: int) -> Iterator[int]:
    while end - start > limit:
        cut = _word_end(content, start, start + limit)
        if cut >= end:
            return
        yield cut
        start = cut


def _word_end(content: str, start: int, latest: int) -> int:
    """The last place in `content[start:latest]` behind a word; where there is none, behind a whole character."""
    for cut in range(latest, start, -1):
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
    for start, end in sorted(highlights):
        if not 0 <= start < end <= len(content):
            continue
        first, last = start, end
        while first > max(0, start - _JOINED_CHARS) and _joined(content[first - 1], content[first]):
            first -= 1
        while last < min(len(content), end + _JOINED_CHARS) and _joined(content[last - 1], content[last]):
            last += 1
        if marks and first < marks[-1][1]:
            first, last = marks[-1][0], max(last, marks.pop()[1])
        marks.append((first, last))
    return marks


def _key(text: str) -> str:
    """What two highlights share that come from one term: “loop” and “Loops”, “traced” and “tracing”."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    folded = "".join(char for char in decomposed if unicodedata.category(char)[0] != "M") or decomposed
    return folded[: max(4, len(folded) - 3)]


def _size(content: str, start: int, end: int) -> int:
    return len(" ".join(content[start:end].split()))


def _written(content: str, stretches: Sequence[Range], marks: Sequence[Range]) -> tuple[str, tuple[Range, ...]]:
    """The stretches with white space folded, and the marks that lie in them."""
    text = ""
    ranges: list[Range] = []
    for start, end in stretches:
        text += GAP if text else ""
        folded, position = _folded(content, start, end, len(text))
        text += folded
        for a, b in marks:
            if start <= a and b <= end:
                first, last = position[a - start], min(position[b - start], len(text))
                if first < last:
                    ranges.append((first, last))
    return text, tuple(ranges)


def _folded(content: str, start: int, end: int, base: int) -> tuple[str, list[int]]:
    """The stretch with white space folded, and where each of its places went, its end included, plus `base`."""
    stretch = content[start:end]
    if _TO_FOLD.search(stretch) is None:
        return stretch.rstrip(" "), list(range(base, base + len(stretch) + 1))
    out: list[str] = []
    position = []
    for char in stretch:
        position.append(base + len(out))
        if not char.isspace():
            out.append(char)
        elif out and out[-1] != " ":
            out.append(" ")
    position.append(base + len(out))
    return "".join(out).rstrip(" "), position
