"""Tables of a real store are damaged until they cannot be read, and what they held comes back."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from studio.domain import SearchMode, SearchRequest
from studio.services.recovery.losses import NAMELESS
from tests.helpers.ward import DIMENSION, Ward, replaced

# ------------------------------------------------------------ tables that cannot be read


async def test_the_newest_whole_generation_takes_the_place_of_an_unreadable_one(ward: Ward) -> None:
    before = await ward.prints(1, 2)
    newest = ward.files("vectors/chunks.lance/data/*")[-1]
    newest.unlink()
    assert list(await ward.wrong()) == ["Care/3: tables can be read"]
    assert await ward.repaired() == {}
    await ward.answers()
    assert await ward.states() == {4: "active", 3: "failed", 2: "archived", 1: "archived"}
    assert (await ward.active()).parent == 2
    assert await ward.prints(1, 2) == before


async def test_what_only_stored_texts_hold_comes_back_too(ward: Ward) -> None:
    ward.files("vectors/chunks.lance/data/*")[-1].unlink()
    shutil.rmtree(ward.folder)
    assert await ward.repaired() == {}
    await ward.answers()


async def test_without_a_whole_generation_everything_is_rebuilt_from_the_texts(ward: Ward) -> None:
    for file in ward.files("vectors/chunks.lance/data/*"):
        file.unlink()
    shutil.rmtree(ward.folder)
    found = await ward.wrong()
    assert {f"Care/{n}: tables can be read" for n in (1, 2, 3)} == found.keys()
    assert await ward.repaired() == {}
    await ward.answers()
    assert (await ward.active()).chunks_table != "chunks"
    assert await ward.states() == {4: "active", 3: "failed", 2: "failed", 1: "failed"}
    ward.folder.mkdir()
    (ward.folder / "new.txt").write_text("One more document.")
    await ward.ingest.ingest(ward.kb_id, [ward.folder / "new.txt"])
    assert await ward.wrong() == {}


@pytest.mark.parametrize("what", ["_versions/*.manifest", "**/*"])
async def test_a_table_that_is_gone_is_rebuilt(ward: Ward, what: str) -> None:
    if what == "**/*":
        shutil.rmtree(ward.store.paths.vectors / "chunks.lance")
    for file in ward.files(f"vectors/chunks.lance/{what}"):
        file.unlink()
    assert {f"Care/{n}: tables can be read" for n in (1, 2, 3)} <= (await ward.wrong()).keys()
    assert await ward.repaired() == {}
    await ward.answers()
    assert await ward.wrong() == {}


async def test_a_lost_list_of_documents_comes_from_past_requests(ward: Ward) -> None:
    for file in ward.files("vectors/documents.lance/data/*"):
        file.unlink()
    assert {f"Care/{n}: tables can be read" for n in (1, 2, 3)} == (await ward.wrong()).keys()
    assert await ward.repaired() == {}
    await ward.answers()


async def test_a_lost_list_of_documents_without_files_comes_from_passages_and_jobs(ward: Ward) -> None:
    for file in ward.files("vectors/documents.lance/data/*"):
        file.unlink()
    shutil.rmtree(ward.folder)
    ward.toy.gone = True
    checks = await ward.doctor.repair()
    assert {item.why for check in checks for item in check.lost} == {NAMELESS}, "neither files nor a model are needed"
    assert await ward.wrong() == {}
    response = await ward.search.search(SearchRequest((ward.kb_id,), "whale piano glacier row", SearchMode.KEYWORD))
    contents = " ".join(result.content for result in response.results)
    assert all(word in contents for word in ("whale", "piano", "glacier", "Row number 4"))


async def test_a_lost_list_of_documents_comes_from_stored_texts_where_files_are_gone(ward: Ward) -> None:
    for file in ward.files("vectors/documents.lance/data/*"):
        file.unlink()
    texts = {path.name for path in ward.files("texts/*")}
    for name in ("piano.txt", "rows.jsonl"):
        (ward.folder / name).unlink()
    assert await ward.repaired() == {}
    await ward.answers()
    assert {path.name for path in ward.files("texts/*")} == texts, "none was swept"
    assert len(await ward.library.documents(ward.kb_id)) == 9


async def test_what_nothing_holds_any_more_is_named_and_nothing_is_swept(ward: Ward) -> None:
    """A text whose source is gone is damaged together with every passage of the table."""
    for file in ward.files("vectors/*.lance/data/*"):
        file.unlink()
    (ward.folder / "piano.txt").unlink()
    _, piano, *others = ward.files("texts/*")
    piano.write_bytes(b"damaged")
    lost = [item for check in await ward.doctor.repair() for item in check.lost]
    assert [(item.knowledge_base, Path(item.path).name) for item in lost] == [("Care", "piano.txt")]
    found = await ward.found()
    assert {"glacier.txt", "rows.jsonl"} <= found
    assert found & {"whale.txt", "copy of whale.txt"}
    assert all(path.exists() for path in (piano, *others))


async def test_a_damaged_list_of_documents_falls_back_on_an_older_one(ward: Ward) -> None:
    ward.files("vectors/documents.lance/data/*")[-1].unlink()
    assert list(await ward.wrong()) == ["Care/3: tables can be read"]
    assert await ward.repaired() == {}
    await ward.answers()


async def test_an_older_list_is_completed_from_past_requests(ward: Ward) -> None:
    ward.files("vectors/documents.lance/data/*")[-1].unlink()
    ward.files("vectors/chunks.lance/data/*")[0].unlink()
    assert {f"Care/{n}: tables can be read" for n in (1, 2, 3)} == (await ward.wrong()).keys()
    assert await ward.repaired() == {}
    await ward.answers()


async def test_indexes_of_the_tables_that_are_gone_are_seen(ward: Ward) -> None:
    for file in ward.files("vectors/chunks.lance/_indices/*/*"):
        file.unlink()
    assert "Care/3: tables can be read" in await ward.wrong()
    before = ward.toy.embedded
    assert await ward.repaired() == {}
    await ward.answers()
    assert ward.toy.embedded == before, "every vector could still be read"


async def test_only_what_no_file_holds_any_more_is_embedded_again(ward: Ward) -> None:
    oldest, *_ = ward.files("vectors/chunks.lance/data/*")
    oldest.unlink()
    before, chunks = ward.toy.embedded, (await ward.active()).chunks
    assert await ward.repaired() == {}
    await ward.answers()
    assert 0 < ward.toy.embedded - before < chunks


async def test_an_archived_generation_is_given_up_only_when_it_is_proven_damaged(ward: Ward) -> None:
    await ward.overwrite(lambda table: replaced(table, "embedding", [[0.0] * DIMENSION] * len(table)))
    await ward.stores.catalog.promote(ward.kb_id, 2)
    assert list(await ward.wrong()) == ["Care/3: vectors are sound"]
    assert await ward.repaired() == {}
    assert await ward.states() == {3: "failed", 2: "active", 1: "archived"}


async def test_what_must_not_be_read_is_not_given_up(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    oldest, *_, newest = ward.files("vectors/chunks.lance/data/*")
    newest.unlink()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != oldest)
    states = await ward.states()
    assert "No permission" in (await ward.repaired())["Care: repair"]
    assert await ward.states() == states
