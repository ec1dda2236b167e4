from __future__ import annotations

from pathlib import Path

import pytest

from studio.errors import Conflict, InvalidRequest, NotFound
from studio.services.quality import Loaded
from studio.services.quality.judging import JudgingService
from tests.helpers.catalog_sql import catalog_sql
from tests.helpers.ward import Ward


@pytest.fixture
def judging(ward: Ward) -> JudgingService:
    return JudgingService(ward.stores)


async def ids(ward: Ward) -> dict[str, str]:
    """File name or external id → document id in the active generation."""
    async with ward.store.reading() as snapshot:
        records = await snapshot.tables.documents()
    return {record.external_id or Path(record.source_path).name: record.document_id for record in records}


async def test_a_judgment_saves_its_query_and_can_be_changed_and_taken_back(
    ward: Ward, judging: JudgingService
) -> None:
    known = await ids(ward)
    saved = await judging.judge(ward.kb_id, "  what sings in the sea? ", known["whale.txt"], 2)
    assert (saved.name, saved.query, saved.relevant) == ("what sings in the sea?", "what sings in the sea?", 1)
    await judging.judge(ward.kb_id, "what sings in the sea?", "piano.txt", 0)
    shown = list(known.values())
    grades = await judging.grades(ward.kb_id, "what sings in the sea?", shown)
    assert grades == {known["whale.txt"]: 2, known["piano.txt"]: 0}
    again = await judging.judge(ward.kb_id, "what sings in the sea?", str(ward.folder / "whale.txt"), 1)
    assert sorted(again.judgments.values()) == [0, 1]
    assert len(await judging.queries(ward.kb_id)) == 1
    left = await judging.unjudge(ward.kb_id, "what sings in the sea?", "piano.txt")
    assert left.relevant == len(left.judgments) == 1
    assert await judging.grades(ward.kb_id, "something else", shown) == {}
    with pytest.raises(NotFound, match="not judged"):
        await judging.unjudge(ward.kb_id, "what sings in the sea?", "piano.txt")


async def test_a_copy_of_a_judged_document_is_not_judged_twice(ward: Ward, judging: JudgingService) -> None:
    await judging.judge(ward.kb_id, "sea", "whale.txt", 1)
    saved = await judging.judge(ward.kb_id, "sea", "copy of whale.txt", 3)
    assert saved.judgments == {str(ward.folder / "whale.txt"): 3}
    other = await judging.judge(ward.kb_id, "whale", "copy of whale.txt")
    assert other.judgments == {str(ward.folder / "copy of whale.txt"): 1}  # as it was named
    by_id = await judging.judge(ward.kb_id, "animal", (await ids(ward))["whale.txt"])
    assert by_id.judgments == {str(ward.folder / "whale.txt"): 1}  # the older file


async def test_judgments_outlive_a_changed_text(ward: Ward, judging: JudgingService) -> None:
    before = await ids(ward)
    await judging.judge(ward.kb_id, "hammers", "piano.txt")
    (ward.folder / "piano.txt").write_text("A grand piano is played by eighty-eight hammers.")
    await ward.ingest.ingest(ward.kb_id, [ward.folder])
    after = await ids(ward)
    assert after["piano.txt"] != before["piano.txt"]
    assert await judging.grades(ward.kb_id, "hammers", list(after.values())) == {after["piano.txt"]: 1}
    old = await judging.grades(ward.kb_id, "hammers", list(before.values()), generation=3)
    assert old == {before["piano.txt"]: 1}


async def test_rows_are_named_by_their_ids_and_not_by_their_file(ward: Ward, judging: JudgingService) -> None:
    saved = await judging.judge(ward.kb_id, "row three", "r3")
    assert saved.judgments == {"r3": 1}
    (ward.folder / "plain.csv").write_text("word,meaning\nwhale,a large animal\npiano,an instrument\n")
    await ward.ingest.ingest(ward.kb_id, [ward.folder])
    for name in ("rows.jsonl", "plain.csv", str(ward.folder / "plain.csv"), "plain"):
        with pytest.raises(InvalidRequest, match="documents of the name"):
            await judging.judge(ward.kb_id, "row three", name)
    async with ward.store.reading() as snapshot:
        rows = [record for record in await snapshot.tables.documents() if record.source_path.endswith("plain.csv")]
    assert len(rows) == 2
    await judging.judge(ward.kb_id, "an animal", rows[0].document_id)
    grades = await judging.grades(ward.kb_id, "an animal", [row.document_id for row in rows])
    assert grades == {rows[0].document_id: 1}


async def test_a_name_that_several_documents_have_is_refused(ward: Ward, judging: JudgingService) -> None:
    (ward.folder / "more").mkdir()
    (ward.folder / "more" / "piano.txt").write_text("Another text about another piano.")
    await ward.ingest.ingest(ward.kb_id, [ward.folder])
    with pytest.raises(InvalidRequest, match="2 documents"):
        await judging.judge(ward.kb_id, "keys", "piano.txt")
    assert await judging.queries(ward.kb_id) == []
    saved = await judging.judge(ward.kb_id, "keys", str(ward.folder / "more" / "piano.txt"))
    assert list(saved.judgments) == [str(ward.folder / "more" / "piano.txt")]


async def test_what_cannot_be_judged_is_refused(ward: Ward, judging: JudgingService) -> None:
    for query, grade in (("", 1), ("x" * 20_001, 1), ("x", -1), ("x", 1001)):
        with pytest.raises(InvalidRequest):
            await judging.judge(ward.kb_id, query, "piano.txt", grade)
    with pytest.raises(NotFound, match="no document"):
        await judging.judge(ward.kb_id, "x", "organ.txt")
    assert await judging.queries(ward.kb_id) == []


async def test_queries_are_renamed_found_and_deleted(ward: Ward, judging: JudgingService) -> None:
    first = await judging.save(ward.kb_id, "blue whales", "whales")
    assert await judging.save(ward.kb_id, "blue whales") == first
    second = await judging.save(ward.kb_id, "grand pianos")
    with pytest.raises(Conflict, match="“whales”"):
        await judging.rename(ward.kb_id, second.id, "whales")
    assert (await judging.rename(ward.kb_id, second.id, " big\npianos ")).name == "big pianos"
    assert (await judging.find(ward.kb_id, "grand pianos")).id == (await judging.find(ward.kb_id, "big pianos")).id
    await judging.judge(ward.kb_id, "whales", "whale.txt")
    await judging.delete(ward.kb_id, first.id)
    assert [query.name for query in await judging.queries(ward.kb_id)] == ["big pianos"]
    for number in (first.id, 99):
        with pytest.raises(NotFound):
            await judging.delete(ward.kb_id, number)
        with pytest.raises(NotFound):
            await judging.rename(ward.kb_id, number, "x")
    with pytest.raises(NotFound):
        await judging.find(ward.kb_id, "whales")
    assert catalog_sql(ward.stores.paths, "SELECT * FROM judgment") == []


async def test_long_queries_that_begin_alike_have_different_names(ward: Ward, judging: JudgingService) -> None:
    names = [(await judging.save(ward.kb_id, "long " * 50 + end)).name for end in ("a", "b")]
    assert len(set(names)) == 2
    assert all(len(name) < 90 for name in names)


async def test_files_come_in_and_go_out(ward: Ward, judging: JudgingService, tmp_path: Path) -> None:
    queries, qrels = tmp_path / "q.jsonl", tmp_path / "r.tsv"
    queries.write_text('{"_id": "q1", "text": "whales"}\n{"_id": "q2", "text": "pianos"}\n')
    qrels.write_text("query-id\tcorpus-id\tscore\nq1\twhale\t2\nq2\tpiano\t1\nq9\tpiano\t1\n")
    assert await judging.load(ward.kb_id, queries, qrels) == Loaded(2, 2, 1)
    qrels.write_text("q1\tglacier\t1\n")
    queries.write_text('{"_id": "q1", "text": "large whales"}\n')
    await judging.load(ward.kb_id, queries, qrels)
    first, second = await judging.queries(ward.kb_id)
    assert (first.query, dict(first.judgments)) == ("large whales", {"whale": 2, "glacier": 1})
    assert (second.query, dict(second.judgments)) == ("pianos", {"piano": 1})
    for form in ("beir", "trec"):
        other = await ward.library.create(f"Copy {form}")
        files = await judging.export(ward.kb_id, tmp_path / form, form)
        await judging.load(other.id, *files)
        copied = await judging.queries(other.id)
        assert [(query.name, query.query, query.judgments) for query in copied] == [
            (query.name, query.query, query.judgments) for query in (first, second)
        ]


async def test_a_faulty_file_adds_nothing(ward: Ward, judging: JudgingService, tmp_path: Path) -> None:
    queries, qrels = tmp_path / "q.jsonl", tmp_path / "r.tsv"
    queries.write_text('{"_id": "q1", "text": "whales"}\n')
    qrels.write_text("q1\twhale\tvery\n")
    with pytest.raises(InvalidRequest, match="line 1"):
        await judging.load(ward.kb_id, queries, qrels)
    assert await judging.queries(ward.kb_id) == []
    with pytest.raises(NotFound, match="no saved queries"):
        await judging.export(ward.kb_id, tmp_path)
