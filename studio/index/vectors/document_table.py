"""The rows of a documents table in memory, found by document id.

Arrow takes a few rows out of a table column by column: in the middle of a search, which uses the processor's caches for
other things, ten documents took 0.65 ms. So the texts of a row lie in one piece here, and its numbers in a row of a
matrix: 0.15 ms for ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.domain import DocumentRecord
from studio.index.vectors.rows import RECORD_NUMBERS, RECORD_TEXTS, by_path, bytes_of, record_from

_SEPARATOR = b"\xff"
"""No text in UTF-8 has this byte."""


class DocumentTable:
    """Made of an Arrow table that fits in memory; takes about as much. Safe to use from several threads."""

    def __init__(self, rows: Any) -> None:
        import pyarrow.compute as pc

        rows = rows.take(pc.sort_indices(rows.column("document_id")))
        self._ids = bytes_of(rows.column("document_id"))
        self._texts, self._starts = _joined([rows.column(name).combine_chunks() for name in RECORD_TEXTS])
        numbers = [rows.column(name).to_numpy() for name in RECORD_NUMBERS]
        self._numbers: NDArray[np.int64] = np.stack(numbers, axis=1)

    @property
    def nbytes(self) -> int:
        """Bytes it takes."""
        return len(self._texts) + sum(int(array.nbytes) for array in (self._ids, self._numbers, self._starts))

    def records(self, document_ids: Sequence[str]) -> list[DocumentRecord]:
        """The rows with these ids, one per source path."""
        wanted = np.array(sorted({name.encode() for name in document_ids}), np.bytes_)
        spans = zip(np.searchsorted(self._ids, wanted), np.searchsorted(self._ids, wanted, "right"), strict=True)
        places = np.array([at for first, end in spans for at in range(first, end)], np.intp)
        bounds = zip(self._starts[places].tolist(), self._starts[places + 1].tolist(), strict=True)
        texts = [self._texts[start:end].split(_SEPARATOR) for start, end in bounds]
        pairs = zip(texts, self._numbers[places].tolist(), strict=True)
        return by_path(record_from(map(bytes.decode, row), numbers) for row, numbers in pairs)


def _joined(columns: Sequence[Any]) -> tuple[bytes, NDArray[np.unsignedinteger[Any]]]:
    """The texts of Arrow arrays row by row, and where those of a row begin, shape (rows + 1,)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(columns[0]) == 0:
        return b"", np.zeros(1, np.uint8)
    wide = [column.cast(pa.large_binary()) for column in columns]  # of any size together
    separator = pa.scalar(_SEPARATOR, pa.large_binary())
    together = pc.binary_join_element_wise(*wide, separator)
    _, offsets, text = together.buffers()
    starts = np.frombuffer(offsets, np.int64)[: len(together) + 1]
    size = int(starts[-1])
    return bytes(memoryview(text)[:size]), starts.astype(np.min_scalar_type(size))
