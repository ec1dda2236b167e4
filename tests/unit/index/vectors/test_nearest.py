"""Rows of vector queries, in one batch, in several, and none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from studio.domain import AnnState, Metric
from studio.index.vectors import Within
from studio.index.vectors.nearest import nearest

ROWS = 10_000
VECTORS = np.random.default_rng(3).standard_normal((ROWS, 8)).astype(np.float32)


@pytest.fixture
async def table(tmp_path: Path) -> Any:
    db = await lancedb.connect_async(str(tmp_path))
    rows = pa.table(
        {
            "chunk_id": [f"c{number}" for number in range(ROWS)],
            "document_id": [f"d{number // 10}" for number in range(ROWS)],
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.reshape(-1)), 8),
        }
    )
    return await db.create_table("chunks", rows)


@pytest.mark.parametrize("limit", [1, 10, 9_000, ROWS, ROWS + 5])
async def test_as_many_as_are_wanted_come_best_first(table: Any, limit: int) -> None:
    found = await nearest(
        table, VECTORS[7], metric=Metric.COSINE, limit=limit, within=None, ann=AnnState(), exact=False
    )
    similarities = VECTORS @ VECTORS[7] / np.linalg.norm(VECTORS, axis=1) / np.linalg.norm(VECTORS[7])
    best = np.sort(similarities)[::-1][:limit]
    assert found[0].chunk_id == "c7"
    assert [item.score for item in found] == pytest.approx(best.tolist(), abs=1e-5)
    assert len({item.chunk_id for item in found}) == min(limit, ROWS)


async def test_a_filter_that_few_or_none_pass_gives_those(table: Any) -> None:
    async def ids(documents: set[str]) -> set[str]:
        within = Within(frozenset(documents), share=0.5)
        found = await nearest(
            table, VECTORS[7], metric=Metric.COSINE, limit=50, within=within, ann=AnnState(), exact=False
        )
        return {item.chunk_id for item in found}

    assert await ids({"d3"}) == {f"c{number}" for number in range(30, 40)}
    assert await ids({"gone"}) == set()


async def test_excluded_chunks_leave_room_for_others(table: Any) -> None:
    without = Within(None, None, frozenset({"c7"}), 1.0)
    found = await nearest(
        table, VECTORS[7], metric=Metric.COSINE, limit=20, within=without, ann=AnnState(), exact=False
    )
    assert len(found) == 20
    assert "c7" not in {item.chunk_id for item in found}
