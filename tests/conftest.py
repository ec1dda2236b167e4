"""Fixtures every folder of tests shares."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from command import Program
from conftest_models import default_model, model_paths
from forking import MODULES, Nursery

from studio.bootstrap import Services, open_services
from studio.domain import ModelInfo
from studio.paths import HOME_VARIABLE
from studio.workers import WorkerProcess

__all__ = ["default_model", "model_paths"]

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # before anything imports Qt
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each of a thousand processes would compile the program anew
os.environ["RAG_STUDIO_OCR"] = "off"  # whether Tesseract is installed must not matter; its own tests switch it on


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """The process that workers are forked from."""
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture(autouse=True)
def quick_workers(request: pytest.FixtureRequest, nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers of the program start at once, but where a test is about such processes."""
    if request.node.get_closest_marker("own_processes") or not nursery.available():
        return
    spawn = WorkerProcess.spawn

    async def quick(
        module: str, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> WorkerProcess:
        if module not in MODULES:
            return await spawn(module, arguments, environment)
        process = await nursery.spawn(module, arguments, environment or {})
        return WorkerProcess(process, module.rsplit(".", 1)[-1])

    monkeypatch.setattr(WorkerProcess, "spawn", quick)


@pytest.fixture
def data_dir(tmp_path: Path, default_model: ModelInfo, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data directory that holds the default model, also named by the environment."""
    root = tmp_path / "data"
    models = root / "models"
    models.mkdir(parents=True)
    assert default_model.path is not None
    for file in (default_model.path, default_model.path.with_suffix(".json")):
        try:
            os.link(file, models / file.name)
        except OSError:
            shutil.copy2(file, models / file.name)
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
