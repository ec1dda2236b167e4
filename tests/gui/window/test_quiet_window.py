"""A window that nobody sees asks for nothing while nothing is at work."""

from __future__ import annotations

import asyncio

import pytest
from PySide6.QtCore import Qt

from studio.ui.parts import Theme
from studio.ui.window.screenshots import until
from tests.gui.fakes import FakeServices
from tests.gui.gestures import window_over
from tests.gui.qt_loop import on_qt_loop


class Asked:
    """Counts what the polls ask the services."""

    def __init__(self, services: FakeServices, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        for owner, name in ((services.memory, "snapshot"), (services.library, "stamp"), (services.queue, "jobs")):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, asked: object) -> object:
        def count(*values: object) -> object:
            self.times += 1
            return asked(*values)  # type: ignore[operator]

        return count


@on_qt_loop
async def test_a_hidden_or_minimised_window_asks_for_nothing(theme: Theme, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        ("library", "_WATCH_INTERVAL_S"),
        ("ingest.jobs", "_LOOK_EVERY_S"),
        ("memory", "_INTERVAL_QUIET_S"),
    ):
        monkeypatch.setattr(f"studio.viewmodels.{module}.{name}", 0.0)
    services = FakeServices()
    asked = Asked(services, monkeypatch)
    async with window_over(services, theme) as (window, workspace):
        await until(lambda: bool(workspace.memory.budget_bytes), workspace.memory.changed)
        window.showMinimized()
        assert services.attention.is_resting
        await settled()
        before = asked.times
        await settled()
        assert asked.times == before
        window.setWindowState(Qt.WindowState.WindowNoState)
        window.show()
        await until(lambda: asked.times > before + 3, workspace.memory.changed)
        window.hide()
        assert services.attention.is_resting


async def settled() -> None:
    """What was asked before is answered, and whoever would ask again has had the time to."""
    for _ in range(20):
        await asyncio.to_thread(lambda: None)
