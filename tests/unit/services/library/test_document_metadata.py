"""What documents say about themselves on its way into the index, and the tags that people give them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.domain import DocumentRecord
from studio.errors import InvalidRequest, NotFound
from studio.services.library import TagCount, TagService
from studio.services.search.filters import DocumentFilters
from tests.helpers.toy import chunk_ids_of
from tests.helpers.ward import Write
from tests.unit.services.workbench import Bench

NOTE = "---\ntags: [sea, Music]\naudience: all\ndate: 2024-05-06\n---\nWhales sing.\n"


async def records(bench: Bench) -> dict[str, DocumentRecord]:
    found = await bench.library.documents("Toy")
    return {item.external_id or Path(item.source_path).name: item for item in found}


async def passing(bench: Bench, key: str, value: str) -> set[str]:
    kb = await bench.library.get("Toy")
    async with bench.stores.store(kb.id).reading() as snapshot:
        ids = await DocumentFilters(bench.stores).matching(snapshot, key, value)
    return {name for name, item in (await records(bench)).items() if item.document_id in ids}


def rows(folder: Path, years: list[int]) -> None:
    lines = [{"_id": f"r{n}", "text": f"Row {n} of all.", "year": year} for n, year in enumerate(years)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


async def test_metadata_is_kept_with_the_document_and_filtered_by(bench: Bench, folder: Path, write: Write) -> None:
    write("note.md", NOTE)
    rows(folder, [1999, 2020])
    await bench.ingest.ingest("Toy", [folder])
    note = (await records(bench))["note.md"]
    assert note.metadata == {"tags": "sea, Music", "audience": "all", "date": "2024-05-06"}
    assert await passing(bench, "tag", "music") == {"note.md"}
    assert await passing(bench, "year", ">=2000") == {"r1"}
    assert await passing(bench, "after", "2024-05-06") >= {"note.md"}
    assert await passing(bench, "before", "2024-05-07") == {"note.md"}
    kb = await bench.library.get("Toy")
    async with bench.stores.store(kb.id).reading() as snapshot:
        chunks = await snapshot.tables.chunks(await chunk_ids_of(snapshot.tables))
    assert not any("audience" in chunk.metadata or "year" in chunk.metadata for chunk in chunks.values())


async def test_a_row_gets_what_is_new_about_it_and_the_others_stay(bench: Bench, folder: Path) -> None:
    rows(folder, [1999, 2020, 2021])
    await bench.ingest.ingest("Toy", [folder])
    rows(folder, [1999, 2024, 2021])
    report = await bench.ingest.ingest("Toy", [folder])
    assert (report.generation, report.updated, report.unchanged, report.embedded) == (2, 1, 2, 1)
    assert (await records(bench))["r1"].metadata == {"year": "2024"}
    (folder / "rows.jsonl").write_text((folder / "rows.jsonl").read_text() + "\n")
    assert (await bench.ingest.ingest("Toy", [folder])).generation is None


async def test_a_rebuild_and_a_copy_keep_what_documents_say(bench: Bench, folder: Path, write: Write) -> None:
    write("note.md", NOTE)
    await bench.ingest.ingest("Toy", [folder])
    before = (await records(bench))["note.md"]
    (folder / "note.md").rename(folder / "moved.md")
    await bench.ingest.ingest("Toy", [folder])
    await bench.ingest.rebuild("Toy")
    after = (await records(bench))["moved.md"]
    assert (after.metadata, after.created) == (before.metadata, "2024-05-06")


async def test_tags_of_people_and_of_documents(bench: Bench, folder: Path, write: Write) -> None:
    write("note.md", NOTE)
    write("deep/plain.txt", "A piano.")
    rows(folder, [1999, 2020])
    await bench.ingest.ingest("Toy", [folder])
    tags = TagService(bench.stores, bench.library)
    assert await tags.counts("Toy") == [TagCount("Music", 1, 0), TagCount("sea", 1, 0)]
    changed = await tags.change("Toy", ["*.md", "r0", str(folder / "deep")], add=["  to  read ", "Ärger"])
    assert {Path(path).name: found for path, found in changed.items()} == dict.fromkeys(
        ("note.md", "rows.jsonl", "plain.txt"), ("to read", "Ärger")
    )
    assert await passing(bench, "tag", "TO READ") == {"note.md", "plain.txt", "r0", "r1"}
    assert await passing(bench, "tag", "arger") == {"note.md", "plain.txt", "r0", "r1"}
    await tags.change("Toy", ["note.md"], add=["SEA"], remove=["To Read", "never given"])
    assert await tags.counts("Toy", ["note.md"]) == [
        TagCount("Music", 1, 0),
        TagCount("SEA", 1, 1),
        TagCount("Ärger", 1, 1),
    ]
    assert [(item.tag, item.documents) for item in await tags.counts("Toy")][2] == ("to read", 3)
    with pytest.raises(NotFound, match="nowhere"):
        await tags.change("Toy", ["note.md", "nowhere.md"], add=["x"])
    assert await passing(bench, "tag", "x") == set()


@pytest.mark.parametrize("tag", ["", "  ", "x" * 101, "a\0b", "\ud800", "\x1b[2J"])
async def test_what_is_no_tag(bench: Bench, folder: Path, write: Write, tag: str) -> None:
    write("a.txt", "A piano.")
    await bench.ingest.ingest("Toy", [folder])
    tags = TagService(bench.stores, bench.library)
    for given in ({"add": ["fine", tag]}, {"remove": [tag]}):
        with pytest.raises(InvalidRequest, match="no tag"):
            await tags.change("Toy", ["a.txt"], **given)
    assert await tags.given("Toy") == {}
    with pytest.raises(InvalidRequest, match="Name the documents"):
        await tags.change("Toy", [], add=["fine"])
