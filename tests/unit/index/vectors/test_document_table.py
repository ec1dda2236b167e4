"""Rows of documents kept in memory: the same as the table's, whatever is asked for."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pytest

from studio.domain import DocumentRecord, DocumentStatus, PageCounts
from studio.index.vectors.document_table import DocumentTable
from studio.index.vectors.rows import document_rows, document_schema

PLAIN = DocumentRecord(
    "b" * 32, "/papers/plain.txt", "ab" * 32, 2_000, 1_700_000_000_000_000_000, "txt", "Plain", "", "", "", 0,
    PageCounts(), 3, DocumentStatus.INDEXED, "", "",
)  # fmt: skip
RICH = dataclasses.replace(
    PLAIN, document_id="a" * 32, source_path="/papières/über 数据.pdf", title="", author="Ængström\0\x1f 🜛",
    pages=PageCounts(9, 7, 1, 1, 2), created="2024-05-01", metadata={"type": "letter", "数": "é"}, size_bytes=2**40,
)  # fmt: skip
ELSEWHERE = dataclasses.replace(PLAIN, source_path="/copies/plain.txt")
FAILED = dataclasses.replace(
    PLAIN, document_id="", source_path="/z.bin", status=DocumentStatus.FAILED, error="no text", reason="empty", chunks=0
)
ALL = [PLAIN, RICH, FAILED, ELSEWHERE]


def test_rows_are_found_by_document_id_by_path() -> None:
    table = DocumentTable(document_rows(ALL))

    assert table.records([PLAIN.document_id]) == [ELSEWHERE, PLAIN]
    assert table.records([RICH.document_id, "c" * 32, ""]) == sorted([RICH, FAILED], key=lambda row: row.source_path)
    assert table.records(["c" * 32]) == []
    assert table.records([]) == []


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_rows_of_batches_and_of_parts_of_tables_are_the_same(batch: int) -> None:
    rows = document_rows([dataclasses.replace(PLAIN, document_id=f"{n:032x}", title=f"T{n}") for n in range(20)])
    parts = pa.Table.from_batches(rows.to_batches(max_chunksize=batch)).slice(5, 10)
    table = DocumentTable(parts)

    found = {record.document_id: record.title for record in table.records([f"{n:032x}" for n in range(20)])}
    assert found == {f"{n:032x}": f"T{n}" for n in range(5, 15)}


def test_a_table_without_rows_finds_nothing() -> None:
    assert DocumentTable(document_schema().empty_table()).records([PLAIN.document_id]) == []


def test_it_takes_little_more_than_its_texts() -> None:
    records = [dataclasses.replace(PLAIN, document_id=f"{n:032x}", title="t" * 100) for n in range(500)]
    rows = document_rows(records)

    assert 500 * 100 < DocumentTable(rows).nbytes < 1.5 * rows.nbytes
