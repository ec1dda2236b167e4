"""Watched folders in memory; the test says how they stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from studio.errors import NotFound, StudioError
from studio.services.watch import FolderStatus, WatchState


class FakeWatch:
    """A list of folders that nothing follows."""

    def __init__(self) -> None:
        self.items: list[FolderStatus] = []
        self.error: StudioError | None = None
        self._listeners: list[Callable[[], None]] = []

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def tell(self, *items: FolderStatus) -> None:
        """From now on the folders stand like this."""
        self.items = list(items)
        for listener in list(self._listeners):
            listener()

    async def folders(self, kb: str | None = None) -> list[FolderStatus]:
        return [item for item in self.items if kb in (None, item.kb_id)]

    async def add(self, kb: str, folders: Sequence[Path]) -> None:
        self._may()
        self.items += [FolderStatus(kb, str(folder), True, WatchState.WATCHING) for folder in folders]

    async def remove(self, kb: str, folders: Sequence[Path]) -> None:
        self._may()
        for folder in folders:
            del self.items[self._row(kb, folder)]

    async def enable(self, kb: str, enabled: bool, folder: Path | None = None) -> None:
        self._may()
        assert folder is not None
        row = self._row(kb, folder)
        state = WatchState.WATCHING if enabled else WatchState.OFF
        self.items[row] = replace(self.items[row], enabled=enabled, state=state)

    def _may(self) -> None:
        if self.error is not None:
            raise self.error

    def _row(self, kb: str, folder: Path) -> int:
        for row, item in enumerate(self.items):
            if (item.kb_id, item.path) == (kb, str(folder)):
                return row
        raise NotFound(f"The folder {folder} is not watched.")
