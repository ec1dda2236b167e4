"""The rows of a documents table in memory, found by document id.

Arrow takes a few rows out of a table column by column: in the middle of a search, which uses the processor's caches for
other things, ten documents took 0.65 ms. So the texts of all columns lie in one place here, with a matrix of where each
begins, and the numbers in another matrix: a row is two look-ups and some slices, 0.3 ms for ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.domain import DocumentRecord
from studio.index.rows import bytes_of, records_from


class DocumentTable:
    """Made of an Arrow table that fits in memory; takes about as much. Safe to use from several threads."""

    def __init__(self, rows: Any) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = rows.take(pc.sort_indices(rows.column("document_id"))).combine_chunks()
        self._ids = bytes_of(rows.column("document_id"))
        self._text_columns = [field.name for field in rows.schema if pa.types.is_string(field.type)]
        self._number_columns = [field.name for field in rows.schema if pa.types.is_integer(field.type)]
        numbers = [rows.column(name).fill_null(0).to_numpy() for name in self._number_columns]
        self._numbers: NDArray[np.int64] = np.stack(numbers, axis=1)
        texts = [rows.column(name).fill_null("").combine_chunks() for name in self._text_columns]
        self._texts, self._starts = _joined(texts, len(rows))

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
        return records_from(map(self._row, self._numbers[places].tolist(), bounds))

    def _row(self, numbers: list[int], bounds: tuple[list[int], list[int]]) -> dict[str, Any]:
        texts = [self._texts[start:end].decode() for start, end in zip(*bounds, strict=True)]
        row: dict[str, Any] = dict(zip(self._text_columns, texts, strict=True))
        row.update(zip(self._number_columns, numbers, strict=True))
        return row


def _joined(columns: Sequence[Any], rows: int) -> tuple[bytes, NDArray[np.unsignedinteger[Any]]]:
    """The texts of Arrow arrays behind one another, and where those of a row begin, shape (rows + 1, columns); they end
    where those of the next row begin.
    """
    starts = np.zeros((rows + 1, len(columns)), np.uint64)
    parts: list[bytes] = []
    size = 0
    for number, column in enumerate(columns if rows else ()):
        _, offsets, text = column.buffers()
        ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + rows + 1].astype(np.int64)
        first, last = int(ends[0]), int(ends[-1])
        parts.append(bytes(memoryview(text)[first:last]) if last > first else b"")
        starts[:, number] = ends - first + size
        size += last - first
    return b"".join(parts), starts.astype(np.min_scalar_type(size))
