"""The query language: plain words, "exact phrases", wild*cards, -exclusions, field:value conditions, OR.

Reading a query is total: whatever makes no sense as syntax is searched as words. Nothing here knows an index.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

FIELDS = ("title", "type", "path", "folder", "document", "tag", "author", "after", "before")
"""Fields of `field:value`, beside `meta.KEY` for a document's own metadata."""

ANY_OF = frozenset(("type", "path", "folder", "document"))
"""A document has one of each of these, so that two values of one field can only mean either."""

_DATES = frozenset(("after", "before"))
_ITEM = re.compile(
    r"(?:(?<!\S)(-(?=[^\W\d_]|[\"“„”‟]))?"  # minus
    rf"(?:((?i:{'|'.join(FIELDS)})|meta\.[^\s:\"“„”‟]{{1,200}}):(?=\S))?)?"  # field
    r"(?:(?<!\w)\"([^\"]*)\"|(?<!\w)[“„”‟]([^“”\"]*)[“”\"]"  # straight quotes, curly quotes
    # Anything else up to a space or a quote. Not “)++”: Python before 3.11.5 loses characters by such groups
    # (https://github.com/python/cpython/issues/106052), and nothing follows that could make it look back.
    r"|((?:[^\s\"“„”‟]++|(?<=\w)[\"“„”‟])+))"
)
_CLOSERS = '“”"'
_WILD = re.compile(r"\*?[^\W_]++(?:\*[^\W_]++)*\*?")
_LEAST_LETTERS = 2
_OR_WORD = re.compile(r"(?<!\S)OR(?!\S)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_DIRECTION = re.compile(r"[\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{1,2}))?)?")
_AGO = re.compile(r"([0-9]{1,5})([dwmy])", re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it was typed."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that stand side by side."""

    text: str

    def __str__(self) -> str:
        return f'"{self.text}"'


@dataclass(frozen=True, slots=True)
class Pattern:
    """A word in which stars stand for any letters or none."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def letters(self) -> str:
        """What is written of it."""
        return self.text.replace("*", "")


@dataclass(frozen=True, slots=True)
class Condition:
    """A field of the document and the value it has; `key` is one of `FIELDS` or `meta.KEY`."""

    key: str
    value: str

    def __str__(self) -> str:
        return f'{self.key}:"{self.value}"' if " " in self.value else f"{self.key}:{self.value}"


Operand = Word | Phrase | Pattern | Condition


@dataclass(frozen=True, slots=True)
class Query:
    """A query as it was read.

    `text` is what is embedded: words and phrases without operators, conditions and exclusions. `words` are the optional
    words of BM25. Of each group in `required` at least one operand must hold, of `excluded` none may.
    """

    source: str
    text: str
    words: str
    required: tuple[tuple[Operand, ...], ...] = ()
    excluded: tuple[Operand, ...] = ()

    def understood(self) -> dict[str, Any]:
        """How the query was read, as it would be typed, for people and JSON."""
        alone = [group[0] for group in self.required if len(group) == 1]
        return {
            "words": self.words,
            "phrases": [item.text for item in alone if isinstance(item, Phrase)],
            "excluded": [str(item) for item in self.excluded],
            "filters": [str(item) for item in alone if isinstance(item, Condition)],
            **({"wildcards": wild} if (wild := [item.text for item in alone if isinstance(item, Pattern)]) else {}),
            "any_of": [[str(item) for item in group] for group in self.required if len(group) > 1],
        }


def parse(text: str) -> Query:
    """Read a query. Never raises; linear in the length of the text."""
    clean = _CONTROL.sub(" ", _DIRECTION.sub("", text.encode("utf-8", "replace").decode("utf-8")))
    last = max(map(clean.rfind, _CLOSERS)) + 1  # what opens behind it is never closed: do not look for that each time
    clean = clean[:last] + clean[last:].replace("„", " ").replace("‟", " ")
    items, excluded = _items(clean)
    groups = _groups(items)
    return Query(
        source=text,
        text=" ".join(
            item.text if isinstance(item, Phrase) else item.letters if isinstance(item, Pattern) else item
            for item in items
            if item and isinstance(item, str | Phrase | Pattern)
        ),
        words=" ".join(item for item in items if isinstance(item, str) and item),
        required=tuple(dict.fromkeys(groups)),
        excluded=tuple(dict.fromkeys(excluded.values())),
    )


def date_bounds(value: str, now_ms: int | None = None) -> tuple[int, int] | None:
    """(first, past-the-last) millisecond since the epoch, UTC, of a year, month or day, None for no date.

    Takes YYYY, YYYY-MM, YYYY-MM-DD, and Nd, Nw, Nm, Ny for the day so many days, weeks, months or years before
    `now_ms` (None: now).
    """
    try:
        if (match := _DATE.fullmatch(value)) is not None:
            year, month, day = (int(part) if part else 0 for part in match.groups())
            first = date(year, month or 1, day or 1)
            if day:
                last = first
            else:
                last_month = month or 12
                last = date(year, last_month, calendar.monthrange(year, last_month)[1])
        elif (match := _AGO.fullmatch(value)) is not None:
            today = (datetime.now(UTC) if now_ms is None else _EPOCH + timedelta(milliseconds=now_ms)).date()
            first = last = _before(today, int(match[1]), match[2].lower())
        else:
            return None
        start, end = ((day - _EPOCH.date()).days * 86_400_000 for day in (first, last))
        return start, end + 86_400_000
    except (ValueError, OverflowError):
        return None


def _before(day: date, count: int, unit: str) -> date:
    if unit in "dw":
        return day - timedelta(days=count * (7 if unit == "w" else 1))
    months = day.year * 12 + day.month - 1 - count * (12 if unit == "y" else 1)
    year, month = divmod(months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


# ------------------------------------------------------------ reading


_OR = object()
"""Stands in a list of items for the operator."""


def _items(text: str) -> tuple[list[Any], dict[int, Operand]]:
    """What stands in a query, in order: plain words as strings, phrases, conditions, `_OR`.

    Exclusions are "" there, and in the second answer by their place.
    """
    operator = not _OR_WORD.sub("", text).isupper()  # in a text all upper case it is a word like the others
    items: list[Any] = []
    excluded: dict[int, Operand] = {}
    for minus, field, straight, curly, bare in _ITEM.findall(text):
        if bare and not minus and not field:
            if _is_wild(bare):
                items.append(Pattern(bare))
                continue
            items.append(_OR if bare == "OR" and operator else bare)
            continue
        quoted = " ".join((straight or curly).split())
        value = bare or quoted
        if not value:
            continue
        item: Operand
        if field:
            key = field if field.startswith("meta.") else field.lower()
            if key in _DATES and date_bounds(value) is None:
                items.append(f"{field}:{value}")
                continue
            item = Condition(key, value)
        elif not _speaks(value):
            continue
        else:
            item = (Pattern(bare) if _is_wild(bare) else Word(bare)) if bare else Phrase(quoted)
        if minus:
            excluded[len(items)] = item
        items.append("" if minus else item)
    if not any(item is not _OR for item in items):
        items = ["OR"] * bool(items)
    return items, excluded


def _groups(items: Iterable[Any]) -> list[tuple[Operand, ...]]:
    """The groups of which one operand each must hold: chains of OR, lone phrases, conditions by field."""
    groups: list[tuple[Operand, ...]] = []
    either: dict[str, list[Operand]] = {}

    def end(chain: Sequence[Any]) -> None:
        if len(chain) > 1:
            groups.append(tuple(dict.fromkeys(Word(item) if isinstance(item, str) else item for item in chain)))
        elif chain and isinstance(chain[0], Condition) and chain[0].key in ANY_OF:
            either.setdefault(chain[0].key, []).append(chain[0])
        elif chain and not isinstance(chain[0], str):
            groups.append((chain[0],))

    chain: list[Any] = []
    linked = False
    for item in items:
        if item is _OR:
            linked = bool(chain)
            continue
        if not linked:
            end(chain)
            chain = []
        if isinstance(item, str) and not _speaks(item):
            end(chain)
            chain = []
        else:
            chain.append(item)
        linked = False
    end(chain)
    return [*groups, *(tuple(dict.fromkeys(group)) for group in either.values())]


def _is_wild(text: str) -> bool:
    return "*" in text and len(text) - text.count("*") >= _LEAST_LETTERS and _WILD.fullmatch(text) is not None


def _speaks(text: str) -> bool:
    return any(map(str.isalnum, text))
