"""Reading safetensors files: a JSON header, then raw tensors.

Format: uint64 header length (little-endian), JSON object name -> {dtype, shape, data_offsets}, data
(https://github.com/huggingface/safetensors#format). Read here rather than with the safetensors package
because that one cannot give bfloat16 to numpy, and the format is thirty lines.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from studio.errors import ModelFault

MAX_HEADER_BYTES = 100 << 20
_ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor lies: shape, element type, absolute byte offset."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


class SafetensorsFile:
    """The floating-point tensors of a file, by name, in the order they are stored."""

    def __init__(self, path: Path) -> None:
        """Read the header. Raises ModelFault when the file is not safetensors or is cut short."""
        self._path = path
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
                raise ModelFault(f"{path.name} is not a safetensors file, or it is incomplete.")
            raw = file.read(length)
        try:
            header = json.loads(raw)
            found = [self._entry(name, entry, 8 + length, size) for name, entry in header.items() if name[:2] != "__"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelFault(f"{path.name} has a damaged header: {error}.") from error
        self.tensors = {
            tensor.name: tensor for tensor in sorted(found, key=lambda tensor: (tensor.offset, tensor.name))
        }

    def _entry(self, name: str, entry: dict[str, object], data_start: int, size: int) -> Tensor:
        shape = tuple(int(n) for n in entry["shape"])  # type: ignore[attr-defined]
        begin, end = (int(n) for n in entry["data_offsets"])  # type: ignore[attr-defined]
        dtype = str(entry["dtype"])
        if dtype in _ITEM_BYTES and end - begin != math.prod(shape) * _ITEM_BYTES[dtype]:
            raise ValueError(f"the size of {name} does not fit its shape")
        if not 0 <= begin <= end <= size - data_start:
            raise ModelFault(f"{self._path.name} is incomplete: {name} lies beyond its end.")
        return Tensor(name, dtype, shape, data_start + begin)

    def read(self, name: str) -> NDArray[np.float32]:
        """A tensor as float32. Raises ModelFault when it is missing or not floating point."""
        tensor = self.tensors.get(name)
        if tensor is None:
            raise ModelFault(f"{self._path.name} has no tensor {name}.")
        if tensor.dtype not in _ITEM_BYTES:
            raise ModelFault(f"The tensor {name} is of type {tensor.dtype}; only floating point is supported.")
        stored = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}[tensor.dtype]
        values = np.fromfile(self._path, stored, math.prod(tensor.shape), offset=tensor.offset)
        if tensor.dtype == "BF16":  # the upper half of a float32
            values = (values.astype("<u4") << 16).view("<f4")
        return values.astype(np.float32, copy=False).reshape(tensor.shape)
