"""Every kind of hostile bundle.

Each of `HOSTILE` writes a file whose outer checksum is right, so that only a look inside can refuse it.
"""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from studio.index.bundle import archive
from tests.helpers.handmade_bundles import PAPER, SEAL_BYTES, Material, lines, material, pack, reseal
from tests.helpers.toy import DIMENSION

# ---------------------------------------------------------------- hostile content

Change = Callable[[Material], object]


def _row(rows: str, **values: object) -> Change:
    """Set values of the first row."""
    return lambda m: getattr(m, rows)[0].update(values)


def _chunk(**values: object) -> Change:
    return _row("chunks", **values)


def _document(**values: object) -> Change:
    return _row("documents", **values)


def _manifest(**values: object) -> Change:
    return lambda m: m.manifest.update(values)


def _inside(part: str, **values: object) -> Change:
    return lambda m: m.manifest[part].update(values)


def _raw(name: str, data: bytes) -> Change:
    return lambda m: m.raw.update({name: data})


def _text(data: bytes) -> Change:
    return lambda m: m.texts.update({f"{PAPER}.text": data})


def _vector(value: float) -> Change:
    def change(m: Material) -> None:
        m.vectors[1, :] = value

    return change


def _zip(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return buffer.getvalue()


def _block(documents: object, **more: object) -> bytes:
    return json.dumps({"format": 1, "documents": documents, **more}).encode()


def _repeated_directory() -> bytes:
    """A ZIP of one small block whose directory lists it over and over: overlapping members, 60 GB in all."""
    packed = _zip({"0" * 60: b"0" * (1 << 20)})
    end = packed.rindex(b"PK\5\6")
    size, start = struct.unpack_from("<2L", packed, end + 12)
    entry = packed[start : start + size]
    count = 60_000
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(entry) * count, start, 0)
    return packed[:start] + entry * count + tail


def _lying_size(packed: bytes, size: int) -> bytes:
    """The directory says that the first member expands to `size`."""
    at = packed.index(b"PK\1\2") + 24
    return packed[:at] + struct.pack("<L", size) + packed[at + 4 :]


def _encrypted(packed: bytes) -> bytes:
    at = packed.index(b"PK\1\2") + 8
    local = packed[:6] + b"\1" + packed[7:at]
    return local + b"\1" + packed[at + 1 :]


_GOOD_BLOCK = _block([[0, "one two three", [[0, 13, 1, "A", False]]]])

CONTENT: dict[str, Change] = {
    "other version": _manifest(version=2),
    "other rows": _manifest(rows_version=2),
    "other format": _manifest(format="something-else"),
    "version is text": _manifest(version="1"),
    "version is true": _manifest(version=True),
    "manifest is a list": _raw("manifest.json", b"[]"),
    "manifest is not JSON": _raw("manifest.json", b"{"),
    "manifest nested too deeply": _raw("manifest.json", b"[" * 200_000),
    "manifest too large": _raw("manifest.json", b" " * ((16 << 20) + 1)),
    "manifest not UTF-8": _raw("manifest.json", b'{"format": "\xff"}'),
    "field too many": _manifest(extra=1),
    "name empty": _manifest(name="  "),
    "name with control characters": _manifest(name="a\x1b[2J"),
    "name too long": _manifest(name="n" * 121),
    "name is a number": _manifest(name=5),
    "generation of 5000 digits": _raw("manifest.json", b'{"format": "rag-studio-bundle", "version": ' + b"1" * 5000),
    "generation negative": _manifest(generation=-1),
    "counts too large": _manifest(documents=2**60),
    "counts are fractions": _manifest(chunks=4.0),
    "counts differ": _manifest(documents=4),
    "metric unknown": _inside("settings", metric="euclid"),
    "metric is a list": _inside("settings", metric=[]),
    "language with control characters": _inside("settings", language="e\0n"),
    "tokens infinite": _inside("settings", chunk_tokens=float("inf")),
    "tokens true": _inside("settings", chunk_tokens=True),
    "overlap larger than the chunk": _inside("settings", chunk_overlap=200),
    "contextual is a number": _inside("settings", contextual=1),
    "setting unknown": _inside("settings", surprise=1),
    "model is null": _manifest(model=None),
    "model hash": _inside("model", sha256="../../etc/passwd"),
    "dimension zero": _inside("model", dimension=0),
    "dimension huge": _inside("model", dimension=1 << 40),
    "dimension other": _inside("model", dimension=DIMENSION * 2),
    "pin not an object": _manifest(pinned_queries=["two"]),
    "pin with a huge number": _manifest(pinned_queries=[{"query": "q", "must_find": ["a"], "top": 2**70}]),
    "checksum of a member": lambda m: m.sums.update({"chunks.jsonl": "0" * 64}),
    "checksum of the manifest": lambda m: m.sums.update({"manifest.json": "0" * 64}),
    "checksum of a text": lambda m: m.sums.update({f"texts/{PAPER}.text": "0" * 64}),
    "checksum of what is not there": lambda m: m.sums.update({"ghost": "0" * 64}),
    "line not JSON": _raw("chunks.jsonl", b"nonsense\n"),
    "line cut off": lambda m: m.raw.update({"chunks.jsonl": lines(m.chunks)[:-1]}),
    "line without end": _raw("documents.jsonl", b" " * ((16 << 20) + 2)),
    "line is a number": _raw("documents.jsonl", b"1\n"),
    "line nested too deeply": _raw("chunks.jsonl", b'{"chunk_id":' + b"[" * 200_000 + b"\n"),
    "chunk field missing": lambda m: m.chunks[0].pop("anchor"),
    "chunk id null": _chunk(chunk_id=None),
    "chunk id twice": lambda m: m.chunks[3].update(chunk_id=m.chunks[0]["chunk_id"]),
    "chunk id a list": _chunk(chunk_id=["x"]),
    "chunk of an unknown document": _chunk(document_id="nobody"),
    "chunk of a failed document": _chunk(document_id="bad"),
    "chunk of another document": _chunk(document_id="row0"),
    "chunk changed": _chunk(content="one twO"),
    "chunk hash": _chunk(content_hash="0" * 63 + "g"),
    "chunk page": _chunk(page_number=2**40),
    "chunk offset negative": _chunk(char_start=-1),
    "chunk offsets reversed": _chunk(char_start=9, char_end=3),
    "chunk offset huge": _chunk(char_end=2**80),
    "chunk metadata nested": _chunk(metadata={"a": {"b": 1}}),
    "chunk metadata infinite": lambda m: m.raw.update(
        {"chunks.jsonl": lines(m.chunks).replace(b'"blue"', b"1e999", 1)}
    ),
    "chunk metadata not a number": _chunk(metadata={"a": float("nan")}),
    "chunk with a lone surrogate": _chunk(anchor="\ud800"),
    "chunk missing": lambda m: m.chunks.pop(),
    "document missing": lambda m: m.documents.pop(0),
    "document status": _document(status="excellent"),
    "document status a list": _document(status=[]),
    "document failed but has text": _document(status="failed"),
    "document without text": _document(sha256=""),
    "document hash": _document(sha256="../" * 21 + "x"),
    "document kind": _document(kind="../x"),
    "document path with NUL": _document(source_path="/docs/\0"),
    "document row negative": _document(row=-1),
    "document time": _document(mtime_ns=2**63),
    "document pages": _document(pages=[1, 2, 3]),
    "document without a date": lambda m: m.documents[0].pop("created"),
    "document metadata a list": _document(metadata=["a"]),
    "document metadata a number": _document(metadata={"a": 1}),
    "document chunks": _document(chunks=1),
    "vector not a number": _vector(float("nan")),
    "vector infinite": _vector(float("inf")),
    "vector zero": _vector(0.0),
    "vector too long to measure": _vector(3e38),
    "vectors too few": lambda m: setattr(m, "vectors", m.vectors[:3]),
    "vectors too many": lambda m: setattr(m, "vectors", np.vstack([m.vectors, m.vectors])),
    "text missing": lambda m: m.texts.pop(f"{PAPER}.text"),
    "text too many": lambda m: m.texts.update({f"{'d' * 64}.text": m.texts[f"{PAPER}.text"]}),
    "text empty": _text(b""),
    "text not a ZIP": _text(b"PK but not really" * 9),
    "text of another document": _text(_zip({"0": _block([[1, "x", []]])})),
    "text block missing": _text(_zip({"1": _GOOD_BLOCK})),
    "text not JSON": _text(_zip({"0": b"x"})),
    "text a list": _text(_zip({"0": b"[]"})),
    "text nested too deeply": _text(_zip({"0": b"[" * 200_000})),
    "text newer": _text(_zip({"0": _block([[0, "one two three", []]]).replace(b'"format": 1', b'"format": 2')})),
    "text is a number": _text(_zip({"0": _block([[0, 5, []]])})),
    "text spans are text": _text(_zip({"0": _block([[0, "x", [["a", "b", None, "", False]]]])})),
    "text bomb": _text(_zip({"0": _GOOD_BLOCK, "1": b"0" * (80 << 20)})),
    "text bomb of one block": _text(_lying_size(_zip({"0": _GOOD_BLOCK}), (1 << 30) + 1)),
    "text bomb by repetition": _text(_repeated_directory()),
    "text with other compression": _text(_zip({"0": _GOOD_BLOCK}, zipfile.ZIP_LZMA)),
    "text encrypted": _text(_encrypted(_zip({"0": _GOOD_BLOCK}))),
    "text with a comment": lambda m: m.texts.update(
        {f"{PAPER}.text": m.texts[f"{PAPER}.text"][:-2] + struct.pack("<H", 3) + b"abc"}
    ),
    "member too many": _raw("zzz.txt", b"hello"),
    "keyword index": _raw("lexical/meta.json", b"{}"),
}


# ---------------------------------------------------------------- hostile archives


def _foreign(path: Path, folder: Path, change: Callable[[zipfile.ZipFile], object]) -> None:
    """The same members in an archive by Python's zipfile, and something more."""
    sound = folder / "sound.bundle"
    material(folder).write(sound)
    buffer = io.BytesIO()
    with zipfile.ZipFile(sound) as source, zipfile.ZipFile(buffer, "w") as target:
        for member in source.infolist():
            target.writestr(member, source.read(member))
        change(target)
        target.comment = b"0" * SEAL_BYTES
    reseal(path, buffer.getvalue())


def _extra(name: str, data: bytes = b"evil", attributes: int = 0o100644, method: int = 0) -> Callable[..., None]:
    def add(target: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo("x")
        info.filename = name
        info.external_attr = attributes << 16
        with warnings.catch_warnings(action="ignore"):  # of names that are there twice
            target.writestr(info, data, method)

    return lambda path, folder: _foreign(path, folder, add)


def _edited(edit: Callable[[bytes], bytes]) -> Callable[..., None]:
    """A sound bundle whose bytes are changed, with the right checksum."""

    def write(path: Path, folder: Path) -> None:
        material(folder).write(path)
        before = path.read_bytes()
        after = edit(before)
        assert after != before
        reseal(path, after)

    return write


def _named(name: str) -> Callable[..., None]:
    """An archive of the right form with a member of that name."""

    def write(path: Path, folder: Path) -> None:
        changed = material(folder)
        changed.raw[name] = b"evil"
        allowed, archive._NAME = archive._NAME, archive.re.compile(rb"(?s).*")
        try:
            changed.write(path)
        finally:
            archive._NAME = allowed

    return write


def _at(data: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """Replace bytes `offset` behind the last occurrence of a signature."""
    at = data.rindex(signature) + offset
    return data[:at] + value + data[at + len(value) :]


def _with_gap(data: bytes) -> bytes:
    """Bytes that belong to no member, before a directory that takes them into account."""
    start = data.index(_ENTRY)
    moved = data[:start] + b"gap" + data[start:]
    for signature, offset in ((_END64, 48), (_LOCATOR, 8)):
        at = moved.rindex(signature) + offset
        (place,) = struct.unpack_from("<Q", moved, at)
        moved = moved[:at] + struct.pack("<Q", place + 3) + moved[at + 8 :]
    return moved


def _ordered(*names: str) -> Callable[..., None]:
    def write(path: Path, folder: Path) -> None:
        members = material(folder).members()
        pack(path, {name: members.get(name, b"") for name in names})

    return write


_ENTRY, _HEADER, _END, _END64, _LOCATOR = b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7"

ARCHIVES: dict[str, Callable[[Path, Path], None]] = {
    "made by another program": lambda path, folder: _foreign(path, folder, lambda _: None),
    "path traversal": _extra("../../evil.txt"),
    "path traversal below texts": _extra("texts/../../../evil"),
    "absolute path": _extra("/tmp/evil"),
    "backslashes": _extra("..\\..\\evil"),
    "drive letter": _extra("C:\\evil.txt"),
    "symbolic link": _extra("texts/link", b"/etc/passwd", 0o120777),
    "folder": _extra("texts/", b"", 0o040755),
    "bomb": _extra("texts/bomb", b"0" * (64 << 20), method=zipfile.ZIP_DEFLATED),
    "name twice": _extra("manifest.json"),
    "name with NUL": _extra("a\0b"),
    "right form, traversal": _named("texts/../../evil"),
    "right form, absolute": _named("/etc/passwd"),
    "right form, backslash": _named("a\\b"),
    "right form, drive": _named("c:evil"),
    "right form, not ASCII": _named("ü"),
    "right form, odd text": _named("texts/evil.exe"),
    "right form, empty name": _named(""),
    "link by attributes": _edited(lambda data: _at(data, _ENTRY, 38, struct.pack("<L", 0o120777 << 16))),
    "encryption flag": _edited(lambda data: _at(data, _ENTRY, 8, b"\1")),
    "compression in the directory": _edited(lambda data: _at(data, _ENTRY, 10, b"\x08")),
    "compression in the header": _edited(lambda data: _at(data, _HEADER, 8, b"\x08")),
    "size in the header": _edited(lambda data: _at(data, _HEADER, 18, struct.pack("<L", 5))),
    "name in the header": _edited(lambda data: _at(data, _HEADER, 30, b"x")),
    "time": _edited(lambda data: _at(data, _ENTRY, 12, b"\1")),
    "CRC in both": _edited(lambda data: _at(_at(data, _ENTRY, 16, b"\1\2\3\4"), _HEADER, 14, b"\1\2\3\4")),
    "place of a member": _edited(lambda data: _at(data, _END64, -8, struct.pack("<Q", 0))),
    "place far away": _edited(lambda data: _at(data, _END64, -8, struct.pack("<Q", 2**63))),
    "size far too large": _edited(lambda data: _at(data, _END64, -24, struct.pack("<2Q", 2**62, 2**62))),
    "number of members": _edited(lambda data: _at(data, _END64, 24, struct.pack("<2Q", 2**40, 2**40))),
    "one member less": _edited(lambda data: _at(data, _END64, 24, struct.pack("<2Q", 6, 6))),
    "directory elsewhere": _edited(lambda data: _at(data, _END64, 48, struct.pack("<Q", 0))),
    "directory size": _edited(lambda data: _at(data, _END64, 40, struct.pack("<Q", 2**50))),
    "several disks": _edited(lambda data: _at(data, _END, 4, b"\1")),
    "something in front": _edited(lambda data: _HEADER + b"front" + data),
    "something behind the members": _edited(lambda data: data.replace(_ENTRY, b"between" + _ENTRY, 1)),
    "gap before the directory": _edited(_with_gap),
    "only an end": lambda path, folder: reseal(path, b"PK\3\4" + b"0" * SEAL_BYTES),
    "no members": lambda path, folder: _ordered("manifest.json")(path, folder),
    "manifest missing": _ordered("documents.jsonl", "vectors.f32", "chunks.jsonl", "sha256sums.txt"),
    "other order": _ordered("vectors.f32", "documents.jsonl", "chunks.jsonl", "manifest.json", "sha256sums.txt"),
    "sums empty": _ordered("documents.jsonl", "vectors.f32", "chunks.jsonl", "manifest.json", "sha256sums.txt"),
}


def _content(change: Change) -> Callable[[Path, Path], None]:
    def write(path: Path, folder: Path) -> None:
        changed = material(folder)
        change(changed)
        changed.write(path)

    return write


HOSTILE: dict[str, Callable[[Path, Path], None]] = {
    **ARCHIVES,
    **{name: _content(change) for name, change in CONTENT.items()},
}
"""What is wrong → writes such a file: (path of the file, folder to work in)."""
