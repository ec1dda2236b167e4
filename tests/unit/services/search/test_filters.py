"""Filters: which documents pass, whatever is asked; checked against the plain reading of every record."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePath

import pytest
import pytest_asyncio

from studio.domain import DocumentRecord, DocumentStatus
from studio.errors import InvalidRequest
from studio.index.generations import Stores
from studio.paths import DataPaths
from studio.services.library import path_like
from studio.services.search.dates import period
from studio.services.search.filters import MAX_VALUE_CHARS, DocumentFilters, check
from studio.services.search.values import field_is, folded, lies_in
from tests.helpers.toy import Bench, record_of

NOON = int(datetime(2020, 6, 15, 12, tzinfo=UTC).timestamp()) * 1_000_000_000


@pytest_asyncio.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Bench]:
    stores = await Stores.open(DataPaths(tmp_path / "data"))
    yield await Bench.create(stores)
    await stores.close()


async def fill(shelf: Bench, *records: DocumentRecord, delete: tuple[str, ...] = ()) -> None:
    build = await shelf.begin()
    await build.tables.delete_paths(delete)
    for record in records:
        await build.add_record(record)
    await build.flush()
    await shelf.promote(await shelf.store.seal(build))


def doc(name: str, path: str = "", **values: object) -> DocumentRecord:
    record = record_of(name, path or f"/docs/{name}.txt", 0)
    return replace(record, **{"mtime_ns": NOON, **values})


async def ids(shelf: Bench, key: str, value: str, filters: DocumentFilters | None = None) -> set[str]:
    async with shelf.store.reading() as snapshot:
        return set(await (filters or DocumentFilters(shelf.stores)).matching(snapshot, key, value))


LIBRARY = (
    doc("a", "/docs/reports/2024/Café.pdf", kind="pdf", title="Über Café-Kultur", author="Ann O'Neill",
        created="2024-05-06", metadata={"keywords": "Coffee; culture, Vienna", "Pages": "12", "lang": "de"}),
    doc("b", "/docs/reports/tea.MD", kind="markdown", title="Tea", created="6 May 2023", external_id="DOI-1",
        metadata={"tags": "tea", "pages": "300", "lang": "EN", "published": "2021-03-04"}),
    doc("c", "/docs/notes/rows.csv", kind="csv", title="Row 1", metadata={"pages": "7.5",
    "note": "50% of it's \"odd\""}),
    doc("d", "/docs/old reports/box.zip", kind="archive", external_id="inner/reports/deep.md", title="Deep"),
    doc("m", "/mail/hello.eml", kind="eml", title="coffee", metadata={"subject": "coffee, again", "from": "bo@x.org"}),
    doc("bad", "/docs/reports/bad.pdf", kind="pdf", status=DocumentStatus.FAILED, metadata={"lang": "de"}),
)  # fmt: skip


PASSES = (
    ("document", "a", "a"), ("document", "DOI-1", "b"), ("document", "doi-1", ""),
    ("folder", "/docs/reports", "ab"), ("folder", "/docs/reports/", "ab"), ("folder", "/docs", "abcd"),
    ("folder", "/doc", ""), ("folder", "reports", "abd"), ("folder", "reports/2024", "a"),
    ("folder", "docs/2024", ""),
    ("folder", "/reports", ""), ("folder", "/docs/old reports/box.zip", "d"), ("folder", "inner/reports", "d"),
    ("path", "*.md", "d"), ("path", "*.MD", "b"), ("path", "/docs/*/rows.csv", "c"), ("path", "rows.csv", "c"),
    ("path", "/docs/notes", ""), ("path", "r?ws.csv", "c"), ("path", "*.zip", "d"),
    ("path", "Cafe\u0301.pdf", "a"), ("path", "*Cafe\u0301*", "a"),
    ("title", "UBER CAFE", "a"), ("title", "uber  cafe", ""), ("title", "café", "a"), ("title", "*", ""),
    ("type", "pdf", "a"), ("type", ".PDF", "a"), ("type", "markdown", "b"), ("type", "md", "bd"),
    ("type", "archive", "d"), ("type", "f", ""), ("type", "csv", "c"),
    ("author", "o'neill", "a"), ("author", "ann", "a"), ("author", "' OR '1'='1", ""),
    ("tag", "coffee", "a"), ("tag", "CULTURE", "a"), ("tag", "c*", "a"), ("tag", "vien", ""), ("tags", "tea", "b"),
    ("after", "2024-05-06", "a"), ("after", "2024-05-07", ""), ("before", "2024-05-06", "bcdm"),
    ("after", "2024", "a"), ("before", "2024", "bcdm"), ("after", "2020-06-15", "abcdm"),
    ("after", "2023-05-07", "a"),
    ("before", "2020-06-16", "cdm"), ("before", "2020-06-15", ""), ("after", "2023-05", "ab"),
    ("lang", "de", "a"), ("LANG", "en", "b"), ("meta.lang", "De", "a"), ("lang", "d*", "a"), ("lang", "d?", ""),
    ("pages", "12", "a"), ("pages", "12.0", ""), ("pages", "=12.0", "a"), ("pages", ">=12", "ab"),
    ("pages", "<12", "c"), ("pages", "7..12", "ac"), ("pages", "..7.5", "c"), ("pages", "13..", "b"),
    ("pages", "> 12", "b"), ("pages", "<=7.4", ""), ("pages", ">=x", ""), ("pages", "[17]*", ""),
    ("published", ">=2021", "b"), ("published", "<=2021", "b"), ("published", "<2021", ""),
    ("published", ">2021", ""),
    ("published", "2021-03..2021-03", "b"), ("published", "2021-01..2021-02", ""),
    ("note", "50% of it's \"odd\"", "c"), ("note", "50%", ""), ("from", "*@x.org", "m"),
)  # fmt: skip
"""Key, value, and the documents that pass."""


async def test_what_passes(shelf: Bench) -> None:
    await fill(shelf, *LIBRARY)
    filters = DocumentFilters(shelf.stores)
    found = [(key, value, "".join(sorted(await ids(shelf, key, value, filters)))) for key, value, _ in PASSES]
    assert [row for row in found if row not in PASSES] == []


HOSTILE = (
    "'", '"', "''; DROP TABLE kb; --", "%", "_", "\\", "\0", "\ud800", "\x1b[2J", "[", "[!", "*" * 900, "(?:",
    "a" * 2_000_000,
    "*" * 2_000_000, "[" * 30_000, "*a" * 500 + "b", "\u202e", "..", "../..", ">=", "<", "=", "1e999..", "-0", "nan",
    "1" * 20_000,
)  # fmt: skip


async def test_hostile_values_are_values(shelf: Bench) -> None:
    await fill(shelf, *LIBRARY)
    filters = DocumentFilters(shelf.stores)
    for value in HOSTILE:
        for key in ("document", "folder", "title", "type", "author", "tag", "pages", "note"):
            found = await ids(shelf, key, value, filters)
            real = key in ("title", "author", "note") and value in ("'", '"', "%")
            assert not found or value == "*" * 900 or real, (key, value[:20])
        assert len(await ids(shelf, "path", value, filters)) in (0, 5), value[:20]
        for key in ("after", "before", value):
            with pytest.raises(InvalidRequest) as refused:
                await ids(shelf, key, value, filters)
            assert len(refused.value.full_message) < 600


def test_what_cannot_be_a_filter_is_refused() -> None:
    check([("anything", "goes"), ("after", "2024-05-06"), ("after", "7d"), ("title", "x" * 10**6)])
    for key, value in (("", "x"), (" ", "x"), ("type", ""), ("type", " \n"), ("after", "soon"), ("before", "2024-13")):
        with pytest.raises(InvalidRequest):
            check([(key, value)])


async def test_a_key_that_nothing_has_is_refused_with_those_there_are(shelf: Bench) -> None:
    await fill(shelf, *LIBRARY)
    for key in ("colour", "meta.colour", "meta.", "lang' --"):
        with pytest.raises(InvalidRequest, match="no filter") as refused:
            await ids(shelf, key, "red")
        assert "folder, path, title" in refused.value.full_message
        assert "lang" in refused.value.full_message
    await fill(shelf, doc("z", metadata={"Colour": "red", "type": "poem"}))
    assert await ids(shelf, "colour", "RED") == {"z"}
    assert await ids(shelf, "meta.type", "poem") == {"z"}
    assert await ids(shelf, "type", "poem") == set()


async def test_every_generation_and_every_tag_counts_at_once(shelf: Bench, tmp_path: Path) -> None:
    await fill(shelf, doc("a"), doc("b", metadata={"tags": "old"}))
    filters = DocumentFilters(shelf.stores)
    assert await ids(shelf, "title", "title of", filters) == {"a", "b"}
    assert await ids(shelf, "tag", "old", filters) == {"b"}
    other = await Stores.open(DataPaths(tmp_path / "data"))
    await other.catalog.tags.change(shelf.kb.id, ["/docs/a.txt"], add=["Old"])
    assert await ids(shelf, "tag", "old", filters) == {"a", "b"}
    await other.catalog.tags.change(shelf.kb.id, ["/docs/a.txt"], remove=["old"])
    await other.close()
    assert await ids(shelf, "tag", "old", filters) == {"b"}
    await fill(shelf, doc("c"), delete=("/docs/b.txt",))
    assert await ids(shelf, "title", "title of", filters) == {"a", "c"}
    assert await ids(shelf, "tag", "old", filters) == set()
    async with shelf.store.reading(1) as snapshot:
        assert await filters.matching(snapshot, "title", "title of") == {"a", "b"}
        assert await filters.count(snapshot) == 2


async def test_a_document_at_several_paths_passes_where_one_of_them_does(shelf: Bench) -> None:
    await fill(shelf, doc("a", "/x/a.txt"), doc("a", "/y/copy.txt"), doc("b", "/y/b.txt"))
    assert await ids(shelf, "folder", "/x") == {"a"}
    assert await ids(shelf, "path", "*copy*") == {"a"}
    async with shelf.store.reading() as snapshot:
        assert await DocumentFilters(shelf.stores).count(snapshot) == 2


async def test_answers_are_held_within_bounds(shelf: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.services.search.filters.ANSWERED_IDS", 3)
    monkeypatch.setattr("studio.services.search.filters.TABLES", 1)
    await fill(shelf, doc("a"), doc("b"))
    filters = DocumentFilters(shelf.stores)
    for _ in range(2):
        for value in ("title", "title of a", "of", "nothing", "OF B"):
            expected = {name for name in "ab" if value.lower() in f"title of {name}"}
            assert await ids(shelf, "title", value, filters) == expected
            held = filters._answers.values()
            assert sum(map(len, held)) == filters._held <= 3
    await fill(shelf, doc("c"))
    assert await ids(shelf, "title", "of", filters) == {"a", "b", "c"}
    assert len(filters._tables) == 1


# ---------------------------------------------------------------- against the plain reading


def plain(key: str, value: str) -> Callable[[DocumentRecord], bool]:
    """The filter as a person would write it for one record."""

    def passes(record: DocumentRecord) -> bool:
        path = PurePath(record.source_path)
        if key == "document":
            return value in (record.document_id, record.external_id)
        if key == "folder":
            return path.is_relative_to(value) if value.startswith("/") else value in path.parent.parts
        if key == "path":
            return path.match(value) if "/" not in value else record.source_path == value
        if key == "type":
            return value.lower() in (record.kind, path.suffix[1:].lower())
        if key in ("title", "author"):
            return value.lower() in (record.title if key == "title" else record.author).lower()
        if key == "tag":
            given = ",".join(record.metadata.get(name, "") for name in ("tags", "keywords")).lower()
            return value.lower() in [tag.strip() for tag in given.split(",")]
        if key in ("after", "before"):
            at = record.created or "2020-06-15"  # what is dated to the day compares as text
            return at >= value if key == "after" else at < value
        stated = record.metadata.get(key)
        if stated is None:
            return False
        if value[:2] == ">=":
            return stated.isdigit() and int(stated) >= int(value[2:])
        return stated.lower() == value.lower()

    return passes


async def test_random_filters_over_random_documents(shelf: Bench) -> None:
    dice = random.Random(7)
    names, words = ["ink", "oak", "sea", "sky", "ash"], ["red", "Blue", "green", "o'x", "50%", "[a]"]
    records = []
    for number in range(300):
        suffix = dice.choice([".pdf", ".md", ".TXT", ""])
        path = "/" + "/".join(dice.choices(names, k=dice.randint(1, 4))) + f"/{dice.choice(words)}{number}{suffix}"
        said = {name: dice.choice(words) for name in ("tags", "keywords", "colour") if dice.random() < 0.4}
        if dice.random() < 0.6:
            said["year"] = str(dice.randint(1998, 2003))
        day = f"{dice.randint(2018, 2022)}-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"
        records.append(
            doc(
                f"d{number}",
                path,
                kind=dice.choice(["pdf", "markdown", "text"]),
                title=" ".join(dice.choices(words, k=2)),
                author=dice.choice([*names, ""]),
                external_id=dice.choice(["", f"x{number % 50}"]),
                metadata=said,
                created=dice.choice(["", day]),
                status=dice.choice([DocumentStatus.INDEXED] * 9 + [DocumentStatus.FAILED]),
            )
        )
    await fill(shelf, *records)
    filters = DocumentFilters(shelf.stores)
    asked: list[tuple[str, list[str]]] = [
        ("document", [f"d{dice.randint(0, 320)}", f"x{dice.randint(0, 60)}"]),
        ("folder", [*names, *(f"/{name}" for name in names), "/ink/oak", "red"]),
        ("path", ["*.md", "*1*", "red?", records[5].source_path]),
        ("type", ["pdf", "md", "txt", "markdown", "TEXT"]),
        ("title", [*words, "d b", "ue re"]), ("author", [*names, "a"]), ("tag", [*words, "x"]),
        ("after", ["2019-01-01", "2020-06-15", "2021-11-30"]), ("before", ["2019-01-01", "2020-06-15", "2020-06-16"]),
        ("colour", [*words, "none"]), ("year", ["2000", ">=2000", ">=1990", "1"]),
    ]  # fmt: skip
    for _ in range(300):
        key, values = dice.choice(asked)
        value = dice.choice(values)
        passes = plain(key, value)
        expected = {item.document_id for item in records if item.status is DocumentStatus.INDEXED and passes(item)}
        assert await ids(shelf, key, value, filters) == expected, (key, value)


# ---------------------------------------------------------------- dates and comparisons


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024", "2024-01-01", "2025-01-01"), ("2024-02", "2024-02-01", "2024-03-01"),
        ("2024-12", "2024-12-01", "2025-01-01"),
        ("2024-02-29", "2024-02-29", "2024-03-01"), ("20240229", "2024-02-29", "2024-03-01"),
        ("2024/2/9", "2024-02-09", "2024-02-10"),
        ("2024-02-29T23:30:00-01:00", "2024-03-01T00:30:00", "2024-03-01T00:30:01"),
        ("29.2.2024", "2024-02-29", "2024-03-01"),
        ("2024-02-29T10:00:00Z", "2024-02-29T10:00:00", "2024-02-29T10:00:01"),
        ("May 6, 2024", "2024-05-06", "2024-05-07"),
        ("6 May 2024", "2024-05-06", "2024-05-07"), ("Monday, 6th May 2024", "2024-05-06", "2024-05-07"),
        ("September 2024", "2024-09-01", "2024-10-01"), ("2024-05-06 (draft)", "2024-05-06", "2024-05-07"),
        (" 2024 ", "2024-01-01", "2025-01-01"),
    ],
)  # fmt: skip
def test_dates_as_documents_write_them(text: str, first: str, last: str) -> None:
    bounds = tuple(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() for moment in (first, last))
    assert period(text) == bounds


@pytest.mark.parametrize(
    "text", ["", "soon", "2024-13", "2023-02-29", "1/2/2024", "20245", "0000", "9999", "99999999", "x 2024"]
)
def test_no_dates(text: str) -> None:
    assert period(text) is None


def test_small_print_of_comparisons() -> None:
    assert field_is("What?")("what?")
    assert not field_is("What?")("whatx")
    assert field_is("[a]*")("[A]nd")
    assert not field_is("[a]*")("and")
    assert field_is(">=2020")(">=2020")
    assert folded("ÀÉÎ ßẞ") == "aei ssss"
    assert path_like("[ab].txt")("/x/a.txt")
    assert path_like("[ab].txt")("/x/[ab].txt")
    assert not path_like("x*" * 600)("/" + "x" * 1300)
    assert not lies_in(".")("/a/b.txt")
    assert lies_in("/")("/a/b.txt")
    assert MAX_VALUE_CHARS > 4096


@pytest.mark.parametrize("folder", ["/docs/Bu\u0308cher", "B\u00fccher", "/docs/Bu\u0308cher/a.txt"])
def test_accents_may_be_apart_from_their_letters_in_paths(folder: str) -> None:
    for path in ("/docs/Bu\u0308cher/a.txt", "/docs/B\u00fccher/a.txt"):
        assert lies_in(folder)(path)
        assert path_like(folder + "*")(path) == folder.startswith("/")
