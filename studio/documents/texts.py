"""The extracted texts of a knowledge base: what previews show when the source file is gone.

One ZIP file per source file, named by content hash and kind. Its members are blocks of
`BLOCK_ROWS` documents each (a plain document is row 0), so that a table of a million rows does not
become an archive of a million members, whose directory alone would take seconds to read. All
functions block; call them from a thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from studio.domain import ParsedDocument, Span, StoredText
from studio.errors import InvariantViolated, NotFound, StorageFault, storage_fault

BLOCK_ROWS = 64
FORMAT = 1

SMALL_BYTES = 64 << 20
MAX_RATIO = 250
"""How far a text file from elsewhere may expand: to `SMALL_BYTES` or by this factor. Deflate could reach 1,030."""
MAX_BLOCK_BYTES = 1 << 30
MAX_DIRECTORY_BYTES = 4 << 20
PARSED_BYTES = 4 << 20

_BYTES_PER_STEP = 4 << 20
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, TypeError, RuntimeError, ArithmeticError)
"""What reading a damaged or hostile file raises; RuntimeError is an encrypted member, or JSON nested too deeply."""
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
"""The end of a ZIP file's directory: APPNOTE.TXT 6.3.10, sections 4.3.14 to 4.3.16."""

_KEY = re.compile(r"[0-9a-f]{64}\.[a-z0-9]{1,16}\Z")
_TEMPORARY = ".tmp"


def text_path(directory: Path, key: str) -> Path:
    """Where the texts of a source file lie; `key` is "<sha256>.<kind>"."""
    if not _KEY.match(key):
        raise InvariantViolated(f"{key!r} is no key of the text store")
    return directory / key


def texts_are_sound(directory: Path, key: str) -> bool:
    """Whether the texts of a source file are stored, and every byte of them reads as it was written."""
    if not _KEY.match(key):
        return False
    try:
        with zipfile.ZipFile(text_path(directory, key)) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError):
        return False


class TextStoreWriter:
    """Collects the texts of one source file; they appear under their key all at once, on `commit`.

    A context manager: leaving it without `commit` abandons what was written. Every method raises
    StorageFault when the disk fails.
    """

    def __init__(self, directory: Path, key: str) -> None:
        self._target = text_path(directory, key)
        self._temporary = directory / f"{key}.{uuid.uuid4().hex}{_TEMPORARY}"
        self._block: list[tuple[int, str, list[tuple[Any, ...]]]] = []
        self._number = 0
        self._last_row = -1
        self._open = True
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = self._temporary.open("xb")
        except OSError as error:
            raise storage_fault(error, "storing extracted text", directory) from error
        self._archive = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED)

    def __enter__(self) -> TextStoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()

    def add(self, row: int, parsed: ParsedDocument) -> None:
        """Add a document; rows must ascend."""
        if not self._open or row <= self._last_row:
            raise InvariantViolated(f"row {row} after row {self._last_row} in the text store")
        self._last_row = row
        if row // BLOCK_ROWS != self._number:
            self._write_block()
            self._number = row // BLOCK_ROWS
        spans: list[tuple[Any, ...]] = [
            (span.start, span.end, span.page, span.anchor, span.hard, *([True] if span.whole else ()))
            for span in parsed.spans
        ]
        self._block.append((row, parsed.text, spans))

    def _write_block(self) -> None:
        if not self._block:
            return
        body = json.dumps({"format": FORMAT, "documents": self._block}, ensure_ascii=False)
        try:
            member = zipfile.ZipInfo(str(self._number))  # dated 1980: the same texts make the same bytes
            member.external_attr = 0o600 << 16
            self._archive.writestr(member, body.encode("utf-8", "replace"), zipfile.ZIP_DEFLATED)
        except OSError as error:
            self.abandon()
            raise storage_fault(error, "storing extracted text", self._target.parent) from error
        self._block = []

    def commit(self) -> None:
        """Make the texts appear under their key. The generation's seal flushes them to disk, many at once."""
        if not self._open:
            raise InvariantViolated("this text store writer is finished")
        self._write_block()
        try:
            self._archive.close()
            if self._target.exists():  # what it replaces may belong to the active generation already
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.replace(self._target)
        except OSError as error:
            self.abandon()
            raise storage_fault(error, "storing extracted text", self._target) from error
        self._open = False

    def abandon(self) -> None:
        """Drop what was written; does nothing after `commit`."""
        if not self._open:
            return
        self._open = False
        with contextlib.suppress(OSError, ValueError):
            self._archive.close()
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()


def read_text(directory: Path, key: str, row: int = 0) -> StoredText:
    """The text of one document. Raises NotFound, or StorageFault when the store is damaged."""
    path = text_path(directory, key)
    try:
        with zipfile.ZipFile(path) as archive:
            found = _documents_of(archive.read(str(row // BLOCK_ROWS)), path).get(row)
    except (FileNotFoundError, KeyError) as error:
        raise NotFound("The text of this document is not stored.", way_out="Index the file again.") from error
    except _DAMAGE as error:
        raise StorageFault(f"The stored text {path} is damaged.", way_out="Index the file again.") from error
    except OSError as error:
        raise storage_fault(error, "reading extracted text", path) from error
    if found is None:
        raise NotFound("The text of this row is not stored.", way_out="Index the file again.")
    return found


def texts_left(directory: Path, key: str) -> dict[int, StoredText]:
    """The texts by row that can be read of a file that may be damaged, or gone. Never raises for damage."""
    found: dict[int, StoredText] = {}
    path = text_path(directory, key)
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with contextlib.suppress(OSError, KeyError, NotImplementedError, StorageFault, *_DAMAGE):
                    found |= _documents_of(archive.read(name), path)
    except (OSError, NotImplementedError, *_DAMAGE):
        pass
    return found


def stored_keys(directory: Path) -> list[str]:
    """Keys of every text file."""
    with contextlib.suppress(OSError):
        return sorted(path.name for path in directory.iterdir() if _KEY.match(path.name))
    return []


def check_texts(file: BinaryIO, size: int, rows: set[int]) -> Iterator[None]:
    """Check a text store file of `size` bytes from elsewhere, step by step: that it holds `rows` and nothing absurd.

    Every block that holds one of `rows` is unpacked; it is also parsed up to `PARSED_BYTES`, which takes some ten
    milliseconds. Raises StorageFault.
    """
    try:
        _check_directory_size(file, size)
        with zipfile.ZipFile(file) as archive:
            members = {member.filename: member for member in archive.infolist()}
            expanded = sum(member.file_size for member in archive.infolist())
            if expanded > max(SMALL_BYTES, size * MAX_RATIO):
                raise StorageFault(f"The stored text would expand from {size:,} to {expanded:,} bytes.")
            yield
            wanted: dict[int, set[int]] = {}
            for row in rows:
                wanted.setdefault(row // BLOCK_ROWS, set()).add(row)
            for number, needed in wanted.items():
                member = members[str(number)]
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise zipfile.BadZipFile("another compression")
                if member.file_size > MAX_BLOCK_BYTES:
                    raise StorageFault(f"A block of the stored text would expand to {member.file_size:,} bytes.")
                if member.file_size <= PARSED_BYTES:
                    if not needed <= _documents_of(archive.read(member), "").keys():
                        raise StorageFault("The stored text does not hold every document that refers to it.")
                    yield
                    continue
                with archive.open(member) as block:
                    while block.read(_BYTES_PER_STEP):
                        yield
    except KeyError as error:
        raise StorageFault("The stored text does not hold every document that refers to it.") from error
    except _DAMAGE as error:
        raise StorageFault("The stored text is damaged.") from error


def _check_directory_size(file: BinaryIO, size: int) -> None:
    """Refuse a directory so large that reading it would exhaust memory; where ZIP programs differ, refuse as well."""
    file.seek(max(0, size - _END64.size - _LOCATOR.size - _END.size))
    tail = file.read()
    end = _END.unpack(tail[-_END.size :])
    directory, comment = end[5], end[7]
    locator = tail[: -_END.size][-_LOCATOR.size :]
    if locator.startswith(b"PK\6\7"):
        signature, *_, directory, _ = _END64.unpack(tail[: _END64.size])
        if signature != b"PK\6\6" or _LOCATOR.unpack(locator)[2] != size - len(tail):
            raise zipfile.BadZipFile("a directory in an odd place")
    if end[0] != b"PK\5\6" or comment:
        raise zipfile.BadZipFile("something after the end")
    if directory > MAX_DIRECTORY_BYTES:
        raise StorageFault(f"The directory of the stored text takes {directory:,} bytes.")


def _documents_of(block: bytes, path: Path | str) -> dict[int, StoredText]:
    """The documents of a block by row. Raises StorageFault for a newer format, and any of `_DAMAGE`."""
    stored = json.loads(block)
    if not isinstance(stored, dict):
        raise ValueError("not a block of documents")
    if stored.get("format") != FORMAT:
        raise StorageFault(
            f"The stored text {path} was written by a newer version of this program.", way_out="Update the program."
        )
    found = {}
    for row, text, spans in stored.get("documents", ()):
        found[row] = StoredText(text, tuple(_span_of(*span) for span in spans))
        if not isinstance(row, int) or not isinstance(text, str):
            raise ValueError("not a document")
    return found


def _span_of(start: int, end: int, page: int | None, anchor: str, hard: bool, whole: bool = False) -> Span:
    numbers = all(isinstance(number, int) for number in (start, end, 0 if page is None else page))
    if not numbers or not isinstance(anchor, str):
        raise ValueError("not a span")
    return Span(start, end, page, anchor, bool(hard), bool(whole))
