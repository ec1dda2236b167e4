"""What the embedding client and its worker say to each other.

A conversation is frames of `studio.workers`: kind, request id, body. This module defines the kinds
and the bodies; integers are little-endian. The worker speaks first, with READY or ERROR under request
id 0; after that every request is answered by exactly one frame under its id, unless it was withdrawn
with CANCEL before the answer was sent. A worker that is long about a batch sends ALIVE under request id 0 now and then,
so that it is not taken for one that hangs. RANK takes texts, the query first and then the passages, and is
answered with VECTORS of one column: the scores.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

_COUNT = struct.Struct("<I")
_SHAPE = struct.Struct("<II")


class Kind(IntEnum):
    """Frame kinds. Requests are below 16, answers from 16 up."""

    EMBED = 1
    EMBED_INTERACTIVE = 2
    COUNT_TOKENS = 3
    CANCEL = 4
    RANK = 5

    READY = 16
    VECTORS = 17
    COUNTS = 18
    ERROR = 19
    ALIVE = 20


class ProtocolError(ValueError):
    """A body that does not fit its kind."""


@dataclass(frozen=True, slots=True)
class ReadyInfo:
    """What the worker says of the model it loaded. `max_tokens` includes the special tokens."""

    pid: int
    architecture: str
    dimension: int
    max_tokens: int
    pooling: str
    vocabulary_size: int

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, body: bytes) -> ReadyInfo:
        """Raises ProtocolError."""
        try:
            return cls(**json.loads(body))
        except (ValueError, TypeError) as error:
            raise ProtocolError(f"not a description of a model: {error}") from error


def encode_texts(texts: Sequence[str]) -> bytes:
    """uint32 n, uint32[n] byte lengths, UTF-8. A lone surrogate, which UTF-8 cannot hold, becomes "?"."""
    raw = [text.encode("utf-8", "replace") for text in texts]
    lengths = np.fromiter((len(piece) for piece in raw), "<u4", len(raw))
    return b"".join((_COUNT.pack(len(raw)), lengths.tobytes(), *raw))


def decode_texts(body: bytes) -> list[str]:
    """Inverse of `encode_texts`. Raises ProtocolError."""
    lengths, at = _counted(body)
    if at + int(lengths.sum(dtype=np.uint64)) != len(body):
        raise ProtocolError("the lengths of the texts do not add up to the size of the frame")
    texts = []
    for length in lengths.tolist():
        try:
            texts.append(body[at : at + length].decode("utf-8"))
        except UnicodeDecodeError as error:
            raise ProtocolError(f"a text is not UTF-8: {error}") from error
        at += length
    return texts


def encode_vectors(vectors: NDArray[np.float32]) -> tuple[bytes, memoryview]:
    """uint32 rows, uint32 columns, then the rows as float32; two parts, so that nothing is copied."""
    rows, columns = vectors.shape
    data = np.ascontiguousarray(vectors, dtype="<f4").reshape(-1)
    return _SHAPE.pack(rows, columns), memoryview(data.data).cast("B")


def decode_vectors(body: bytes) -> NDArray[np.float32]:
    """Inverse of `encode_vectors`, shape (rows, columns). Raises ProtocolError."""
    if len(body) < _SHAPE.size:
        raise ProtocolError("the frame is too short for vectors")
    rows, columns = _SHAPE.unpack_from(body)
    if len(body) != _SHAPE.size + 4 * rows * columns:
        raise ProtocolError(f"{rows} × {columns} vectors do not fit a frame of {len(body)} bytes")
    return np.frombuffer(body, "<f4", rows * columns, _SHAPE.size).astype(np.float32, copy=False).reshape(rows, columns)


def encode_counts(counts: Sequence[int]) -> bytes:
    """uint32 n, uint32[n] token counts."""
    return _COUNT.pack(len(counts)) + np.asarray(counts, "<u4").tobytes()


def decode_counts(body: bytes) -> list[int]:
    """Inverse of `encode_counts`. Raises ProtocolError."""
    counts, at = _counted(body)
    if at != len(body):
        raise ProtocolError("the frame holds more than the counts it announces")
    return [int(count) for count in counts]


def encode_error(message: str, way_out: str = "") -> bytes:
    """A sentence for a person and the way out, as JSON."""
    return json.dumps([message, way_out]).encode()


def decode_error(body: bytes) -> tuple[str, str]:
    """Message and way out. Raises ProtocolError."""
    try:
        message, way_out = json.loads(body)
    except (ValueError, TypeError) as error:
        raise ProtocolError(f"not an error message: {error}") from error
    return str(message), str(way_out)


def _counted(body: bytes) -> tuple[NDArray[np.uint32], int]:
    if len(body) < _COUNT.size:
        raise ProtocolError("the frame is too short for a list")
    (count,) = _COUNT.unpack_from(body)
    end = _COUNT.size + 4 * count
    if len(body) < end:
        raise ProtocolError(f"a list of {count} does not fit a frame of {len(body)} bytes")
    return np.frombuffer(body, "<u4", count, _COUNT.size), end
