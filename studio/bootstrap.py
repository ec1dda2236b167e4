"""The composition root: builds every service once and closes them in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from studio.concurrency import Attention
from studio.config import Config
from studio.documents.ocr_settings import ocr_environment
from studio.documents.pool import ParserPool
from studio.embedding.client import usual_threads
from studio.embedding.models import ModelCatalog
from studio.embedding.pool import EmbedderPool
from studio.index.generations import Stores
from studio.memory import MemoryCoordinator
from studio.paths import DataPaths, resources_dir
from studio.services.costs import MODEL, PARSERS
from studio.services.generations import BundleService, CompareService, MaintenanceService, Promotion
from studio.services.health import DoctorService, HealthService, TuningService
from studio.services.ingest import BuildRoom, IngestService
from studio.services.jobs import JobQueue, Requests, SampleService
from studio.services.library import LibraryService, ModelService, TagService
from studio.services.memory_care import MemoryCare, ModelRoom, idle_seconds
from studio.services.preflight import PreflightService
from studio.services.quality import GateService, QualityService
from studio.services.search import CitingService, Rerankers, SearchLog, SearchService
from studio.services.watch import WatchService


@dataclass(frozen=True, slots=True)
class Services:
    """All use cases, wired together."""

    paths: DataPaths
    config: Config
    library: LibraryService
    tags: TagService
    ingest: Requests
    queue: JobQueue
    watch: WatchService
    preflight: PreflightService
    search: SearchService
    maintenance: MaintenanceService
    doctor: DoctorService
    health: HealthService
    citing: CitingService
    compare: CompareService
    gate: GateService
    models: ModelService
    bundles: BundleService
    quality: QualityService
    sample: SampleService
    tuning: TuningService
    attention: Attention
    memory: MemoryCoordinator
    memory_care: MemoryCare

    @property
    def read_only(self) -> str | None:
        """Why nothing can be changed for now (read-only folder, disk full), in sentences; None when it can."""
        return self.library.read_only


@asynccontextmanager
async def open_services(data_dir: Path | None = None, *, adopting: bool = False) -> AsyncIterator[Services]:
    """Open the data directory and hand out its services; on leaving, workers end first, the catalog last.

    Raises StorageFault when the data directory cannot be used; `adopting`, as doctor is, also a lost catalog can be.
    """
    paths = DataPaths.resolve(data_dir)
    async with AsyncExitStack() as stack:
        stores = await Stores.open(paths, adopting=adopting)
        stack.push_async_callback(stores.close)
        config = Config(paths.config)
        attention = Attention()
        memory = MemoryCoordinator(
            config.integer("memory_budget_mib"),
            lambda: {
                MODEL: [model.pid for model in embedders.loaded()],
                PARSERS: list(parser.worker_pids),
            },
        )
        room = ModelRoom(memory)
        models = ModelCatalog(paths, admission=room)
        embedders = EmbedderPool(
            models,
            threads=config.integer("embed_threads") or usual_threads(),
            admission=room,
            idle_s=idle_seconds(config),
        )
        stack.push_async_callback(embedders.close)
        parser = ParserPool(
            config.integer("parse_workers"),
            float(config.integer("parse_time_limit_s")),
            config.integer("parse_memory_limit_mib") << 20,
            environment=ocr_environment(config.text("ocr"), config.text("ocr_languages")),
            private=[paths.root],
        )
        stack.push_async_callback(parser.close)
        library = LibraryService(stores, config)
        searches = SearchLog(stores, config)
        stack.push_async_callback(searches.close)
        rerankers = Rerankers(models, embedders)
        search = SearchService(stores, embedders, rerankers, searches, partial(config.text, "reranker"))
        builds = BuildRoom(memory, embedders.unload_longest_idle)
        care = MemoryCare(memory, config, stores, embedders, parser, search, builds, attention)
        stack.push_async_callback(care.close)
        care.start()
        gate = GateService(stores, search)
        promotion = Promotion(stores, gate)
        maintenance = MaintenanceService(stores, config, promotion, care.retire_replaced)
        work = IngestService(stores, embedders, parser, promotion, maintenance.promoted, builds)
        queue = JobQueue(stores, work, attention)
        stack.push_async_callback(queue.close)
        ingest = Requests(stores, queue, work)
        watch = WatchService(stores, queue.add, config, memory, attention)
        stack.push_async_callback(watch.close)
        stack.callback(queue.subscribe(watch.heard))
        yield Services(
            paths=paths,
            config=config,
            library=library,
            tags=TagService(stores, library),
            ingest=ingest,
            queue=queue,
            watch=watch,
            preflight=PreflightService(stores, library, embedders, parser, memory),
            search=search,
            maintenance=maintenance,
            doctor=DoctorService(stores, models, ingest),
            health=HealthService(stores, embedders, searches, watch.folders),
            citing=CitingService(stores),
            compare=CompareService(stores, search),
            gate=gate,
            models=ModelService(stores, models, embedders),
            bundles=BundleService(stores, models),
            quality=QualityService(stores, search),
            sample=SampleService(library, ingest, resources_dir() / "samples"),
            tuning=TuningService(stores, ingest),
            attention=attention,
            memory=memory,
            memory_care=care,
        )
