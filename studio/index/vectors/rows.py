"""Rows of the two tables: their Arrow schemas, and the way from values to rows and back.

pyarrow is imported where it is used: nothing that only reads the catalog should wait for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.domain import CONTEXT, Chunk, DocumentRecord, DocumentStatus, PageCounts, Vectors
from studio.index.clock import now_ms

ROWS_VERSION = 1
"""Schema of the two tables."""

CHUNK_COLUMNS = (
    "chunk_id", "document_id", "kb_id", "content", "embedding", "metadata", "content_hash", "page_number",
    "anchor", "char_start", "char_end", "created_at", "updated_at",
)  # fmt: skip

CHUNK_CONTENT = tuple(name for name in CHUNK_COLUMNS if name not in ("kb_id", "created_at", "updated_at"))
"""Columns that are the same in every knowledge base that holds the chunk."""

ROWS_PER_TURN = 500
"""Arrow turns a whole batch into Python values without once letting go of the interpreter; 10,000 rows at a time
stalled the GUI thread for 190 ms."""


def chunk_schema(dimension: int) -> Any:
    """Arrow schema of the chunks table; `embedding` is a fixed-size list of `dimension` float32."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("chunk_id", pa.utf8(), nullable=False),
            pa.field("document_id", pa.utf8(), nullable=False),
            pa.field("kb_id", pa.utf8(), nullable=False),
            pa.field("content", pa.utf8(), nullable=False),
            pa.field("embedding", pa.list_(pa.float32(), dimension), nullable=False),
            pa.field("metadata", pa.utf8()),
            pa.field("content_hash", pa.utf8()),
            pa.field("page_number", pa.int32()),
            pa.field("anchor", pa.utf8()),
            pa.field("char_start", pa.int64()),
            pa.field("char_end", pa.int64()),
            pa.field("created_at", pa.int64()),
            pa.field("updated_at", pa.int64()),
        ]
    )


def document_schema() -> Any:
    """Arrow schema of the documents table."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("document_key", pa.utf8(), nullable=False),
            *(pa.field(name, pa.utf8(), nullable=False) for name in RECORD_TEXTS),
            *(pa.field(name, pa.int64(), nullable=False) for name in RECORD_NUMBERS),
        ]
    )


def chunk_rows(kb_id: str, chunks: Sequence[Chunk], vectors: Vectors, dimension: int) -> Any:
    """Chunks and their embeddings, shape (len(chunks), dimension), as an Arrow table."""
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    now, count = now_ms(), len(chunks)
    columns = [
        [chunk.chunk_id for chunk in chunks],
        [chunk.document_id for chunk in chunks],
        [kb_id] * count,
        [chunk.content for chunk in chunks],
        pa.FixedSizeListArray.from_arrays(flat, dimension),
        [json.dumps(dict(chunk.metadata), ensure_ascii=False) if chunk.metadata else None for chunk in chunks],
        [chunk.content_hash for chunk in chunks],
        [chunk.page_number for chunk in chunks],
        [chunk.anchor for chunk in chunks],
        [chunk.char_start for chunk in chunks],
        [chunk.char_end for chunk in chunks],
        [now] * count,
        [now] * count,
    ]
    schema = chunk_schema(dimension)
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, type=field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def document_key(document_id: str, source_path: str) -> str:
    """What a row of the documents table is known by."""
    return f"{document_id}:{source_path}"


def document_rows(records: Sequence[DocumentRecord]) -> Any:
    """Document records as an Arrow table."""
    import pyarrow as pa

    rows = [
        {
            "document_key": document_key(record.document_id, record.source_path),
            "document_id": record.document_id,
            "source_path": record.source_path,
            "sha256": record.sha256,
            "kind": record.kind,
            "title": record.title,
            "author": record.author,
            "licence": record.licence,
            "external_id": record.external_id,
            "status": record.status.value,
            "error": record.error,
            "reason": record.reason,
            "size_bytes": record.size_bytes,
            "mtime_ns": record.mtime_ns,
            "row": record.row,
            "pages_total": record.pages.total,
            "pages_readable": record.pages.readable,
            "pages_empty": record.pages.empty,
            "pages_failed": record.pages.failed,
            "chunks": record.chunks,
            "created": record.created,
            "metadata": _metadata_text(record),
            "pages_ocr": record.pages.ocr,
            "change_stamp": record.change_stamp,
        }
        for record in records
    ]
    return pa.Table.from_pylist(rows, schema=document_schema())


def _metadata_text(record: DocumentRecord) -> str:
    return json.dumps(dict(record.metadata), ensure_ascii=False) if record.metadata else ""


def text_key(sha256: str, kind: str) -> str:
    """Name of the file that holds a source file's extracted texts."""
    return f"{sha256}.{kind}"


def text_keys_of(rows: Any) -> set[str]:
    """Names of the stored texts of a documents table's `sha256` and `kind` columns; failed documents have none."""
    pairs = set(zip(rows["sha256"].to_pylist(), rows["kind"].to_pylist(), strict=True))
    return {text_key(sha256, kind) for sha256, kind in pairs if sha256}


BESIDE = ("document_id", "source_path", "sha256", "kind", "chunks")
"""The columns `documents_beside` wants."""


def documents_beside(rows: Any, known: Collection[str]) -> list[tuple[str, str, str, int]]:
    """(id, path, name of the stored text, chunks) of rows whose id is not `known`; failed documents have no text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pa.array(known, rows.schema.field("document_id").type)
    others = rows.filter(pc.invert(pc.is_in(rows.column("document_id"), ids)))
    columns = (others.column(name).to_pylist() for name in BESIDE)
    return [
        (document_id, path, text_key(sha256, kind), chunks)
        for document_id, path, sha256, kind, chunks in zip(*columns, strict=True)
        if sha256
    ]


RECORD_TEXTS = (
    "document_id", "source_path", "sha256", "kind", "title", "author", "licence", "external_id", "status", "error",
    "reason", "created", "metadata",
)  # fmt: skip
"""The columns of texts that a record is made of."""

RECORD_NUMBERS = (
    "size_bytes", "mtime_ns", "change_stamp", "row", "chunks", "pages_total", "pages_readable", "pages_empty",
    "pages_failed", "pages_ocr",
)  # fmt: skip
"""Those of numbers."""


def records_of(rows: Any) -> list[DocumentRecord]:
    """Rows of the documents table as records, by path and row. Takes about 10 µs a row; call it from a thread."""
    batches = rows.to_batches(max_chunksize=ROWS_PER_TURN)
    return by_path(record_of_row(row) for batch in batches for row in batch.to_pylist())


def by_path(records: Iterable[DocumentRecord]) -> list[DocumentRecord]:
    """Records in the order in which they are told: by path and row."""
    return sorted(records, key=lambda record: (record.source_path, record.row))


def record_of_row(row: Mapping[str, Any]) -> DocumentRecord:
    """A row of the documents table as a record."""
    return record_from([row[name] for name in RECORD_TEXTS], [row[name] for name in RECORD_NUMBERS])


def record_from(texts: Iterable[str], numbers: Iterable[int]) -> DocumentRecord:
    """The record of a row's `RECORD_TEXTS` and `RECORD_NUMBERS`."""
    (document_id, source_path, sha256, kind, title, author, licence, external_id, status, error, reason, created,
     metadata) = texts  # fmt: skip
    size_bytes, mtime_ns, change_stamp, row, chunks, *pages = numbers
    return DocumentRecord(
        document_id, source_path, sha256, size_bytes, mtime_ns, kind, title, author, licence, external_id, row,
        PageCounts(*pages), chunks, DocumentStatus(status), error, reason, created,
        json.loads(metadata) if metadata else {}, change_stamp,
    )  # fmt: skip


def chunk_of(row: dict[str, Any]) -> Chunk:
    """A row of the chunks table as a chunk."""
    return Chunk(
        chunk_id=row["chunk_id"],
        document_id=row["document_id"],
        content=row["content"],
        content_hash=row["content_hash"],
        page_number=row["page_number"],
        anchor=row["anchor"],
        char_start=row["char_start"],
        char_end=row["char_end"],
        metadata=metadata_of(row["metadata"]),
    )


def metadata_of(text: str | None) -> dict[str, Any]:
    """What a metadata column holds for a row."""
    return json.loads(text) if text else {}


CHUNK_TEXT = ("chunk_id", "document_id", "content", "metadata")
"""The columns `indexed_texts` wants."""


def indexed_texts(rows: Any) -> list[tuple[str, str, str]]:
    """(chunk id, document id, what BM25 knows the chunk by) of rows with the columns `CHUNK_TEXT`."""
    return [
        (chunk_id, document_id, f"{context}\n{content}" if (context := context_of(metadata)) else content)
        for chunk_id, document_id, content, metadata in zip(
            *(rows.column(name).to_pylist() for name in CHUNK_TEXT), strict=True
        )
    ]


def context_of(metadata: str | None) -> str:
    """What stood before a chunk's text when it was embedded, from the metadata column."""
    return str(json.loads(metadata).get(CONTEXT, "")) if metadata and CONTEXT in metadata else ""


def embedding_key(content_hash: str, context: str) -> str:
    """Identity of what was embedded, SHA-256 in hexadecimal: that of the text alone where no context precedes it."""
    return hashlib.sha256(f"{context}\n{content_hash}".encode()).hexdigest() if context else content_hash


def embedding_keys(rows: Any) -> list[str]:
    """The embedding key of each row, from the columns `content_hash` and `metadata`."""
    columns = (rows.column(name).to_pylist() for name in ("content_hash", "metadata"))
    return [embedding_key(content_hash, context_of(metadata)) for content_hash, metadata in zip(*columns, strict=True)]


def sound_rows(vectors: Vectors) -> NDArray[np.bool_]:
    """Which rows of a matrix, shape (rows, dimension), are finite and have a length; shape (rows,)."""
    norms = np.linalg.norm(vectors, axis=1)
    sound: NDArray[np.bool_] = np.isfinite(norms) & (norms > 0)
    return sound


def bytes_of(strings: Any) -> NDArray[np.bytes_]:
    """An Arrow column of strings, of which single ones are got in no time; shape (rows,)."""
    parts = (strings.slice(start, ROWS_PER_TURN).to_pylist() for start in range(0, len(strings), ROWS_PER_TURN))
    return np.array([text.encode() for part in parts for text in part], np.bytes_)


def matrix_of(column: Any) -> Vectors:
    """A column of fixed-size lists as a matrix, shape (rows, dimension)."""
    array = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    if len(array) == 0:
        return np.empty((0, 0), np.float32)
    flat: Vectors = array.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(array), -1)
