"""Generations after they were built: list, promote, roll back, collect, check."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections import Counter
from pathlib import Path

from studio.config import Config
from studio.domain import Check, DocumentStatus, Generation, GenerationState, KnowledgeBase
from studio.embedding.models import ModelCatalog
from studio.errors import Conflict, StudioError
from studio.index.database import now_ms
from studio.index.gc import GcReport, Kept, collect, plan
from studio.index.generations import GenerationStore, tag_of
from studio.index.lexical import LexicalReader, LexicalWriter
from studio.index.reading import Snapshot
from studio.index.rows import text_key
from studio.index.stores import Stores
from studio.services.library import retention_of

log = logging.getLogger(__name__)

COLLECT_FIRST_AFTER_S = 60.0
"""Start-up is over by then."""

COLLECT_EVERY_S = 15 * 60.0

__all__ = ["GcReport", "Kept", "MaintenanceService"]


class MaintenanceService:
    """Promote, roll back, collect, and check what must always hold."""

    def __init__(self, stores: Stores, config: Config, models: ModelCatalog) -> None:
        self._stores = stores
        self._config = config
        self._models = models

    async def generations(self, kb: str) -> list[Generation]:
        """Newest first. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        return await self._stores.thread.run(self._stores.catalog.generations, base.id)

    async def promote(self, kb: str, number: int) -> Generation:
        """Make a ready or archived generation active. Raises NotFound, Conflict."""
        base = await self._stores.knowledge_base(kb)
        return await self._stores.thread.run(self._stores.catalog.promote, base.id, number)

    async def rollback(self, kb: str, number: int | None = None) -> Generation:
        """Go back to `number`, or to the newest archived generation before the active one. Raises Conflict."""
        base = await self._stores.knowledge_base(kb)
        if number is None:
            older = [item for item in await self._archived(base) if item < (base.active_generation or 0)]
            if not older:
                raise Conflict(f"“{base.name}” has no older generation to roll back to.")
            number = max(older)
        return await self._stores.thread.run(self._stores.catalog.promote, base.id, number)

    async def roll_forward(self, kb: str) -> Generation:
        """Undo one rollback: go to the oldest archived generation after the active one. Raises Conflict."""
        base = await self._stores.knowledge_base(kb)
        newer = [item for item in await self._archived(base) if item > (base.active_generation or 0)]
        if not newer:
            raise Conflict(f"“{base.name}” has no newer generation to go forward to.")
        return await self._stores.thread.run(self._stores.catalog.promote, base.id, min(newer))

    async def annotate(self, kb: str, number: int, note: str) -> Generation:
        """Replace a generation's note. Raises NotFound."""
        base = await self._stores.knowledge_base(kb)
        return await self._stores.thread.run(self._stores.catalog.annotate, base.id, number, note=note)

    async def collect(self, kb: str | None = None, *, dry_run: bool = False) -> GcReport:
        """Delete what the policy no longer keeps and nobody reads, in one knowledge base or in all."""
        total = GcReport()
        for base in await self._bases(kb):
            store = self._stores.store(base.id)
            store.release()
            total.add(
                await collect(
                    store,
                    self._stores.catalog,
                    self._stores.thread,
                    retention=retention_of(base, self._config),
                    dry_run=dry_run,
                )
            )
        return total

    async def collect_if_due(self, kb: str | None = None) -> None:
        """Collect where the policy lets something go, in one knowledge base or in all. Never raises StudioError."""
        try:
            for base in await self._bases(kb):
                generations = await self._stores.thread.run(self._stores.catalog.generations, base.id)
                if plan(generations, retention_of(base, self._config), now_ms()).doomed:
                    await self.collect(base.id)
        except StudioError as error:
            log.warning("the collection of old generations failed: %s", error)

    async def collect_regularly(self, first_s: float = COLLECT_FIRST_AFTER_S, every_s: float = COLLECT_EVERY_S) -> None:
        """Collect what falls due with time (a minimum age, a reader that let go), until cancelled."""
        await asyncio.sleep(first_s)
        while True:
            await self.collect_if_due()
            await asyncio.sleep(every_s)

    async def doctor(self, *, repair: bool = False) -> list[Check]:
        """Check every invariant that can be checked; with `repair` mend what can be mended and check again."""
        if repair:
            await self._repair()
        checks = [await self._check_catalog()]
        for base in await self._bases(None):
            try:
                checks += await self._check_kb(base)
            except StudioError as error:
                checks.append(
                    Check(f"{base.name}: readable", False, error.full_message, "roll back to another generation")
                )
        checks.append(await self._check_orphans())
        checks.append(await self._check_models())
        return checks

    # ------------------------------------------------------------ checks

    async def _check_catalog(self) -> Check:
        result = await self._stores.thread.run(self._stores.catalog.integrity)
        return Check("catalog", result == "ok", result, "" if result == "ok" else "restore a backup")

    async def _check_kb(self, base: KnowledgeBase) -> list[Check]:
        store = self._stores.store(base.id)
        generations = await self.generations(base.id)
        active = [item.number for item in generations if item.state is GenerationState.ACTIVE]
        expected = [base.active_generation] if base.active_generation is not None else []
        checks = [
            Check(
                f"{base.name}: one active generation",
                active == expected,
                f"active: {active or 'none yet'}",
                "" if active == expected else "promote a generation",
            )
        ]
        building = [item.number for item in generations if item.state is GenerationState.BUILDING]
        # A build whose process is gone is not a fault: the next build discards it, and readers never see it.
        detail = f"interrupted or running: {building}" if building else "none"
        checks.append(Check(f"{base.name}: unfinished builds", True, detail))
        tags = (await store.vectors.tags()).values() if active else ()
        for item in generations:
            if item.state in (GenerationState.ACTIVE, GenerationState.ARCHIVED, GenerationState.READY):
                tagged = sum(tag_of(item.number) in names for names in tags)
                async with store.reading(item.number) as snapshot:
                    checks += await self._check_generation(base, store, snapshot, tagged)
        return checks

    async def _check_generation(
        self, base: KnowledgeBase, store: GenerationStore, snapshot: Snapshot, tagged: int
    ) -> list[Check]:
        generation = snapshot.generation
        title = f"{base.name}/{generation.number}"
        vector_ids = Counter(await snapshot.tables.chunk_ids())
        keyword_ids = Counter(await asyncio.to_thread(snapshot.lexical.chunk_ids))
        records = await snapshot.tables.documents()
        indexed = [record for record in records if record.status is DocumentStatus.INDEXED]
        bad = await snapshot.tables.bad_vectors()
        texts = {text_key(record.sha256, record.kind) for record in indexed}
        missing = await asyncio.to_thread(lambda: [key for key in texts if not (store.paths.texts / key).is_file()])
        expected_chunks = sum({record.document_id: record.chunks for record in indexed}.values())
        same = vector_ids == keyword_ids
        repeated = sum(count - 1 for count in vector_ids.values())
        counted = len(vector_ids) == generation.chunks == expected_chunks and len(indexed) == generation.documents
        return [
            Check(
                f"{title}: both indexes hold the same chunks", same and not repeated,
                f"{len(vector_ids)} vectors, {len(keyword_ids)} keyword entries, {repeated} repeated",
                "" if same else "doctor --repair rebuilds the keyword index",
            ),
            Check(
                f"{title}: counts agree with the catalog", counted,
                f"{len(indexed)} documents, {expected_chunks} chunks", "" if counted else "build a new generation",
            ),
            Check(f"{title}: vectors are finite", bad == 0, f"{bad} bad", "" if not bad else "build a new generation"),
            Check(f"{title}: tagged", tagged == 2, f"{tagged} of 2 tables", "" if tagged == 2 else "roll back"),
            Check(
                f"{title}: texts are there", not missing, f"{len(missing)} of {len(texts)} missing",
                "" if not missing else "ingest the documents again",
            ),
        ]  # fmt: skip

    async def _check_orphans(self) -> Check:
        known = {base.id for base in await self._bases(None)}
        orphans = await asyncio.to_thread(_orphans, self._stores.paths.root / "kb", known)
        return Check(
            "no orphaned files", not orphans, f"{len(orphans)} folders of deleted knowledge bases",
            "" if not orphans else "doctor --repair deletes them",
        )  # fmt: skip

    async def _check_models(self) -> Check:
        missing = []
        for name in sorted({base.settings.model for base in await self._bases(None)}):
            info = await asyncio.to_thread(self._models.find, name)
            if info is None or not info.installed:
                missing.append(name)
        detail = f"missing: {', '.join(missing)}" if missing else "all installed"
        return Check("models", not missing, detail, f"rag-studio model install {missing[0]}" if missing else "")

    # ------------------------------------------------------------ repair

    async def _repair(self) -> None:
        known = {base.id for base in await self._bases(None)}
        for path in await asyncio.to_thread(_orphans, self._stores.paths.root / "kb", known):
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        for base in await self._bases(None):
            store = self._stores.store(base.id)
            with await store.lock_for_writing(base.name):
                await store.recover()
                for item in await self.generations(base.id):
                    if item.state in (GenerationState.ACTIVE, GenerationState.ARCHIVED, GenerationState.READY):
                        await self._repair_lexical(store, item)
            store.release()

    async def _repair_lexical(self, store: GenerationStore, generation: Generation) -> None:
        """Rebuild a keyword index that cannot be opened or does not hold what the table holds."""
        tables = await store.vectors.reader(
            generation.chunks_table, generation.chunks_version, generation.documents_version
        )
        try:
            ids = set(await tables.chunk_ids())
            directory = store.paths.lexical_generation(generation.number)
            if await asyncio.to_thread(_keyword_ids, directory, generation.settings.language) == ids:
                return
            fresh = directory.with_name(directory.name + ".repair")
            rows = await tables.contents()
            await asyncio.to_thread(_rebuild_lexical, fresh, directory, generation.settings.language, rows)
        finally:
            tables.close()

    async def _archived(self, base: KnowledgeBase) -> list[int]:
        items = await self.generations(base.id)
        return [item.number for item in items if item.state is GenerationState.ARCHIVED]

    async def _bases(self, kb: str | None) -> list[KnowledgeBase]:
        if kb is not None:
            return [await self._stores.knowledge_base(kb)]
        return await self._stores.thread.run(self._stores.catalog.knowledge_bases)


def _orphans(folder: Path, known: set[str]) -> list[Path]:
    return [path for path in folder.iterdir() if path.name not in known] if folder.is_dir() else []


def _keyword_ids(directory: Path, language: str) -> set[str] | None:
    try:
        return set(LexicalReader(directory, language).chunk_ids())
    except StudioError:
        return None


def _rebuild_lexical(fresh: Path, directory: Path, language: str, rows: list[tuple[str, str, str]]) -> None:
    writer = LexicalWriter(fresh, language, None)
    writer.add_contents(rows)
    writer.seal()
    shutil.rmtree(directory, ignore_errors=True)
    fresh.rename(directory)
