"""The file of passages: what is read is what was written, and where it cannot be there is none."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from studio.index.vectors import passage_file
from studio.index.vectors.passage_file import PASSAGE_COLUMNS, PassageWriter

ROWS = [
    ("", None, "plain"),
    ("Chapter 1", '{"context": "a"}', "naïve – 漢字 \U0001f600"),
    ("§ 2", "", "a\0b\0c"),
    (None, None, ""),
    ("x", "{}", "last"),
]


def batch(rows: list[tuple[str | None, str | None, str]]) -> pa.RecordBatch:
    columns = [pa.array(values, pa.utf8()) for values in zip(*rows, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=list(PASSAGE_COLUMNS))


def read(writer: PassageWriter, order: list[int], places: list[int]) -> list[tuple[str, str, str]] | None:
    file = writer.finish(np.array(order))
    if file is None:
        return None
    rows = file.read(np.array(places))
    file.close()
    return rows


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    writer = PassageWriter(tmp_path, len(ROWS))
    assert writer.columns == PASSAGE_COLUMNS
    writer.add(batch(ROWS[:2]))
    writer.add(batch(ROWS).slice(2))  # a slice has buffers of other rows too
    expected = [tuple(value or "" for value in row) for row in ROWS]
    assert read(writer, [4, 3, 2, 1, 0], [0, 2, 3, 4, 1, 2]) == [expected[at] for at in (4, 2, 1, 0, 3, 2)]


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a file that is open has a name")
def test_it_has_no_name_in_the_folder(tmp_path: Path) -> None:
    writer = PassageWriter(tmp_path, 1)
    writer.add(batch(ROWS))
    assert list(tmp_path.iterdir()) == []
    writer.close()


def test_there_is_none_of_an_anchor_that_would_be_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    writer = PassageWriter(tmp_path, 2)
    writer.add(batch([("a\0b", None, "text")]))
    writer.add(batch(ROWS))
    assert writer.columns == ()
    assert read(writer, [0], [0]) is None
    assert "an anchor" in caplog.text


def test_there_is_none_of_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PassageWriter(tmp_path, passage_file.MOST_ROWS + 1).columns == ()
    monkeypatch.setattr(passage_file, "MOST_BYTES", 1000)
    writer = PassageWriter(tmp_path, 2)
    writer.add(batch([("", None, "x" * 900)]))
    assert writer.columns
    writer.add(batch([("", None, "x" * 100)]))
    assert writer.columns == ()
    assert read(writer, [0, 1], [0]) is None


def test_there_is_none_where_the_disk_is_almost_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, 1 << 40, 1 << 20))
    assert PassageWriter(tmp_path, 1).columns == ()


def test_there_is_none_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PassageWriter(tmp_path / "missing", 1).columns == ()

    def refuse(**_: object) -> object:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert PassageWriter(tmp_path, 1).columns == ()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_there_is_none_when_the_disk_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Path("/dev/full").open("r+b", buffering=0))  # noqa: SIM115
    writer = PassageWriter(tmp_path, len(ROWS))
    writer.add(batch(ROWS))
    assert read(writer, [0], [0]) is None


def test_what_is_closed_says_so(tmp_path: Path) -> None:
    writer = PassageWriter(tmp_path, len(ROWS))
    writer.add(batch(ROWS))
    file = writer.finish(np.arange(len(ROWS)))
    assert file is not None
    assert file.nbytes == 8 * len(ROWS)
    file.close()
    with pytest.raises(OSError, match="closed"):
        file.read(np.array([0]))
