"""A copy of a generation's chunks table to try vector indexes on: it shares the rows and has files of its own.

The clone refers to the table's data files by path, so its user pins the generation.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

from studio.domain import AnnIndex, AnnState, Metric
from studio.index.vectors.faults import mapped
from studio.index.vectors.maintenance import index_bytes, train_vectors
from studio.index.vectors.recall import Measurement, Yardstick, measure, yardstick
from studio.index.vectors.session import Cache


class Scratch:
    """A cloned table and what recall is measured against. Not for concurrent use."""

    def __init__(self, table: Any, rows: int, dimension: int, metric: Metric, path: Path, cache: Cache) -> None:
        self.rows = rows
        self._table = table
        self._dimension = dimension
        self._metric = metric
        self._path = path
        self._against: Yardstick | None = None
        self._cache = cache  # held: it ends with this

    async def look(self, samples: int) -> None:
        """Take sample queries and search them exactly, which reads every vector once."""
        with mapped(self._path):
            self._against = await yardstick(self._table, self._metric, samples)

    async def train(self, kind: AnnIndex) -> tuple[float, int]:
        """Learn an index in place of the last; returns (seconds, bytes on disk)."""
        begun = perf_counter()
        with mapped(self._path):
            await train_vectors(self._table, kind, self._metric, self._dimension, self.rows)
            return perf_counter() - begun, await index_bytes(self._table)

    async def measure(self, state: AnnState) -> Measurement:
        """Recall and times of search parameters, for the index that was trained last or without one."""
        assert self._against is not None
        with mapped(self._path):
            return await measure(self._table, self._against, state)

    def close(self) -> None:
        """Let go of the table."""
        self._table.close()
