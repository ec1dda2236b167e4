"""What tells documents and their texts apart."""

from __future__ import annotations

import hashlib

from studio.documents.kinds import TABULAR_KINDS, document_id
from studio.domain import DocumentRecord, ParsedDocument


def identity_of(parsed: ParsedDocument, sha256: str, kind: str) -> tuple[str, str]:
    """(document id, key of the document within its file, "" where it is the whole file)."""
    key = _key_in_file(parsed.external_id, parsed.row, kind)
    return document_id(text_hash(parsed.text) if key else sha256, kind, key), key


def key_of(record: DocumentRecord) -> str:
    """The key of a record within its file: see `identity_of`."""
    return _key_in_file(record.external_id, record.row, record.kind)


def _key_in_file(external_id: str, row: int, kind: str) -> str:
    return external_id or (str(row) if kind in TABULAR_KINDS else "")


def text_hash(text: str) -> str:
    """SHA-256 of a text's UTF-8 form."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
