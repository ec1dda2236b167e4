"""The real program on a real X server: a file dragged from another program ends as a marked passage."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from PySide6.QtCore import QRect
from PySide6.QtGui import QImage

from studio.bootstrap import open_services
from studio.paths import DataPaths, resources_dir

WINDOW = (1440, 900)
SCREEN = (1700, 900)
SOURCE_AT = (1520, 300)
RESULTS = QRect(260, 120, 650, 720)
PREVIEW = QRect(945, 60, 480, 740)
SECOND_CARD_EDGE = QRect(268, 310, 12, 70)
ACCENT = 0xFF4F46E5
PATIENCE_S = 90.0
HERE = Path(__file__).parent
PROGRAM = "import sys; from pathlib import Path; from studio.app import run_gui; sys.exit(run_gui(Path(sys.argv[1])))"


def needed(name: str) -> str:
    """Path of a program the set-up installs."""
    path = shutil.which(name)
    assert path, f"{name} is not installed; the set-up script installs it (package {name.lower()})"
    return path


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Look until a condition on another process holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.1)


class Screen:
    """An X server with the tools to act on it."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._shots = 0
        xdotool = needed("xdotool")
        reading, writing = os.pipe()
        size = f"{SCREEN[0]}x{SCREEN[1]}x24"
        server = subprocess.Popen(
            [needed("Xvfb"), "-displayfd", str(writing), "-nolisten", "tcp", "-screen", "0", size],
            pass_fds=(writing,),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(_end, server)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()
        assert number, "Xvfb did not start"
        self.environment = {**os.environ, "DISPLAY": f":{number}", "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": _root()}
        self._xdotool = xdotool
        self._camera = self.start([sys.executable, str(HERE / "screen_shot.py")], ready=True)

    def start(self, command: list[str], *, ready: bool = False) -> subprocess.Popen[str]:
        """Run a program on this screen until the test ends."""
        process = subprocess.Popen(
            command,
            env=self.environment,
            cwd=self._folder,
            stdin=subprocess.PIPE if ready else subprocess.DEVNULL,
            stdout=subprocess.PIPE if ready else None,
            text=True,
        )
        self._stack.callback(_end, process)
        if ready:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "ready"
        return process

    def do(self, *words: object) -> None:
        """One xdotool command."""
        subprocess.run([self._xdotool, *map(str, words)], env=self.environment, check=True, timeout=30)

    def focus(self, title: str) -> None:
        """Give a window the keyboard; there is no window manager to do it."""
        self.do("search", "--sync", "--onlyvisible", "--name", f"^{title}$", "windowfocus", "--sync")

    def picture(self) -> QImage:
        """What is on the screen."""
        assert self._camera.stdin is not None
        assert self._camera.stdout is not None
        self._shots += 1
        path = self._folder / f"screen{self._shots}.png"
        self._camera.stdin.write(f"{path}\n")
        self._camera.stdin.flush()
        assert self._camera.stdout.readline().strip() == "saved"
        return QImage(str(path))


def _root() -> str:
    return str(HERE.parent.parent)


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def yellow(image: QImage, area: QRect) -> int:
    """Pixels in the colours of a mark, on a card or on a page."""
    part = image.copy(area).convertToFormat(QImage.Format.Format_RGB32)
    found = 0
    for y in range(0, part.height(), 2):
        for x in range(0, part.width(), 2):
            colour = part.pixelColor(x, y)
            found += colour.red() > 245 and 220 < colour.green() < 240 and 130 < colour.blue() < 175
    return found


def selected(image: QImage, edge: QRect) -> bool:
    """Whether a card has the frame of the selected one."""
    points = [(x, y) for x in range(edge.left(), edge.right()) for y in range(edge.top(), edge.bottom())]
    return sum(image.pixel(x, y) == ACCENT for x, y in points) > 20


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    with ExitStack() as stack:
        yield Screen(stack, tmp_path)


def test_drag_type_click_and_see_the_mark(screen: Screen, tmp_path: Path, model_paths: DataPaths) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "models").symlink_to(model_paths.models, target_is_directory=True)
    (data_dir / "config.json").write_text('{"theme": "light"}')
    papers = tmp_path / "Papers"
    papers.mkdir()
    paper = shutil.copy(resources_dir() / "samples" / "nested-trace-trees.pdf", papers)

    program = screen.start([sys.executable, "-c", PROGRAM, str(data_dir)])
    screen.do("search", "--sync", "--onlyvisible", "--name", "^RAG Studio$")
    white = 0xFFFFFFFF
    eventually(lambda: screen.picture().pixel(700, 60) == white, "the window is painted")

    screen.start([sys.executable, str(HERE / "drag_source.py"), str(paper), *map(str, SOURCE_AT)], ready=True)
    screen.do("mousemove", SOURCE_AT[0] + 40, SOURCE_AT[1] + 40, "mousedown", 1)
    for x in range(SOURCE_AT[0] + 20, 600, -60):
        screen.do("mousemove", x, 400, "sleep", 0.02)
    screen.do("mousemove", 620, 410, "sleep", 0.2, "mouseup", 1)

    async def active() -> bool:
        async with open_services(data_dir) as services:
            bases = await services.library.list()
            return any(kb.name == "Papers" and kb.active_generation is not None for kb in bases)

    eventually(lambda: asyncio.run(active()), "the dropped file is searchable")

    screen.focus("RAG Studio")
    screen.do("key", "ctrl+k")
    screen.do("type", "--delay", 20, "how are nested loops traced")
    eventually(lambda: yellow(screen.picture(), RESULTS) > 300, "results with marked words are shown")
    assert not selected(screen.picture(), SECOND_CARD_EDGE)
    screen.do("mousemove", 560, 350, "click", 1)
    eventually(lambda: selected(screen.picture(), SECOND_CARD_EDGE), "the clicked result is selected")
    eventually(lambda: yellow(screen.picture(), PREVIEW) > 500, "the passage is marked on its page")

    # A second start finds the first and ends; the first goes on.
    second = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(data_dir)], env=screen.environment, cwd=tmp_path, timeout=60, check=False
    )
    assert second.returncode == 0
    assert program.poll() is None
    program.send_signal(signal.SIGTERM)
    assert program.wait(30) == 0


def test_a_killed_program_does_not_keep_the_next_from_starting(screen: Screen, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    command = [sys.executable, "-c", PROGRAM, str(data_dir)]
    first = screen.start(command)
    screen.do("search", "--sync", "--onlyvisible", "--name", "^RAG Studio$")
    first.kill()
    first.wait()
    second = screen.start(command)
    screen.do("search", "--sync", "--onlyvisible", "--name", "^RAG Studio$")
    assert second.poll() is None
    second.send_signal(signal.SIGINT)
    assert second.wait(30) == 0
