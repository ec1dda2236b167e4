"""One knowledge base to search, which the function `filled` of each module fills once."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.bootstrap import Services, open_services
from studio.domain import ModelInfo
from studio.paths import HOME_VARIABLE
from tests.helpers.prepared import Prepared


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Where the knowledge base is filled once."""
    return Prepared(tmp_path_factory.mktemp("mixed"))


@pytest.fixture
async def data_dir(
    request: pytest.FixtureRequest, mixed: Prepared, default_model: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """One that holds the knowledge base."""

    async def fill() -> None:
        async with open_services(mixed.data) as services:
            await request.module.filled(services, mixed.documents)

    await mixed.set_up(fill, default_model)
    monkeypatch.setenv(HOME_VARIABLE, str(mixed.data))
    return mixed.data


@pytest.fixture
def folder(mixed: Prepared, data_dir: Path) -> Path:
    """Its documents."""
    return mixed.documents


@pytest.fixture
async def kb(services: Services) -> str:
    """Its id."""
    (base,) = await services.library.list()
    return base.id
