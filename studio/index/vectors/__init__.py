"""The tables of chunks and documents in LanceDB, and the nearest of a vector.

Belongs here: everything that imports lancedb or lance, but for its rerankers; tables kept in memory for speed.
Does not: which generation is read (`generations`).
"""

from studio.index.vectors import lance_rerankers
from studio.index.vectors.ann import TARGET_RECALL, TRAINING_ROWS, grid, resolve
from studio.index.vectors.database import DOCUMENTS_TABLE, VectorDatabase, fresh_table_for, table_for
from studio.index.vectors.fragments import chunks_left, records_left
from studio.index.vectors.lance_internals import (
    REFS,
    manifests,
    table_folder,
    table_folders,
    tag_files,
    tagged_version,
    version_of,
)
from studio.index.vectors.lance_rerankers import LanceReranker
from studio.index.vectors.maintenance import load_library, readable_embeddings, version_opens
from studio.index.vectors.predicates import Within
from studio.index.vectors.rows import (
    CHUNK_CONTENT,
    CHUNK_TEXT,
    ROWS_PER_TURN,
    ROWS_VERSION,
    by_path,
    chunk_of,
    embedding_key,
    indexed_texts,
    matrix_of,
    sound_rows,
    text_key,
)
from studio.index.vectors.scratch import Scratch
from studio.index.vectors.session import DEFAULT_BYTES, Cache, Sessions
from studio.index.vectors.table_reader import TableReader
from studio.index.vectors.table_writer import TableWriter, check_vectors

__all__ = [
    "CHUNK_CONTENT",
    "CHUNK_TEXT",
    "DEFAULT_BYTES",
    "DOCUMENTS_TABLE",
    "REFS",
    "ROWS_PER_TURN",
    "ROWS_VERSION",
    "TARGET_RECALL",
    "TRAINING_ROWS",
    "Cache",
    "LanceReranker",
    "Scratch",
    "Sessions",
    "TableReader",
    "TableWriter",
    "VectorDatabase",
    "Within",
    "by_path",
    "check_vectors",
    "chunk_of",
    "chunks_left",
    "embedding_key",
    "fresh_table_for",
    "grid",
    "indexed_texts",
    "lance_rerankers",
    "load_library",
    "manifests",
    "matrix_of",
    "readable_embeddings",
    "records_left",
    "resolve",
    "sound_rows",
    "table_folder",
    "table_folders",
    "table_for",
    "tag_files",
    "tagged_version",
    "text_key",
    "version_of",
    "version_opens",
]
