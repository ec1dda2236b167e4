"""Knowledge bases: one to export, one to damage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from studio.bootstrap import Services
from studio.config import Config
from studio.documents.pool import ParserPool
from studio.domain import IngestOptions, KbSettings
from studio.index.generations import Stores
from studio.index.vectors import table_writer
from studio.paths import DataPaths
from studio.services.generations import Promotion
from studio.services.ingest import IngestService
from studio.services.jobs import JobQueue, Requests
from studio.services.library import LibraryService
from studio.services.quality import GateService
from studio.services.search import SearchService
from tests.helpers.prepared import Prepared
from tests.helpers.ward import ToyEmbedder, Ward
from tests.unit.services import workbench
from tests.unit.services.workbench import Bench, ToyProvider

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


@pytest.fixture(scope="session")
def ill(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Where the knowledge base to damage is filled once."""
    return Prepared(tmp_path_factory.mktemp("ward"))


@pytest_asyncio.fixture
async def ward(ill: Prepared, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ward]:
    """Its builds leave the files of earlier ones as they are, as those of large knowledge bases do."""
    monkeypatch.setattr(table_writer, "GROWN", float("inf"))
    parser = ParserPool(1)

    async def fill() -> None:
        stores = await Stores.open(DataPaths(ill.data))
        await Ward(stores, ToyEmbedder(), parser, ill.documents).fill()
        await stores.close()

    await ill.set_up(fill)
    stores = await Stores.open(DataPaths(ill.data))
    ward = Ward(stores, ToyEmbedder(), parser, ill.documents)
    (base,) = await ward.library.list()
    ward.kb_id = base.id
    yield ward
    await parser.close()
    await stores.close()


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    stores = await Stores.open(DataPaths(tmp_path / "data"))
    parser = ParserPool(1)
    toy = workbench.ToyEmbedder()
    library = LibraryService(stores, Config(stores.paths.config))
    await library.create("Toy", replace(library.default_settings(), chunk_tokens=16, chunk_overlap=0, contextual=False))

    async def nothing_to_collect(kb_id: str) -> None:
        pass

    provider = ToyProvider(toy)
    promotion = Promotion(stores, GateService(stores, SearchService(stores, provider)))
    work = IngestService(stores, provider, parser, promotion, nothing_to_collect)
    queue = JobQueue(stores, work)
    yield Bench(stores, library, Requests(stores, queue, work), work, queue, toy)
    await queue.close()
    await parser.close()
    await stores.close()
