"""What the program uses of LanceDB and Lance beyond their interfaces is still so: run first after an upgrade."""

from __future__ import annotations

import errno
import mmap
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lance
import lancedb
import pyarrow as pa
import pytest
import pytest_asyncio
from lancedb.query import AsyncQueryBase

from studio.index.vectors import lance_internals as internals

ROWS = 6


class Stored:
    def __init__(self, database: Path, table: Any) -> None:
        self.database, self.table = database, table
        self.folder = internals.table_folder(database, "notes")


@pytest_asyncio.fixture
async def stored(tmp_path: Path) -> Stored:
    """A table of three versions, of which the second is tagged."""
    db = await lancedb.connect_async(tmp_path)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([float(n) for n in range(ROWS * 2)], pa.float32()), 2)
    rows = pa.table({"id": pa.array(range(ROWS)), "vector": vectors})
    table = await db.create_table("notes", rows)
    await table.add(rows)
    lance.dataset(str(internals.table_folder(tmp_path, "notes"))).tags.create("g1", 2)
    await table.delete("id = 1")
    return Stored(tmp_path, table)


def test_files_lie_where_they_did(stored: Stored) -> None:
    assert internals.table_folders(stored.database) == [stored.folder]
    assert len(internals.data_files(stored.folder)) == 2
    assert internals.data_bytes(stored.folder) == sum(f.stat().st_size for f in internals.data_files(stored.folder))
    assert [internals.version_of(manifest) for manifest in internals.manifests(stored.folder)] == [3, 2, 1]
    assert (stored.folder / internals.VERSION_HINT).is_file()


def test_tags_are_files_that_name_a_version(stored: Stored) -> None:
    (tag,) = internals.tag_files(stored.folder)
    assert tag.stem == "g1"
    assert internals.tagged_version(tag) == 2


async def test_queries_do_without_a_look_for_blobs(stored: Stored) -> None:
    query = stored.table.query().nearest_to([0.0, 0.0]).limit(3)
    assert query._table is not None
    whole = await query.to_arrow()
    batches = await internals.bare_batches(internals.without_blobs(query))
    assert pa.Table.from_batches([batch async for batch in batches]).to_pylist() == whole.to_pylist()
    assert type(query).to_batches is not AsyncQueryBase.to_batches, "nothing is overridden any more"


async def test_a_file_that_is_gone_is_told_from_the_text(stored: Stored) -> None:
    for file in internals.data_files(stored.folder):
        file.unlink()
    table = await (await lancedb.connect_async(stored.database)).open_table("notes")
    with pytest.raises(Exception) as caught:
        await table.query().to_arrow()
    assert any(part in str(caught.value) for part in internals.FILE_GONE)
    named = internals.NAMED_FILE.search(str(caught.value))
    assert named is not None
    assert named.group(1).endswith(".lance")


async def test_a_damaged_file_is_an_error_or_a_panic_of_a_known_kind(stored: Stored) -> None:
    for file in internals.data_files(stored.folder):
        file.write_bytes(b"\xff" * file.stat().st_size)
    table = await (await lancedb.connect_async(stored.database)).open_table("notes")
    with pytest.raises(BaseException) as caught:
        await table.query().to_arrow()
    assert isinstance(caught.value, RuntimeError | ValueError | OSError) or internals.is_panic(caught.value)


def test_a_panic_is_told_by_its_name() -> None:
    assert internals.is_panic(type("PanicException", (BaseException,), {})())
    assert not internals.is_panic(RuntimeError())


@pytest.mark.skipif(os.name == "nt", reason="Windows has other numbers of errors")
def test_errors_of_the_system_end_with_its_number(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    with pytest.raises(Exception, match=rf"{os.strerror(errno.ENOTDIR)} \(os error {errno.ENOTDIR}\)"):
        lance.write_dataset(pa.table({"id": [1]}), str(file / "below.lance"))
    for code, parts in (
        (errno.ENOSPC, internals.NO_SPACE),
        (errno.EACCES, internals.NO_ACCESS),
        (errno.EROFS, internals.READ_ONLY),
    ):
        assert parts[0] in os.strerror(code)
        assert parts[1] == f"os error {code}"


def test_the_variable_for_reading_ahead_is_known() -> None:
    spec = find_spec("lance.lance")
    assert spec is not None
    assert spec.origin is not None
    with Path(spec.origin).open("rb") as binary, mmap.mmap(binary.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped.find(internals.READ_AHEAD_VARIABLE.encode()) >= 0
