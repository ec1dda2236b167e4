"""Bundles made by hand, member by member: sound ones, and ones to break."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from studio.documents.texts import TextStoreWriter
from studio.domain import ParsedDocument, Span, Vectors
from studio.index.bundle.archive import ArchiveWriter
from tests.helpers.toy import DIMENSION, vector_of

PAPER, TABLE = "a" * 64, "b" * 64
SEAL_BYTES = 64


def document(document_id: str, path: str, sha256: str, kind: str, chunks: int, row: int = 0) -> dict[str, Any]:
    return {
        "document_id": document_id, "source_path": path, "sha256": sha256, "size_bytes": 10, "mtime_ns": 20,
        "kind": kind, "title": f"Title of {document_id}", "author": "", "licence": "", "external_id": "", "row": row,
        "pages": [2, 2, 0, 0, 0], "chunks": chunks, "status": "indexed" if sha256 else "failed",
        "error": "" if sha256 else "corrupt", "reason": "", "created": "", "metadata": {},
    }  # fmt: skip


def chunk(document_id: str, text: str, at: int = 0) -> dict[str, Any]:
    return {
        "chunk_id": hashlib.sha256(f"{document_id}{at}{text}".encode()).hexdigest()[:32], "document_id": document_id,
        "content": text, "content_hash": hashlib.sha256(text.encode()).hexdigest(), "page_number": 1,
        "anchor": "A › B", "char_start": at, "char_end": at + len(text), "metadata": {"colour": "blue"},
    }  # fmt: skip


@dataclass
class Material:
    """What goes into a bundle; change what should be wrong before `write`."""

    documents: list[dict[str, Any]]
    chunks: list[dict[str, Any]]
    vectors: Vectors
    texts: dict[str, bytes]
    manifest: dict[str, Any]
    raw: dict[str, bytes] = field(default_factory=dict)
    """Members by name that replace the ones made from the above, or come on top before the manifest."""
    sums: dict[str, str] = field(default_factory=dict)

    def members(self) -> dict[str, bytes]:
        found = {
            "documents.jsonl": lines(self.documents),
            "vectors.f32": self.vectors.astype("<f4").tobytes(),
            "chunks.jsonl": lines(self.chunks),
            **{f"texts/{key}": data for key, data in sorted(self.texts.items())},
            **self.raw,
        }
        found["manifest.json"] = self.raw.get("manifest.json", json.dumps(self.manifest).encode())
        return {name: data for name, data in found.items() if name != "manifest.json"} | {
            "manifest.json": found["manifest.json"]
        }

    def write(self, path: Path) -> None:
        members = self.members()
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()} | self.sums
        members["sha256sums.txt"] = "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()
        pack(path, members)


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def pack(path: Path, members: dict[str, bytes]) -> None:
    writer = ArchiveWriter(path)
    try:
        for name, data in members.items():
            member = writer.begin(name)
            member.write(data)
            member.close()
        for _ in writer.finish():
            pass
    finally:
        writer.close()


def stored_text(folder: Path, key: str, texts: list[str]) -> bytes:
    with TextStoreWriter(folder, key) as writer:
        for row, text in enumerate(texts):
            writer.add(row, ParsedDocument(text, (Span(0, len(text), 1, "A › B"),), (), "text"))
        writer.commit()
    return (folder / key).read_bytes()


def material(folder: Path) -> Material:
    """A sound bundle of a paper, a table of two rows and a file that failed."""
    texts = {
        f"{PAPER}.text": stored_text(folder, f"{PAPER}.text", ["one two three"]),
        f"{TABLE}.csv": stored_text(folder, f"{TABLE}.csv", ["first row", "second row"]),
    }
    documents = [
        document("paper", "/docs/paper.txt", PAPER, "text", 2),
        document("row0", "/docs/table.csv", TABLE, "csv", 1, 0),
        document("row1", "/docs/table.csv", TABLE, "csv", 1, 1),
        document("bad", "/docs/bad.pdf", "", "pdf", 0),
    ]
    chunks = [
        chunk("paper", "one two", 0), chunk("paper", "three", 8), chunk("row0", "first row"),
        chunk("row1", "second row"),
    ]  # fmt: skip
    manifest = {
        "format": "rag-studio-bundle", "version": 1, "rows_version": 1, "program": "0.1.0", "name": "Papers",
        "generation": 7,
        "settings": {
            "model": "toy", "chunk_tokens": 240, "chunk_overlap": 32, "metric": "cosine", "language": "en",
            "contextual": False, "index": "auto",
        },
        "model": {"name": "toy", "sha256": "c" * 64, "dimension": DIMENSION, "pooling": "mean"},
        "documents": 3, "chunks": 4, "created_ms": 1_700_000_000_000,
        "pinned_queries": [{"query": "two", "must_find": ["paper.txt"], "top": 3}],
    }  # fmt: skip
    vectors = np.stack([vector_of(row["content"]) for row in chunks])
    return Material(documents, chunks, vectors, texts, manifest)


def reseal(path: Path, data: bytes) -> None:
    """Write bytes with the right checksum at their end."""
    body = data[:-SEAL_BYTES]
    path.write_bytes(body + hashlib.sha256(body).hexdigest().encode())
