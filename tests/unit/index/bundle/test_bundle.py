"""The file format of bundles: what is written comes back, and nothing else is accepted."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from studio.documents.texts import PARSED_BYTES, check_texts, read_text
from studio.errors import BundleFault, InvariantViolated, NotFound
from studio.index.bundle import BundleReader, BundleWriter, Census, Manifest, Unsound
from studio.index.bundle.archive import ArchiveReader, ArchiveWriter
from studio.index.bundle.values import decode_chunk, decode_document, encode_document
from studio.index.vectors import CHUNK_CONTENT
from studio.index.vectors.rows import chunk_schema
from tests.helpers.handmade_bundles import Material, material, pack, reseal
from tests.helpers.hostile_bundles import HOSTILE


def verify(path: Path) -> BundleReader:
    with closing(BundleReader(path, check_texts)) as reader:
        for _ in reader.verify():
            pass
    return reader


def refused(path: Path) -> BundleFault:
    with pytest.raises(BundleFault) as caught:
        verify(path)
    assert path.name in str(caught.value)
    assert caught.value.way_out
    return caught.value


@pytest.fixture
def sound(tmp_path: Path) -> Material:
    return material(tmp_path)


@pytest.fixture
def bundle(sound: Material, tmp_path: Path) -> Path:
    path = tmp_path / "papers.bundle"
    sound.write(path)
    return path


def batch_of(sound: Material) -> pa.RecordBatch:
    rows = [{**row, "metadata": '{"colour": "blue"}'} for row in sound.chunks]
    schema = pa.schema([field for field in chunk_schema(sound.vectors.shape[1]) if field.name in CHUNK_CONTENT])
    rows = [{**row, "embedding": vector} for row, vector in zip(rows, sound.vectors.tolist(), strict=True)]
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def written(sound: Material, path: Path, *, chunks: int = 4) -> None:
    """The same bundle by the real writer."""
    manifest = Manifest.decode(sound.members()["manifest.json"])
    writer = BundleWriter(path, sound.vectors.shape[1])
    try:
        writer.add_documents([decode_document(line) for line in sound.members()["documents.jsonl"].splitlines()])
        writer.begin_chunks(chunks)
        batch = batch_of(sound)
        for part in (batch.slice(0, 3), batch.slice(3, 0), batch.slice(3)):
            writer.add_chunks(part)
        writer.end_chunks(manifest.documents, manifest.chunks)
        for key in sorted(sound.texts):
            with (path.parent / key).open("rb") as file:
                assert sum(writer.add_text(key, file)) == len(sound.texts[key])
        for _ in writer.finish(manifest):
            pass
    finally:
        writer.close()


def test_what_is_written_comes_back(sound: Material, tmp_path: Path) -> None:
    path = tmp_path / "written.bundle"
    written(sound, path)
    reader = BundleReader(path, check_texts)
    for _ in reader.verify():
        pass
    assert reader.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (reader.manifest.name, reader.manifest.generation) == ("Papers", 7)
    assert [(pin.query, pin.must_find, pin.top) for pin in reader.manifest.pins] == [("two", ("paper.txt",), 3)]
    census = Census()
    records = [record for step in reader.documents(census) for record in step]
    assert [record.document_id for record in records] == ["paper", "row0", "row1", "bad"]
    assert records[0].pages.total == 2
    ((chunks, vectors),) = reader.chunks(census)
    assert [chunk.content for chunk in chunks] == ["one two", "three", "first row", "second row"]
    assert chunks[0].metadata == {"colour": "blue"}
    assert chunks[0].anchor == "A › B"
    np.testing.assert_array_equal(vectors, sound.vectors)
    target = tmp_path / "texts"
    target.mkdir()
    for _ in reader.copy_texts(target):
        pass
    assert read_text(target, f"{'b' * 64}.csv", 1).text == "second row"
    assert reader.done_bytes < 3 * reader.size
    reader.close()


def test_other_programs_can_read_it(sound: Material, tmp_path: Path) -> None:
    path = tmp_path / "written.bundle"
    written(sound, path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names[:3] == ["documents.jsonl", "vectors.f32", "chunks.jsonl"]
        assert all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
        listed = dict(line.split("  ")[::-1] for line in archive.read("sha256sums.txt").decode().splitlines())
        assert listed == {name: hashlib.sha256(archive.read(name)).hexdigest() for name in names[:-1]}
        assert archive.comment == hashlib.sha256(path.read_bytes()[:-64]).hexdigest().encode()


def test_the_same_content_gives_the_same_bytes(sound: Material, tmp_path: Path) -> None:
    for name in ("one", "two"):
        written(sound, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_sound_bundle_is_accepted(bundle: Path) -> None:
    assert verify(bundle).manifest.chunks == 4


def test_an_empty_generation_is_accepted(sound: Material, tmp_path: Path) -> None:
    sound.documents, sound.chunks, sound.texts = sound.documents[3:], [], {}
    sound.vectors = sound.vectors[:0]
    sound.manifest.update(documents=0, chunks=0)
    path = tmp_path / "empty.bundle"
    sound.write(path)
    assert verify(path).manifest.chunks == 0


def test_no_byte_can_change_unnoticed(bundle: Path) -> None:
    whole = bundle.read_bytes()
    positions = {*range(0, len(whole), 7), *range(60), *range(len(whole) - 240, len(whole))}
    for position in positions:
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        bundle.write_bytes(changed)
        refused(bundle)


def test_no_byte_between_members_can_change_even_with_the_right_checksum(bundle: Path) -> None:
    whole = bundle.read_bytes()
    with zipfile.ZipFile(bundle) as archive:
        starts = [member.header_offset for member in archive.infolist()]
        ends = [*starts[1:], archive.start_dir]
        sizes = [member.file_size for member in archive.infolist()]
        structure = {*range(archive.start_dir, len(whole) - 64)}
    for start, end, size in zip(starts, ends, sizes, strict=True):
        structure.update(range(start, end - size))
    for position in structure:
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        reseal(bundle, bytes(changed))
        refused(bundle)


def test_a_part_of_a_bundle_is_refused(bundle: Path) -> None:
    whole = bundle.read_bytes()
    for length in {0, 1, 3, 4, 63, 64, 65, 68, 100, 200, *range(0, len(whole), 61), len(whole) - 1, len(whole) - 64}:
        bundle.write_bytes(whole[:length])
        refused(bundle)


def test_more_than_a_bundle_is_refused(bundle: Path) -> None:
    whole = bundle.read_bytes()
    for more in (b"\0", b"0" * 64, whole):
        bundle.write_bytes(whole + more)
        refused(bundle)
    reseal(bundle, whole[:-64] + whole)
    refused(bundle)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bundles_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "evil.bundle"
    HOSTILE[name](path, tmp_path)
    fault = refused(path)
    if name in ("other version", "other rows"):
        assert "another version of RAG Studio" in str(fault)
        assert "version 2; this program reads 1" in str(fault)
        assert "Update RAG Studio, or export it again" in fault.way_out


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gap before the directory", "something between its members"),
        ("right form, traversal", "name is not allowed"),
        ("right form, odd text", "has a member texts/evil.exe"),
        ("text bomb", "would expand from"),
        ("text bomb by repetition", "directory of the stored text takes"),
        ("checksum of the manifest", "checksum of manifest.json is wrong"),
        ("vector zero", "not finite or has no length"),
        ("chunk changed", "does not have its checksum"),
        ("chunk id twice", "same id"),
    ],
)
def test_the_reason_is_told(name: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "evil.bundle"
    HOSTILE[name](path, tmp_path)
    assert why in str(refused(path))


def test_no_block_of_a_text_may_be_too_large(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.documents.texts.MAX_BLOCK_BYTES", 10)
    assert "block of the stored text would expand" in str(refused(bundle))


def test_what_is_no_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nothing\.bundle"):
        BundleReader(tmp_path / "nothing.bundle", check_texts)
    with pytest.raises(BundleFault, match="not a file"):
        BundleReader(tmp_path, check_texts)
    for content in (b"", b"hello", b"%PDF-1.7" * 100):
        path = tmp_path / "other.bundle"
        path.write_bytes(content)
        assert "not a bundle of RAG Studio" in str(refused(path))


def test_a_bundle_that_changes_after_it_was_verified_is_refused(sound: Material, bundle: Path, tmp_path: Path) -> None:
    whole = bundle.read_bytes()
    changed = whole.replace(b"/docs/paper.txt", b"/docs/peper.txt")
    with zipfile.ZipFile(bundle) as archive:
        text = archive.getinfo(f"texts/{'a' * 64}.text").header_offset + 150
    changed = changed[:text] + b"\xff\xff" + changed[text + 2 :]
    with closing(BundleReader(bundle, check_texts)) as reader:
        for _ in reader.verify():
            pass
        with bundle.open("r+b") as file:
            file.write(changed)
        with pytest.raises(BundleFault, match=r"checksum of documents\.jsonl"):
            list(reader.documents(Census()))
        target = tmp_path / "texts"
        target.mkdir()
        with pytest.raises(BundleFault, match="checksum of texts/aaaa"):
            list(reader.copy_texts(target))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m.chunks[0].update(content_hash="0" * 63), "bad content_hash"),
        (lambda m: m.chunks[3].update(chunk_id=m.chunks[0]["chunk_id"]), "same id"),
        (lambda m: m.chunks[3].update(document_id="nobody"), "belongs to no document"),
        (lambda m: m.documents[0].update(chunks=3), "fewer chunks"),
        (lambda m: m.vectors.__setitem__(1, 0.0), "not finite or has no length"),
        (lambda m: m.manifest.update(documents=4), "has 3 and 4"),
    ],
)
def test_nothing_is_written_that_a_reader_would_refuse(
    sound: Material, tmp_path: Path, change: Callable[[Material], object], why: str
) -> None:
    change(sound)
    with pytest.raises(Unsound, match=why):
        written(sound, tmp_path / "unsound.bundle")


def test_the_reserved_place_must_be_filled(sound: Material, tmp_path: Path) -> None:
    with pytest.raises(InvariantViolated, match="were reserved"):
        written(sound, tmp_path / "short.bundle", chunks=5)


def test_members_can_be_written_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    writer = ArchiveWriter(path)
    first, second = writer.begin("first", 6), writer.begin("second")
    for part in (b"ab", b"cd", b"ef"):
        second.write(part * 3)
        first.write(part)
    digests = {"first": first.close(), "second": second.close()}
    for _ in writer.finish():
        pass
    writer.close()
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert contents == {"first": b"abcdef", "second": b"ababab" + b"cdcdcd" + b"efefef"}
    assert digests == {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../b", "a//b", "a/", "A", "a\\b", "", "c:a", "a" * 201])
def test_no_other_names_are_written(tmp_path: Path, name: str) -> None:
    with closing(ArchiveWriter(tmp_path / "archive")) as writer, pytest.raises(InvariantViolated, match="no name"):
        writer.begin(name)


def test_large_texts_are_checked_in_steps(tmp_path: Path, sound: Material) -> None:
    from studio.documents.texts import TextStoreWriter
    from studio.domain import ParsedDocument

    key = f"{'a' * 64}.text"
    text = "".join(chr(33 + number * number % 9001) for number in range(2 * PARSED_BYTES))
    with TextStoreWriter(tmp_path, key) as writer:
        writer.add(0, ParsedDocument(text, (), (), "text"))
        writer.commit()
    sound.texts[key] = (tmp_path / key).read_bytes()
    sound.write(tmp_path / "large.bundle")
    assert verify(tmp_path / "large.bundle").manifest.chunks == 4
    damaged = bytearray(sound.texts[key])
    damaged[len(damaged) // 2] ^= 1
    sound.texts[key] = bytes(damaged)
    sound.write(tmp_path / "damaged.bundle")
    assert "stored text is damaged" in str(refused(tmp_path / "damaged.bundle"))


def test_memory_stays_bounded_with_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.index.bundle.archive.MAX_MEMBERS", 10)
    path = tmp_path / "many"
    pack(path, {f"texts/{number}": b"" for number in range(11)})
    with closing(ArchiveReader(path)) as reader, pytest.raises(BundleFault, match="more than 10 members"):
        list(reader.check())


def test_rows_keep_every_value(sound: Material) -> None:
    record = decode_document(sound.members()["documents.jsonl"].splitlines()[0])
    assert (record.source_path, record.pages.readable, record.mtime_ns) == ("/docs/paper.txt", 2, 20)
    said = replace(record, created="2024-05-06", metadata={"tags": "a, “b”"})
    assert decode_document(encode_document(said)) == said
    chunk = decode_chunk(sound.members()["chunks.jsonl"].splitlines()[1])
    assert (chunk.char_start, chunk.char_end, chunk.page_number) == (8, 13, 1)
    assert replace(chunk, metadata={}) != chunk
