"""Models the embedding tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.domain import ModelInfo
from studio.embedding.model_files import DEFAULT_MODEL, KNOWN_MODELS, Monitor, convert, sha256_of, sources
from tests.helpers import tiny_bert


@pytest.fixture(autouse=True)
def quick_workers() -> None:
    """Workers are what these tests are about: they are started as the program starts them."""


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert.make_model(tmp_path_factory.mktemp("tiny") / "tiny-bert")


@pytest.fixture(scope="session")
def tiny_gguf(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("gguf") / "tiny-bert.gguf"
    convert(tiny_folder, target, name="tiny-bert")
    return target


@pytest.fixture
def tiny_model(tiny_gguf: Path) -> ModelInfo:
    size = tiny_gguf.stat().st_size
    return ModelInfo("tiny-bert", sha256_of(tiny_gguf), 64, 48, "mean", size, "", True, tiny_gguf)


@pytest.fixture(scope="session")
def default_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the default model as published: safetensors weights, vocabulary, settings."""
    work = tmp_path_factory.mktemp("source")
    folder, _ = sources.fetch(KNOWN_MODELS[DEFAULT_MODEL], work, work, Monitor(lambda *_: None))
    return folder
