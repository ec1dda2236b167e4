"""The window with the ingest pane in view, over fake services that hold some jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from studio.domain import JobState
from studio.ui.parts import Theme
from studio.ui.window import MainWindow
from studio.ui.window.main_window import INGEST
from studio.ui.window.screenshots import until
from studio.viewmodels.workspace import Workspace
from tests.gui.fakes import FakeServices
from tests.gui.ingest.fake_queue import job
from tests.gui.opening import with_kb


@asynccontextmanager
async def shown(services: FakeServices, theme: Theme) -> AsyncIterator[tuple[MainWindow, Workspace]]:
    """The window with the ingest pane in view."""
    workspace = Workspace(services)
    window = MainWindow(workspace, theme)
    window.show()
    window.activateWindow()
    workspace.start()
    try:
        await until(lambda: workspace.library.is_loaded, workspace.library.loaded)
        window.show_pane(INGEST)
        yield window, workspace
    finally:
        window.hide()
        await workspace.close()
        await services.queue.close()
        window.deleteLater()
        await asyncio.sleep(0)


def with_jobs(*states: JobState) -> FakeServices:
    services = with_kb()
    services.queue.open = [job(number, state, f"/{number}") for number, state in enumerate(states, 1)]
    return services
