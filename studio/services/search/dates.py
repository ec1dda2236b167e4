"""Dates as documents write them, as stretches of time that can be compared."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

MAX_DATE_CHARS = 100

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_YEAR_FIRST = re.compile(r"(\d{4})(?:[-/.](\d{1,2})(?:[-/.](\d{1,2}))?)?(?!\d)")
_YEAR_LAST = re.compile(r"(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4})(?!\d)")
_YEAR = re.compile(r"(?<!\d)\d{4}(?!\d)")
_MONTH = re.compile(rf"\b({'|'.join(_MONTHS)})[a-z]*\b", re.IGNORECASE)
_DAY = re.compile(r"(?<!\d)\d{1,2}(?!\d)")


def period(text: str) -> tuple[float, float] | None:
    """The moments at which the year, month, day or second that `text` begins with begins and is over.

    Both are seconds since 1970, UTC; None when there is no date. Known are ISO 8601 with or without a time, its first
    parts ("2024", "2024-05"), "6.5.2024", "6 May 2024", "May 6, 2024". Day and month as bare numbers between slashes
    mean one thing here and another there: they are no date.
    """
    text = text[:MAX_DATE_CHARS].strip()
    try:
        moment = datetime.fromisoformat(text) if not text.isdigit() or len(text) == 8 else None
    except ValueError:
        moment = None
    try:
        if moment is not None:
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return _seconds(moment), _seconds(moment + timedelta(**({"seconds": 1} if ":" in text else {"days": 1})))
        year, month, day = _spelt(text)
        if not year:
            return None
        start = datetime(year, month or 1, day or 1, tzinfo=UTC)
        if day:
            return _seconds(start), _seconds(start + timedelta(days=1))
        end = (year + month // 12, month % 12 + 1) if month else (year + 1, 1)
        return _seconds(start), _seconds(datetime(*end, 1, tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def _seconds(moment: datetime) -> float:
    return (moment - _EPOCH).total_seconds()


def _spelt(text: str) -> tuple[int, int, int]:
    """(year, month, day), 0 for what is not given."""
    if first := _YEAR_FIRST.match(text):
        return int(first[1]), int(first[2] or 0), int(first[3] or 0)
    if last := _YEAR_LAST.match(text):
        return int(last[3]), int(last[2]), int(last[1])
    month, year = _MONTH.search(text), _YEAR.search(text)
    if month is None or year is None:
        return 0, 0, 0
    day = _DAY.search(text)
    return int(year[0]), _MONTHS.index(month[1].lower()) + 1, int(day[0]) if day else 0
