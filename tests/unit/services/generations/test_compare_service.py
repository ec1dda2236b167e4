from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from studio.bootstrap import Services
from studio.config import Config
from studio.documents.pool import ParserPool
from studio.domain import (
    Citation,
    DocumentRecord,
    DocumentStatus,
    Embedder,
    Explanation,
    ModelInfo,
    SearchMode,
    SearchResult,
    Vectors,
)
from studio.errors import InvalidRequest, ModelFault, NotFound
from studio.index.generations import Stores
from studio.paths import DataPaths
from studio.services.generations import CompareService, Promotion
from studio.services.generations.compare import compare_documents, compare_hits, read_questions
from studio.services.ingest import IngestService
from studio.services.jobs import JobQueue, Requests
from studio.services.library import LibraryService
from studio.services.quality import GateService
from studio.services.search import SearchService
from tests.helpers.toy import record_of

Write = Callable[[str, str], Path]


# ------------------------------------------------------------ documents


def row_of(document: str, path: str, external_id: str, row: int) -> DocumentRecord:
    return replace(record_of(document, path), kind="jsonl", external_id=external_id, row=row)


def test_documents_come_go_change_and_move() -> None:
    before = [record_of("same", "/a"), record_of("old", "/b", 2), record_of("gone", "/c"), record_of("m", "/d/x")]
    after = [record_of("same", "/a"), record_of("new", "/b", 5), record_of("fresh", "/e"), record_of("m", "/f/x")]
    changes = compare_documents(before, after)
    assert [(item.path, item.document_id, item.title, item.chunks) for item in changes.added] == [
        ("/e", "fresh", "Title of fresh", 1)
    ]
    assert [item.path for item in changes.removed] == ["/c"]
    (changed,) = changes.changed
    assert (changed.path, changed.document_id_before, changed.document_id) == ("/b", "old", "new")
    assert (changed.chunks_before, changed.chunks) == (2, 5)
    (moved,) = changes.moved
    assert (moved.path_before, moved.path, moved.document_id) == ("/d/x", "/f/x", "m")
    assert changes.unchanged == 1


def test_a_failed_document_is_not_there() -> None:
    failed = replace(record_of("f", "/a"), status=DocumentStatus.FAILED)
    assert [item.path for item in compare_documents([failed], [record_of("d", "/a")]).added] == ["/a"]
    assert [item.path for item in compare_documents([record_of("d", "/a")], [failed]).removed] == ["/a"]
    assert compare_documents([failed], [failed]).unchanged == 0


def test_copies_move_one_by_one() -> None:
    before = [record_of("d", "/a/x"), record_of("d", "/a/y"), record_of("d", "/a/z")]
    after = [record_of("d", "/a/x"), record_of("d", "/b/1"), record_of("d", "/b/2"), record_of("d", "/b/z")]
    changes = compare_documents(before, after)
    assert [(item.path_before, item.path) for item in changes.moved] == [("/a/y", "/b/1"), ("/a/z", "/b/z")]
    assert [item.path for item in changes.added] == ["/b/2"]
    assert (changes.removed, changes.changed, changes.unchanged) == ((), (), 1)


def test_rows_of_a_table_are_documents() -> None:
    keys = ["a", "b", "twice", "twice"]
    before = [row_of(str(n), "/t", key, n) for n, key in enumerate(keys, start=1)]
    after = [row_of("1", "/t", "a", 1), row_of("9", "/t", "b", 2), row_of("4", "/t", "twice", 3)]
    changes = compare_documents(before, after)
    assert [(item.key, item.document_id) for item in changes.changed] == [("b", "9")]
    assert [(item.key, item.document_id) for item in changes.removed] == [("twice", "3")]
    assert changes.unchanged == 2
    assert not (changes.added or changes.moved)


def test_a_renamed_table_moves_all_its_rows() -> None:
    before = [row_of(str(n), "/old.jsonl", f"k{n}", n) for n in range(3)]
    after = [row_of(str(n), "/new.jsonl", f"k{n}", n) for n in range(3)]
    changes = compare_documents(before, after)
    assert [(item.key, item.path_before) for item in changes.moved] == [(f"k{n}", "/old.jsonl") for n in range(3)]
    assert not (changes.added or changes.removed)


# ------------------------------------------------------------ hits


def hit(document: str, content: str, at: int = 0, path: str = "/d", score: float = 1.0) -> SearchResult:
    citation = Citation(f"Title of {document}", path, "", "", "", 3, at, at + len(content))
    return SearchResult(
        f"{document}{at}", document, "kb", "KB", 1, score, content, content[:20], (), {}, citation,
        Explanation("none", 1.0),
    )  # fmt: skip


WHALES = "Blue whales sing songs that travel for hundreds of miles under water, and nobody knows why."
PIANOS = "A grand piano has more than two hundred strings stretched over a frame of cast iron."


def test_hits_are_gained_lost_and_moved() -> None:
    before = [hit("d1", WHALES, score=0.9), hit("d2", PIANOS), hit("d3", "kept")]
    after = [hit("d4", "new", path="/n"), hit("d1", WHALES, score=0.4), hit("d3", "kept")]
    change = compare_hits("q1", "query", before, after, {}, None)
    assert [(item.path, item.rank_before, item.rank_after, item.snippet) for item in change.gained] == [
        ("/n", None, 1, "new")
    ]
    (lost,) = change.lost
    assert (lost.title, lost.page, lost.rank_before, lost.rank_after) == ("Title of d2", 3, 2, None)
    (moved,) = change.moved
    assert (moved.document_id, moved.rank_before, moved.rank_after) == ("d1", 1, 2)
    assert (moved.score_before, moved.score_after) == (0.9, 0.4)
    assert change.unchanged == 1


def test_an_edit_elsewhere_in_the_document_changes_nothing() -> None:
    change = compare_hits("1", "q", [hit("old", WHALES, 100)], [hit("new", WHALES, 250)], {"old": "new"}, None)
    assert (change.gained, change.lost, change.moved, change.unchanged) == ((), (), (), 1)
    other = compare_hits("1", "q", [hit("old", WHALES, 100)], [hit("new", WHALES, 250)], {}, None)
    assert (len(other.gained), len(other.lost)) == (1, 1)


def test_equal_passages_of_a_document_are_counted() -> None:
    before = [hit("d", "Chapter", 0), hit("d", "Chapter", 500)]
    after = [hit("d", "Chapter", 500), hit("d", "Chapter", 900), hit("d", "Chapter", 0)]
    change = compare_hits("1", "q", before, after, {}, None)
    assert len(change.gained) == 1
    assert change.lost == ()


def test_a_passage_that_was_cut_anew_is_the_same() -> None:
    longer = f"{PIANOS} {WHALES}"
    change = compare_hits("1", "q", [hit("d", WHALES)], [hit("d", "x" * 60), hit("d", longer, 70)], {}, None)
    assert [(item.rank_before, item.rank_after) for item in change.moved] == [(1, 2)]
    assert (len(change.gained), change.lost) == (1, ())
    edited = compare_hits("1", "q", [hit("d", WHALES)], [hit("d", f"Humans sing. {WHALES[-15:]}")], {}, None)
    assert (len(edited.gained), len(edited.lost)) == (1, 1)
    elsewhere = compare_hits("1", "q", [hit("d", WHALES)], [hit("e", longer)], {}, None)
    assert (len(elsewhere.gained), len(elsewhere.lost)) == (1, 1)


# ------------------------------------------------------------ the file of queries


def test_queries_come_as_lines_or_as_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "q"
    path.write_text("\ufeffblue whales\n\n  what is “lava”? \n", "utf-8")
    assert read_questions(path) == [("1", "blue whales"), ("3", "what is “lava”?")]
    path.write_text('\n{"_id": "q7", "text": "blue whales"}\n{"text": "lava"}\n')
    assert read_questions(path) == [("q7", "blue whales"), ("3", "lava")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\n \n", "no query"),
        (b'{"_id": "1", "text": "a"}\nplain', "line 2"),
        (b'{"_id": "1"}', "line 1"),
        (b'{"_id": "1", "text": " "}', "line 1"),
        (b"\xff\xfe\x00q", "UTF-8"),
    ],
)
def test_bad_query_files_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "q"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=said):
        read_questions(path)


# ------------------------------------------------------------ the whole


async def test_two_generations_of_a_folder(services: Services, folder: Path, write: Write, tmp_path: Path) -> None:
    kb = (await services.library.create("Diff")).id
    write("whales.md", f"# Whales\n\n{WHALES}")
    write("pianos.txt", PIANOS)
    write("lava.txt", "Volcanoes erupt when magma rises.")
    await services.ingest.ingest(kb, [folder])
    (folder / "pianos.txt").unlink()
    (folder / "whales.md").rename(folder / "cetaceans.md")
    write("lava.txt", "Lava cools to basalt.")
    write("krill.txt", "Blue whales eat krill.")
    await services.ingest.ingest(kb, [folder])

    queries = tmp_path / "queries.txt"
    queries.write_text("blue whales\ngrand piano strings\n")
    found = await services.compare.compare("Diff", 1, 2, queries, SearchMode.KEYWORD)
    names = [[Path(item.path).name for item in part] for part in (
        found.documents.added, found.documents.changed, found.documents.removed, found.documents.moved,
    )]  # fmt: skip
    assert names == [["krill.txt"], ["lava.txt"], ["pianos.txt"], ["cetaceans.md"]]
    assert (found.kb, found.a, found.b, found.documents.unchanged) == ("Diff", 1, 2, 0)
    whales, pianos = found.queries
    assert [Path(item.path).name for item in whales.gained] == ["krill.txt"]
    assert whales.lost == ()  # the file has another name, the passage is the same
    assert [Path(item.path).name for item in pianos.lost] == ["pianos.txt"]
    assert (pianos.gained, pianos.degraded, pianos.query) == ((), None, "grand piano strings")

    back = await services.compare.compare(kb, 2, 1, queries)
    assert [Path(item.path).name for item in back.documents.added] == ["pianos.txt"]
    itself = await services.compare.compare(kb, 2, 2, queries)
    assert itself.documents.unchanged == 3
    assert not any((*part, *query.gained, *query.lost, *query.moved) for query in itself.queries
                   for part in (itself.documents.added, itself.documents.changed, itself.documents.moved))  # fmt: skip
    with pytest.raises(NotFound, match="no generation 9"):
        await services.compare.compare(kb, 1, 9)
    with pytest.raises(NotFound, match="no file"):
        await services.compare.compare(kb, 1, 2, tmp_path / "none")


async def test_neither_an_edit_elsewhere_nor_new_chunk_sizes_lose_hits(
    services: Services, folder: Path, write: Write, tmp_path: Path
) -> None:
    settings = replace(services.library.default_settings(), chunk_tokens=60, chunk_overlap=0)
    kb = (await services.library.create("Cut", settings)).id
    text = " ".join(f"Sentence {n} tells of subject number {n * 7} and of nothing else at all." for n in range(40))
    write("long.txt", f"{text} {WHALES} {text}")
    await services.ingest.ingest(kb, [folder])
    stores = services.library._stores
    await stores.catalog.update_settings(kb, replace(settings, chunk_tokens=90))
    await services.ingest.rebuild(kb)
    queries = tmp_path / "q.jsonl"
    queries.write_text(json.dumps({"_id": "w", "text": "whales that sing"}))
    found = await services.compare.compare(kb, 1, 2, queries, limit=1)
    assert found.documents.unchanged == 1
    (query,) = found.queries
    assert (query.id, query.gained, query.lost, query.unchanged) == ("w", (), (), 1)

    write("long.txt", f"{text} {WHALES} {text} {PIANOS}")
    await services.ingest.ingest(kb, [folder])
    found = await services.compare.compare(kb, 2, 3, queries, limit=1)
    assert [item.key for item in found.documents.changed] == [""]
    (query,) = found.queries
    assert (query.gained, query.lost, query.unchanged) == ((), (), 1)


class WordModel:
    """Vectors of words: texts that share words are near."""

    def __init__(self, name: str, dimension: int) -> None:
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        self.model = ModelInfo(name, sha256, dimension, 64, "mean", 1, "none", True, None)

    async def embed(self, texts: Sequence[str], *, interactive: bool = False, query: bool = False) -> Vectors:
        rows = np.full((len(texts), self.model.dimension), 0.01, np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().replace(".", "").split():
                rows[row, hashlib.sha256(word.encode()).digest()[0] % self.model.dimension] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    async def close(self) -> None:
        pass


class TwoModels:
    def __init__(self) -> None:
        self.installed = {"small": WordModel("small", 64), "large": WordModel("large", 128)}

    async def embedder(self, model: str) -> Embedder:
        if model not in self.installed:
            raise ModelFault(f"The model {model} is not installed.")
        return self.installed[model]

    async def close(self) -> None:
        pass


@pytest_asyncio.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    opened = await Stores.open(DataPaths(tmp_path / "data"))
    yield opened
    await opened.close()


async def test_generations_of_two_models_are_compared(
    stores: Stores, folder: Path, write: Write, tmp_path: Path
) -> None:
    models = TwoModels()
    search = SearchService(stores, models)
    library = LibraryService(stores, Config(stores.paths.config))
    parser = ParserPool(1)

    async def nothing_to_collect(kb_id: str) -> None:
        pass

    promotion = Promotion(stores, GateService(stores, search))
    work = IngestService(stores, models, parser, promotion, nothing_to_collect)
    ingest = Requests(stores, JobQueue(stores, work), work)
    settings = replace(library.default_settings(), model="small")
    kb = (await library.create("Two", settings)).id
    write("whales.txt", WHALES)
    write("pianos.txt", PIANOS)
    await ingest.ingest(kb, [folder])
    await stores.catalog.update_settings(kb, replace(settings, model="large"))
    await ingest.rebuild(kb)
    await parser.close()

    queries = tmp_path / "q.txt"
    queries.write_text("whales sing songs\n")
    compare = CompareService(stores, search)
    (query,) = (await compare.compare(kb, 1, 2, queries, SearchMode.VECTOR)).queries
    assert (query.gained, query.lost, query.unchanged, query.degraded) == ((), (), 2, None)

    del models.installed["small"]
    (query,) = (await compare.compare(kb, 1, 2, queries)).queries
    assert query.degraded == "Generation 1: Keyword results only: The model small is not installed."
    assert [Path(item.path).name for item in query.gained] == ["pianos.txt"]  # keywords do not find it
    assert query.unchanged == 1
