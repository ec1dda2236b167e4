"""Exit codes of the command line, and what starts its graphical side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Window = Callable[[Path | None, bool], int]


Screenshots = Callable[[Path | None, str, str, Path], list[Path]]


DONE, FAILED, PARTLY = 0, 1, 3


INTERRUPTED = 130
