"""A knowledge base that is changed and promoted again and again: does it grow on disk?

    .venv/bin/python tests/faults/promotions.py [--rounds 1000]

Every round replaces two of 200 documents of ten chunks, seals, promotes and collects with the last three archived
generations kept, as the program does after an ingest. What the knowledge
base takes on disk is set against a fresh one with the same content. Prints a table.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import sys
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # it runs as a script, too

from studio.index.generations import Build, Stores
from studio.index.vectors import text_key
from studio.paths import DataPaths
from tests.helpers.toy import Bench, chunk_of, record_of, vector_of

DOCUMENTS = 200
CHUNKS_PER_DOCUMENT = 10
CHANGED = 2
KEEP_ARCHIVED = 3
LARGEST_RATIO = 3.0
"""The bar: a knowledge base takes at most so many times what its active generation alone would take."""

_WORDS = [f"word{n}" for n in range(5_000)]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a folder takes on disk; a hard-linked file counts once."""

    size_bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class Round:
    """One change, promoted and collected."""

    number: int
    usage: Usage
    fresh: Usage
    seconds: float

    @property
    def ratio(self) -> float:
        return self.usage.size_bytes / self.fresh.size_bytes


def usage_of(folder: Path) -> Usage:
    """Bytes and names below a folder."""
    sizes: dict[int, int] = {}
    files = 0
    for path in folder.rglob("*"):
        if path.is_file():
            status = path.stat()
            sizes[status.st_ino] = status.st_size
            files += 1
    return Usage(sum(sizes.values()), files)


class Library(Bench):
    """Documents of made-up words, each with its stored text."""

    async def add(self, build: Build, document: str, texts: Sequence[str]) -> None:
        """Add a document with a text file of its own, as ingest does."""
        sha256 = hashlib.sha256("".join(texts).encode()).hexdigest()
        (self.store.paths.texts / text_key(sha256, "text")).write_bytes(zlib.compress("".join(texts).encode()))
        chunks = [chunk_of(document, text, at * 1000) for at, text in enumerate(texts)]
        await build.add_chunks(chunks, np.stack([vector_of(chunk.content) for chunk in chunks]))
        await build.add_record(replace(record_of(document, f"/docs/{document}.txt", len(texts)), sha256=sha256))

    async def disk(self) -> Usage:
        return await asyncio.to_thread(usage_of, self.store.paths.root)


def document(rng: random.Random) -> list[str]:
    """The chunks of one document."""
    return [" ".join(rng.choices(_WORDS, k=60)) for _ in range(CHUNKS_PER_DOCUMENT)]


async def fresh_usage(stores: Stores, documents: dict[str, Sequence[str]]) -> Usage:
    """What one generation of these documents takes by itself."""
    fresh = await Library.create(stores, "Fresh")
    await fresh.promote(await fresh.built(documents))
    await fresh.collect(0)
    usage = await fresh.disk()
    await stores.forget(fresh.kb.id)
    return usage


async def rounds(folder: Path, count: int, *, documents: int = DOCUMENTS) -> AsyncIterator[Round]:
    """Promote `count` changes one after another and measure after each."""
    rng = random.Random(7)
    stores = await Stores.open(DataPaths(folder))
    try:
        library = await Library.create(stores)
        current = {f"d{n}": document(rng) for n in range(documents)}
        await library.promote(await library.built(current))
        fresh = await fresh_usage(stores, current)
        for number in range(1, count + 1):
            started = time.perf_counter()
            # A document that changed is another document to the index: its id comes from its content.
            gone = rng.sample(sorted(current), CHANGED)
            added = {f"r{number}d{n}": document(rng) for n in range(CHANGED)}
            current = {name: texts for name, texts in current.items() if name not in gone} | added
            await library.promote(await library.built(added, delete=gone))
            report = await library.collect(KEEP_ARCHIVED)
            assert not report.errors, report.errors
            seconds = time.perf_counter() - started
            if number % 100 == 0 or number == count:
                fresh = await fresh_usage(stores, current)
                assert await library.contents() == {text for texts in current.values() for text in texts}
            yield Round(number, await library.disk(), fresh, seconds)
    finally:
        await stores.close()


async def measure(count: int) -> bool:
    """Print the table; True when the bar holds."""
    print(f"{'rounds':>7}{'MB':>9}{'most MB':>9}{'ratio':>8}{'largest':>9}{'files':>8}{'most':>7}{'s/round':>9}")
    done: list[Round] = []
    with tempfile.TemporaryDirectory() as folder:
        async for item in rounds(Path(folder), count):
            done.append(item)
            if item.number % 100 and item.number != count:
                continue
            last = done[-100:]
            print(
                f"{item.number:>7}{item.usage.size_bytes / 1e6:>9.2f}"
                f"{max(each.usage.size_bytes for each in last) / 1e6:>9.2f}{item.ratio:>8.2f}"
                f"{max(each.ratio for each in last):>9.2f}{item.usage.files:>8}"
                f"{max(each.usage.files for each in last):>7}{sum(each.seconds for each in last) / len(last):>9.2f}",
                flush=True,
            )
    holds = max(item.ratio for item in done) <= LARGEST_RATIO
    print(f"one generation: {done[-1].fresh.size_bytes / 1e6:.2f} MB in {done[-1].fresh.files} files")
    print(f"at most {LARGEST_RATIO:g} times one generation: {'yes' if holds else 'NO'}")
    return holds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    sys.exit(0 if asyncio.run(measure(parser.parse_args().rounds)) else 1)
