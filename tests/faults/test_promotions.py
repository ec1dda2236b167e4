"""A knowledge base that is changed and promoted again and again stays small."""

from __future__ import annotations

from pathlib import Path

from tests.faults.promotions import LARGEST_RATIO, rounds

ROUNDS = 30


async def test_promotions_neither_pile_up_bytes_nor_files(tmp_path: Path) -> None:
    done = [item async for item in rounds(tmp_path, ROUNDS)]
    assert max(item.ratio for item in done) <= LARGEST_RATIO
    middle, last = done[ROUNDS // 3 : 2 * ROUNDS // 3], done[2 * ROUNDS // 3 :]
    assert max(item.usage.files for item in last) <= max(item.usage.files for item in middle) * 1.1
    assert max(item.usage.size_bytes for item in last) <= max(item.usage.size_bytes for item in middle) * 1.1
