"""Patterns of paths and names: `*`, `?` and `[…]` as in a shell."""

from __future__ import annotations

import os.path
import re
import unicodedata
from collections.abc import Callable
from fnmatch import translate

Holds = Callable[[str], bool]


MAX_GLOB_CHARS = 1000
"""A longer pattern is taken literally: turning one into a regular expression takes quadratic time."""


_WILD = re.compile(r"[*?\[]")


def has_wildcard(text: str) -> bool:
    """Whether a text is a glob, and not only itself."""
    return _WILD.search(text) is not None


def path_like(pattern: str) -> Holds:
    """Whether a path or its last name is like a glob."""
    pattern = _slashed(pattern)
    matches = glob_test(pattern) if has_wildcard(pattern) else None

    def holds(path: str) -> bool:
        path = _slashed(path)
        forms = path, path.rpartition("/")[2]
        return pattern in forms or (matches is not None and any(map(matches, forms)))

    return holds


def _slashed(path: str) -> str:
    """A path with slashes on every system, accents on their letters: macOS keeps them apart."""
    return (path if path.isascii() else unicodedata.normalize("NFC", path)).replace(os.sep, "/")


def glob_test(pattern: str) -> Callable[[str], object] | None:
    """The test of a pattern; its groups never go back, so that no value takes long."""
    return re.compile(translate(pattern)).match if len(pattern) <= MAX_GLOB_CHARS else None
