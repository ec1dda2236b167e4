"""A data directory that is filled once and is there anew for each test."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from studio.domain import ModelInfo
from tests.helpers.models import install


class Prepared:
    """Always at the same place, as documents are known by their paths: `data`, and their files in `documents`."""

    def __init__(self, root: Path) -> None:
        self._place, self._kept = root / "place", root / "kept"
        self.data, self.documents = self._place / "data", self._place / "documents"

    async def set_up(self, fill: Callable[[], Awaitable[object]], model: ModelInfo | None = None) -> None:
        """Make both what they were when `fill` had run for the first time; `model` is installed, where one is given.

        `fill` closes what it opens.
        """
        shutil.rmtree(self._place, ignore_errors=True)
        anew = not self._kept.exists()
        if anew:
            self.data.mkdir(parents=True)
            self.documents.mkdir()
        else:
            shutil.copytree(self._kept, self._place, symlinks=True)
        if model is not None:
            install(model, self.data)
        if not anew:
            return
        await fill()
        shutil.copytree(self._place, self._kept, symlinks=True, ignore=shutil.ignore_patterns("models"))
