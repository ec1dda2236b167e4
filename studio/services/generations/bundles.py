"""Bundles: a generation goes to one file, and comes back as a knowledge base, also on another machine.

An import verifies the whole file first, then builds a knowledge base that is hidden, and shows it with its
generation active in one transaction. Under the import lock there is at most one such knowledge base, so the one that
holds the lock may delete what an interrupted import left.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import studio
from studio.concurrency import run_to_end
from studio.documents.texts import check_texts
from studio.domain import KnowledgeBase, ModelIdentity
from studio.embedding.models import ModelCatalog
from studio.errors import Busy, Conflict, InvalidRequest, InvariantViolated, StorageFault, storage_fault
from studio.failpoints import reach
from studio.index.bundle import BUNDLE_VERSION, BundleReader, BundleWriter, Census, Manifest, Unsound
from studio.index.catalog import MAX_NAME_LENGTH, checked_name
from studio.index.clock import now_ms
from studio.index.files import FileLock, try_lock
from studio.index.generations import Build, Snapshot, Stores
from studio.index.vectors import CHUNK_CONTENT
from studio.private import hand_over
from studio.replacing import publish
from studio.services.generations.steps import ByteProgress, Meter, in_steps, opened
from studio.ways_out import AnotherDataFolder, AnotherFile, ExportAnother, InstallModel

__all__ = ["BundleInfo", "BundleService", "ByteProgress", "Imported", "discard_dead_imports"]

ROWS_PER_BATCH = 256
"""As many as a thread turns into Python values without holding the interpreter for more than some milliseconds."""
SPACE_FACTOR = 1.5
SPACE_MARGIN_BYTES = 64 << 20
"""An import takes as much disk as the file, half of it again for its indexes, and this."""
STALE_AFTER_S = 3600.0
_TEMPORARY = ".rag-studio-export-"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """A bundle and what is in it. `sha256` is that of the whole file, `version` its format's, `created_ms` when it
    was exported, since the epoch, by that version of the `program`.
    """

    file: Path
    bytes: int
    sha256: str
    version: int
    program: str
    created_ms: int
    name: str
    generation: int
    documents: int
    chunks: int
    model: ModelIdentity
    pinned_queries: int


@dataclass(frozen=True, slots=True)
class Imported:
    """A knowledge base made from a bundle. `note` says what does not work without the model, "" if it is there."""

    bundle: BundleInfo
    kb: KnowledgeBase
    generation: int
    model_installed: bool
    note: str


class BundleService:
    """Exports, verifies and imports."""

    def __init__(self, stores: Stores, models: ModelCatalog) -> None:
        self._stores = stores
        self._models = models

    # ------------------------------------------------------------ export

    async def export(
        self,
        kb: str,
        file: Path,
        generation: int | None = None,
        *,
        overwrite: bool = False,
        progress: ByteProgress | None = None,
    ) -> BundleInfo:
        """Write the active generation, or another, to one file, which appears whole or not at all.

        Raises NotFound, Conflict when the file is there and `overwrite` is not set, StorageFault.
        """
        base = await self._stores.knowledge_base(kb)
        file = file.expanduser().absolute()
        temporary = file.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}.tmp")
        try:
            await asyncio.to_thread(_check_target, file, overwrite=overwrite)
            async with self._stores.store(base.id).reading(generation) as snapshot:
                info = await self._write(base, snapshot, temporary, progress)
            reach("export.written")
            await run_to_end(_publish, temporary, file, overwrite=overwrite)
        except OSError as error:
            raise StorageFault(
                str(storage_fault(error, "writing a bundle", file)),
                way_out="Free some space there, or choose another place for the file.",
            ) from error
        except Unsound as error:
            raise StorageFault(
                f"This generation of “{base.name}” is damaged and cannot be exported: {error}.",
                way_out=ExportAnother(),
            ) from error
        finally:
            await run_to_end(_remove, temporary)
        return replace(info, file=file)

    async def _write(
        self, base: KnowledgeBase, snapshot: Snapshot, temporary: Path, progress: ByteProgress | None
    ) -> BundleInfo:
        generation = snapshot.generation
        if generation.model is None:
            raise InvariantViolated(f"Generation {generation.number} does not say which model made it.")
        pins = await self._stores.catalog.pins.list(base.id, generation.number)
        manifest = Manifest(
            program=studio.__version__, name=base.name, generation=generation.number, settings=generation.settings,
            model=generation.model, documents=generation.documents, chunks=generation.chunks, created_ms=now_ms(),
            pins=tuple(pins),
        )  # fmt: skip
        dimension = generation.model.dimension
        writer = await opened(lambda: BundleWriter(temporary, dimension))
        try:
            records = await snapshot.tables.documents()
            for first in range(0, len(records), ROWS_PER_BATCH):
                await run_to_end(writer.add_documents, records[first : first + ROWS_PER_BATCH])
            texts = await asyncio.to_thread(_sizes, self._stores.paths.kb(base.id).texts, writer.census.texts)
            content = generation.chunks * dimension * 4 + sum(texts.values())
            meter = Meter(progress, 2 * content)
            await run_to_end(writer.begin_chunks, generation.chunks)
            async with aclosing(snapshot.tables.batches(CHUNK_CONTENT, ROWS_PER_BATCH)) as batches:
                async for batch in batches:
                    await run_to_end(writer.add_chunks, batch)
                    meter.add(batch.num_rows * dimension * 4)
            await run_to_end(writer.end_chunks, generation.documents, generation.chunks)
            for path, size in texts.items():
                async for done in in_steps(_copy_text(writer, path, size)):
                    meter.add(done)
            share = content / max(1, writer.size)
            async for done in in_steps(writer.finish(manifest)):
                meter.add(done * share)
            meter.finish()
        finally:
            await run_to_end(writer.close)
        size = (await asyncio.to_thread(temporary.stat)).st_size
        return _info(temporary, size, writer.sha256, manifest)

    # ------------------------------------------------------------ verify

    async def verify(self, file: Path, progress: ByteProgress | None = None) -> BundleInfo:
        """Check every checksum and every row of a bundle. Raises BundleFault, NotFound, StorageFault."""
        reader = await _reader(file)
        try:
            meter = Meter(progress, 2 * reader.size)
            info = await _verified(reader, meter)
            meter.finish()
            return info
        finally:
            await run_to_end(reader.close)

    # ------------------------------------------------------------ import

    async def load(self, file: Path, name: str | None = None, progress: ByteProgress | None = None) -> Imported:
        """Make a knowledge base of a bundle, called `name`, or as in the bundle, with a number if that is taken.

        Nothing is embedded and the model need not be installed. Everything is verified before anything is created;
        an import that fails or is cancelled leaves nothing. Raises BundleFault, NotFound, InvalidRequest, Conflict
        when `name` is taken, Busy while another import runs, StorageFault.
        """
        if name is not None:
            await self._refuse_taken(name)
        reader = await _reader(file)
        try:
            await asyncio.to_thread(_check_space, self._stores.paths.root, reader)
            meter = Meter(progress, 3 * reader.size)
            info = await _verified(reader, meter)
            with _lock_imports(self._stores):
                await _discard_imports(self._stores)
                try:
                    imported = await self._import(reader, info, name, meter)
                except BaseException:
                    await _discard_imports(self._stores)
                    raise
        finally:
            await run_to_end(reader.close)
        reach("import.done")
        meter.finish()
        return imported

    async def _import(self, reader: BundleReader, info: BundleInfo, name: str | None, meter: Meter) -> Imported:
        manifest = reader.manifest
        model, note = await asyncio.to_thread(self._find_model, manifest)
        settings = replace(manifest.settings, model=model)
        wanted = name or await self._free_name(manifest.name)
        kb = await self._stores.catalog.begin_import(wanted, settings)
        reach("import.registered")
        store = self._stores.store(kb.id)
        try:
            await asyncio.to_thread(store.paths.create)
        except OSError as error:
            raise storage_fault(error, "creating the knowledge base", store.paths.root) from error
        with await store.lock_for_writing(wanted):
            build = await store.begin(
                kb, manifest.model,
                note=f"imported from {info.file.name}: generation {info.generation} of {info.name}",
            )  # fmt: skip
            try:
                async for _ in in_steps(reader.copy_texts(store.paths.texts)):
                    meter.at(reader.done_bytes)
                reach("import.texts")
                await self._fill(build, reader, meter)
                await build.flush()
                reach("import.written")
                generation = await store.seal(build)
            except BaseException:
                await build.abandon("The import was interrupted.")
                raise
        reach("import.sealed")
        if (generation.documents, generation.chunks) != (manifest.documents, manifest.chunks):
            raise InvariantViolated(f"{generation.chunks} of {manifest.chunks} chunks were imported.")
        await self._stores.catalog.pins.load(kb.id, manifest.pins)
        kb = await self._show(kb.id, wanted, generation.number, renamed=name is None)
        return Imported(info, kb, generation.number, not note, note)

    async def _fill(self, build: Build, reader: BundleReader, meter: Meter) -> None:
        census = Census()
        async for records in in_steps(reader.documents(census)):
            for record in records:
                await build.add_record(record)
            meter.at(reader.done_bytes)
        async for chunks, vectors in in_steps(reader.chunks(census)):
            await build.add_chunks(chunks, vectors)
            meter.at(reader.done_bytes)

    async def _show(self, kb_id: str, name: str, number: int, *, renamed: bool) -> KnowledgeBase:
        """Finish the import; where the name may be chosen, under the next one when it was taken meanwhile."""
        while True:
            try:
                return await self._stores.catalog.finish_import(kb_id, name, number)
            except Conflict:
                if not renamed:
                    raise
                name = await self._free_name(name)

    async def _refuse_taken(self, name: str) -> None:
        name = checked_name(name).casefold()
        for kb in await self._stores.catalog.knowledge_bases():
            if kb.name.casefold() == name:
                raise Conflict(f"There is a knowledge base “{kb.name}” already.", way_out="Choose another name.")

    async def _free_name(self, name: str) -> str:
        """The name itself, or with the first number from 2 on that makes it unique."""
        bases = await self._stores.catalog.knowledge_bases()
        taken = {kb.name.casefold() for kb in bases}
        endings = ("" if number == 1 else f" {number}" for number in count(1))
        names = (f"{name[: MAX_NAME_LENGTH - len(ending)].rstrip()}{ending}" for ending in endings)
        return next(candidate for candidate in names if candidate.casefold() not in taken)

    def _find_model(self, manifest: Manifest) -> tuple[str, str]:
        """What the model is called here, and what to say when it is not here."""
        wanted = manifest.model
        installed = [info for info in self._models.list() if info.installed]
        for info in sorted(installed, key=lambda info: info.name != manifest.settings.model):
            if info.sha256 == wanted.sha256:
                return info.name, ""
        if any(info.name == manifest.settings.model for info in installed):
            why = f"The model {wanted.name} that made the vectors is another file than the one installed here."
            way_out = f"Install the file with the SHA-256 {wanted.sha256}."
        else:
            why = f"The model {wanted.name} that made the vectors is not installed."
            way_out = str(InstallModel(wanted.name))
        return manifest.settings.model, f"{why} Search finds by keywords only. {way_out}"


async def discard_dead_imports(stores: Stores) -> list[str]:
    """Delete what interrupted imports left, unless an import runs just now; returns the ids of what was deleted."""
    lock = try_lock(stores.paths.import_lock, shared=False)
    if lock is None:
        return []
    with lock:
        return await _discard_imports(stores)


async def _discard_imports(stores: Stores) -> list[str]:
    """Under the import lock nothing that is still invisible is alive."""
    dead = []
    for kb_id in await stores.catalog.imports():
        if stores.paths.kb(kb_id).description.exists():
            continue  # it was finished, and the catalog is older than that
        dead.append(kb_id)
        log.warning("deleting %s, whose import did not come to its end", kb_id)
        await stores.forget(kb_id)
    return dead


def _lock_imports(stores: Stores) -> FileLock:
    lock = try_lock(stores.paths.import_lock, shared=False)
    if lock is None:
        raise Busy("Another import is running.", way_out="Wait for it to finish and try again.")
    return lock


async def _reader(file: Path) -> BundleReader:
    return await opened(lambda: BundleReader(file.expanduser().absolute(), check_texts))


async def _verified(reader: BundleReader, meter: Meter) -> BundleInfo:
    async for _ in in_steps(reader.verify()):
        meter.at(reader.done_bytes)
    return _info(reader.path, reader.size, reader.sha256, reader.manifest)


# ---------------------------------------------------------------- blocking pieces


def _check_target(file: Path, *, overwrite: bool) -> None:
    if file.is_dir():
        raise InvalidRequest(f"“{file}” is a folder.", way_out="Name a file to write.")
    if file.exists() and not overwrite:
        raise Conflict(f"There is a file “{file}” already.", way_out=AnotherFile())
    for left in file.parent.glob(f"{_TEMPORARY}*.tmp"):  # by exports that were killed
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_AFTER_S:
                left.unlink()


def _publish(temporary: Path, file: Path, *, overwrite: bool) -> None:
    if not overwrite and file.exists():
        raise Conflict(f"A file “{file}” appeared meanwhile.", way_out="Choose another name.")
    hand_over(temporary)
    publish(temporary, file)


def _remove(temporary: Path) -> None:
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def _sizes(directory: Path, keys: Collection[str]) -> dict[Path, int]:
    """Stored texts with their sizes in bytes."""
    found = {}
    for key in sorted(keys):
        path = directory / key
        if not path.is_file():
            raise Unsound(f"the stored text {key} is missing")
        found[path] = path.stat().st_size
    return found


def _copy_text(writer: BundleWriter, path: Path, size: int) -> Iterator[int]:
    with path.open("rb") as file:
        try:
            for _ in check_texts(file, size, writer.census.texts[path.name]):
                yield 0
        except StorageFault as error:
            raise Unsound(f"{str(error).rstrip('.')} ({path.name})") from error
        file.seek(0)
        yield from writer.add_text(path.name, file)


def _check_space(directory: Path, reader: BundleReader) -> None:
    needed = int(reader.size * SPACE_FACTOR) + SPACE_MARGIN_BYTES
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise StorageFault(
            f"Importing “{reader.path}” needs about {needed >> 20:,} MiB; {free >> 20:,} MiB are free in {directory}.",
            way_out=AnotherDataFolder("Free some space,"),
        )


def _info(file: Path, size: int, sha256: str, manifest: Manifest) -> BundleInfo:
    return BundleInfo(
        file=file, bytes=size, sha256=sha256, version=BUNDLE_VERSION, program=manifest.program,
        created_ms=manifest.created_ms, name=manifest.name, generation=manifest.generation,
        documents=manifest.documents, chunks=manifest.chunks, model=manifest.model,
        pinned_queries=len(manifest.pins),
    )  # fmt: skip
