"""A small knowledge base to export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from studio.bootstrap import Services
from studio.domain import IngestOptions, KbSettings

Write = Callable[[str, str], Path]


@pytest.fixture
async def notes(services: Services, folder: Path, write: Write) -> str:
    base = await services.library.create("Notes", KbSettings(chunk_tokens=64, chunk_overlap=8))
    write("whales.txt", "Whales are mammals of the sea. " * 30)
    write("piano.md", "# Piano\n\nA grand piano has eighty-eight keys.\n\n## Strings\n\nIts strings are of steel.")
    write("table.csv", "id,text\n1,A volcano erupts.\n2,Green tea is brewed at seventy degrees.\n")
    write("copy.txt", "Whales are mammals of the sea. " * 30)
    write("empty.txt", "")
    await services.ingest.ingest(base.id, [folder], IngestOptions(jobs=1))
    return base.id


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "notes.ragbundle"
