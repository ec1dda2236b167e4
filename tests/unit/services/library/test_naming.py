"""What a person calls documents by: the rule itself, and that every command and filter reads names by it."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from studio.domain import DocumentRecord, SearchRequest
from studio.errors import InvalidRequest, NotFound, StudioError
from studio.index.catalog import Names, Renaming
from studio.services.library import Naming, TagService
from studio.services.quality import GateService
from studio.services.quality.judging import JudgingService
from studio.services.search import SearchService
from studio.services.search.filters import DocumentFilters
from tests.helpers.toy import record_of
from tests.unit.services.workbench import Bench, ToyProvider, Write


def inside(document: str, path: str, external_id: str, kind: str) -> DocumentRecord:
    return replace(record_of(document, path), external_id=external_id, kind=kind)


RECORDS = (
    record_of("w", "/home/docs/whale.md"),
    record_of("c", "/home/docs/copy/krill.txt"), record_of("c", "/home/docs/other/krill.txt"),
    record_of("1", "/home/docs/a/report.pdf"), record_of("2", "/home/docs/b/report.pdf"),
    record_of("n", "/home/docs/new.txt"), record_of("o", "/home/docs/old.txt"), record_of("m", "/home/docs/moved.txt"),
    record_of("s", "/home/docs/odd [1].txt"),
    inside("b1", "/home/box.zip", "notes/deep.md", "archive"), inside("b2", "/home/box.zip", "top.txt", "archive"),
    inside("b3", "/home/box.zip", "t.csv#4", "archive"),
    inside("p", "/home/pack.tar", "top.txt", "archive"),
    inside("r1", "/home/rows.jsonl", "first", "jsonl"), inside("r2", "/home/rows.jsonl", "same", "jsonl"),
    inside("q", "/home/more.jsonl", "same", "jsonl"),
    record_of("f", "/home/docs/first"),
)  # fmt: skip
MOVED = {
    "/home/docs/new.txt": ("/home/docs/before.txt",),
    "/home/docs/moved.txt": ("/home/docs/old.txt",),
    "/home/docs/old.txt": ("/home/docs/old.txt\n7",),
}
"""before.txt is called new.txt now; old.txt is called moved.txt, and another file lies in its place."""

MEANT = (
    ("w", "w"), ("first", "r1"), ("q", "q"),  # ids, before files of that name
    ("/home/docs/whale.md", "w"), ("docs/whale.md", "w"), ("./docs/../docs/whale.md", "w"), ("~/docs/whale.md", "w"),
    ("/home/docs/first", "f"), ("docs/odd [1].txt", "s"),
    ("/home/docs/a", "1"), ("docs/copy/", "c"), ("/home/docs", "w c 1 2 n o m s f"),
    ("/home/box.zip", "b1 b2 b3"), ("box.zip/notes/deep.md", "b1"), ("~/box.zip/notes", "b1"), ("box.zip/t.csv", "b3"),
    ("/home/pack.tar/top.txt", "p"), ("rows.jsonl/same", "r2"), ("/home/rows.jsonl", "r1 r2"),
    ("/home/docs/before.txt", "n"), ("/home/docs/old.txt", "o"), ("docs/moved.txt", "m"),
    ("whale.md", "w"), ("whale", "w"), ("deep.md", "b1"), ("notes/deep.md", "b1"), ("before.txt", "n"), ("new", "n"),
    ("box.zip", "b1 b2 b3"), ("box", "b1 b2 b3"), ("krill.txt", "c"), ("odd [1].txt", "s"), ("old.txt", "m"),
    ("*.md", "w b1"), ("*/b/*", "2"), ("docs/[ab]/*", "1 2"), ("~/docs/*.md", "w"), ("kril?.txt", "c"),
    ("/home/box.zip/*", "b1 b2 b3"),
)  # fmt: skip
"""A name, said in /home which is also home, and the ids of the documents it means."""

REFUSED = (
    ("report.pdf", InvalidRequest, "2 documents of the name “report.pdf”: “/home/docs/a/report.pdf” and “/home/docs/b"),
    ("report", InvalidRequest, "Name one by its id or its whole path."),
    ("top.txt", InvalidRequest, "“/home/box.zip/top.txt” and “/home/pack.tar/top.txt”"),
    ("same", InvalidRequest, "“/home/more.jsonl/same” and “/home/rows.jsonl/same”"),
    ("wale.md", NotFound, "has no document “wale.md”. Did you mean “whale.md”"),
    ("docs/WHALE.MD", NotFound, "Did you mean “whale.md”"), ("b.txt/whale.md", NotFound, "Did you mean “whale.md”"),
    ("frist", NotFound, "Did you mean “first”"),
    ("xyzzy", NotFound, "“xyzzy”. Name documents by id, path, file name, or a pattern such as *.pdf."),
    ("", NotFound, "“”"), ("  ", NotFound, "no document"), ("/", NotFound, "no document"),
    ("W", NotFound, "no document"), ("*.doc", NotFound, "no document"), ("box.zip/to", NotFound, "no document"),
    ("~\0", NotFound, "no document"), ("\ud800", NotFound, "no document"), ("a" * 100_000, NotFound, "no document"),
    ("*a" * 600, NotFound, "no document"), ("/home/doc", NotFound, "no document"),
)  # fmt: skip


@pytest.fixture
def documents(monkeypatch: pytest.MonkeyPatch) -> Naming[DocumentRecord]:
    monkeypatch.setenv("HOME", "/home")
    monkeypatch.setattr("os.getcwd", lambda: "/home")
    names = Names(MOVED)
    return Naming(RECORDS, Renaming(names, names), "Care")


def test_what_a_name_means(documents: Naming[DocumentRecord]) -> None:
    found = [(name, {record.document_id for record in documents.meant(name).documents}) for name, _ in MEANT]
    assert found == [(name, set(ids.split())) for name, ids in MEANT]


@pytest.mark.parametrize(("name", "kind", "said"), REFUSED, ids=[name[:20].strip("\0\ud800") for name, _, _ in REFUSED])
def test_what_a_name_does_not_mean(
    documents: Naming[DocumentRecord], name: str, kind: type[StudioError], said: str
) -> None:
    with pytest.raises(kind) as refused:
        documents.meant(name)
    assert said in refused.value.full_message


def test_a_copy_is_named_by_its_path_alone_and_by_its_id_with_the_others(documents: Naming[DocumentRecord]) -> None:
    paths = ["/home/docs/copy/krill.txt", "/home/docs/other/krill.txt"]
    for name, places in (("c", paths), ("krill.txt", paths), (paths[0], paths[:1])):
        assert [record.source_path for record in documents.single(name).documents] == places


def test_where_one_is_wanted_the_documents_of_a_file_are_listed(documents: Naming[DocumentRecord]) -> None:
    for name in ("rows.jsonl", "/home/rows.jsonl", "row?.jsonl"):
        with pytest.raises(
            InvalidRequest, match=r"2 documents.*“/home/rows\.jsonl/first” and “/home/rows\.jsonl/same”"
        ):
            documents.single(name)
    with pytest.raises(InvalidRequest, match=r"9 documents.*and 5 more"):
        documents.single("/home/docs")


def test_what_was_found_can_be_named_anywhere(
    documents: Naming[DocumentRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("docs/whale.md", "docs/[ab]/*", "deep.md", "rows.jsonl", "whale", "docs")
    found = [documents.meant(name) for name in names]
    monkeypatch.setattr("os.getcwd", lambda: "/elsewhere")
    for item in found:
        assert documents.find(item.name).documents == item.documents
        again = [record for place in documents.places(item) for record in documents.find(place).documents]
        assert len(again) == len(item.documents) and all(record in item.documents for record in again)


async def test_every_command_and_filter_reads_names_alike(
    bench: Bench, folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("whale.md", "The blue whale sings.")
    write("a/report.txt", "A report on pianos.")
    write("b/report.txt", "Another report, on organs.")
    write("rows.jsonl", json.dumps({"_id": "r7", "text": "Row seven."}))
    with zipfile.ZipFile(folder / "box.zip", "w") as box:
        box.writestr("deep/note.txt", "A note on glaciers.")
        box.writestr("other.txt", "A note on volcanoes.")
    await bench.ingest.ingest("Toy", [folder])
    monkeypatch.chdir(folder)
    kb, stores = await bench.library.get("Toy"), bench.stores
    search = SearchService(stores, ToyProvider(bench.toy))
    tags, gate, judging = TagService(stores, bench.library), GateService(stores, search), JudgingService(stores)
    where = {(item.source_path, item.external_id): item.document_id for item in await bench.library.documents("Toy")}
    whale = {where[str(folder / "whale.md"), ""]}
    note = {where[str(folder / "box.zip"), "deep/note.txt"]}
    row = {where[str(folder / "rows.jsonl"), "r7"]}
    expected = {"whale": whale, "./whale.md": whale, "w*.md": whale, "box.zip/deep": note, "note.txt": note, "r7": row}

    async with stores.store(kb.id).reading() as snapshot:
        for name, ids in expected.items():
            assert await DocumentFilters(stores).matching(snapshot, "document", name) == ids, name
            await tags.change("Toy", [name], add=[f"tag of {name}"])
            found = await DocumentFilters(stores).matching(snapshot, "tag", f"tag of {name}")
            assert ids == found or (ids == note and ids < found), name  # a tag belongs to a whole file
            judged = await judging.judge("Toy", f"query of {name}", name)
            assert set(await judging.grades("Toy", judged.query, list(where.values()))) == ids, name
            assert (await judging.unjudge("Toy", judged.query, name)).judgments == {}
            pin = await gate.add("Toy", f"query of {name}", [name], top=100)
            monkeypatch.chdir("/")
            (outcome,) = (await gate.check("Toy")).queries
            monkeypatch.chdir(folder)
            assert outcome.passed, name
            await gate.remove("Toy", pin.id)

    for name, kind in (("report.txt", InvalidRequest), ("wale", NotFound)):
        refused = []
        for command in (
            tags.change("Toy", [name], add=["x"]), gate.add("Toy", "q", [name]), judging.judge("Toy", "q", name),
            bench.ingest.remove("Toy", [name]),
        ):  # fmt: skip
            with pytest.raises(kind) as refusal:
                await command
            refused.append(refusal.value.full_message)
        assert len(set(refused)) == 1
        response = await search.search(SearchRequest(("Toy",), "report", filters=(("document", name),)))
        assert response.notes == (refused[0],)  # a search harms nothing: it takes all that are called so
        assert len(response.results) == (2 if kind is InvalidRequest else 0)

    for name in ("w*.md", "note.txt", "r7"):
        before = {item.document_id for item in await bench.library.documents("Toy")}
        await bench.ingest.remove("Toy", [name])
        after = {item.document_id for item in await bench.library.documents("Toy")}
        assert before - after == expected[name]
