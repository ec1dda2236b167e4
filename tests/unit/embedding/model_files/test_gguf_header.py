from __future__ import annotations

import struct
from pathlib import Path

import pytest

from studio.embedding.model_files import read_header
from studio.errors import ModelFault
from tests.unit.embedding.model_files import bad_gguf

SEEN_IN_HEADER = [
    "empty",
    "random",
    "random after the magic",
    "magic only",
    "version 1",
    "counts of 2^63",
    "cut in the header",
    "cut in the middle",
    "cut at the end",
]


@pytest.mark.parametrize("case", SEEN_IN_HEADER)
def test_damage_is_seen_in_the_header(case: str, tiny_gguf: Path, tmp_path: Path) -> None:
    bad_gguf.BAD[case](tiny_gguf, tmp_path / "bad.gguf")
    with pytest.raises(ModelFault, match=r"bad\.gguf"):
        read_header(tmp_path / "bad.gguf")


def test_every_cut_of_the_header_is_noticed(tiny_gguf: Path, tmp_path: Path) -> None:
    whole = tiny_gguf.read_bytes()
    bad = tmp_path / "bad.gguf"
    for length in [*range(0, 2000, 7), *range(2000, len(whole), 4999), len(whole) - 1]:
        bad.write_bytes(whole[:length])
        with pytest.raises(ModelFault):
            read_header(bad)


def entry(key: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + value


@pytest.mark.parametrize(
    "value",
    [
        entry(b"k", 99, b""),
        entry(b"k", 8, struct.pack("<Q", 2**62)),
        entry(b"k", 9, struct.pack("<IQ", 4, 2**60)),
        entry(b"k", 9, struct.pack("<IQ", 8, 2**60)),
        entry(b"k", 9, struct.pack("<IQ", 8, 3) + struct.pack("<Q", 2**50)),
        entry(b"k", 9, struct.pack("<IQ", 9, 3)),
        entry(b"general.alignment", 4, struct.pack("<I", 0)),
        entry(b"general.alignment", 4, struct.pack("<I", 24)),
        struct.pack("<Q", 2**40),
    ],
)
def test_absurd_entries_are_refused(value: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF\x03\0\0\0" + struct.pack("<QQ", 0, 1) + value + bytes(100))
    with pytest.raises(ModelFault, match=r"bad\.gguf"):
        read_header(tmp_path / "bad.gguf")


def test_a_tensor_with_too_many_dimensions_is_refused(tmp_path: Path) -> None:
    tensor = struct.pack("<Q", 1) + b"t" + struct.pack("<I", 2**30)
    (tmp_path / "bad.gguf").write_bytes(b"GGUF\x03\0\0\0" + struct.pack("<QQ", 1, 0) + tensor + bytes(100))
    with pytest.raises(ModelFault, match="dimensions"):
        read_header(tmp_path / "bad.gguf")


def test_unknown_tensor_types_and_missing_keys_are_left_to_llama_cpp(tmp_path: Path) -> None:
    tensor = struct.pack("<Q", 1) + b"t" + struct.pack("<IQIQ", 1, 32, 4_000, 0)
    (tmp_path / "new.gguf").write_bytes(b"GGUF\x03\0\0\0" + struct.pack("<QQ", 1, 0) + tensor + bytes(100))
    header = read_header(tmp_path / "new.gguf")
    assert (header.architecture, header.number("context_length", 5), header.text("general.license")) == (
        "unknown",
        5,
        "",
    )
