"""The settings as the window shows them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from studio.config import Setting, setting
from studio.domain import ModelInfo
from studio.memory.budget import budget_bytes
from studio.viewmodels.base import ViewModel
from studio.viewmodels.ports import StudioServices


class SettingsViewModel(ViewModel):
    """The settings the window shows."""

    models_changed = Signal()
    """The list of embedding models was read."""
    memory_changed = Signal()
    """The memory budget or the idle time is another one, and in effect."""

    def __init__(self, services: StudioServices, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self.models: tuple[ModelInfo, ...] = ()
        self._saves: set[asyncio.Task[None]] = set()

    @property
    def data_dir(self) -> Path:
        """Where everything is kept."""
        return self._services.paths.root

    @property
    def default_model(self) -> str:
        """Name of the model new knowledge bases use."""
        return self.get("model")

    def declared(self, key: str) -> Setting:
        """What a setting is called and which values it can have."""
        return setting(key)

    def get(self, key: str) -> str:
        """A setting as text."""
        return str(self._services.config.get(key))

    def set(self, key: str, value: str) -> None:
        """Save a setting; a settings file that cannot be written is reported, the window goes on."""
        self._save(self._services.config.save(key, value))

    def set_remember_queries(self, remember: bool) -> None:
        """Keep the texts of searches, or remove those that were kept."""
        self._save(self._remember(str(remember).lower()))

    @property
    def memory_ceiling(self) -> int:
        """The most memory the program could be allowed, in bytes."""
        return self._services.memory.budget.ceiling

    @property
    def automatic_budget(self) -> int:
        """What the memory budget is while none is set, in bytes."""
        return budget_bytes(self.memory_ceiling)

    def set_memory(self, key: str, value: int) -> None:
        """Save the memory budget or the idle time of models; the program keeps to it from then on."""
        self._save(self._save_memory(key, str(value)))

    async def close(self) -> None:
        """What is being saved, such as the place of the window that closes, is saved first."""
        if self._saves:
            await asyncio.wait(self._saves)
        await super().close()

    def _save(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.launch(f"save {id(work)}", work)  # one after the other: none replaces another
        if task is not None:
            self._saves.add(task)
            task.add_done_callback(self._saves.discard)

    async def _remember(self, remember: str) -> None:
        await self._services.config.save("remember_queries", remember)
        await self._services.health.forget_queries()

    async def _save_memory(self, key: str, value: str) -> None:
        await self._services.config.save(key, value)
        self.memory_changed.emit()

    def read_models(self) -> None:
        """Read the list of models."""
        self.launch("models", self._read_models())

    async def _read_models(self) -> None:
        self.models = tuple(await self._services.models.list())
        self.models_changed.emit()
