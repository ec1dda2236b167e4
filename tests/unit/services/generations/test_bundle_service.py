"""Export, verify and import through the services, on real stores."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from studio.bootstrap import Services, open_services
from studio.domain import (
    GenerationState,
    KbSettings,
    ModelInfo,
    SearchMode,
    SearchRequest,
    SearchResponse,
)
from studio.errors import Conflict, InvalidRequest, NotFound
from studio.index.catalog import Catalog
from studio.index.generations import Stores
from studio.ways_out import InstallModel, ways_in

Write = Callable[[str, str], Path]

QUERIES = ("whales in the sea", "grand piano", "volcano eruption", '"green tea"')


@asynccontextmanager
async def another_machine(tmp_path: Path, model: ModelInfo | None = None) -> AsyncIterator[Services]:
    """Services on a data directory of their own, with the model or without any."""
    root = tmp_path / "other machine"
    if model is not None:
        assert model.path is not None
        (root / "models").mkdir(parents=True, exist_ok=True)
        for found in (model.path, model.path.with_suffix(".json")):
            try:
                os.link(found, root / "models" / found.name)
            except OSError:
                shutil.copy2(found, root / "models" / found.name)
    async with open_services(root) as opened:
        yield opened


async def ask(services: Services, kb: str, query: str, mode: SearchMode) -> SearchResponse:
    return await services.search.search(SearchRequest((kb,), query, mode))


def scores(response: SearchResponse) -> list[tuple[str, float]]:
    return [(result.chunk_id, pytest.approx(result.score, abs=1e-5)) for result in response.results]


def stores_of(services: Services) -> Stores:
    return services.library._stores


async def test_a_bundle_answers_like_the_original(
    services: Services, notes: str, file: Path, tmp_path: Path, default_model: ModelInfo
) -> None:
    exported = await services.bundles.export(notes, file)
    assert (exported.documents, exported.name, exported.generation) == (5, "Notes", 1)
    assert exported.bytes == file.stat().st_size
    async with another_machine(tmp_path, default_model) as other:
        assert await other.bundles.verify(file) == exported
        imported = await other.bundles.load(file)
        assert (imported.kb.name, imported.kb.documents, imported.kb.chunks) == ("Notes", 5, exported.chunks)
        assert imported.kb.settings == KbSettings(chunk_tokens=64, chunk_overlap=8)
        assert (imported.model_installed, imported.note) == (True, "")
        for query in QUERIES:
            for mode in SearchMode:
                ours, theirs = await ask(services, notes, query, mode), await ask(other, imported.kb.id, query, mode)
                assert ours.results
                assert theirs.degraded is None
                assert [(result.chunk_id, result.score) for result in theirs.results] == scores(ours)
                assert [result.citation for result in theirs.results] == [result.citation for result in ours.results]
        assert await other.library.documents(imported.kb.id) == await services.library.documents(notes)
        assert [check for check in await other.doctor.check() if not check.ok] == []
        (generation,) = await other.maintenance.generations(imported.kb.id)
        assert generation.note == "imported from notes.ragbundle: generation 1 of Notes"
        assert generation.state is GenerationState.ACTIVE
        document = next(item for item in await other.library.documents(imported.kb.id) if item.kind == "markdown")
        text = await other.search.document_text(imported.kb.id, generation.number, document.document_id)
        assert "eighty-eight keys" in text.text


async def test_an_import_needs_no_model(
    services: Services,
    notes: str,
    file: Path,
    tmp_path: Path,
    default_model: ModelInfo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await services.bundles.export(notes, file)
    monkeypatch.setattr(type(services.paths), "model_search_path", lambda paths: (paths.models,))
    async with another_machine(tmp_path) as other:
        imported = await other.bundles.load(file)
        assert not imported.model_installed
        assert "keywords only" in imported.note
        assert ways_in(imported.note) == [InstallModel("all-MiniLM-L6-v2")]
        found = await ask(other, "Notes", "grand piano", SearchMode.HYBRID)
        assert "grand piano" in found.results[0].content
        assert found.degraded is not None
    async with another_machine(tmp_path, default_model) as other:
        found = await ask(other, "Notes", "musical instrument with keys", SearchMode.VECTOR)
        assert found.degraded is None
        assert "grand piano" in found.results[0].content


async def test_the_model_is_known_by_its_content(
    services: Services,
    notes: str,
    file: Path,
    tmp_path: Path,
    default_model: ModelInfo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await services.bundles.export(notes, file)
    monkeypatch.setattr(type(services.paths), "model_search_path", lambda paths: (paths.models,))
    assert default_model.path is not None
    for renamed, content in (("my-own-name", default_model.sha256), (default_model.name, "f" * 64)):
        async with another_machine(tmp_path / renamed, default_model) as other:
            description = next(other.paths.models.glob("*.json"))
            text = description.read_text().replace(f'"{default_model.name}"', f'"{renamed}"')
            description.unlink()
            gguf = other.paths.models / f"{content}.gguf"
            next(other.paths.models.glob("*.gguf")).rename(gguf)
            gguf.with_suffix(".json").write_text(text.replace(default_model.sha256, content))
            imported = await other.bundles.load(file)
            assert imported.model_installed == (content == default_model.sha256)
            assert imported.kb.settings.model == renamed
            if imported.model_installed:
                assert (await ask(other, "Notes", "piano", SearchMode.VECTOR)).degraded is None
            else:
                assert "another file than the one installed here" in imported.note


async def test_names_are_made_unique_unless_one_is_given(services: Services, notes: str, file: Path) -> None:
    await services.bundles.export(notes, file)
    assert [(await services.bundles.load(file)).kb.name for _ in range(2)] == ["Notes 2", "Notes 3"]
    assert (await services.bundles.load(file, "Chosen")).kb.name == "Chosen"
    for name in ("notes", "CHOSEN", " Notes  2 "):
        with pytest.raises(Conflict, match="already"):
            await services.bundles.load(file.with_name("need not even exist"), name)
    with pytest.raises(InvalidRequest, match="comma"):
        await services.bundles.load(file, "a,b")
    with pytest.raises(NotFound, match="need not even exist"):
        await services.bundles.load(file.with_name("need not even exist"))


async def test_long_names_keep_their_number(services: Services, folder: Path, write: Write, file: Path) -> None:
    write("a.txt", "Something to read.")
    base = await services.library.create("n" * 120)
    await services.ingest.ingest(base.id, [folder])
    await services.bundles.export(base.id, file)
    assert (await services.bundles.load(file)).kb.name == "n" * 118 + " 2"


async def test_pinned_queries_and_an_older_generation(
    services: Services, notes: str, folder: Path, write: Write, file: Path
) -> None:
    stores = stores_of(services)
    await stores.catalog.pins.add(notes, "volcano", ["table.csv"], 3)
    write("new.txt", "A new document about glaciers.")
    await services.ingest.ingest(notes, [folder])
    exported = await services.bundles.export(notes, file, generation=1)
    assert (exported.generation, exported.documents, exported.pinned_queries) == (1, 5, 1)
    imported = await services.bundles.load(file)
    assert imported.kb.documents == 5
    (pin,) = await stores.catalog.pins.list(imported.kb.id)
    assert (pin.query, pin.must_find, pin.top) == ("volcano", ("table.csv",), 3)
    with pytest.raises(NotFound):
        await services.bundles.export(notes, file, generation=9, overwrite=True)


async def test_an_imported_knowledge_base_goes_on(services: Services, notes: str, folder: Path, file: Path) -> None:
    await services.bundles.export(notes, file)
    imported = await services.bundles.load(file)
    (folder / "piano.md").write_text("# Piano\n\nAn upright piano takes less room.")
    report = await services.ingest.ingest(imported.kb.id, [folder])
    assert (report.updated, report.unchanged, report.added, report.removed) == (1, 4, 0, 0)
    found = await ask(services, imported.kb.id, "upright", SearchMode.KEYWORD)
    assert "less room" in found.results[0].content
    assert [check for check in await services.doctor.check() if not check.ok] == []


async def test_a_generation_without_documents(services: Services, notes: str, folder: Path, file: Path) -> None:
    await services.ingest.remove(notes, [str(folder)])
    assert (await services.bundles.export(notes, file)).chunks == 0
    imported = await services.bundles.load(file)
    assert (imported.kb.documents, imported.kb.chunks) == (0, 0)
    assert (await ask(services, imported.kb.id, "piano", SearchMode.KEYWORD)).results == ()


async def test_a_knowledge_base_without_generations(services: Services, file: Path) -> None:
    await services.library.create("Empty")
    with pytest.raises(NotFound, match="is empty"):
        await services.bundles.export("Empty", file)
    assert not file.exists()


async def test_an_existing_file_is_kept_unless_asked(services: Services, notes: str, file: Path) -> None:
    file.write_text("precious")
    with pytest.raises(Conflict, match="already"):
        await services.bundles.export(notes, file)
    assert file.read_text() == "precious"
    await services.bundles.export(notes, file, overwrite=True)
    assert (await services.bundles.verify(file)).name == "Notes"
    with pytest.raises(InvalidRequest, match="is a folder"):
        await services.bundles.export(notes, file.parent, overwrite=True)
    assert sorted(path.name for path in file.parent.glob("*ragbundle*")) == [file.name]
    assert not list(file.parent.glob(".rag-studio-export-*"))


async def test_progress_rises_to_the_end(services: Services, notes: str, file: Path) -> None:
    for run in (
        lambda sink: services.bundles.export(notes, file, progress=sink),
        lambda sink: services.bundles.verify(file, sink),
        lambda sink: services.bundles.load(file, None, sink),
    ):
        seen: list[tuple[int, int]] = []
        await run(lambda done, total, seen=seen: seen.append((done, total)))
        assert len(seen) > 3
        assert seen == sorted(seen)
        assert seen[-1][0] == seen[-1][1] > 0
        assert len({total for _, total in seen}) == 1


async def test_an_unfinished_import_is_not_seen(services: Services, notes: str, file: Path) -> None:
    await services.bundles.export(notes, file)
    seen: set[tuple[str, ...]] = set()
    with closing(Catalog(stores_of(services).paths.catalog)) as another:
        await services.bundles.load(
            file, None, lambda done, total: seen.add(tuple(base.name for base in another.knowledge_bases()))
        )
    assert seen == {("Notes",), ("Notes", "Notes 2")}
