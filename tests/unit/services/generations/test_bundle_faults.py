"""Exports and imports that fail, are cancelled or refused: nothing is left of them, nothing else suffers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from studio.bootstrap import Services
from studio.domain import (
    KbSettings,
)
from studio.errors import BundleFault, Busy, Conflict, StorageFault
from studio.index.catalog import Catalog
from studio.index.files import try_lock
from studio.index.generations import Stores
from studio.services.generations import bundles, discard_dead_imports
from studio.ways_out import ExportAnother, ways_in
from tests.helpers.catalog_sql import catalog_sql
from tests.helpers.command import Program
from tests.helpers.handmade_bundles import material
from tests.helpers.hostile_bundles import HOSTILE

Write = Callable[[str, str], Path]


def stores_of(services: Services) -> Stores:
    return services.library._stores


async def nothing_more(services: Services, before: set[str]) -> None:
    """There is no trace of an import: no knowledge base, no files, no row."""
    stores = stores_of(services)
    assert {base.id for base in await services.library.list()} == before
    assert await stores.catalog.imports() == []
    folder = stores.paths.root / "kb"
    assert {path.name for path in folder.iterdir()} == before
    assert not list(stores.paths.root.rglob("evil*"))


async def test_places_that_cannot_be_written(services: Services, notes: str, file: Path) -> None:
    file.write_text("a file")
    for target in (file.parent / "missing" / "x", file / "x"):
        with pytest.raises(StorageFault, match="while writing a bundle") as caught:
            await services.bundles.export(notes, target)
        assert "another place" in caught.value.way_out


def test_a_full_disk_leaves_nothing(program: Program, folder: Path, file: Path) -> None:
    (folder / "a.txt").write_text("Something to read. " * 200)
    program.ok("kb", "create", "Notes")
    program.ok("ingest", "Notes", folder)
    outcome = program.run_apart("export", "Notes", file, file_limit_bytes=10_000)
    assert outcome.code == 1
    assert "while writing a bundle" in outcome.err
    assert [path.name for path in file.parent.iterdir() if "export" in path.name or path == file] == []
    assert program.ok("export", "Notes", file)
    outcome = program.run_apart("import", file, file_limit_bytes=10_000)
    assert outcome.code == 1
    assert [base["name"] for base in program.ok("kb", "list")] == ["Notes"]
    assert len(list((program.data_dir / "kb").iterdir())) == 1
    assert program.ok("import", file)
    assert program.ok("doctor")["ok"]


async def test_leftovers_of_killed_exports_go(services: Services, notes: str, file: Path) -> None:
    old, young = (file.parent / f".rag-studio-export-{name}.tmp" for name in ("old", "young"))
    for path in (old, young):
        path.write_text("half a bundle")
    os.utime(old, (1, 1))
    await services.bundles.export(notes, file)
    assert (old.exists(), young.exists()) == (False, True)


async def test_a_damaged_generation_is_not_exported(services: Services, notes: str, file: Path) -> None:
    texts = stores_of(services).store(notes).paths.texts
    text = next(texts.glob("*.markdown"))
    sound = text.read_bytes()
    text.write_bytes(sound[:50] + b"damage" + sound[56:])
    with pytest.raises(StorageFault, match="stored text is damaged"):
        await services.bundles.export(notes, file)
    text.unlink()
    with pytest.raises(StorageFault, match="is missing") as caught:
        await services.bundles.export(notes, file)
    assert ways_in(caught.value.way_out) == [ExportAnother()]
    assert not list(file.parent.glob("*ragbundle*"))


async def test_hostile_bundles_create_nothing(services: Services, tmp_path: Path) -> None:
    before = {base.id for base in await services.library.list()}
    refused = set()
    for number, (name, write) in enumerate(HOSTILE.items()):
        work = tmp_path / str(number)
        work.mkdir()
        write(work / "evil.bundle", work)
        with suppress(BundleFault):
            await services.bundles.load(work / "evil.bundle")
            continue
        refused.add(name)
    assert refused == HOSTILE.keys()
    await nothing_more(services, before)
    assert not Path("/tmp/evil").exists()
    material(tmp_path).write(tmp_path / "sound.bundle")
    assert (await services.bundles.load(tmp_path / "sound.bundle")).kb.documents == 3


async def test_cancelling_leaves_nothing(services: Services, notes: str, file: Path) -> None:
    await services.bundles.export(notes, file)
    steps: list[int] = []
    await services.bundles.load(file, "whole", lambda done, total: steps.append(done))
    before = {base.id for base in await services.library.list()}
    for at in range(0, len(steps) - 1, 2):
        seen: list[int] = []

        def cancel_at(done: int, total: int, at: int = at, seen: list[int] = seen) -> None:
            seen.append(done)
            if len(seen) == at + 1:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await asyncio.shield(asyncio.get_running_loop().create_task(services.bundles.load(file, None, cancel_at)))
        await nothing_more(services, before)
    target = file.with_name("cancelled")

    def cancel(done: int, total: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.get_running_loop().create_task(services.bundles.export(notes, target, progress=cancel))
    assert not target.exists()
    assert not list(file.parent.glob(".rag-studio-export-*"))


async def test_too_little_space_is_said_before_anything_happens(
    services: Services, notes: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await services.bundles.export(notes, file)
    monkeypatch.setattr(bundles, "SPACE_MARGIN_BYTES", 1 << 60)
    before = {base.id for base in await services.library.list()}
    with pytest.raises(StorageFault, match="MiB are free"):
        await services.bundles.load(file)
    await nothing_more(services, before)


async def test_a_name_taken_meanwhile(services: Services, notes: str, file: Path) -> None:
    await services.bundles.export(notes, file)
    stores = stores_of(services)
    taken = iter(("Notes 2", "Chosen"))
    created: set[str] = set()

    def take(done: int, total: int) -> None:
        if catalog_sql(stores.paths, "SELECT 1 FROM kb WHERE importing") and not created & {name}:
            created.add(name)
            with closing(Catalog(stores.paths.catalog)) as another:
                another.create_kb(name, KbSettings())

    name = next(taken)
    assert (await services.bundles.load(file, None, take)).kb.name == "Notes 2 2"
    name = next(taken)
    with pytest.raises(Conflict, match="Chosen"):
        await services.bundles.load(file, "Chosen", take)
    assert await stores.catalog.imports() == []
    assert sorted(base.name for base in await services.library.list()) == ["Chosen", "Notes", "Notes 2", "Notes 2 2"]


async def test_what_a_killed_import_left_is_removed(services: Services, notes: str, file: Path) -> None:
    await services.bundles.export(notes, file)
    stores = stores_of(services)
    before = {base.id for base in await services.library.list()}
    for clean in (lambda: discard_dead_imports(stores), lambda: services.bundles.load(file)):
        dead = await stores.catalog.begin_import("Dead", KbSettings())
        stores.paths.kb(dead.id).create()
        assert dead.name not in {base.name for base in await services.library.list()}
        lock = try_lock(stores.paths.import_lock, shared=False)
        assert lock is not None
        with lock:  # as an import in another process
            assert await discard_dead_imports(stores) == []
            with pytest.raises(Busy, match="Another import"):
                await services.bundles.load(file)
        assert stores.paths.kb(dead.id).root.exists()
        done = await clean()
        assert not stores.paths.kb(dead.id).root.exists()
        assert await stores.catalog.imports() == []
        if isinstance(done, list):
            assert done == [dead.id]
            await nothing_more(services, before)


async def test_an_export_keeps_its_generation_from_being_collected(
    services: Services, notes: str, folder: Path, write: Write, file: Path
) -> None:
    services.config.set("keep_generations", "0")
    whole = asyncio.Event()
    started = asyncio.Event()
    real = services.bundles._write

    async def slow(*arguments: object) -> object:
        started.set()
        await whole.wait()
        return await real(*arguments)

    services.bundles._write = slow
    task = asyncio.get_running_loop().create_task(services.bundles.export(notes, file))
    await started.wait()
    (folder / "whales.txt").unlink()
    (folder / "copy.txt").unlink()
    write("new.txt", "Something else.")
    assert (await services.ingest.ingest(notes, [folder])).promoted
    report = await services.maintenance.collect(notes)
    assert report.deleted == []
    whole.set()
    assert (await task).documents == 5
    assert (await services.bundles.verify(file)).generation == 1
    assert (await services.maintenance.collect(notes)).deleted == ["Notes/1"]
