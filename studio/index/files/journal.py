"""Embeddings that the model has given and no checkpoint holds yet: what a killed job does not have to compute again.

One append-only file per job. A record is the key of what was embedded (32 bytes, see `rows.embedding_key`), the
vector (dimension times float32, little-endian) and the CRC-32 of both; a record that a kill tore apart ends the file.
Nothing is flushed to the disk: a dead process loses nothing, a power cut some seconds of embedding.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import threading
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from studio.domain import ModelIdentity, Vectors
from studio.errors import storage_fault

_MAGIC = b"RSVJ0001"
_KEY_BYTES = 32
_CRC = struct.Struct("<I")


class VectorJournal:
    """The journal of one job. Blocking, for any thread. Raises StorageFault when the disk fails."""

    def __init__(self, path: Path, model: ModelIdentity) -> None:
        self._path = path
        self._dimension = model.dimension
        self._header = _MAGIC + hashlib.sha256(f"{model.sha256}:{model.pooling}".encode()).digest()
        self._file: BinaryIO | None = None
        self._turn = threading.Lock()  # two batches may come back at the same moment

    def read(self) -> dict[str, Vectors]:
        """Every whole record, each vector of shape (dimension,); {} for a journal of another model."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise storage_fault(error, "reading the journal of a job", self._path) from error
        if not data.startswith(self._header):
            return {}
        found: dict[str, Vectors] = {}
        body = 4 * self._dimension
        for at in range(len(self._header), len(data), _KEY_BYTES + body + _CRC.size):
            record = data[at : at + _KEY_BYTES + body]
            crc = data[at + _KEY_BYTES + body : at + _KEY_BYTES + body + _CRC.size]
            if len(crc) < _CRC.size or _CRC.unpack(crc)[0] != zlib.crc32(record):
                break
            found[record[:_KEY_BYTES].hex()] = np.frombuffer(record, "<f4", offset=_KEY_BYTES).astype(np.float32)
        return found

    def append(self, vectors: Iterable[tuple[str, Vectors]]) -> None:
        """Add embeddings by key, each of shape (dimension,)."""
        data = b"".join(self._record(key, vector) for key, vector in vectors)
        try:
            with self._turn:
                if self._file is None:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                    self._file = self._path.open("ab")
                    if self._file.tell() == 0:
                        self._file.write(self._header)
                self._file.write(data)
                self._file.flush()
        except OSError as error:
            raise storage_fault(error, "keeping embeddings of a job", self._path) from error

    def restart(self, vectors: Mapping[str, Vectors]) -> None:
        """Begin anew with these embeddings only: a checkpoint holds the others now."""
        temporary = self._path.with_suffix(".tmp")
        try:
            with self._turn:
                self.close()
                self._path.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_bytes(self._header + b"".join(self._record(*item) for item in vectors.items()))
                os.replace(temporary, self._path)  # noqa: PTH105
        except OSError as error:
            raise storage_fault(error, "keeping embeddings of a job", self._path) from error

    def close(self) -> None:
        """Let go of the file."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def _record(self, key: str, vector: Vectors) -> bytes:
        record = bytes.fromhex(key) + np.ascontiguousarray(vector, "<f4").tobytes()
        return record + _CRC.pack(zlib.crc32(record))
