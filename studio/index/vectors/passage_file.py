"""What results show of each passage, in a file of this process alone: read in a tenth of the time a table takes.

Reading ten rows of a table takes as long as finding them, most of it for setting up the read. The file is written when
a generation is searched for the second time, in the folder of its tables but without a name there (on Windows with one,
until it is closed), so there is nothing to clean up behind a program that was killed.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

MOST_ROWS = 250_000
MOST_BYTES = 256 << 20
"""Larger tables stay without: finding the rows takes much longer there than reading them, and 256 MiB are half a second
of writing each time the program starts."""

_DISK_KEPT_FREE = 1 << 30
_SEPARATOR = "\0"

PASSAGE_COLUMNS = ("anchor", "metadata", "content")
"""The text comes last, as it may have the separator in it. No metadata has, being JSON."""

Passage = tuple[str, str, str]
"""What a row has in `PASSAGE_COLUMNS`."""

_Offsets = NDArray[np.uint32]

log = logging.getLogger(__name__)


class PassageFile:
    """The columns `PASSAGE_COLUMNS` of numbered rows. Memory: 8 bytes a row. Safe to use from several threads."""

    def __init__(self, file: IO[bytes], starts: _Offsets, sizes: _Offsets) -> None:
        self._file = file
        self._starts = starts
        self._sizes = sizes
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of memory it takes."""
        return int(self._starts.nbytes + self._sizes.nbytes)

    def read(self, places: NDArray[np.intp]) -> list[Passage]:
        """The rows with these numbers. Blocking, microseconds a row where the system has it cached. Raises OSError."""
        spans = zip(self._starts[places].tolist(), self._sizes[places].tolist(), strict=True)
        return [self._row(start, size) for start, size in spans]

    def _row(self, start: int, size: int) -> Passage:
        with self._lock:
            if self._file.closed:  # the generation was let go of
                raise OSError("the file of passages is closed")
            self._file.seek(start)
            record = self._file.read(size)
        if len(record) != size:
            raise OSError("the file of passages is shorter than it was")
        anchor, metadata, content = record.decode().split(_SEPARATOR, 2)
        return anchor, metadata, content

    def close(self) -> None:
        """Remove the file."""
        with self._lock:
            self._file.close()


class PassageWriter:
    """Writes the file batch by batch; gives up, and says so in the log, where that cannot be or is too much."""

    def __init__(self, folder: Path, rows: int) -> None:
        self._sizes: list[_Offsets] = []
        self._size = 0
        self._file: IO[bytes] | None = None
        if rows > MOST_ROWS:
            return
        try:
            if shutil.disk_usage(folder).free > _DISK_KEPT_FREE:
                self._file = tempfile.TemporaryFile(dir=folder, prefix="passages-", buffering=0)  # noqa: SIM115
        except OSError as error:
            self._give_up(error)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the batches it wants: `PASSAGE_COLUMNS`, or none."""
        return PASSAGE_COLUMNS if self._file is not None else ()

    def add(self, batch: Any) -> None:
        """Add the rows of an Arrow record batch. Blocking."""
        import pyarrow.compute as pc

        if self._file is None:
            return
        columns = [batch.column(name) for name in PASSAGE_COLUMNS]
        if pc.any(pc.match_substring(columns[0], _SEPARATOR)).as_py():
            self._give_up("an anchor has a character that separates columns")
            return
        records = pc.binary_join_element_wise(*columns, _SEPARATOR, null_handling="replace")
        _, offsets, text = records.buffers()
        ends = np.frombuffer(offsets, np.int32)[: len(records) + 1]
        self._sizes.append(np.diff(ends).astype(np.uint32))
        self._size += int(ends[-1])
        if self._size > MOST_BYTES:
            self._give_up("they are too large")
            return
        try:
            if self._file.write(memoryview(text)[: ends[-1]]) != ends[-1]:
                raise OSError("the disk is full")
        except OSError as error:
            self._give_up(error)

    def finish(self, order: NDArray[np.intp]) -> PassageFile | None:
        """The file, its rows numbered in this order of those added, to be closed by the caller; None without one."""
        file, self._file = self._file, None
        if file is None or not self._sizes:
            return None
        sizes = np.concatenate(self._sizes)
        starts = np.cumsum(sizes, dtype=np.uint32) - sizes
        return PassageFile(file, starts[order], sizes[order])

    def close(self) -> None:
        """Remove what was written, unless it is finished."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _give_up(self, why: object) -> None:
        log.info("passages are read from their table: %s", why)
        self.close()
