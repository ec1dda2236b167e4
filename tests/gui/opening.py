"""A workspace over fake services, opened and closed around a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from studio.domain import (
    GenerationState,
)
from studio.ui.window.screenshots import until
from studio.viewmodels.workspace import Workspace
from tests.gui.fakes import FakeServices, generation


@asynccontextmanager
async def opened(services: FakeServices) -> AsyncIterator[tuple[Workspace, list[str]]]:
    """A workspace that has read its library, and what it complained about."""
    workspace = Workspace(services)
    complaints: list[str] = []
    workspace.failed.connect(lambda message, way_out: complaints.append(f"{message} {way_out}".strip()))
    workspace.start()
    try:
        await until(lambda: workspace.library.is_loaded, workspace.library.loaded)
        yield workspace, complaints
    finally:
        await workspace.close()
        await services.queue.close()


def with_kb() -> FakeServices:
    services = FakeServices()
    services.library.add("Compilers")
    services.maintenance.items = [generation(1, GenerationState.ACTIVE)]
    return services


async def searched(workspace: Workspace) -> None:
    search = workspace.search
    await until(lambda: bool(search.summary or search.message) and not search.busy, search.changed)
