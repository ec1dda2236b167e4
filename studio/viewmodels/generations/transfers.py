"""Bundles on their way: one export or import after the other, with progress, and what came of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from studio.domain import KnowledgeBase
from studio.viewmodels.base import ViewModel
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.ports import Bundles
from studio.viewmodels.text import count, size
from studio.viewmodels.ways_out import clickable

SUFFIX = ".ragstudio"

Work = Callable[[], Coroutine[Any, Any, None]]


def is_bundle(path: Path) -> bool:
    """Whether a file's name says that it holds an exported knowledge base."""
    return path.suffix.lower() == SUFFIX


class TransfersViewModel(ViewModel):
    """Exports generations to files and imports such files as knowledge bases."""

    changed = Signal()
    """What runs or how far it is changed."""
    cancelled = Signal(str, object)
    """(in words, call that begins them again) of exports and imports that were cancelled."""
    exported = Signal(str, object)
    """(in words, path of the file) of an export that is done."""
    imported = Signal(str, str)
    """(in words, what does not work without a model or "") of an import that is done; it is selected."""

    def __init__(self, bundles: Bundles, sources: LibraryViewModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._bundles = bundles
        self._sources = sources
        self._turn = asyncio.Lock()
        self._numbers = itertools.count()
        self._works: dict[str, Work] = {}
        self._doing = ""
        self.fraction = 0.0

    @property
    def running(self) -> bool:
        """Whether something is on its way."""
        return bool(self._works)

    @property
    def text(self) -> str:
        """`Exporting “Compilers”, 45%`, "" when nothing runs."""
        return f"{self._doing}, {self.fraction:.0%}" if self._doing else ""

    def suggested_name(self, kb: KnowledgeBase) -> str:
        """A file name for a knowledge base."""
        safe = "".join("-" if letter in '<>:"/\\|?*' or not letter.isprintable() else letter for letter in kb.name)
        return f"{safe.strip(' .') or 'knowledge-base'}{SUFFIX}"

    def free_name(self, file: Path) -> str:
        """A name for the knowledge base of a bundle that no other has."""
        taken = {kb.name.casefold() for kb in self._sources.knowledge_bases}
        names = itertools.chain([file.stem], (f"{file.stem} {number}" for number in itertools.count(2)))
        return next(name for name in names if name.casefold() not in taken)

    def export(self, kb: KnowledgeBase, file: Path, generation: int | None = None) -> None:
        """Write the active generation, or another, to a file; the person said yes to replacing what is there."""
        self._enqueue(lambda: self._export(kb, file, generation))

    def load(self, file: Path, name: str) -> None:
        """Make a knowledge base of this name from a bundle, and select it."""
        self._enqueue(lambda: self._load(file, name))

    def cancel_all(self) -> None:
        """Stop what runs and drop what waits; nothing half done stays."""
        works, doing = dict(self._works), self._doing
        for key in works:
            self.cancel(key)
        if works:
            more = f" and {len(works) - 1:,} more" if len(works) > 1 else ""
            self.cancelled.emit(f"Cancelled: {doing or 'an export or import'}{more}", partial(self._again, works))

    def _again(self, works: dict[str, Work]) -> None:
        for work in works.values():
            self._enqueue(work)

    def _enqueue(self, work: Work) -> None:
        key = f"transfer {next(self._numbers)}"
        self._works[key] = work
        self.launch(key, self._in_turn(key, work))
        self.changed.emit()

    async def _in_turn(self, key: str, work: Work) -> None:
        try:
            async with self._turn:
                await work()
        finally:
            self._works.pop(key, None)
            self._doing, self.fraction = "", 0.0
            self.changed.emit()

    async def _export(self, kb: KnowledgeBase, file: Path, generation: int | None) -> None:
        self._begin(f"Exporting “{kb.name}”")
        info = await self._bundles.export(kb.id, file, generation, overwrite=True, progress=self._on_progress)
        said = f"Generation {info.generation} of “{kb.name}” is in {info.file.name}, {size(info.bytes)}."
        self.exported.emit(said, info.file)

    async def _load(self, file: Path, name: str) -> None:
        self._begin(f"Importing {file.name}")
        done = await self._bundles.load(file, name, progress=self._on_progress)
        await self._sources.refresh()
        self._sources.select(done.kb.id)
        bundle = done.bundle
        held = f"{count(bundle.documents, 'document')}, {count(bundle.chunks, 'passage')}"
        self.imported.emit(f"“{done.kb.name}” is imported: {held}.", clickable(done.note))

    def _begin(self, doing: str) -> None:
        self._doing, self.fraction = doing, 0.0
        self.changed.emit()

    def _on_progress(self, done_bytes: int, total_bytes: int) -> None:
        fraction = min(1.0, done_bytes / max(1, total_bytes))
        if round(fraction * 100) != round(self.fraction * 100):
            self.fraction = fraction
            self.changed.emit()
        else:
            self.fraction = fraction
