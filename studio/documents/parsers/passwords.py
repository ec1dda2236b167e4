"""The passwords a person gave for protected files: known to the parsers while they read, written down nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_current: tuple[str, ...] = ()


def current() -> tuple[str, ...]:
    """What to try on a protected file, in order; empty when the person gave none."""
    return _current


@contextmanager
def given(passwords: Sequence[str]) -> Iterator[None]:
    """Inside, `current()` are these passwords."""
    global _current
    before, _current = _current, tuple(passwords)
    try:
        yield
    finally:
        _current = before
