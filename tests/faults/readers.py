"""Processes that search without pause while another promotes generations and collects the old ones.

    .venv/bin/python tests/faults/readers.py [--generations 100] [--readers 4]

Every generation replaces all documents, and each chunk's text names the generation it belongs to. A reader asks the
vectors and the keyword index of whatever is active, fetches the chunks of both answers and compares them with what
that generation consists of: anything else is a mixture. It does so twice at once, on a generation it keeps open and
on one it opens for each search. The collector keeps no or one archived generation, so only
leases stand between a search and the deletion of what it reads. Prints a table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # it runs as a script, too

from studio.domain import Metric
from studio.index.generations import GenerationStore, Stores
from studio.paths import DataPaths
from tests.helpers.toy import Bench, vector_of

DOCUMENTS = 20
_FAULTS_LISTED = 10


def documents_of(generation: int) -> dict[str, list[str]]:
    """What this generation consists of; it shares no chunk with any other."""
    return {
        f"g{generation}d{n}": [f"whale {n} {part} of generation{generation}" for part in ("begin", "end")]
        for n in range(DOCUMENTS)
    }


def texts_of(generation: int) -> set[str]:
    """The chunks of this generation."""
    return {text for texts in documents_of(generation).values() for text in texts}


@dataclass(slots=True)
class Seen:
    """What one reader saw."""

    searches: int = 0
    generations: set[int] = field(default_factory=set)
    errors: int = 0
    mixed: int = 0
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        if len(self.faults) < _FAULTS_LISTED:
            self.faults.append(text)


# ------------------------------------------------------------ a reader


async def _search(store: GenerationStore, seen: Seen, newest: int) -> int:
    """One search on both sides; the generation it ran on."""
    async with store.reading() as snapshot:
        number = snapshot.generation.number
        expected = texts_of(number)
        nearest = await snapshot.tables.nearest(vector_of("whale"), metric=Metric.COSINE, limit=500)
        words = await asyncio.to_thread(snapshot.lexical.search, "whale", limit=500)
        for side, hits in (("vectors", nearest), ("keywords", words)):
            found = await snapshot.tables.chunks([hit.chunk_id for hit in hits])
            if {chunk.content for chunk in found.values()} != expected or len(hits) != len(expected):
                seen.mixed += 1
                seen.fault(f"{side} of generation {number}: {len(hits)} hits, {sorted(found.values(), key=str)[:2]}")
    if number < newest:
        seen.mixed += 1
        seen.fault(f"generation {number} after generation {newest}")
    return number


async def _search_until(stop: threading.Event, store: GenerationStore, seen: Seen, *, anew: bool) -> None:
    """Search again and again on what is open, or open it `anew` every time as the command line does."""
    newest = 0
    while not stop.is_set():
        if anew:
            store.release()
        try:
            newest = await _search(store, seen, newest)
            seen.generations.add(newest)
            if seen.searches == 0:
                print(json.dumps({"ready": True}), flush=True)
            seen.searches += 1
        except Exception as error:
            seen.errors += 1
            seen.fault(f"{type(error).__name__}: {error}")


async def read(data_dir: Path, kb_id: str) -> None:
    """Search until standard input closes; the last line on standard output is what was seen."""
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    stores = await Stores.open(DataPaths(data_dir))
    seen = Seen()
    store = stores.store(kb_id)
    await asyncio.gather(*(_search_until(stop, store, seen, anew=anew) for anew in (False, True)))
    await stores.close()
    print(json.dumps(asdict(seen) | {"generations": sorted(seen.generations)}), flush=True)


# ------------------------------------------------------------ the writer


def _line(stream: IO[str] | None) -> dict[str, object]:
    assert stream is not None
    return json.loads(stream.readline())


@contextmanager
def _reading_processes(count: int, bench: Bench) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that search already; none outlives the block."""
    command = [sys.executable, __file__, "--role", "reader", "--kb", bench.kb.id]
    command += ["--data-dir", str(bench.stores.paths.root)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        for _ in range(count)
    ]
    try:
        for process in processes:
            assert _line(process.stdout) == {"ready": True}
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


async def promote_next(bench: Bench, number: int) -> None:
    """Replace everything by the documents of generation `number`."""
    generation = await bench.built(documents_of(number), delete=list(documents_of(number - 1)))
    assert generation.number == number
    await bench.promote(generation)


async def run(folder: Path, *, generations: int, readers: int) -> list[Seen]:
    """Promote `generations` under the eyes of `readers` processes; what each of them saw."""
    stores = await Stores.open(DataPaths(folder))
    try:
        bench = await Bench.create(stores)
        await promote_next(bench, 1)
        with _reading_processes(readers, bench) as processes:
            for number in range(2, generations + 2):
                await promote_next(bench, number)
                report = await bench.collect(number % 2)
                assert not report.errors, report.errors
            outputs = [await asyncio.to_thread(process.communicate) for process in processes]
        report = await bench.collect(0)
        left = await stores.catalog.generations(bench.kb.id)
        assert [item.number for item in left] == [generations + 1], "a lease outlived its process"
        assert await bench.contents() == texts_of(generations + 1)
    finally:
        await stores.close()
    results = [Seen(**json.loads(output.splitlines()[-1])) for output, _ in outputs]
    for seen in results:
        seen.generations = set(seen.generations)
    return results


def measure(generations: int, readers: int) -> bool:
    """Print the table; True when no reader saw an error or a mixture."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(run(Path(folder), generations=generations, readers=readers))
    print(f"{'reader':>6}{'searches':>10}{'generations seen':>18}{'errors':>8}{'mixed':>7}")
    for at, seen in enumerate(results):
        print(f"{at:>6}{seen.searches:>10}{len(seen.generations):>18}{seen.errors:>8}{seen.mixed:>7}")
        for fault in seen.faults:
            print(f"       {fault}")
    print(f"{generations} promotions in {time.perf_counter() - started:.0f} s")
    return not any(seen.errors or seen.mixed for seen in results)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generations", type=int, default=100)
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument("--role", choices=("writer", "reader"), default="writer", help=argparse.SUPPRESS)
    parser.add_argument("--data-dir", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kb", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "reader":
        asyncio.run(read(options.data_dir, options.kb))
    else:
        sys.exit(0 if measure(options.generations, options.readers) else 1)
