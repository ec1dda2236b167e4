"""What the program uses of Tantivy beyond its interface is still so: run first after an upgrade."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
import tantivy

from studio.index.keywords import tantivy_internals as internals


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index of two segments, from the first of which a document was deleted."""
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", stored=True, tokenizer_name="raw")
    builder.add_text_field("body", stored=False)
    made = tantivy.Index(builder.build(), path=str(tmp_path))
    for words in (("one", "two"), ("three", "four")):
        writer = made.writer(internals.LEAST_HEAP_BYTES, 1)
        for word in words:
            writer.add_document(tantivy.Document(id=word, body=f"{word} whales"))
        writer.commit()
        writer.wait_merging_threads()
    writer = made.writer(internals.LEAST_HEAP_BYTES, 1)
    writer.delete_documents_by_term("id", "one")
    writer.commit()
    writer.wait_merging_threads()
    return tmp_path


def test_a_commit_names_the_files_it_needs(index: Path) -> None:
    names = internals.segment_files(index)
    assert any(name.endswith(".del") for name in names)
    assert all((index / name).is_file() for name in names)
    managed = json.loads((index / internals.MANAGED).read_bytes())
    assert set(names) <= set(managed)
    files = {file.name for file in internals.files_of_index(index)}
    assert {*names, *internals.REPLACED} <= files
    assert not any(name.endswith(".lock") for name in files)


def test_every_file_ends_with_a_checksum(index: Path) -> None:
    for name in internals.segment_files(index):
        content = (index / name).read_bytes()
        tail = content[-internals.FOOTER_TAIL_BYTES :]
        assert tail[4:] == internals.FOOTER_MAGIC
        length = int.from_bytes(tail[:4], "little")
        assert length + internals.FOOTER_TAIL_BYTES <= internals.FOOTER_MAX_BYTES
        footer = json.loads(content[-internals.FOOTER_TAIL_BYTES - length : -internals.FOOTER_TAIL_BYTES])
        assert footer["crc"] == zlib.crc32(content[: -internals.FOOTER_TAIL_BYTES - length])


def test_a_file_that_is_gone_is_told_from_the_text(index: Path) -> None:
    for name in internals.segment_files(index):
        (index / name).unlink()
    with pytest.raises((ValueError, OSError), match=internals.FILE_GONE):
        tantivy.Index.open(str(index)).searcher()


def test_a_writer_needs_this_much_memory(index: Path) -> None:
    made = tantivy.Index.open(str(index))
    with pytest.raises(ValueError, match="memory"):
        made.writer(internals.LEAST_HEAP_BYTES - (2 << 20), 1)
