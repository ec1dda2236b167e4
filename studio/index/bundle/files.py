"""Bundles: one generation as one file that checks itself, written and read.

Members of the archive (`archive` says how they lie in the file), in this order:

    documents.jsonl     one line of JSON for each document row
    vectors.f32         the embeddings: rows of `dimension` little-endian float32, in the order of the chunks
    chunks.jsonl        one line of JSON for each chunk
    texts/<key>         stored texts, as they lie in the text store
    manifest.json       what it is: see `Manifest`
    sha256sums.txt      the SHA-256 of every member before it, as `sha256sum --check` reads it

The keyword index is not there: it is derived from the chunks in seconds, and so no index file made elsewhere is ever
opened. Nor is there anything else that needs more than a JSON parser fed line by line; Arrow's own file format would
be smaller, but its reader decompresses whatever a file tells it to.

Everything here blocks. What takes long is an iterator that works for some ten milliseconds a step.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from studio.domain import Chunk, DocumentRecord, Vectors
from studio.errors import BundleFault, InvariantViolated, StorageFault, storage_fault
from studio.index.bundle.archive import BLOCK_BYTES, BLOCKS_PER_STEP, ArchiveReader, ArchiveWriter, MemberWriter
from studio.index.bundle.values import (
    MAX_LINE_BYTES,
    Census,
    Manifest,
    OtherVersion,
    Unsound,
    decode_chunk,
    decode_document,
    encode_chunk,
    encode_document,
)
from studio.index.vectors import check_vectors, chunk_of, matrix_of

DOCUMENTS = "documents.jsonl"
VECTORS = "vectors.f32"
CHUNKS = "chunks.jsonl"
TEXTS = "texts/"
MANIFEST = "manifest.json"
SUMS = "sha256sums.txt"

ROWS_PER_STEP = 256
BYTES_PER_STEP = 1 << 20
MAX_MANIFEST_BYTES = 16 << 20

_DIGEST = re.compile(r"[0-9a-f]{64}")
_TEXT = re.compile(r"texts/[0-9a-f]{64}\.[a-z0-9]{1,16}")
_LINE_OF_SUMS = 512

TextCheck = Callable[[BinaryIO, int, set[int]], Iterator[None]]
"""Checks a stored text of that many bytes, step by step, for the rows it must hold. Raises StorageFault."""


class BundleWriter:
    """Writes a new bundle: documents, `begin_chunks`, chunks, `end_chunks`, texts, `finish`.

    Raises OSError as the disk does, and Unsound when the generation is not one that a reader would accept.
    """

    def __init__(self, path: Path, dimension: int) -> None:
        self._archive = ArchiveWriter(path)
        self._dimension = dimension
        self._sums: list[str] = []
        self._documents = self._archive.begin(DOCUMENTS)
        self.census = Census()

    def add_documents(self, records: Sequence[DocumentRecord]) -> None:
        """Add document rows."""
        for record in records:
            self._documents.write(encode_document(record))
            self.census.document(record)

    def begin_chunks(self, chunks: int) -> None:
        """All documents were added; that many chunks follow."""
        self._close(DOCUMENTS, self._documents)
        self._vectors = self._archive.begin(VECTORS, chunks * self._dimension * 4)
        self._chunks = self._archive.begin(CHUNKS)

    def add_chunks(self, batch: Any) -> None:
        """Add rows of the chunks table, an Arrow record batch with the columns `CHUNK_CONTENT`."""
        if batch.num_rows == 0:
            return
        vectors = matrix_of(batch.column("embedding"))
        _check_matrix(vectors, batch.num_rows, self._dimension)
        for row in batch.drop_columns(["embedding"]).to_pylist():
            chunk = chunk_of(row)
            self._chunks.write(encode_chunk(chunk))
            self.census.chunk(chunk)
        self._vectors.write(vectors.astype("<f4", copy=False).tobytes())

    def end_chunks(self, documents: int, chunks: int) -> None:
        """All chunks were added. Raises Unsound when there are not as many of both as the catalog says."""
        self.census.check(documents, chunks)
        self._close(VECTORS, self._vectors)
        self._close(CHUNKS, self._chunks)

    def add_text(self, key: str, file: BinaryIO) -> Iterator[int]:
        """Add a stored text. Yields the bytes written, step by step."""
        member = self._archive.begin(f"{TEXTS}{key}")
        while data := file.read(BLOCK_BYTES * BLOCKS_PER_STEP):
            member.write(data)
            yield len(data)
        self._close(f"{TEXTS}{key}", member)

    def finish(self, manifest: Manifest) -> Iterator[int]:
        """Write the rest. Yields the bytes read back for the checksum, step by step."""
        member = self._archive.begin(MANIFEST)
        member.write(manifest.encode())
        self._close(MANIFEST, member)
        member = self._archive.begin(SUMS)
        member.write("".join(self._sums).encode())
        member.close()
        yield from self._archive.finish()

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._archive.size

    @property
    def sha256(self) -> str:
        """SHA-256 of the finished file."""
        return self._archive.sha256

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def _close(self, name: str, member: MemberWriter) -> None:
        self._sums.append(f"{member.close()}  {name}\n")


class BundleReader:
    """Reads a bundle that is not trusted; `verify` comes first. Not for concurrent use.

    Every method checks again what it reads, so a file that changes after `verify` is refused as well. Raises
    BundleFault, naming the file and what is wrong with it, NotFound, StorageFault.
    """

    def __init__(self, path: Path, check_text: TextCheck) -> None:
        self.path = path
        self._archive = ArchiveReader(path)
        self._check_text = check_text
        self._sums: dict[str, str] = {}
        self._manifest: Manifest | None = None
        self.size = self._archive.size
        self.done_bytes = 0
        """Bytes read so far, for progress; `verify` reads the file twice, a whole import once more."""

    @property
    def manifest(self) -> Manifest:
        """What the bundle says it is."""
        if self._manifest is None:
            raise InvariantViolated("A bundle was used before it was verified.")
        return self._manifest

    @property
    def sha256(self) -> str:
        """SHA-256 of the whole file."""
        return self._archive.sha256

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def verify(self) -> Iterator[None]:
        """Check everything."""
        for size in self._archive.check():
            self.done_bytes += size
            yield
        with self._refusing():
            self._manifest = self._read_manifest()
            yield from self._read_sums()
        census = Census()
        for _ in self.documents(census):
            yield
        for _ in self.chunks(census):
            yield
        with self._refusing():
            if {f"{TEXTS}{key}" for key in census.texts} != {name for name in self._sums if name.startswith(TEXTS)}:
                raise Unsound("its texts are not those of its documents")
        for key, rows in census.texts.items():
            yield from self._verify_text(f"{TEXTS}{key}", rows)

    def documents(self, census: Census) -> Iterator[list[DocumentRecord]]:
        """Every document, some hundred a step."""
        member = _Checked(self, DOCUMENTS)
        with self._refusing():
            while lines := member.lines():
                records = [decode_document(line) for line in lines]
                for record in records:
                    census.document(record)
                yield records
            member.finish()

    def chunks(self, census: Census) -> Iterator[tuple[list[Chunk], Vectors]]:
        """Every chunk with its embedding, shape (some hundred, dimension) a step; after `documents`."""
        rows, matrix = _Checked(self, CHUNKS), _Checked(self, VECTORS)
        dimension = self.manifest.model.dimension
        with self._refusing():
            while lines := rows.lines():
                chunks = [decode_chunk(line) for line in lines]
                data = matrix.file.read(len(chunks) * dimension * 4)
                if len(data) != len(chunks) * dimension * 4:
                    raise Unsound(f"{VECTORS} is too short")
                vectors = np.frombuffer(data, "<f4").reshape(len(chunks), dimension).astype(np.float32, copy=False)
                _check_matrix(vectors, len(chunks), dimension)
                for chunk in chunks:
                    census.chunk(chunk)
                yield chunks, vectors
            rows.finish()
            matrix.finish()
            census.check(self.manifest.documents, self.manifest.chunks)

    def copy_texts(self, directory: Path) -> Iterator[None]:
        """Write every stored text into a directory that holds none of them. They are not flushed."""
        for name in self._sums:
            if not name.startswith(TEXTS):
                continue
            target = directory / name.removeprefix(TEXTS)
            member = _Checked(self, name)
            try:
                with target.open("xb") as file:
                    while data := member.file.read(BLOCK_BYTES * BLOCKS_PER_STEP):
                        file.write(data)
                        yield
            except OSError as error:
                raise storage_fault(error, "copying texts from a bundle", target) from error
            with self._refusing():
                member.finish()
            yield

    def open(self, name: str, on_read: Callable[[bytes], None]) -> BinaryIO:
        """A member's content."""
        return self._archive.open(name, on_read)

    def checksums(self, name: str) -> tuple[str | None, int]:
        """SHA-256 and CRC that a member must have; the list of the former has none itself."""
        return self._sums.get(name), self._archive.members[name].crc

    def _read_manifest(self) -> Manifest:
        with self._archive.open(MANIFEST) as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
        if len(data) > MAX_MANIFEST_BYTES:
            raise Unsound(f"{MANIFEST} is larger than {MAX_MANIFEST_BYTES >> 20} MiB")
        return Manifest.decode(data)

    def _read_sums(self) -> Iterator[None]:
        """The names and checksums: exactly those of the members, in their order, all of them allowed."""
        names = list(self._archive.members)
        if names[:3] != [DOCUMENTS, VECTORS, CHUNKS] or names[3:][-2:] != [MANIFEST, SUMS]:
            raise Unsound("its members are not those of a bundle")
        sums = _Checked(self, SUMS)
        for number, name in enumerate(names[:-1]):
            if 3 <= number < len(names) - 2 and not _TEXT.fullmatch(name):
                raise Unsound(f"it has a member {name}")
            line = sums.file.readline(_LINE_OF_SUMS)
            digest = line[:64].decode("ascii", "replace")
            if line[64:] != f"  {name}\n".encode() or not _DIGEST.fullmatch(digest):
                raise Unsound(f"{SUMS} does not list {name} where it should")
            self._sums[name] = digest
            if number % ROWS_PER_STEP == 0:
                yield
        sums.finish()
        manifest = _Checked(self, MANIFEST)
        manifest.file.read(MAX_MANIFEST_BYTES)
        manifest.finish()

    def _verify_text(self, name: str, rows: set[int]) -> Iterator[None]:
        member = _Checked(self, name)
        while member.file.read(BLOCK_BYTES * BLOCKS_PER_STEP):
            yield
        with self._refusing(), self._archive.open(name) as file:
            member.finish()
            try:
                yield from self._check_text(file, self._archive.members[name].size, rows)
            except StorageFault as error:
                raise Unsound(f"{str(error).rstrip('.')} ({name})") from error

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Say which file is unsound."""
        try:
            yield
        except Unsound as error:
            self._archive.refuse(str(error))
        except OtherVersion as error:
            raise BundleFault(
                f"“{self.path}” was written by another version of RAG Studio ({error}).",
                way_out="Update RAG Studio, or export it again with this version.",
            ) from error


class _Checked:
    """A member that is read once from its start to its end, where its checksums are compared."""

    def __init__(self, bundle: BundleReader, name: str) -> None:
        self.file = bundle.open(name, self._seen)
        self._bundle = bundle
        self._name = name
        self._sha256 = hashlib.sha256()
        self._crc = 0

    def lines(self) -> list[bytes]:
        """The next lines, none at the end. Raises Unsound."""
        lines: list[bytes] = []
        size = 0
        while len(lines) < ROWS_PER_STEP and size < BYTES_PER_STEP and (line := self.file.readline(MAX_LINE_BYTES + 1)):
            if not line.endswith(b"\n"):
                raise Unsound(f"a line of {self._name} is too long or cut off")
            lines.append(line)
            size += len(line)
        return lines

    def finish(self) -> None:
        """Raises Unsound when there is more, or it is not what the checksums were made of."""
        if self.file.read(1):
            raise Unsound(f"{self._name} is too long")
        sha256, crc = self._bundle.checksums(self._name)
        if self._crc != crc or sha256 not in (None, self._sha256.hexdigest()):
            raise Unsound(f"the checksum of {self._name} is wrong")

    def _seen(self, data: bytes) -> None:
        self._sha256.update(data)
        self._crc = zlib.crc32(data, self._crc)
        self._bundle.done_bytes += len(data)


def _check_matrix(vectors: Vectors, rows: int, dimension: int) -> None:
    with np.errstate(all="ignore"):  # a number whose square is not finite counts as not finite
        try:
            check_vectors(vectors, rows, dimension)
        except InvariantViolated as error:
            raise Unsound("a vector is not finite or has no length") from error
