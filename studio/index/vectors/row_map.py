"""Which row of a chunks table holds which chunk, of which document, and from where in it, in memory.

Reading the ids of a hundred rows takes longer than finding the rows through the vector index, looking rows up by their
ids takes longer than reading them, and every column that is read of a row takes as long as the first. The map takes
some 50 bytes a chunk.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.concurrency import run_to_end
from studio.domain import Chunk
from studio.index.vectors.flat_vectors import FlatVectors
from studio.index.vectors.passage_file import PASSAGE_COLUMNS, Passage, PassageWriter
from studio.index.vectors.rows import bytes_of, metadata_of

_DIGITS = 32
"""Hexadecimal digits of a chunk id."""
_is_id = re.compile(f"[0-9a-f]{{{_DIGITS}}}").fullmatch
_ROWS_PER_BATCH = 4096
_SPOT = ("page_number", "char_start", "char_end")

_Numbers = NDArray[np.uint64]

log = logging.getLogger(__name__)

BYTES_PER_ROW = 72
"""What a map takes of a row, to be expected before it is read: documents of a single chunk take some more."""


class RowMap:
    """Rows are known by the library's row ids, which hold for one version of the table."""

    def __init__(
        self,
        rows: _Numbers,
        ids: _Numbers,
        documents: Any,
        spots: NDArray[np.int32],
        passages: PassageWriter | None = None,
        flat: FlatVectors | None = None,
    ) -> None:
        """Row ids, shape (n,), the two halves of chunk ids, shape (n, 2), a dictionary array of document ids, of each
        chunk its page (-1: none), first and last character, shape (n, 3), its text and its vector, in the same order.
        """
        order = np.argsort(rows)
        if flat is not None:
            flat.arrange(order)
        self.flat = flat
        self._passages = passages.finish(order) if passages is not None else None
        self._rows, self._ids, self._spots = rows[order], ids[order], spots[order]
        self._codes = documents.indices.to_numpy()[order]
        self._documents = bytes_of(documents.dictionary)
        keys = _keys(self._ids)
        self._by_key = np.argsort(keys).astype(np.uint32)
        self._keys = keys[self._by_key]

    @property
    def nbytes(self) -> int:
        """Bytes it takes."""
        arrays = (self._rows, self._ids, self._spots, self._codes, self._documents, self._by_key, self._keys)
        others = (self._passages, self.flat)
        return sum(int(array.nbytes) for array in arrays) + sum(other.nbytes for other in others if other is not None)

    def chunks_at(self, rows: _Numbers) -> tuple[list[str], list[str]]:
        """The chunk ids and the document ids of rows that are in the table."""
        return self.chunks_in(np.searchsorted(self._rows, rows))

    def chunks_in(self, places: NDArray[np.intp]) -> tuple[list[str], list[str]]:
        """The chunk ids and the document ids of places in the order of rows, which `flat` has too."""
        digits = self._ids[places].astype(">u8").tobytes().hex()
        documents = self._documents[self._codes[places]].tolist()
        return [digits[at : at + _DIGITS] for at in range(0, len(digits), _DIGITS)], list(map(bytes.decode, documents))

    def chunks_in_file(self, chunk_ids: Iterable[str]) -> list[Chunk] | None:
        """Those of the chunks that are in the table, in no order, without their hashes; None without a file that can be
        read.
        """
        passages = self._passages
        if passages is None:
            return None
        places = self._places_of(chunk_ids)
        try:
            return self._chunks(places, passages.read(places))
        except OSError as error:
            if self._passages is passages:  # not let go of meanwhile
                log.warning("passages are read from their table: %s", error)
                self.close()
            return None

    def chunks_of(self, table: Any) -> list[Chunk]:
        """The chunks whose `PASSAGE_COLUMNS` an Arrow table has, with row ids; without their hashes."""
        rows = zip(*(table[name].to_pylist() for name in PASSAGE_COLUMNS), strict=True)
        return self._chunks(np.searchsorted(self._rows, table["_rowid"].to_numpy()), rows)

    def _chunks(self, places: NDArray[np.intp], rows: Iterable[Passage]) -> list[Chunk]:
        spots = self._spots[places].tolist()
        return [
            Chunk(
                chunk_id, document_id, content, "", page if page >= 0 else None, anchor, start, end,
                metadata_of(metadata),
            )
            for (anchor, metadata, content), chunk_id, document_id, (page, start, end) in zip(
                rows, *self.chunks_in(places), spots, strict=True
            )
        ]  # fmt: skip

    def close(self) -> None:
        """Remove the file of passages; the rest can still be used."""
        passages, self._passages = self._passages, None
        if passages is not None:
            passages.close()

    def rows_of(self, chunk_ids: Iterable[str]) -> list[int]:
        """The rows of those ids that are in the table, in no order."""
        rows: list[int] = self._rows[self._places_of(chunk_ids)].tolist()
        return rows

    def _places_of(self, chunk_ids: Iterable[str]) -> NDArray[np.intp]:
        wanted = _halves([name for name in chunk_ids if _is_id(name)])
        at = np.searchsorted(self._keys, _keys(wanted))
        found: list[NDArray[np.intp]] = []
        while len(wanted):  # once, but for ids that have the same key as others by chance
            here = at < len(self._keys)
            wanted, at = wanted[here], at[here]
            same = self._keys[at] == _keys(wanted)
            wanted, at = wanted[same], at[same]
            places = self._by_key[at].astype(np.intp)
            hits = (self._ids[places] == wanted).all(axis=1)
            found.append(places[hits])
            wanted, at = wanted[~hits], at[~hits] + 1
        return np.concatenate(found) if found else np.empty(0, np.intp)


async def read_row_map(table: Any, folder: Path, *, vector_bytes: int) -> RowMap | None:
    """The map of an open version of a chunks table; None where a chunk id is not one that this program makes.

    Passages are written to a file in `folder`, where there is room for it. Vectors are kept where they are few and take
    at most `vector_bytes`.
    """
    rows = await table.count_rows()
    dimension = (await table.schema()).field("embedding").type.list_size
    flat = FlatVectors(rows, dimension) if FlatVectors.fit(rows, dimension, vector_bytes) else None
    writer = PassageWriter(folder, rows)
    try:
        return await _read(table, writer, flat)
    finally:
        writer.close()


async def _read(table: Any, passages: PassageWriter, flat: FlatVectors | None) -> RowMap | None:
    import pyarrow as pa

    rows: list[Any] = []
    ids: list[_Numbers] = []
    documents: list[Any] = []
    spots: list[NDArray[np.int32]] = []
    vectors = ["embedding"] if flat is not None else []
    query = table.query().select(["chunk_id", "document_id", *_SPOT, *passages.columns, *vectors]).with_row_id()
    async for batch in await query.to_batches(max_batch_length=_ROWS_PER_BATCH):
        names = batch.column("chunk_id").to_pylist()
        if not all(map(_is_id, names)):
            return None
        rows.append(batch.column("_rowid").to_numpy())
        ids.append(_halves(names))
        documents.append(batch.column("document_id").dictionary_encode())
        numbers = [batch.column(name).fill_null(-1).to_numpy() for name in _SPOT]
        spots.append(np.stack(numbers, axis=1).astype(np.int32))
        await run_to_end(passages.add, batch)
        if flat is not None:
            await run_to_end(flat.add, batch.column("embedding"))
    if not rows:
        return None
    together = pa.chunked_array(documents).unify_dictionaries().combine_chunks()
    made: list[RowMap] = []

    def make() -> None:
        made.append(RowMap(np.concatenate(rows), np.concatenate(ids), together, np.concatenate(spots), passages, flat))

    try:
        await run_to_end(make)
    except asyncio.CancelledError:
        for row_map in made:
            row_map.close()  # it is not handed out
        raise
    return made[0]


def _keys(ids: _Numbers) -> _Numbers:
    """A number for each id, shape (ids,)."""
    keys: _Numbers = ids[:, 0] ^ ids[:, 1]
    return keys


def _halves(ids: Sequence[str]) -> _Numbers:
    """Each id as two numbers, shape (ids, 2)."""
    return np.frombuffer(bytes.fromhex("".join(ids)), ">u8").astype(np.uint64).reshape(-1, 2)
