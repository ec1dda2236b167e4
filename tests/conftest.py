"""Fixtures every folder of tests shares."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from studio.bootstrap import Services, open_services
from studio.domain import ModelInfo
from studio.paths import HOME_VARIABLE
from studio.workers import WorkerProcess
from tests.helpers.command import PROGRAMS, WORKERS, Program
from tests.helpers.forking import Nursery, quick
from tests.helpers.models import default_model, install, model_paths

__all__ = ["default_model", "model_paths"]

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # before anything imports Qt
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each of a thousand processes would compile the program anew
os.environ["RAG_STUDIO_OCR"] = "off"  # whether Tesseract is installed must not matter; its own tests switch it on


@pytest.fixture(scope="session", autouse=True)
def nurseries() -> Iterator[None]:
    """The processes that workers and programs are forked from end with the tests."""
    yield
    for nursery in (PROGRAMS, WORKERS):
        nursery.close()


@pytest.fixture(autouse=True)
def quick_workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers of the program start at once, but where a test is about such processes."""
    if Nursery.available() and not request.node.get_closest_marker("own_processes"):
        monkeypatch.setattr(WorkerProcess, "spawn", quick(WORKERS))


@pytest.fixture
def data_dir(tmp_path: Path, default_model: ModelInfo, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data directory that holds the default model, also named by the environment."""
    root = tmp_path / "data"
    install(default_model, root)
    monkeypatch.setenv(HOME_VARIABLE, str(root))
    return root


@pytest.fixture
def program(data_dir: Path) -> Program:
    """The command line on an empty data directory with the default model."""
    return Program(data_dir)


@pytest_asyncio.fixture
async def services(data_dir: Path) -> AsyncIterator[Services]:
    """The real services over an empty data directory."""
    async with open_services(data_dir) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for documents."""
    path = tmp_path / "documents"
    path.mkdir()
    return path


@pytest.fixture
def write(folder: Path) -> Callable[[str, str], Path]:
    """Write a document below `folder`."""

    def _write(name: str, text: str) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    return _write
