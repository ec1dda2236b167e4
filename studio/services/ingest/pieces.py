"""What travels through the pipeline: some chunks of one document, from the reader to the writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from studio.domain import Chunk, DocumentRecord, Vectors
from studio.services.ingest.sources import Source


@dataclass(slots=True, eq=False)
class Piece:
    """Chunks on their way. `record` comes with the last piece of a document, `end` with a file's last.

    `reuse` holds embeddings of what the file held before, by embedding key, each of shape (dimension,).
    """

    source: Source
    identity: str = ""
    row_key: str = ""
    chunks: Sequence[Chunk] = ()
    reuse: Mapping[str, Vectors] = field(default_factory=dict)
    record: DocumentRecord | None = None
    end: bool = False
