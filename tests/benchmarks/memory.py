"""Memory: in a control group under pressure, building and searching large tables, and over many cycles of use.

    .venv/bin/python tests/benchmarks/memory.py cgroup [--files 3000] [--limit-mb 1200] [--room-mb 10]
                                                       [--without-coordination]
    .venv/bin/python tests/benchmarks/memory.py build [--rows 1000000] [--budgets 1024 2048] [--folder DIR]
    .venv/bin/python tests/benchmarks/memory.py cycles [--cycles 24] [--files 40]

`cgroup`: a process in a group with that limit ingests the files and searches all the while. A ballast in the same group
comes with the ingest: it takes what fills the group to 80 %, and grows by 12.5 MiB a second until it leaves
`--room-mb` more than the program had of its own before the ingest, which is less than the ingest takes. After 8
seconds the ballast goes, and comes back 30 seconds later, until the ingest has ended. Searches are timed before the
ingest, without ballast, and during it. Without coordination the program never reads how short memory is and has no
budget. The ballast is what the system would kill last.

`build`: for each budget, one process builds and seals a generation of made-up passages of 384 numbers through the
program's own services, and a fresh one answers 500 searches in it, the model loaded and asked to embed each. Printed:
what psutil says these processes held at most, beside what the ledger said at that moment.

`cycles`: each loads the model, ingests files of which every one has changed, searches, and waits until the model and
the processes that read files have ended for being idle; then memory is read. Some cycles come before those that count:
as many as it takes for everything to have happened once that happens again and again (libraries are imported, threads
start, small fragments and deltas of indexes are joined, which is done for every fourth generation), with as many
searches as are remembered. What is compared is resident memory, as shares of mapped pages change with what else runs on
the machine.

Needs the default model (`rag-studio model install all-MiniLM-L6-v2`). With a million passages it takes 10 GB of disk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import memory_group
from memory_meter import Held, Meter, Sample, held_by, highest, mb, prepare, question, words, write_notes
from search import WARM_UP, GivenVectors, fill, folder_for
from search_data import Data

from studio.bootstrap import open_services
from studio.domain import KbSettings, SearchRequest
from studio.index.generations.building import MERGE_EVERY
from studio.services.search import SearchService
from studio.services.search.query_embeddings import KEPT

DIMENSION = 384
SEARCHES = 500
BEFORE_CYCLES = 2 * MERGE_EVERY
NAME = "benchmark"
MIB = 1 << 20


# ------------------------------------------------------------ build


def build(rows: int, budgets: list[int], folder: Path) -> None:
    """Print one table for each budget, in MiB."""
    for budget in budgets:
        data = prepare(folder / f"{rows} in {budget}", budget)
        print(f"\n{rows:,} × {DIMENSION}, budget {mb(budget * MIB)} MB; all in MB")
        print(f"{'':<10}{'private':>9}{'mapped':>9}{'measured':>10}{'ledger':>9}{'differ':>8}{'of budget':>11}")
        for step in ("build", "search"):
            command = [sys.executable, __file__, "--step", step, str(data), str(rows)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode != 0:
                print(f"{step:<10}ended with exit code {done.returncode}: bar MISSED")
                break
            _print_step(step, json.loads(done.stdout.splitlines()[-1]), budget * MIB)
        shutil.rmtree(data)


def _print_step(step: str, found: dict[str, Any], budget: int) -> None:
    peak, worst = (_sample(found[name]) for name in ("peak", "worst"))
    held = peak.held
    print(
        f"{step:<10}{mb(held.private):>9}{mb(held.mapped):>9}{mb(held.total):>10}{mb(peak.ledger):>9}"
        f"{peak.difference:>+8.1%}{held.total / budget:>11.1%}"
    )
    parts = sorted(peak.parts.items(), key=lambda part: -part[1])
    print(f"{'':<10}ledger: {', '.join(f'{name} {mb(size)}' for name, size in parts)}")
    print(
        f"{'':<10}differ most in {found['samples']} samples: {mb(worst.held.total)} measured, {mb(worst.ledger)} ledger"
        f" ({worst.difference:+.1%})" + (f"; this process at most {mb(found['highest'])}" if found["highest"] else "")
    )
    met = held.total <= budget and abs(peak.difference) <= 0.15
    print(f"{'':<10}took {found['seconds']:.0f} s; bar: {'met' if met else 'MISSED'}", flush=True)


def _sample(told: dict[str, Any]) -> Sample:
    return Sample(Held(**told["held"]), told["ledger"], told["parts"])


async def step(name: str, data: Path, rows: int) -> None:
    """Build or search in this process; print what it held as one JSON document."""
    made = Data(rows, DIMENSION)
    queries = made.queries(SEARCHES + WARM_UP)
    loop = asyncio.get_running_loop()
    async with open_services(data) as services:
        stores = services.library._stores
        embedders = services.ingest._work._builder._embedders
        begun = loop.time()
        with Meter(services.memory.snapshot) as meter:
            model = replace((await embedders.embedder(KbSettings().model)).model, dimension=DIMENSION)
            if name == "build":
                await fill(stores, made, queries[:20], model, None)
            else:
                real = await embedders.embedder(model.name)
                given = SearchService(stores, GivenVectors(model, queries, real))
                for query in queries:
                    await given.search(SearchRequest((NAME,), query.text))
        taken_s = loop.time() - begun
    found = {
        "peak": asdict(meter.peak), "worst": asdict(meter.worst), "samples": len(meter.samples),
        "highest": highest(), "seconds": taken_s,
    }  # fmt: skip
    print(json.dumps(found))


# ------------------------------------------------------------ cycles


async def cycles(count: int, files: int, notes: Path, data: Path) -> None:
    """Print what is held after each cycle."""
    rng, vocabulary = random.Random(3), words()
    async with open_services(data) as services:
        embedders: Any = services.ingest._work._builder._embedders
        parser: Any = services.ingest._work._parser
        kb = await services.library.create(NAME, KbSettings(contextual=False))
        print(
            f"\n{'cycle':<8}{'private MB':>12}{'resident MB':>13}{'shared once':>13}{'ledger':>9}{'of the first':>14}"
        )
        first: Held | None = None
        for cycle in range(1 - BEFORE_CYCLES, count + 1):
            await asyncio.to_thread(write_notes, notes, files, seed=cycle + BEFORE_CYCLES)
            embedders.unload_after(0.0)
            parser.end_after(0.0)
            await services.ingest.ingest(kb.id, [notes])
            for _ in range(50 if cycle > 0 else KEPT // BEFORE_CYCLES + 1):
                await services.search.search(SearchRequest((kb.id,), question(rng, vocabulary)))
            embedders.unload_after(0.5)
            parser.end_after(0.5)
            await _ended(embedders, parser)
            await asyncio.sleep(1.0)
            held = await asyncio.to_thread(held_by, os.getpid())
            told = await asyncio.to_thread(services.memory.snapshot)
            if cycle == 1:
                first = held
            share = f"{held.resident / first.resident - 1:+.1%}" if first is not None else "warm-up"
            print(
                f"{cycle:<8}{mb(held.private):>12}{mb(held.resident):>13}{mb(held.total):>13}"
                f"{mb(told.used_bytes):>9}{share:>14}",
                flush=True,
            )
        assert first is not None
        print(f"bar (within 5 % of the first): {'met' if held.resident <= 1.05 * first.resident else 'MISSED'}")
        print("ledger at the end: " + ", ".join(f"{name} {mb(size)}" for name, size in told.parts.items()), flush=True)


async def _ended(embedders: Any, parser: Any) -> None:
    async with asyncio.timeout(60):
        while embedders.loaded() or parser.worker_pids:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.1)


def main() -> None:
    """Parse the command line and run one section."""
    if sys.argv[1:2] == ["--inside"]:
        data, files, coordinated = sys.argv[2:5]
        asyncio.run(memory_group.inside(Path(data), Path(files), coordinated == "1"))
        return
    if sys.argv[1:2] == ["--step"]:
        asyncio.run(step(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sections = parser.add_subparsers(dest="section", required=True)
    section = sections.add_parser("cgroup")
    section.add_argument("--files", type=int, default=3000, metavar="N")
    section.add_argument("--limit-mb", type=int, default=1200, metavar="MB")
    section.add_argument("--room-mb", type=int, default=10, metavar="MB")
    section.add_argument("--without-coordination", action="store_true")
    section = sections.add_parser("build")
    section.add_argument("--rows", type=int, default=1_000_000, metavar="N")
    section.add_argument("--budgets", type=int, nargs="+", default=[1024, 2048], metavar="MIB")
    section.add_argument("--folder", type=folder_for, metavar="DIR")
    section = sections.add_parser("cycles")
    section.add_argument("--cycles", type=int, default=24, metavar="N")
    section.add_argument("--files", type=int, default=40, metavar="N")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that control groups and files are removed then too
    with tempfile.TemporaryDirectory(dir=getattr(options, "folder", None)) as name:
        folder = Path(name)
        if options.section == "cgroup":
            memory_group.measure(
                folder, Path(__file__), options.files, options.limit_mb * 1_000_000, options.room_mb * 1_000_000,
                not options.without_coordination,
            )  # fmt: skip
        elif options.section == "build":
            build(options.rows, options.budgets, folder)
        else:
            data = prepare(folder / "data")
            asyncio.run(cycles(options.cycles, options.files, folder / "notes", data))


if __name__ == "__main__":
    main()
