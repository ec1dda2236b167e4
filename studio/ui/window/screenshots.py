"""The window as pictures: the real window over real services, taken once everything is on screen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import SignalInstance
from PySide6.QtWidgets import QApplication

from studio.errors import InvariantViolated, NotFound, storage_fault
from studio.private import hand_over, make_folder
from studio.ui.parts import Theme, ThemeChoice
from studio.ui.window.main_window import GENERATIONS, INGEST, SEARCH, MainWindow
from studio.viewmodels.ports import StudioServices
from studio.viewmodels.workspace import Workspace

SIZE = (1440, 900)
_PANES = ((SEARCH, "search"), (INGEST, "ingest"), (GENERATIONS, "generations"))
_PATIENCE_S = 60.0


async def until(condition: Callable[[], bool], *signals: SignalInstance, within_s: float = _PATIENCE_S) -> None:
    """Wait until `condition` holds, looking again whenever one of `signals` is emitted.

    Raises TimeoutError after `within_s` seconds.
    """
    changed = asyncio.Event()

    def wake(*_: object) -> None:
        changed.set()

    for signal in signals:
        signal.connect(wake)
    try:
        async with asyncio.timeout(within_s):
            while not condition():
                await changed.wait()
                changed.clear()
    finally:
        for signal in signals:
            signal.disconnect(wake)


async def render_screenshots(
    services: StudioServices, theme: Theme, kb_name: str, query: str, output: Path
) -> list[Path]:
    """Search, ingest and generations, light and dark, as PNG files of 1440×900 in `output`; their paths.

    Raises NotFound when the knowledge base is not there or nothing is found in it, StorageFault when
    a file cannot be written.
    """
    try:
        await asyncio.to_thread(make_folder, output)
    except OSError as error:
        raise storage_fault(error, "making the folder for the screenshots", output) from error
    await services.search.warm_up()  # the time the pictures show is that of a search, not of loading the model
    theme.apply(ThemeChoice.LIGHT)
    workspace = Workspace(services)
    window = MainWindow(workspace, theme)
    try:
        window.resize(*SIZE)
        window.show()
        workspace.start()
        await _search(window, workspace, kb_name, query)
        saved = []
        for choice in (ThemeChoice.LIGHT, ThemeChoice.DARK):
            theme.apply(choice)
            for pane, name in _PANES:
                window.show_pane(pane)
                if pane == SEARCH and window.preview.is_showing_pages:
                    await until(lambda: window.preview.pdf.is_settled, window.preview.settled)
                await _settle()
                path = output / f"{name}_{choice}.png"
                if not window.grab().toImage().save(str(path)):
                    raise storage_fault(OSError(5, "the picture cannot be written"), "saving a screenshot", path)
                hand_over(path)
                saved.append(path)
        return saved
    except TimeoutError as error:
        raise InvariantViolated("The window did not finish rendering in time.") from error
    finally:
        window.hide()
        await workspace.close()
        window.deleteLater()
        await asyncio.sleep(0)


async def _search(window: MainWindow, workspace: Workspace, kb_name: str, query: str) -> None:
    library, search = workspace.library, workspace.search
    await until(lambda: library.is_loaded, library.loaded)
    kb = next((kb for kb in library.knowledge_bases if kb_name in (kb.name, kb.id)), None)
    if kb is None:
        raise NotFound(f"There is no knowledge base “{kb_name}”.")
    library.select(kb.id)
    settled = asyncio.Event()
    window.preview.settled.connect(settled.set)
    window.search.box.edit.setText(query)
    await until(lambda: bool(search.summary or search.message) and not search.busy, search.changed)
    if search.current is None:
        raise NotFound(search.message or f"Nothing was found for “{query}”.")
    async with asyncio.timeout(_PATIENCE_S):
        await settled.wait()
    await until(lambda: bool(workspace.ingest.queue.items), workspace.ingest.changed)
    await until(lambda: bool(workspace.generations.rows.items), workspace.generations.changed)
    read = asyncio.Event()
    workspace.memory.changed.connect(read.set)
    workspace.memory.look()
    async with asyncio.timeout(_PATIENCE_S):
        await read.wait()  # one taken after the search, with the model loaded


async def _settle() -> None:
    """Let layout and paint requests through that are waiting now."""
    for _ in range(3):
        QApplication.sendPostedEvents()
        await asyncio.sleep(0)
