"""The vectors of a table that has no vector index, in memory: compared with a query in a tenth of the time.

The library reads every vector from its files for each query, which takes 11 ms for 10,000 of 768 numbers where
multiplying them takes 1, and leaves hundreds of megabytes in the allocator's hands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.domain import Metric, Vectors
from studio.index.vectors.rows import matrix_of

MOST_BYTES = 80 << 20
"""25,000 vectors of 768 numbers, from where on there is an index (`ann.AUTO_ROWS`). Of more none are kept."""


class FlatVectors:
    """Vectors by their place, shape (rows, dimension)."""

    def __init__(self, rows: int, dimension: int) -> None:
        self._matrix = np.empty((rows, dimension), np.float32)
        self._squares = np.empty(rows, np.float32)
        self._filled = 0

    @staticmethod
    def fit(rows: int, dimension: int, room: int) -> bool:
        """Whether so many are few enough, and fit in `room` bytes."""
        return 4 * rows * (dimension + 1) <= min(MOST_BYTES, room)

    @property
    def dimension(self) -> int:
        return int(self._matrix.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes it takes."""
        return int(self._matrix.nbytes + self._squares.nbytes)

    def add(self, column: Any) -> None:
        """Put an Arrow array of vectors in the next places."""
        part = matrix_of(column)
        places = slice(self._filled, self._filled + len(part))
        self._matrix[places] = part
        self._squares[places] = np.einsum("ij,ij->i", part, part)
        self._filled += len(part)

    def arrange(self, order: NDArray[np.intp]) -> None:
        """Number the places anew: what was at `order[i]` comes to `i`."""
        if not np.array_equal(order, np.arange(len(order))):
            self._matrix, self._squares = self._matrix[order], self._squares[order]

    def similarities(self, vector: Vectors, metric: Metric) -> NDArray[np.float32]:
        """The score of each, shape (rows,), for a query, shape (dimension,). Blocking, a millisecond or two."""
        # Not `@`: the threads of its library would wait spinning, and the model's process needs the cores.
        products = np.einsum("ij,j->i", self._matrix, vector)
        return _scores(products[:, None], metric, self._squares, vector[None])[:, 0]


def similarities(matrix: Vectors, queries: Vectors, metric: Metric) -> NDArray[np.float32]:
    """Scores as `TableReader.nearest` gives them of rows, shape (n, dimension), for queries, shape (m, dimension);
    shape (n, m).
    """
    return _scores(matrix @ queries.T, metric, np.einsum("ij,ij->i", matrix, matrix), queries)


def _scores(
    products: NDArray[np.float32], metric: Metric, squares: NDArray[np.float32], queries: Vectors
) -> NDArray[np.float32]:
    if metric is Metric.DOT:
        return products
    query_squares = np.einsum("ij,ij->i", queries, queries)
    if metric is Metric.COSINE:
        lengths = np.sqrt(squares)[:, None] * np.sqrt(query_squares)[None]
        return np.asarray(products / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)
    return np.asarray(1.0 - (squares[:, None] + query_squares[None] - 2.0 * products) / 2.0, np.float32)
