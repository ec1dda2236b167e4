"""Fixtures that hand out the real default model, installed once and kept between runs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from studio.domain import ModelInfo
from studio.embedding.models import DEFAULT_MODEL, ModelCatalog
from studio.links import link_or_copy
from studio.paths import DataPaths

MODELS_VARIABLE = "RAG_STUDIO_TEST_MODELS"


@pytest.fixture(scope="session")
def model_paths(tmp_path_factory: pytest.TempPathFactory) -> DataPaths:
    """A data directory from which the default model can be used.

    It is the one RAG_STUDIO_TEST_MODELS names, or a fresh one; the model is fetched only if neither that
    directory nor the user's own holds it.
    """
    chosen = os.environ.get(MODELS_VARIABLE)
    paths = DataPaths(Path(chosen).absolute() if chosen else tmp_path_factory.mktemp("models"))
    paths.create()
    asyncio.run(ModelCatalog(paths).install(DEFAULT_MODEL))
    return paths


@pytest.fixture(scope="session")
def default_model(model_paths: DataPaths) -> ModelInfo:
    """The installed default model."""
    info = ModelCatalog(model_paths).find(DEFAULT_MODEL)
    assert info is not None
    assert info.installed
    return info


def install(model: ModelInfo, data_dir: Path) -> None:
    """Let a data directory hold an installed model."""
    models = data_dir / "models"
    models.mkdir(parents=True, exist_ok=True)
    assert model.path is not None
    for file in (model.path, model.path.with_suffix(".json")):
        link_or_copy(file, models / file.name)
