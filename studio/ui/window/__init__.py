"""The window around the panes, and the event loop.

Belongs here: the main window, sidebar, status bar, toasts, drops on the window, everything that imports qasync.
Does not: panes.
"""

from studio.ui.window.event_loop import StudioEventLoop
from studio.ui.window.main_window import MainWindow
from studio.ui.window.screenshots import render_screenshots
from studio.ui.window.single_instance import SingleInstance

__all__ = [
    "MainWindow",
    "SingleInstance",
    "StudioEventLoop",
    "render_screenshots",
]
