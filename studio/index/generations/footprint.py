"""Which files a generation reads, and how many bytes they take."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from studio.domain import Generation
from studio.index.vectors import DOCUMENTS_TABLE

if TYPE_CHECKING:
    from studio.index.generations.generation_reader import GenerationReader


async def files_of(store: GenerationReader, generation: Generation) -> dict[int, int]:
    """Inode → bytes of every file of a complete generation: table files, keyword index, texts.

    Files that are not there are left out. Takes some milliseconds, and some microseconds a text.
    """
    paths = [
        *await store.vectors.files(generation.chunks_table, generation.chunks_version),
        *await store.vectors.files(DOCUMENTS_TABLE, generation.documents_version),
    ]
    keys = await store.vectors.text_keys(generation.documents_version)
    return await asyncio.to_thread(
        _sizes, paths, store.paths.lexical_generation(generation.number), store.paths.texts, keys
    )


def _sizes(paths: list[Path], lexical: Path, texts: Path, keys: set[str]) -> dict[int, int]:
    found: dict[int, int] = {}
    with suppress(OSError):
        paths = [*paths, *lexical.iterdir()]
    for path in [*paths, *(texts / key for key in keys)]:
        with suppress(OSError):
            status = path.stat()
            found[status.st_ino] = status.st_size
    return found
