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
import uuid
import zipfile
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from studio.domain import ParsedDocument, Span, StoredText
from studio.errors import InvariantViolated, NotFound, StorageFault, storage_fault

BLOCK_ROWS = 64
FORMAT = 1

_KEY = re.compile(r"[0-9a-f]{64}\.[a-z0-9]{1,16}\Z")
_TEMPORARY = ".tmp"


def text_path(directory: Path, key: str) -> Path:
    """Where the texts of a source file lie; `key` is "<sha256>.<kind>"."""
    if not _KEY.match(key):
        raise InvariantViolated(f"{key!r} is no key of the text store")
    return directory / key


def has_texts(directory: Path, key: str) -> bool:
    """Whether the texts of a source file are stored."""
    return text_path(directory, key).is_file()


class TextStoreWriter:
    """Collects the texts of one source file; they appear under their key all at once, on `commit`.

    A context manager: leaving it without `commit` abandons what was written. Every method raises
    StorageFault when the disk does not play along.
    """

    def __init__(self, directory: Path, key: str) -> None:
        self._target = text_path(directory, key)
        self._temporary = directory / f"{key}.{uuid.uuid4().hex}{_TEMPORARY}"
        self._block: list[Any] = []
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
        spans = [(span.start, span.end, span.page, span.anchor, span.hard) for span in parsed.spans]
        self._block.append((row, parsed.text, spans))

    def _write_block(self) -> None:
        if not self._block:
            return
        body = json.dumps({"format": FORMAT, "documents": self._block}, ensure_ascii=False)
        try:
            self._archive.writestr(str(self._number), body.encode("utf-8", "replace"))
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
            stored = json.loads(archive.read(str(row // BLOCK_ROWS)))
    except (FileNotFoundError, KeyError) as error:
        raise NotFound("The text of this document is not stored.", way_out="Index the file again.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise StorageFault(f"The stored text {path} is damaged.", way_out="Index the file again.") from error
    except OSError as error:
        raise storage_fault(error, "reading extracted text", path) from error
    if stored.get("format") != FORMAT:
        raise StorageFault(
            f"The stored text {path} was written by a newer version of this program.", way_out="Update the program."
        )
    for number, text, spans in stored["documents"]:
        if number == row:
            return StoredText(text, tuple(Span(*span) for span in spans))
    raise NotFound("The text of this row is not stored.", way_out="Index the file again.")
