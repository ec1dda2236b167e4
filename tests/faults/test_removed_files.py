"""Somebody deletes files while they are in use: the other side answers, labelled, or an error names the way out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from studio.bootstrap import Services
from studio.domain import SearchMode, SearchRequest, SearchResponse
from studio.errors import StorageFault
from studio.ways_out import RunRepair, ways_in
from tests.helpers.command import Program

WHALES, PIANOS = "Blue whales sing songs.", "Pianos are heavy and make songs."


@pytest.fixture
async def kb_root(services: Services, folder: Path) -> Path:
    """The folder of a knowledge base of two documents, each in a data file of its own."""
    kb = await services.library.create("Notes")
    for name, text in (("a.txt", WHALES), ("b.txt", PIANOS)):
        (folder / name).write_text(text)
        await services.ingest.ingest("Notes", [folder])
    return services.paths.kb(kb.id).root


async def ask(services: Services, query: str = "songs", mode: SearchMode = SearchMode.HYBRID) -> SearchResponse:
    return await services.search.search(SearchRequest(("Notes",), query, mode=mode))


def contents(response: SearchResponse) -> set[str]:
    return {result.content for result in response.results}


@pytest.mark.parametrize("mode", list(SearchMode))
async def test_without_the_keyword_index_vectors_answer(services: Services, kb_root: Path, mode: SearchMode) -> None:
    shutil.rmtree(kb_root / "lexical" / "g2")
    found = await ask(services, mode=mode)
    assert contents(found) == {WHALES, PIANOS}
    if mode is SearchMode.VECTOR:
        assert found.degraded is None
        return
    assert found.degraded is not None
    assert found.degraded.startswith("Vector results only: The keyword index ")
    assert ways_in(found.degraded) == [RunRepair()]
    await services.doctor.repair()
    assert (await ask(services, mode=mode)).degraded is None


async def test_an_open_keyword_index_outlives_its_files(services: Services, kb_root: Path) -> None:
    await ask(services)
    shutil.rmtree(kb_root / "lexical" / "g2")
    assert contents(await ask(services, mode=SearchMode.KEYWORD)) == {WHALES, PIANOS}


def oldest_data_file(kb_root: Path) -> Path:
    files = (kb_root / "vectors" / "chunks.lance" / "data").iterdir()
    return min(files, key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.parametrize("mode", list(SearchMode))
async def test_without_a_data_file_keywords_answer_with_the_rest(
    services: Services, kb_root: Path, tmp_path: Path, mode: SearchMode
) -> None:
    file = oldest_data_file(kb_root)
    shutil.move(file, tmp_path / "away")
    found = await ask(services, mode=mode)
    assert contents(found) == {PIANOS}
    assert found.degraded is not None
    label = "Some results are left out: " if mode is SearchMode.KEYWORD else "Keyword results only: "
    assert found.degraded.startswith(f"{label}A file of the vector tables is gone: ")
    assert file.name in found.degraded
    with pytest.raises(StorageFault, match="gone") as caught:
        await ask(services, "whales", mode)
    assert ways_in(caught.value.way_out) == [RunRepair()]

    shutil.move(tmp_path / "away", file)
    again = await ask(services, mode=mode)
    assert again.degraded is None
    assert contents(again) == {WHALES, PIANOS}


async def test_a_data_file_that_goes_in_the_middle_of_use_only_degrades(services: Services, kb_root: Path) -> None:
    assert (await ask(services)).degraded is None
    oldest_data_file(kb_root).unlink()
    assert (await ask(services)).degraded is None, "what was found a moment ago needs no file"
    services.search.forget()
    found = await ask(services)
    assert found.degraded is not None
    assert found.degraded.startswith("Keyword results only: ")
    assert PIANOS in contents(found)
    services.search.forget()
    assert contents(await ask(services)) == {PIANOS}, "what Lance remembered of the file is forgotten by now"


async def test_without_either_side_the_error_names_the_way_out(services: Services, kb_root: Path) -> None:
    shutil.rmtree(kb_root / "lexical" / "g2")
    for file in (kb_root / "vectors" / "chunks.lance" / "data").iterdir():
        file.unlink()
    for mode in SearchMode:
        with pytest.raises(StorageFault, match="gone") as caught:
            await ask(services, mode=mode)
        assert ways_in(caught.value.way_out) == [RunRepair()]


@pytest.mark.parametrize("opened_before", [True, False])
async def test_without_its_folder_a_knowledge_base_is_not_whole(
    services: Services, kb_root: Path, folder: Path, opened_before: bool
) -> None:
    if opened_before:
        await ask(services)
    shutil.rmtree(kb_root)
    services.search.forget()
    try:
        told = (await ask(services, "whales")).degraded or ""  # passages may have been copied to a file of the process
        assert opened_before
    except StorageFault as fault:
        told = fault.full_message
    assert "gone" in told
    assert RunRepair() in ways_in(told)
    with pytest.raises(StorageFault):
        await services.ingest.ingest("Notes", [folder / "a.txt", folder])

    await services.doctor.repair()
    assert contents(await ask(services)) == {WHALES, PIANOS}


async def test_a_removed_catalog_is_read_on_and_never_written(
    services: Services, kb_root: Path, folder: Path, tmp_path: Path
) -> None:
    catalog = services.paths.catalog
    for file in catalog.parent.glob("catalog.sqlite3*"):
        shutil.copy2(file, tmp_path / file.name)
        file.unlink()
    assert contents(await ask(services)) == {WHALES, PIANOS}
    (folder / "c.txt").write_text("Volcanoes are hot.")
    with pytest.raises(StorageFault, match="was removed while the program was using it"):
        await services.ingest.ingest("Notes", [folder])
    outcome = Program(services.paths.root).run("search", "Notes", "songs")
    assert outcome.code == 1
    assert "is gone, but the files of knowledge bases are there" in outcome.err
    assert not catalog.exists(), "an empty catalog was made beside the knowledge base"

    for file in tmp_path.glob("catalog.sqlite3*"):
        shutil.copy2(file, catalog.parent / file.name)
    assert (await services.ingest.ingest("Notes", [folder])).added == 1
    assert contents(await ask(services, "volcanoes", SearchMode.KEYWORD)) == {"Volcanoes are hot."}


def test_a_deletion_that_fails_stops_neither_a_promotion_nor_the_rest(program: Program, folder: Path) -> None:
    program.ok("kb", "create", "Notes")
    bound = Program(program.data_dir, bound=True)

    def ingest(version: int) -> None:
        (folder / "a.txt").write_text(f"Version {version} of it.")
        assert bound.ok("ingest", "Notes", folder)["promoted"]

    for version in (1, 2, 3):
        ingest(version)
    bound.ok("config", "set", "keep_generations", "0")
    (held,) = program.data_dir.glob("kb/*/lexical/g2")
    held.chmod(0o555)
    outcome = bound.run("--json", "gc")
    assert outcome.code == 1
    assert str(held) in outcome.err
    assert outcome.json["deleted"] == ["Notes/1"], "generation 2 comes first, and 1 all the same"
    ingest(4)
    states = {item["generation"]: item["state"] for item in bound.ok("generations", "Notes")}
    assert states == {4: "active", 2: "marked_for_deletion"}
    held.chmod(0o755)
    assert bound.ok("gc")["deleted"] == ["Notes/2"]
    assert not held.exists()
