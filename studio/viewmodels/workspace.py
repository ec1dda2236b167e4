"""All view-models of a window, wired to each other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.viewmodels.base import ViewModel
from studio.viewmodels.generations import (
    CleanupViewModel,
    CompareViewModel,
    GateViewModel,
    GenerationsViewModel,
    TransfersViewModel,
    is_bundle,
)
from studio.viewmodels.ingest import (
    DropsViewModel,
    FailuresViewModel,
    IngestViewModel,
    JobsViewModel,
    PreflightViewModel,
    WatchedViewModel,
)
from studio.viewmodels.library import LibraryViewModel
from studio.viewmodels.memory import MemoryViewModel
from studio.viewmodels.ports import StudioServices
from studio.viewmodels.quality import QualityViewModel
from studio.viewmodels.search import CitingViewModel, PreviewViewModel, SearchViewModel
from studio.viewmodels.settings import SettingsViewModel
from studio.viewmodels.status import StatusViewModel

NEW = ""
"""The target of files that are to make a knowledge base of their own."""


class Workspace(QObject):
    """Builds the view-models over the services and closes them in order."""

    failed = Signal(str, str)
    """(message, way out) of a failure in any of them."""
    bundle_given = Signal(object)
    """The file of an exported knowledge base was dropped or chosen: ask for its name."""
    target_wanted = Signal(list)
    """Files were dropped where no knowledge base was meant: ask which, then `take` them again."""
    taken = Signal()
    """Files are being looked at, to be added."""

    def __init__(self, services: StudioServices, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self.library = LibraryViewModel(services.library, self, attention=services.attention)
        self.search = SearchViewModel(services.search, services.library, services.tags, self.library, self)
        self.citing = CitingViewModel(services.citing, self)
        self.preview = PreviewViewModel(services.search, self)
        self.jobs = JobsViewModel(services.queue, self.library, self, attention=services.attention)
        self.ingest = IngestViewModel(self.jobs, services.library, services.sample, self.library, self)
        self.preflight = PreflightViewModel(services.preflight, self.ingest, self)
        self.drops = DropsViewModel(
            services.queue, services.library, services.maintenance, self.ingest, self.library, self
        )
        self.failures = FailuresViewModel(services.queue, services.library, self.jobs, self.library, self)
        self.watched = WatchedViewModel(services.watch, self)
        self.generations = GenerationsViewModel(services.maintenance, self.library, self.ingest, self)
        self.compare = CompareViewModel(services.compare, self)
        self.cleanup = CleanupViewModel(services.library, services.maintenance, self.library, self)
        self.gate = GateViewModel(services.gate, services.library, self)
        self.quality = QualityViewModel(services.quality, self.library, self)
        self.transfers = TransfersViewModel(services.bundles, self.library, self)
        self.memory = MemoryViewModel(services.memory, self, attention=services.attention)
        self._forget_preview = services.memory.register("preview", self.preview.held_bytes)
        self.status = StatusViewModel(
            self.memory, services.health, self.library, self.generations, self.ingest, self.transfers, self
        )
        self.settings = SettingsViewModel(services, self)
        # Closed in this order: readers of others first, the list of knowledge bases last.
        self._models: tuple[ViewModel, ...] = (
            self.status,
            self.memory,
            self.preview,
            self.search,
            self.citing,
            self.compare,
            self.cleanup,
            self.gate,
            self.quality,
            self.transfers,
            self.generations,
            self.watched,
            self.failures,
            self.drops,
            self.preflight,
            self.ingest,
            self.jobs,
            self.settings,
            self.library,
        )
        for model in self._models:
            model.failed.connect(self.failed)
        self.search.results_changed.connect(self.status.look_at_health)
        self.ingest.finished.connect(self.search.refresh)
        self.ingest.finished.connect(self.failures.refresh)
        self.generations.promoted.connect(self.search.refresh)
        self.generations.promoted.connect(self.ingest.forget_held)
        self.drops.restored.connect(self.search.refresh)
        self.search.judged.connect(self.quality.judge)
        self.search.results_changed.connect(self._look_up_grades)
        self.quality.grades_known.connect(self.search.show_grades)
        self.cleanup.collected.connect(self.generations.refresh)
        self.transfers.imported.connect(self.search.refresh)
        self.settings.memory_changed.connect(self.memory.look)

    def take(self, paths: Sequence[Path], target: str | None = None) -> None:
        """The one door for files, however they were dropped or chosen.

        `target` is the id of the knowledge base they were dropped on, `NEW` for a new one, None where nothing was said:
        then they go to the selected one; while all are selected it is asked for. Bundles are offered for import.
        """
        if self.library.read_only:
            self.failed.emit(self.library.read_only, "")
            return
        for path in filter(is_bundle, paths):
            self.bundle_given.emit(path)
        files = [path for path in paths if not is_bundle(path)]
        bases = {kb.id: kb for kb in self.library.knowledge_bases}
        selected = self.library.selected
        if target is None and selected is not None:
            target = selected.id
        if not files:
            return
        if target is None and bases:
            self.target_wanted.emit(files)
        elif target and target not in bases:
            self.failed.emit("This knowledge base is not there any more.", "Drop the files on another one.")
        else:
            self.preflight.look_at(files, bases[target] if target else None)
            self.taken.emit()

    def start(self) -> None:
        """Begin to read and watch, and go on with unfinished jobs. Call it once the window is on screen."""
        self.library.start()
        self.memory.start()
        self.jobs.start()

    def set_shown(self, shown: bool) -> None:
        """The window is on the screen, or cannot be seen: minimised or hidden."""
        self._services.attention.set_shown(shown)

    def _look_up_grades(self) -> None:
        self.quality.look_up(self.search.answered_query, self.search.results.items)

    def warm_up(self) -> asyncio.Task[None] | None:
        """Load what the first search needs, so that it does not have to wait. None after `close`."""
        return self.search.launch("warm up", self._services.search.warm_up())

    async def close(self) -> None:
        """Cancel what runs and wait for it, one view-model after the other."""
        self._forget_preview()
        for model in self._models:
            await model.close()
