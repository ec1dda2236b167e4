"""A data directory that is filled once and is there anew for each test."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from studio.domain import ModelInfo
from studio.links import link_or_copy


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
        if self._kept.exists():
            shutil.copytree(self._kept, self._place, symlinks=True)
            self._install(model)
            return
        self.data.mkdir(parents=True)
        self.documents.mkdir()
        self._install(model)
        await fill()
        shutil.copytree(self._place, self._kept, symlinks=True, ignore=shutil.ignore_patterns("models"))

    def _install(self, model: ModelInfo | None) -> None:
        if model is None or model.path is None:
            return
        models = self.data / "models"
        models.mkdir(parents=True, exist_ok=True)
        for file in (model.path, model.path.with_suffix(".json")):
            link_or_copy(file, models / file.name)
