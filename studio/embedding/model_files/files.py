"""Hashing and copying files of any size, a block at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

BLOCK_BYTES = 1 << 20


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
