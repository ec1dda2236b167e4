"""Comparisons that filters make: each turns the wanted value into a test of a document's own."""

from __future__ import annotations

import os.path
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import PurePath

from studio.services.library import Holds, glob_test
from studio.services.search.dates import period

_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?\s*\Z")
_COMPARISON = re.compile(r"\s*(>=|<=|>|<|=)(.+)\Z", re.DOTALL)
_OPERATORS: dict[str, Callable[[float, float, float], bool]] = {
    ">=": lambda at, start, end: at >= start,
    ">": lambda at, start, end: at >= end and at > start,
    "<=": lambda at, start, end: at < end or at == start,
    "<": lambda at, start, end: at < start,
    "=": lambda at, start, end: start <= at < end or at == start,
}
"""Whether a moment or number stands so to the stretch from `start` to `end`; a number is a stretch without length."""


def folded(text: str) -> str:
    """Text without case and accents."""
    return text.casefold() if text.isascii() else _unaccented(text)


@lru_cache(4096)
def _unaccented(text: str) -> str:
    bare = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return bare.casefold()


def contains(part: str) -> Holds:
    """Whether a text has this part, whatever the case and accents."""
    wanted = folded(part.strip())
    return lambda text: wanted in folded(text)


def is_tag(value: str) -> Holds:
    """Whether a tag is this one, or like it where `value` has stars, whatever the case and accents."""
    like = _starred(folded(value.strip()))
    return lambda text: like(folded(text))


def field_is(value: str) -> Holds:
    """Whether a field has this value, is like it, or stands in the range that `value` names (`>=2020`, `<5`, `2..8`).

    The ends of a range belong to it. Numbers are compared as numbers, other values as dates.
    """
    like, within = _starred(value.strip().casefold()), _range(value)
    return lambda text: like(text.casefold()) or (within is not None and within(text))


def ends_in(ending: str) -> Holds:
    """Whether a file name has this ending, in lower case and without the dot, behind something."""
    ending = f".{ending}"
    before = -len(ending) - 1
    return lambda path: path.lower().endswith(ending) and path[before] not in ("/", os.sep)


def lies_in(folder: str) -> Holds:
    """Whether a path lies below a folder: an absolute one, or a name (or some in a row) at any depth."""
    wanted = PurePath(folder)
    names = tuple(map(_composed, map(os.path.normcase, wanted.parts)))

    @lru_cache(None)
    def holds(parent: str) -> bool:
        parts = tuple(map(_composed, map(os.path.normcase, PurePath(parent).parts)))
        starts = range(len(parts) - len(names) + 1)  # the root of an absolute path is at the first alone
        return bool(names) and any(parts[at : at + len(names)] == names for at in starts)

    return lambda path: (
        holds(os.path.split(path)[0])
        or (wanted.is_absolute() and PurePath(_composed(path)) == PurePath(_composed(folder)))
    )


def _composed(path: str) -> str:
    """A path as most systems spell it: macOS keeps accents apart from their letters."""
    return path if path.isascii() else unicodedata.normalize("NFC", path)


def _starred(pattern: str) -> Holds:
    """Whether a text is the pattern, in which a star stands for anything and no other sign for something else."""
    matches = glob_test(pattern.replace("[", "[[]").replace("?", "[?]")) if "*" in pattern else None
    return lambda text: text == pattern or (matches is not None and matches(text) is not None)


def _range(value: str) -> Holds | None:
    """The comparison that `value` asks for; None when it asks for none."""
    low, dots, high = value.partition("..")
    if dots:
        ends = [(operator, end) for operator, end in ((">=", low), ("<=", high)) if end.strip()]
    else:
        found = _COMPARISON.match(value)
        ends = [(found[1], found[2])] if found else []
    numbers = _bounds(ends, lambda text: None if (at := _number(text)) is None else (at, at))
    periods = _bounds(ends, period)
    if not numbers and not periods:
        return None

    def holds(text: str) -> bool:
        at = _number(text)
        if at is not None and numbers:
            return _within(at, numbers)
        found = period(text)
        return found is not None and bool(periods) and _within(found[0], periods)

    return holds


def _bounds(
    ends: Sequence[tuple[str, str]], measure: Callable[[str], tuple[float, float] | None]
) -> list[tuple[str, tuple[float, float]]]:
    """The ends as measured, none of them when one of them cannot be."""
    found = [(operator, measured) for operator, end in ends if (measured := measure(end)) is not None]
    return found if len(found) == len(ends) else []


def _within(at: float, bounds: Sequence[tuple[str, tuple[float, float]]]) -> bool:
    return all(_OPERATORS[operator](at, *stretch) for operator, stretch in bounds)


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.match(text) else None
