"""Files that appear whole or not at all, and their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

BLOCK_BYTES = 1 << 20


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` to write to; it replaces `target`, durably, if the block succeeds."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
        publish(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def publish(source: Path, target: Path) -> None:
    """Move a finished file to its place in the same file system, so that a power cut leaves old or new."""
    with source.open("rb+") as file:
        os.fsync(file.fileno())
    source.replace(target)
    if os.name == "posix":
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def sha256_of(path: Path, check: Callable[[], None] = lambda: None) -> str:
    """Hex SHA-256 of a file. `check` is called for every MiB and may raise to stop."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            check()
            digest.update(block)
    return digest.hexdigest()


def copy_file(source: Path, target: Path, check: Callable[[], None] = lambda: None) -> None:
    """Copy the bytes of a file. `check` is called for every MiB and may raise to stop."""
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(BLOCK_BYTES):
            check()
            writer.write(block)
