"""Texts and rows of a real store are damaged, found and mended."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pytest

from studio.documents.texts import read_text
from studio.domain import (
    SearchMode,
)
from tests.helpers.toy import contents_of
from tests.helpers.ward import DIMENSION, ROWS, Ward, replaced

# ------------------------------------------------------------ texts


async def test_lost_and_damaged_texts_are_read_again(ward: Ward) -> None:
    lost, cut, flipped, *_ = ward.files("texts/*")
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:50])
    data = bytearray(flipped.read_bytes())
    data[60] ^= 0xFF
    flipped.write_bytes(data)
    found = await ward.wrong()
    assert found["Care/3: texts are there"] == "3 of 4 missing or damaged"
    assert await ward.repaired() == {}
    await ward.answers()
    assert (await ward.active()).number == 4
    assert (await ward.active()).note.startswith("repair")


async def test_a_text_whose_file_is_gone_is_put_together_from_passages(ward: Ward) -> None:
    (ward.folder / "piano.txt").unlink()
    lost = ward.files("texts/*")[1]
    before = read_text(lost.parent, lost.name).text
    lost.unlink()
    assert await ward.repaired() == {}
    await ward.answers()
    assert read_text(lost.parent, lost.name).text.split() == before.split()


async def test_a_file_that_changed_meanwhile_is_indexed_as_it_is(ward: Ward) -> None:
    (ward.folder / "piano.txt").write_text("A piano forte is another name of the piano.")
    ward.files("texts/*")[1].unlink()
    await ward.doctor.repair()
    await ward.answers()
    async with ward.store.reading() as snapshot:
        contents = {content for _, _, content in await contents_of(snapshot.tables)}
    assert "A piano forte is another name of the piano." in contents
    assert not any("eighty-eight" in content for content in contents)


async def test_a_file_that_cannot_be_read_again_keeps_what_there_is(ward: Ward) -> None:
    await ward.overwrite(lambda table: replaced(table, "embedding", [[0.0] * DIMENSION] * len(table)))
    (ward.folder / "rows.jsonl").write_bytes(b"\x00\xff\xfe no table at all")
    next(path for path in ward.files("texts/*") if path.suffix == ".jsonl").unlink()
    found = await ward.repaired()
    title = f"Care/{(await ward.active()).number}"
    assert found[f"{title}: texts are there"] == "1 of 4 missing or damaged"
    assert found[f"{title}: vectors are sound"] == f"{DIMENSION} numbers each; {len(ROWS)} documents have bad ones"
    assert "rows.jsonl" in await ward.found(SearchMode.KEYWORD)
    assert {"piano.txt", "glacier.txt"} <= await ward.found(SearchMode.VECTOR)


async def test_a_text_that_is_another_text_is_seen(ward: Ward) -> None:
    first, second, *_ = ward.files("texts/*")
    shutil.copy(second, first)
    assert "Care/3: passages stand in their texts" in await ward.wrong()
    assert await ward.repaired() == {}
    await ward.answers()


# ------------------------------------------------------------ rows


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
async def test_bad_vectors_are_embedded_again(ward: Ward, bad: float) -> None:
    before = await ward.prints(1, 2)

    def change(table: pa.Table) -> pa.Table:
        vectors = [row.as_py() for row in table["embedding"]]
        for at in (0, len(vectors) - 1):  # a document that two paths share, and a row of the table
            vectors[at] = [bad] * DIMENSION
        return replaced(table, "embedding", vectors)

    await ward.overwrite(change)
    assert list(await ward.wrong()) == ["Care/3: vectors are sound"]
    assert await ward.repaired() == {}
    await ward.answers()
    assert await ward.prints(1, 2) == before
    assert await ward.states() == {4: "active", 3: "failed", 2: "archived", 1: "archived"}


async def test_bad_vectors_of_a_file_that_is_gone_come_from_the_stored_text(ward: Ward) -> None:
    await ward.overwrite(lambda table: replaced(table, "embedding", [[0.0] * DIMENSION] * len(table)))
    shutil.rmtree(ward.folder)
    assert await ward.repaired() == {}
    await ward.answers()


async def test_changed_contents_are_read_again(ward: Ward) -> None:
    def change(table: pa.Table) -> pa.Table:
        return replaced(table, "content", ["Nobody wrote this.", *table["content"].to_pylist()[1:]])

    await ward.overwrite(change)
    found = await ward.wrong()
    assert {"Care/3: contents match their hashes", "Care/3: passages stand in their texts"} <= found.keys()
    assert await ward.repaired() == {}
    await ward.answers()
    async with ward.store.reading() as snapshot:
        assert all("Nobody" not in content for _, _, content in await contents_of(snapshot.tables))


@pytest.mark.parametrize("damage", ["missing", "repeated", "stray"])
async def test_missing_repeated_and_stray_rows_are_put_right(ward: Ward, damage: str) -> None:
    def change(table: pa.Table) -> pa.Table:
        if damage == "missing":
            return table.slice(1)
        if damage == "repeated":
            return pa.concat_tables([table, table.slice(0, 1)])
        stray = replaced(table.slice(0, 1), "document_id", ["f" * 32])
        return pa.concat_tables([table, replaced(stray, "chunk_id", ["e" * 32])])

    await ward.overwrite(change)
    found = await ward.wrong()
    assert {"Care/3: both indexes hold the same chunks", "Care/3: counts agree"} <= found.keys()
    assert await ward.repaired() == {}
    await ward.answers()
    sound = await ward.active()
    assert (sound.number, sound.documents) == (4, 9)
