"""Reading the header of a GGUF file in plain Python, before any native code sees the file.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Every length is checked against the
size of the file, so random bytes, a cut download and absurd counts end in a sentence here and not in
an abort, an endless loop or a bus error in llama.cpp.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import gguf

from studio.errors import ModelFault

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_ENTRIES = 100_000
MAX_ARRAY_STRINGS = 4_000_000
MAX_STRING_BYTES = 16 << 20
MAX_DIMENSIONS = 4
DEFAULT_ALIGNMENT = 32
RANK_POOLING_TYPE = 4
"""LLAMA_POOLING_TYPE_RANK in llama.h."""
CLASSIFIER = "cls."
"""What the names of a classifier's tensors begin with (LLM_TENSOR_CLS in llama.cpp's src/llama-arch.cpp)."""

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING = 8
_ARRAY = 9

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Tensor:
    """How a tensor is stored: its type (`ggml_type` in ggml.h) and bytes, 0 of a type that is not known here."""

    kind: int
    size: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Single metadata values, the lengths of the arrays among them, and the tensors by name."""

    metadata: Mapping[str, Scalar]
    lengths: Mapping[str, int]
    tensors: Mapping[str, Tensor]

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", "unknown"))

    def number(self, key: str, default: int = 0) -> int:
        """An integer below `<architecture>.`, or the default when it is missing or not an integer."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        return value if isinstance(value, int) else default

    @property
    def headless_reranker(self) -> bool:
        """It claims to rank but has no classifier: llama.cpp would hand out a number that means nothing."""
        classifier = any(name.startswith(CLASSIFIER) for name in self.tensors)
        return self.number("pooling_type", -1) == RANK_POOLING_TYPE and not classifier

    def text(self, key: str) -> str:
        """A string by its full key, or ""."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""


def read_header(path: Path) -> GgufHeader:
    """Read and check a header. Raises ModelFault when the file is not GGUF, damaged, or cut short."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size == 0:
            raise ModelFault(f"{path.name} is empty.", way_out="Fetch the file again.")
        if file.read(4) != MAGIC:
            raise ModelFault(f"{path.name} is not a GGUF file.", way_out="Choose an embedding model in GGUF format.")
        return _Reader(file, path.name, size).header()


class _Reader:
    def __init__(self, file: BinaryIO, name: str, size: int) -> None:
        self._file = file
        self._name = name
        self._size = size

    def header(self) -> GgufHeader:
        version = self._number("I")
        if version not in VERSIONS:
            raise ModelFault(f"{self._name} is GGUF version {version}; versions 2 and 3 can be read.")
        tensors, entries = self._number("Q"), self._number("Q")
        if tensors > MAX_ENTRIES or entries > MAX_ENTRIES:
            raise self._damaged(f"it announces {tensors} tensors and {entries} entries")
        metadata: dict[str, Scalar] = {}
        lengths: dict[str, int] = {}
        for _ in range(entries):
            key = self._string()
            kind = self._number("I")
            if kind == _ARRAY:
                lengths[key] = self._skip_array()
            else:
                metadata[key] = self._value(kind)
        return GgufHeader(metadata, lengths, self._tensors(tensors, metadata))

    def _tensors(self, count: int, metadata: Mapping[str, Scalar]) -> dict[str, Tensor]:
        """Raises ModelFault when they do not fit the file."""
        end = 0
        found: dict[str, Tensor] = {}
        for _ in range(count):
            name = self._string()
            dimensions = self._number("I")
            if dimensions > MAX_DIMENSIONS:
                raise self._damaged(f"the tensor {name} has {dimensions} dimensions")
            elements = math.prod(self._number("Q") for _ in range(dimensions))
            kind, offset = self._number("I"), self._number("Q")
            tensor = found[name] = Tensor(kind, _tensor_bytes(kind, elements))
            end = max(end, offset + tensor.size)
        alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise self._damaged(f"its alignment is {alignment}")
        start = -(-self._file.tell() // alignment) * alignment
        if found and start + end > self._size:
            raise ModelFault(
                f"{self._name} is incomplete: {self._size} of {start + end} bytes are there.",
                way_out="Fetch the file again.",
            )
        return found

    def _value(self, kind: int) -> Scalar:
        if kind in _SCALARS:
            return self._number(_SCALARS[kind])
        if kind == _STRING:
            return self._string()
        raise self._damaged(f"it holds a value of unknown type {kind}")

    def _skip_array(self) -> int:
        """How many values the array has."""
        inner, count = self._number("I"), self._number("Q")
        if inner in _SCALARS:
            self._skip(count * struct.calcsize("<" + _SCALARS[inner]))
        elif inner == _STRING and count <= MAX_ARRAY_STRINGS:
            for _ in range(count):
                self._skip(self._number("Q"))
        else:
            raise self._damaged(f"it holds a list of {count} values of type {inner}")
        return count

    def _number(self, code: str) -> int:
        layout = struct.Struct("<" + code)
        value: int = layout.unpack(self._bytes(layout.size))[0]
        return value

    def _string(self) -> str:
        length = self._number("Q")
        if length > MAX_STRING_BYTES:
            raise self._damaged(f"it holds a name of {length} bytes")
        return self._bytes(length).decode("utf-8", "replace")

    def _bytes(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise self._cut_short()
        return data

    def _skip(self, count: int) -> None:
        if count > self._size - self._file.tell():
            raise self._cut_short()
        self._file.seek(count, 1)

    def _cut_short(self) -> ModelFault:
        return ModelFault(
            f"{self._name} is damaged or incomplete: it ends inside its header.", way_out="Fetch the file again."
        )

    def _damaged(self, what: str) -> ModelFault:
        return ModelFault(f"{self._name} is damaged: {what}.", way_out="Fetch the file again.")


def _tensor_bytes(kind: int, elements: int) -> int:
    try:
        block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
    except (ValueError, KeyError):
        return 0  # a type newer than this program; llama.cpp says whether it knows it
    return elements // block * size
