"""What a bundle says: its manifest, and one line of JSON for each document and chunk.

Every value is checked for type, form and range before anything uses it: a bundle may come from anywhere.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple, dataclass
from enum import StrEnum
from typing import Any, NoReturn

import numpy as np

from studio.domain import (
    AnnIndex,
    Chunk,
    DocumentRecord,
    DocumentStatus,
    KbSettings,
    Metric,
    ModelIdentity,
    PageCounts,
    PinnedQuery,
)
from studio.errors import InvalidRequest
from studio.index.catalog import checked_name
from studio.index.vectors import ROWS_VERSION, text_key

FORMAT = "rag-studio-bundle"
BUNDLE_VERSION = 1
MAX_LINE_BYTES = 16 << 20
MAX_DIMENSION = 8192

Fields = Mapping[str, Callable[[Any], bool]]


class Unsound(ValueError):
    """Content that no sound generation has; the message completes "because …"."""


class OtherVersion(ValueError):
    """A program of another version wrote it; the message says which version of what."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle holds. `program` is the version that wrote it, `created_ms` when, since the epoch."""

    program: str
    name: str
    generation: int
    settings: KbSettings
    model: ModelIdentity
    documents: int
    chunks: int
    created_ms: int
    pins: tuple[PinnedQuery, ...] = ()

    def encode(self) -> bytes:
        """As the bundle holds it. Raises Unsound when `decode` would refuse it."""
        values = {
            "format": FORMAT,
            "version": BUNDLE_VERSION,
            "rows_version": ROWS_VERSION,
            "program": self.program,
            "name": self.name,
            "generation": self.generation,
            "settings": asdict(self.settings),
            "model": asdict(self.model),
            "documents": self.documents,
            "chunks": self.chunks,
            "created_ms": self.created_ms,
            "pinned_queries": [
                {"query": pin.query, "must_find": list(pin.must_find), "top": pin.top} for pin in self.pins
            ],
        }
        data = json.dumps(values, ensure_ascii=False, indent=1).encode()
        self.decode(data)
        return data

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Raises Unsound, or OtherVersion."""
        values = _object(data, "the manifest")
        if values.get("format") != FORMAT:
            raise Unsound("the manifest is not one of a bundle")
        for what, known in (("version", BUNDLE_VERSION), ("rows_version", ROWS_VERSION)):
            version: Any = values.get(what)
            if not _whole(version, 1):
                raise Unsound(f"the manifest has a bad {what}")
            if version != known:
                raise OtherVersion(f"{what.replace('_', ' ')} {version}; this program reads {known}")
        _check(values, _MANIFEST, "the manifest")
        settings, pins = values["settings"], values["pinned_queries"]
        try:
            name = checked_name(values["name"])
        except InvalidRequest as error:
            raise Unsound("the manifest has a bad name") from error
        if settings["chunk_overlap"] > settings["chunk_tokens"] // 2:
            raise Unsound("the manifest has a bad chunk_overlap")
        return cls(
            program=values["program"], name=name, generation=values["generation"],
            settings=KbSettings(
                **{**settings, "metric": Metric(settings["metric"]), "index": AnnIndex(settings["index"])}
            ),
            model=ModelIdentity(**values["model"]), documents=values["documents"], chunks=values["chunks"],
            created_ms=values["created_ms"],
            pins=tuple(PinnedQuery(0, pin["query"], tuple(pin["must_find"]), pin["top"]) for pin in pins),
        )  # fmt: skip


# ---------------------------------------------------------------- rows


def encode_chunk(chunk: Chunk) -> bytes:
    """A chunk as a line. Raises Unsound when `decode_chunk` would refuse it."""
    values = {name: getattr(chunk, name) for name in _CHUNK}
    values["metadata"] = dict(chunk.metadata)
    return _line(values, _CHUNK, "a chunk")


def decode_chunk(line: bytes) -> Chunk:
    """Raises Unsound."""
    values = _object(line, "a chunk")
    _check(values, _CHUNK, "a chunk")
    if values["char_end"] < values["char_start"]:
        raise Unsound("a chunk ends before it starts")
    if hashlib.sha256(values["content"].encode()).hexdigest() != values["content_hash"]:
        raise Unsound("the text of a chunk does not have its checksum")
    return Chunk(**values)


def encode_document(record: DocumentRecord) -> bytes:
    """A document as a line. Raises Unsound when `decode_document` would refuse it."""
    values = {name: getattr(record, name) for name in _DOCUMENT if name != "pages"}
    values |= {"pages": list(astuple(record.pages)), "metadata": dict(record.metadata)}
    return _line(values, _DOCUMENT, "a document")


def decode_document(line: bytes) -> DocumentRecord:
    """Raises Unsound."""
    values = _object(line, "a document")
    _check(values, _DOCUMENT, "a document")
    status = DocumentStatus(values["status"])
    if (status is DocumentStatus.INDEXED) != bool(values["sha256"]) or (values["chunks"] > 0) != bool(values["sha256"]):
        raise Unsound("a document is not what its status says")
    return DocumentRecord(**{**values, "status": status, "pages": PageCounts(*values["pages"])})


class Census:
    """Counts what a bundle holds and checks that its parts fit together. Some hundred bytes a document, 16 a chunk."""

    def __init__(self) -> None:
        self.texts: dict[str, set[int]] = {}
        """Name of a stored text → rows of it that documents refer to."""
        self._documents = 0
        self._expected: dict[str, int] = {}
        self._ids = bytearray()
        self.chunks = 0

    def document(self, record: DocumentRecord) -> None:
        """Take note of a document; all of them come before the first chunk."""
        if record.status is DocumentStatus.INDEXED:
            self._documents += 1
            self._expected[record.document_id] = record.chunks
            self.texts.setdefault(text_key(record.sha256, record.kind), set()).add(record.row)

    def chunk(self, chunk: Chunk) -> None:
        """Take note of a chunk. Raises Unsound when its document has no room for it."""
        left = self._expected.get(chunk.document_id, 0)
        if left == 0:
            raise Unsound("a chunk belongs to no document, or a document has more chunks than it says")
        self._expected[chunk.document_id] = left - 1
        self._ids += hashlib.blake2b(chunk.chunk_id.encode(), digest_size=16).digest()
        self.chunks += 1

    def check(self, documents: int, chunks: int) -> None:
        """Raises Unsound unless everything was there, once."""
        if (self._documents, self.chunks) != (documents, chunks):
            raise Unsound(f"it says {documents} documents and {chunks} chunks, has {self._documents} and {self.chunks}")
        if any(self._expected.values()):
            raise Unsound("a document has fewer chunks than it says")
        ids = np.frombuffer(self._ids, "<u8").reshape(-1, 2)
        ids = ids[np.lexsort((ids[:, 0], ids[:, 1]))]
        if bool(np.any(np.all(ids[1:] == ids[:-1], axis=1))):
            raise Unsound("two chunks have the same id")


# ---------------------------------------------------------------- values

_UNWRITABLE = re.compile("[\ud800-\udfff]")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KIND = re.compile(r"[a-z0-9]{1,16}")


def _text(value: Any) -> bool:
    return isinstance(value, str) and _UNWRITABLE.search(value) is None


def _filled(value: Any) -> bool:
    return _text(value) and bool(value)


def _id(value: Any) -> bool:
    return _filled(value) and len(value) <= 256 and "\0" not in value


def _path(value: Any) -> bool:
    return _filled(value) and len(value) <= 32_768 and "\0" not in value


def _word(value: Any) -> bool:
    return _filled(value) and len(value) <= 200 and value.isprintable()


def _sha256(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _whole(value: Any, low: int, high: int = 2**53) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _one_of(value: Any, choices: type[StrEnum]) -> bool:
    return isinstance(value, str) and value in list(choices)


def _count(value: Any) -> bool:
    return _whole(value, 0)


def _positive(value: Any) -> bool:
    return _whole(value, 1)


def _scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool) or _whole(value, -(2**53)) or _text(value)


def _scalars(value: Any) -> bool:
    return isinstance(value, dict) and all(_text(key) and _scalar(item) for key, item in value.items())


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(_text(key) and _text(item) for key, item in value.items())


def _of(fields: Fields) -> Callable[[Any], bool]:
    def sound(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and value.keys() == fields.keys()
            and all(fields[key](item) for key, item in value.items())
        )

    return sound


def _list_of(sound: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(sound(item) for item in value)


_MANIFEST: Fields = {
    "format": _word,
    "version": _positive,
    "rows_version": _positive,
    "program": _word,
    "name": _text,
    "generation": lambda value: _whole(value, 1),
    "settings": _of(
        {
            "model": _word,
            "chunk_tokens": _positive,
            "chunk_overlap": _count,
            "metric": lambda value: _one_of(value, Metric),
            "language": lambda value: value == "" or _word(value),
            "contextual": lambda value: isinstance(value, bool),
            "index": lambda value: _one_of(value, AnnIndex),
        }
    ),
    "model": _of(
        {
            "name": _word,
            "sha256": _sha256,
            "dimension": lambda value: _whole(value, 1, MAX_DIMENSION),
            "pooling": _word,
        }
    ),
    "documents": _count,
    "chunks": _count,
    "created_ms": _count,
    "pinned_queries": _list_of(
        _of({"query": _filled, "must_find": _list_of(_filled), "top": lambda value: _whole(value, 1, 1_000_000)})
    ),
}
_CHUNK: Fields = {
    "chunk_id": _id,
    "document_id": _id,
    "content": _filled,
    "content_hash": _sha256,
    "page_number": lambda value: value is None or _whole(value, 0, 2**31 - 1),
    "anchor": _text,
    "char_start": _count,
    "char_end": _count,
    "metadata": _scalars,
}
_DOCUMENT: Fields = {
    "document_id": _id,
    "source_path": _path,
    "sha256": lambda value: value == "" or _sha256(value),
    "size_bytes": _count,
    "mtime_ns": lambda value: _whole(value, -(2**63), 2**63 - 1),
    "kind": lambda value: isinstance(value, str) and _KIND.fullmatch(value) is not None,
    "title": _text,
    "author": _text,
    "licence": _text,
    "external_id": _text,
    "row": _count,
    "pages": lambda value: _list_of(_count)(value) and len(value) == 5,
    "chunks": _count,
    "status": lambda value: _one_of(value, DocumentStatus),
    "error": _text,
    "reason": _text,
    "created": _text,
    "metadata": _texts,
}


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        values = json.loads(data.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Unsound(f"{what} is not valid JSON") from error
    if not isinstance(values, dict):
        raise Unsound(f"{what} is not a JSON object")
    return values


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check(values: dict[str, Any], fields: Fields, what: str) -> None:
    if values.keys() != fields.keys():
        raise Unsound(f"{what} has other fields than it should")
    for name, sound in fields.items():
        if not sound(values[name]):
            raise Unsound(f"{what} has a bad {name}")


def _line(values: dict[str, Any], fields: Fields, what: str) -> bytes:
    _check(values, fields, what)
    line = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise Unsound(f"{what} is longer than {MAX_LINE_BYTES >> 20} MiB")
    return line
