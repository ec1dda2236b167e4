from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from studio.documents import SUPPORTED_EXTENSIONS, document_id, file_kind, texts
from studio.documents.chunking import segment
from studio.documents.parsers import PARSERS
from studio.documents.parsers.base import make_document
from studio.documents.texts import TextStoreWriter, check_texts, read_text, stored_keys
from studio.domain import ParsedDocument, Span
from studio.errors import InvariantViolated, NotFound, StorageFault

KEY = "a" * 64 + ".pdf"


def document(text: str) -> ParsedDocument:
    return make_document(text, (Span(0, 1, 1, "A", True), Span(1, len(text), 2, "B › C")), "pdf")


def test_a_stored_text_comes_back_with_its_spans(tmp_path: Path) -> None:
    parsed = document("Größe 😀 你好")
    with TextStoreWriter(tmp_path / "texts", KEY) as writer:
        writer.add(0, parsed)
        assert stored_keys(tmp_path / "texts") == []
        writer.commit()
    stored = read_text(tmp_path / "texts", KEY)
    assert (stored.text, stored.spans) == (parsed.text, parsed.spans)
    assert [path.name for path in (tmp_path / "texts").iterdir()] == [KEY]


def test_what_is_to_be_kept_whole_is_stored_as_such(tmp_path: Path) -> None:
    text = "prose 1 | 2"
    whole = make_document(text, (Span(0, 6), Span(6, 11, None, "A", whole=True)), "html")
    for row, parsed in enumerate([document(text), whole]):
        with TextStoreWriter(tmp_path, KEY) as writer:
            writer.add(row, parsed)
            writer.commit()
        stored = read_text(tmp_path, KEY, row)
        assert (stored.text, stored.spans) == (parsed.text, parsed.spans)
        assert segment(stored.text, stored.spans) == parsed.segments
        with zipfile.ZipFile(tmp_path / KEY) as archive:
            assert json.loads(archive.read("0"))["format"] == 1
        with (tmp_path / KEY).open("rb") as file:
            assert list(check_texts(file, (tmp_path / KEY).stat().st_size, {row}))


def test_rows_are_found_across_blocks_and_gaps(tmp_path: Path) -> None:
    rows = [0, 1, 63, 64, 200, 1000]
    with TextStoreWriter(tmp_path, KEY) as writer:
        for row in rows:
            writer.add(row, document(f"row {row}"))
        writer.commit()
    assert [read_text(tmp_path, KEY, row).text for row in rows] == [f"row {row}" for row in rows]
    for missing in (2, 100, 5000):
        with pytest.raises(NotFound):
            read_text(tmp_path, KEY, missing)
    with zipfile.ZipFile(tmp_path / KEY) as archive:
        assert len(archive.namelist()) == 4


def test_abandoned_and_failed_writers_leave_nothing(tmp_path: Path) -> None:
    with TextStoreWriter(tmp_path, KEY) as writer:
        writer.add(0, document("text"))
    with pytest.raises(RuntimeError, match="stop"), TextStoreWriter(tmp_path, KEY) as writer:
        writer.add(0, document("text"))
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_a_second_writer_replaces_the_first(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with TextStoreWriter(tmp_path, KEY) as writer:
            writer.add(0, document(text))
            writer.commit()
            writer.abandon()  # too late, does nothing
    assert read_text(tmp_path, KEY).text == "new"


def test_misuse_is_caught(tmp_path: Path) -> None:
    with pytest.raises(InvariantViolated):
        TextStoreWriter(tmp_path, "../../etc/passwd")
    with TextStoreWriter(tmp_path, KEY) as writer:
        writer.add(3, document("text"))
        with pytest.raises(InvariantViolated):
            writer.add(3, document("text"))
        writer.commit()
        with pytest.raises(InvariantViolated):
            writer.commit()
        with pytest.raises(InvariantViolated):
            writer.add(4, document("text"))


def test_damage_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_text(tmp_path, KEY)
    (tmp_path / KEY).write_bytes(b"no archive")
    with pytest.raises(StorageFault, match="damaged"):
        read_text(tmp_path, KEY)
    with zipfile.ZipFile(tmp_path / KEY, "w") as archive:
        archive.writestr("0", '{"format": 99}')
    with pytest.raises(StorageFault, match="newer version"):
        read_text(tmp_path, KEY)
    (tmp_path / KEY).unlink()
    (tmp_path / KEY).mkdir()
    with pytest.raises(StorageFault):
        read_text(tmp_path, KEY)


def test_a_disk_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFault):
        TextStoreWriter(tmp_path / "file", KEY)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    for text in ("before", "after"):
        writer = TextStoreWriter(tmp_path / "texts", KEY)
        writer.add(0, document(text))
        if text == "before":
            writer.commit()
    monkeypatch.setattr(texts.os, "fsync", full)
    with pytest.raises(StorageFault, match="full"):
        writer.commit()
    assert [path.name for path in (tmp_path / "texts").iterdir()] == [KEY]
    assert read_text(tmp_path / "texts", KEY).text == "before"


def test_kinds_and_identities() -> None:
    assert file_kind(Path("A.PDF")) == "pdf"
    assert file_kind(Path("x.tar.gz")) == "archive"
    assert file_kind(Path("x.7z")) == file_kind(Path("README")) == "other"
    assert ".md" in SUPPORTED_EXTENSIONS
    assert all(extension == extension.lower() and extension[0] == "." for extension in SUPPORTED_EXTENSIONS)
    assert {file_kind(Path("a" + extension)) for extension in SUPPORTED_EXTENSIONS} == set(PARSERS) - {"protected"}
    one = document_id("a" * 64, "pdf")
    assert len(one) == 32
    assert one == document_id("a" * 64, "pdf", "")
    assert (
        len({one, document_id("b" * 64, "pdf"), document_id("a" * 64, "text"), document_id("a" * 64, "pdf", "1")}) == 4
    )
