"""Tests of the window: no display needed, and nothing may be left behind."""

from __future__ import annotations

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication

from studio.paths import resources_dir
from studio.ui.parts import Theme, ThemeChoice
from tests.helpers.models import default_model, model_paths  # noqa: F401

_FOR_EVER = ("LanceDBBackgroundEventLoop", "search_")
"""How the names of threads begin that the process has once: that of lancedb, and those that searches share."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A warning by Qt fails its test, but for what the offscreen platform cannot do and always says."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.qt_log_level_fail("WARNING"))
            item.add_marker(pytest.mark.qt_log_ignore("This plugin does not support", extend=True))


@pytest.fixture(autouse=True)
def nothing_left_behind(qapp: QApplication) -> Iterator[None]:
    """Windows and threads that outlive a test fail it. (`on_qt_loop` looks after tasks.)"""
    qapp.setQuitOnLastWindowClosed(False)
    before = set(threading.enumerate())
    yield
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    windows = [widget for widget in qapp.topLevelWidgets() if widget.isVisible()]
    for widget in windows:
        widget.close()
    # A worker thread that was told to end may need a moment to do so.
    new = [thread for thread in threading.enumerate() if thread not in before and not thread.name.startswith(_FOR_EVER)]
    left = [thread for thread in new if not _ends(thread)]
    assert not windows, f"windows left open: {windows}"
    assert not left, f"threads left running: {left}"


def _ends(thread: threading.Thread) -> bool:
    thread.join(timeout=10)
    return not thread.is_alive()


@pytest.fixture
def theme(qapp: QApplication) -> Iterator[Theme]:
    """The real theme, light."""
    theme = Theme(qapp, resources_dir())
    theme.apply(ThemeChoice.LIGHT)
    yield theme
    theme.deleteLater()
