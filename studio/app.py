"""The program with a window: starts Qt, the loop, the services and the view-models, and ends them in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator, Set
from pathlib import Path

from PySide6.QtCore import QCoreApplication, Qt, QtMsgType, qInstallMessageHandler
from PySide6.QtCore import QMessageLogContext as MessageContext
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from studio.bootstrap import open_services
from studio.concurrency import TaskOwner, keep_gui_responsive
from studio.errors import StudioError, storage_fault
from studio.paths import DataPaths, resources_dir
from studio.terminal import visible
from studio.ui.parts import RestingCaret, Theme, ThemeChoice, message_box
from studio.ui.window import MainWindow, SingleInstance, StudioEventLoop, render_screenshots
from studio.viewmodels.ways_out import sentences
from studio.viewmodels.workspace import Workspace

log = logging.getLogger(__name__)

_OFFSCREEN_NOISE = "This plugin does not support propagateSizeHints()"


def run_gui(data_dir: Path | None, *, sample: bool = False) -> int:
    """Open the window and run until it is closed; the exit code.

    `sample`: make the sample knowledge base first, with its progress in the window.
    A second start with the same data directory raises the window of the first and returns 0.
    """
    application = _application(sys.argv[:1])
    try:
        paths = DataPaths.resolve(data_dir)
        paths.create()
        with SingleInstance(paths.instance_lock) as instance:
            if not instance.is_first:
                return 0
            keep_gui_responsive()
            with asyncio.Runner(loop_factory=lambda: StudioEventLoop(application)) as runner:
                runner.run(_run(application, data_dir, instance, sample=sample))
    except StudioError as error:
        log.error("cannot start: %s", sentences(error))
        _say_cannot_start(sentences(error))
        return error.exit_code
    except OSError as error:
        fault = storage_fault(error, "opening the data directory")
        log.error("cannot start: %s", sentences(fault))
        _say_cannot_start(sentences(fault))
        return fault.exit_code
    return 0


def run_demo_screenshots(data_dir: Path, kb_name: str, query: str, output: Path) -> list[Path]:
    """Render the window over a knowledge base to PNG files, with or without a display; their paths.

    Search, ingest and generations, light and dark, 1440×900. Raises StudioError when the knowledge
    base is not there or nothing is found in it.
    """
    if not _has_display():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    application = _application(sys.argv[:1])

    async def render() -> list[Path]:
        async with open_services(data_dir) as services:
            return await render_screenshots(services, Theme(application, resources_dir()), kb_name, query, output)

    with asyncio.Runner(loop_factory=lambda: StudioEventLoop(application)) as runner:
        return runner.run(render())


async def _run(application: QApplication, data_dir: Path | None, instance: SingleInstance, *, sample: bool) -> None:
    """Services open first and close last; the view-models and the window live inside."""
    closing = asyncio.Event()
    background = TaskOwner("background")
    async with open_services(data_dir) as services:
        theme = Theme(application, resources_dir())

        def show_theme(changed: Set[str]) -> None:
            if "theme" in changed:
                theme.apply(ThemeChoice(services.config.text("theme")))

        show_theme({"theme"})
        forget = services.config.subscribe(show_theme)
        workspace = Workspace(services)
        window = MainWindow(workspace, theme)
        RestingCaret(application, window)
        window.closing.connect(closing.set)
        instance.second_start.connect(window.bring_to_front)

        def begin() -> None:
            workspace.start()
            if sample:
                window.load_sample()
            # Heavy imports stall this thread for a moment; by now the person sees the window.
            warming = workspace.warm_up()
            if warming is not None:
                warming.add_done_callback(_settle)
            background.start(services.watch.start(), name="watch")

        window.painted.connect(begin)
        with _closing_on_signals(closing):
            window.show()
            try:
                background.start(services.maintenance.collect_regularly(), name="collect")
                await closing.wait()
            finally:
                window.hide()
                await background.close()
                await services.watch.close()
                await workspace.close()
                forget()
                window.deleteLater()
                await asyncio.sleep(0)
    log.info("ended in order")


def _settle(_: object) -> None:
    # What the libraries have made by now, 170,000 objects, stays to the end. Looking at all of it each time garbage is
    # collected would hold up the window for a tenth of a second.
    gc.freeze()


@contextlib.contextmanager
def _closing_on_signals(closing: asyncio.Event) -> Iterator[None]:
    """Interrupt and terminate close the program the way its window does."""
    loop = asyncio.get_running_loop()
    handled = []
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, closing.set)
            handled.append(number)
        except (NotImplementedError, RuntimeError):  # Windows: the console ends the process by itself
            break
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


def _application(argv: list[str]) -> QApplication:
    existing = QCoreApplication.instance()
    if isinstance(existing, QApplication):
        application = existing
    else:
        QGuiApplication.setHighDpiScaleFactorRoundingPolicy(Qt.HighDpiScaleFactorRoundingPolicy.PassThrough)
        qInstallMessageHandler(_qt_message)
        application = QApplication(argv)
    application.setApplicationName("rag-studio")
    application.setApplicationDisplayName("RAG Studio")
    application.setDesktopFileName("rag-studio")
    application.setQuitOnLastWindowClosed(False)
    return application


def _qt_message(kind: QtMsgType, context: MessageContext, message: str) -> None:
    """Qt's messages go where the program's do."""
    if message == _OFFSCREEN_NOISE:
        return
    levels = {
        QtMsgType.QtDebugMsg: logging.DEBUG,
        QtMsgType.QtInfoMsg: logging.INFO,
        QtMsgType.QtWarningMsg: logging.WARNING,
    }
    logging.getLogger("qt").log(levels.get(kind, logging.ERROR), "%s", message)


def _has_display() -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.environ.get("QT_QPA_PLATFORM"))


def _say_cannot_start(text: str) -> None:
    """There is no window to say it in; without a display the log has it."""
    sys.stderr.write(f"rag-studio: {visible(text)}\n")
    if QGuiApplication.platformName() != "offscreen":
        message_box("RAG Studio", text).exec()
