"""One job is killed again and again until it is done; it must end as if nothing had happened.

    .venv/bin/python tests/faults/interrupted.py [--kills 50] [--files 500] [--seed 1]

A folder of files in eight formats is ingested once without disturbance, and once with kill -9 at random times, each
time followed by `ingest --resume`. Both must hold the same chunks; the doctor must be content; no text may be
embedded twice except those of the batches under way when the program was killed. Prints a table.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # it runs as a script, too

from studio.bootstrap import open_services
from studio.services.ingest.pipeline import CHUNKS_PER_BATCH
from tests.helpers.command import Program
from tests.helpers.mixed_files import write_files
from tests.helpers.toy import chunk_ids_of

NOTING = Path(__file__).with_name("noting.py")
BATCHES_UNDER_WAY = 2
TIMEOUT_S = 1800
KB = "Notes"


@dataclass(slots=True)
class Result:
    """What happened: kills that hit the job, texts embedded, and how many of them more than once."""

    kills: int
    runs: int
    chunks: int
    embedded: int
    twice: int
    same: bool
    sound: bool

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return self.same and self.sound and self.twice <= self.kills * BATCHES_UNDER_WAY * CHUNKS_PER_BATCH


class Killer:
    """Runs one job to its end, killing it on the way."""

    def __init__(self, program: Program, folder: Path, notes: Path, rng: random.Random) -> None:
        self._program = program
        self._folder = folder
        self._notes = notes
        self._rng = rng
        self.kills = self.runs = 0

    def finish(self, kills: int, longest_s: float) -> None:
        """Run the job; the first `kills` runs end after a random time below `longest_s`, if they last that long."""
        arguments: list[str | Path] = [self._folder]
        while True:
            deadline = self._rng.uniform(0.05, longest_s) if self.kills < kills else TIMEOUT_S
            code = self._run(arguments, deadline)
            self.runs += 1
            if code == 0:
                return
            if code != -signal.SIGKILL:
                raise SystemExit(f"the job ended with {code}")
            self.kills += 1
            if self._accepted():
                arguments = ["--resume"]

    def _run(self, arguments: list[str | Path], deadline_s: float) -> int:
        command = [sys.executable, str(NOTING), str(self._notes), *self._program.arguments("ingest", KB, *arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUTF8": "1"},
        )  # fmt: skip
        try:
            return process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _accepted(self) -> bool:
        return bool(asyncio.run(_open_jobs(self._program.data_dir)))


async def _open_jobs(data_dir: Path) -> int:
    async with open_services(data_dir) as services:
        stores = services.library._stores
        return len(await stores.catalog.jobs.open())


async def chunk_ids(data_dir: Path) -> list[str]:
    """The chunk ids of the active generation, which both indexes must agree on."""
    async with open_services(data_dir) as services:
        kb = await services.library.get(KB)
        async with services.library._stores.store(kb.id).reading() as snapshot:
            ids = sorted(await chunk_ids_of(snapshot.tables))
            if ids != sorted(await asyncio.to_thread(snapshot.lexical.chunk_ids)):
                raise SystemExit("vectors and keywords hold different chunks")
            return ids


def run(place: Path, kills: int, files: int, seed: int, longest_s: float) -> Result:
    """Both runs, below `place`."""
    folder = write_files(place / "files", files, seed)
    found: list[list[str]] = []
    for name, count in (("undisturbed", 0), ("killed", kills)):
        program = Program(place / name)
        if program.run("kb", "create", KB).code != 0:
            raise SystemExit("the knowledge base cannot be made")
        killer = Killer(program, folder, place / f"{name}.notes", random.Random(seed))
        killer.finish(count, longest_s)
        found.append(asyncio.run(chunk_ids(program.data_dir)))
    texts = Counter((place / "killed.notes").read_text().split())
    doctor = Program(place / "killed").run("--json", "doctor")
    return Result(
        kills=killer.kills, runs=killer.runs, chunks=len(found[1]), embedded=texts.total(),
        twice=texts.total() - len(texts), same=found[0] == found[1], sound=bool(doctor.json["ok"]),
    )  # fmt: skip


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=8.0, metavar="S", help="latest moment of a kill in a run")
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        result = run(Path(place), options.kills, options.files, options.seed, options.longest)
    print(f"files {options.files}, chunks {result.chunks}, kills {result.kills}, runs {result.runs}")
    print(f"texts embedded {result.embedded}, of them again {result.twice}")
    print(f"same chunks {result.same}, doctor {'ok' if result.sound else 'NOT ok'}, {time.monotonic() - begun:.0f} s")
    sys.exit(0 if result.good else 1)


if __name__ == "__main__":
    main()
