from __future__ import annotations

import numpy as np
import pytest

from studio.embedding.worker import ProtocolError, ReadyInfo, protocol


@pytest.mark.parametrize(
    "texts", [[], [""], ["a"], ["", "é", "漢字 😀", "x" * 100_000], ["line\nbreak", "\0null"]], ids=str
)
def test_texts_round_trip(texts: list[str]) -> None:
    assert protocol.decode_texts(protocol.encode_texts(texts)) == texts


def test_lone_surrogates_become_question_marks() -> None:
    assert protocol.decode_texts(protocol.encode_texts(["a\ud800b"])) == ["a?b"]


@pytest.mark.parametrize("shape", [(0, 384), (1, 1), (5, 7)])
def test_vectors_round_trip(shape: tuple[int, int]) -> None:
    vectors = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    back = protocol.decode_vectors(b"".join(bytes(part) for part in protocol.encode_vectors(vectors)))
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, vectors)


def test_vectors_that_are_not_contiguous_round_trip() -> None:
    vectors = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::3]
    back = protocol.decode_vectors(b"".join(bytes(part) for part in protocol.encode_vectors(vectors)))
    np.testing.assert_array_equal(back, vectors)


def test_counts_errors_and_ready_round_trip() -> None:
    assert protocol.decode_counts(protocol.encode_counts([0, 7, 4_000_000_000])) == [0, 7, 4_000_000_000]
    assert protocol.decode_counts(protocol.encode_counts([])) == []
    assert protocol.decode_error(protocol.encode_error("kaputt: é\ud800", "aus")) == ("kaputt: é\ud800", "aus")
    ready = ReadyInfo(1, "bert", 384, 256, "mean", 30522)
    assert ReadyInfo.decode(ready.encode()) == ready


@pytest.mark.parametrize(
    "body",
    [b"", b"\x01", b"\x02\0\0\0\x01\0\0\0", b"\x01\0\0\0\x05\0\0\0abc", b"\x01\0\0\0\x01\0\0\0\xff", b"\xff" * 40],
)
def test_damaged_texts_are_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode_texts(body)


@pytest.mark.parametrize("body", [b"", b"\x01\0\0\0", b"\x01\0\0\0\x02\0\0\0abcd", b"\xff" * 16])
def test_damaged_vectors_are_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode_vectors(body)


def test_damaged_counts_and_ready_are_refused() -> None:
    for body in (b"", b"\x01\0\0\0", b"\x00\0\0\0x"):
        with pytest.raises(ProtocolError):
            protocol.decode_counts(body)
    for body in (b"", b"[]", b"{}", b"7", b"\xff"):
        with pytest.raises(ProtocolError):
            protocol.decode_error(body)
    for body in (b"", b"[]", b'{"pid": 1}', b"{nonsense"):
        with pytest.raises(ProtocolError):
            ReadyInfo.decode(body)
