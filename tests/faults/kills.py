"""The program is killed again and again in the middle of everything that changes a knowledge base.

    .venv/bin/python tests/faults/kills.py [--kills 200] [--seed 1]

Each turn runs one command (ingest, ingest --no-promote, promote, rollback and forward, gc, export, import) as a
process of its own and kills it: in every other turn at a failpoint of that command, in the rest at a random moment.
Afterwards the doctor must be content, exactly one generation active, every generation made of exactly the documents
it was acknowledged with, and nothing gone that the policy keeps; then the same command must succeed. Prints a table.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # it runs as a script, too

from studio.bootstrap import open_services
from studio.domain import GenerationState, Retention
from studio.embedding.models import DEFAULT_MODEL, ModelCatalog
from studio.failpoints import POINTS, VARIABLE
from studio.paths import DataPaths
from tests.faults.states import KB, KEEP_ARCHIVED, Attempt, Failed, State, Texts, check, observe
from tests.helpers.command import Program, kill_group

KEEP_AT_GC = 1
DOCUMENTS = 4
TIMEOUT_S = 120

BUILDING = ("begin", "write", "delete", "seal")
POINTS_OF = {
    "ingest": (*BUILDING, "promote"),
    "build": BUILDING,
    "promote": ("promote",),
    "rollback": ("promote",),
    "gc": ("collect",),
    "export": ("export",),
    "import": ("import", "begin", "write", "seal"),
}
"""Operation → the first words of the failpoints it passes."""
_UNCHANGED_BY_PREPARING = ("ingest", "build", "export")


@dataclass(slots=True)
class Tally:
    """Outcomes of one operation."""

    at_failpoints: int = 0
    at_random: int = 0
    old: int = 0
    new: int = 0
    failures: list[str] = field(default_factory=list)


def points_of(operation: str) -> list[str]:
    """The failpoints an operation passes, its own first."""
    return [point for word in POINTS_OF[operation] for point in POINTS if point.partition(".")[0] == word]


class Drill:
    """One data directory, and the operations that are interrupted on it."""

    def __init__(self, program: Program, folder: Path, seed: int) -> None:
        self.program = program
        self.tallies = {name: Tally() for name in POINTS_OF}
        self._rng = random.Random(seed)
        self._documents = folder / "documents"
        self._bundle = folder / "notes.bundle"
        self._exported: Texts = frozenset()
        self._round = 0
        self._durations_s: dict[str, float] = {}
        self._startup_s = 0.0
        self._points = {name: cycle(points_of(name)) for name in POINTS_OF}
        self._prepare: dict[str, Callable[[State], Awaitable[Attempt]]] = {
            "ingest": self._ingest,
            "build": self._build,
            "promote": self._promote,
            "rollback": self._rollback,
            "gc": self._gc,
            "export": self._export,
            "import": self._import,
        }

    # ------------------------------------------------------------ turns

    async def warm_up(self) -> None:
        """A knowledge base with some generations; every operation runs once undisturbed, which tells how long it takes.

        Raises Failed.
        """
        self._documents.mkdir()
        begun = time.perf_counter()
        self.program.run_apart("config", "path")
        self._startup_s = time.perf_counter() - begun
        self.program.ok("config", "set", "keep_generations", str(KEEP_ARCHIVED))
        self.program.ok("kb", "create", KB)
        self.program.ok("ingest", KB, self._change()[0])
        for operation in POINTS_OF:
            attempt = await self._prepare[operation](await observe(self.program.data_dir))
            await self._complete(operation, attempt, await observe(self.program.data_dir))
            await self._drop_copies()

    async def turn(self, operation: str, point: str | None) -> None:
        """Kill one operation at a failpoint, or at a random moment; check, and run it to its end."""
        tally = self.tallies[operation]
        try:
            seen = await observe(self.program.data_dir)
            attempt = await self._prepare[operation](seen)
            before = seen if operation in _UNCHANGED_BY_PREPARING else await observe(self.program.data_dir)
            killed = self._kill(operation, attempt, point)
            if killed:
                tally.at_failpoints += point is not None
                tally.at_random += point is None
            after = await observe(self.program.data_dir)
            check(before, after, attempt)
            happened = attempt.happened(before, after)
            if not happened and (not killed or (point or "").endswith(".done")):
                raise Failed("what was done and committed is not there")
            tally.new += killed and happened
            tally.old += killed and not happened
            if not happened:
                await self._complete(operation, attempt, after)
        except Exception as error:
            where = point or "a random moment"
            tally.failures.append(f"{operation} at {where}: {type(error).__name__}: {str(error)[:600]}")
            async with open_services(self.program.data_dir) as services:  # so that the next turn starts sound
                await services.doctor.repair()
        finally:
            await self._drop_copies()

    async def run(self, kills: int) -> None:
        """Kill until so many processes died, next where the fewest did; a random moment may come too late."""
        await self.warm_up()
        turns = {(name, kind): 0 for name in POINTS_OF for kind in (False, True) if kind or points_of(name)}
        while self.kills() < kills and sum(turns.values()) < 5 * kills:
            operation, at_random = min(turns, key=lambda turn: 3 * self._killed(*turn) + turns[turn])
            turns[operation, at_random] += 1
            await self.turn(operation, None if at_random else next(self._points[operation]))
            print(f"\r{self.kills()} of {kills} kills, {len(self.failures())} failures", end="", file=sys.stderr)

    def kills(self) -> int:
        """How many processes were killed."""
        return sum(tally.at_failpoints + tally.at_random for tally in self.tallies.values())

    def _killed(self, operation: str, at_random: bool) -> int:
        tally = self.tallies[operation]
        return tally.at_random if at_random else tally.at_failpoints

    def failures(self) -> list[str]:
        """Everything that went wrong."""
        return [text for tally in self.tallies.values() for text in tally.failures]

    def _kill(self, operation: str, attempt: Attempt, point: str | None) -> bool:
        """Run a command and kill it; False when it ended by itself before its random moment. Raises Failed."""
        with tempfile.TemporaryFile() as output, Path(os.devnull).open("rb") as null:
            streams = (null.fileno(), output.fileno(), output.fileno())
            environment = {VARIABLE: point or ""}
            process = self.program.start("--json", *attempt.command, streams=streams, environment=environment)
            try:
                process.wait(TIMEOUT_S if point else self._moment_s(operation))
            except subprocess.TimeoutExpired:
                kill_group(process)
                if point:
                    raise
            code = process.wait()
            output.seek(0)
            said = output.read().decode("utf-8", "replace")
        if code > 0 and os.name == "posix":
            raise Failed(f"exit code {code}: {said}")
        if point and code == 0:
            raise Failed(f"the failpoint was not reached: {said}")
        return code != 0

    def _moment_s(self, operation: str) -> float:
        """A moment between the start of the program and the end of the operation, as long as it took the last time."""
        latest_s = self._durations_s[operation]
        return self._rng.uniform(min(self._startup_s, latest_s / 2), latest_s)

    async def _complete(self, operation: str, attempt: Attempt, before: State) -> None:
        """Run a command to its end. Raises Failed."""
        begun = time.perf_counter()
        self.program.ok(*attempt.command)
        self._durations_s[operation] = self._startup_s + time.perf_counter() - begun  # it ran in this process
        after = await observe(self.program.data_dir)
        check(before, after, attempt)
        if not attempt.happened(before, after):
            raise Failed(f"{operation} succeeded without an effect")

    # ------------------------------------------------------------ operations

    def _change(self) -> tuple[Path, Texts]:
        """Change one document, add one, remove one. The folder and what it holds."""
        self._round += 1
        texts = {}
        for number in range(self._round, self._round + DOCUMENTS):
            edition = self._round if number == self._round + 1 else number
            texts[f"{number}.txt"] = f"Document {number}, edition {edition}, speaks of whales and subject {number}."
        for file in self._documents.iterdir():
            if file.name not in texts:
                file.unlink()
        for name, text in texts.items():
            (self._documents / name).write_text(text, "utf-8")
        return self._documents, frozenset(texts.values())

    async def _ingest(self, before: State) -> Attempt:
        folder, target = self._change()
        return Attempt(("ingest", KB, folder), target, may_become=0)

    async def _build(self, before: State) -> Attempt:
        folder, target = self._change()
        return Attempt(
            ("ingest", KB, folder, "--no-promote"), target,
            happened=lambda before, after: bool(after.texts.keys() - before.texts.keys()),
        )  # fmt: skip

    async def _promote(self, before: State) -> Attempt:
        folder, _ = self._change()
        number = self.program.ok("ingest", KB, folder, "--no-promote")["generation"]
        return Attempt(("promote", KB, str(number)), may_become=number)

    async def _rollback(self, before: State) -> Attempt:
        archived = [number for number, state in before.states.items() if state is GenerationState.ARCHIVED]
        if not archived:
            self.program.ok("ingest", KB, self._change()[0])
            return Attempt(("rollback", KB), may_become=before.active)
        older = [number for number in archived if number < before.active]
        newer = [number for number in archived if number > before.active]
        if newer and (not older or self._rng.random() < 0.5):
            return Attempt(("rollback", KB, "--forward"), may_become=min(newer))
        return Attempt(("rollback", KB), may_become=max(older))

    async def _gc(self, before: State) -> Attempt:
        """Several archived generations, under a policy that suddenly keeps fewer."""
        archived = sum(state is GenerationState.ARCHIVED for state in before.states.values())
        for _ in range(archived, KEEP_AT_GC + 2):
            self.program.ok("ingest", KB, self._change()[0])
        async with open_services(self.program.data_dir) as services:
            await services.library.set_retention(KB, Retention(keep_archived=KEEP_AT_GC))
        return Attempt(
            ("gc", KB), keep=KEEP_AT_GC,
            happened=lambda before, after: len(after.states) < len(before.states),
        )  # fmt: skip

    async def _export(self, before: State) -> Attempt:
        self._bundle.unlink(missing_ok=True)
        self._exported = before.texts[before.active]
        return Attempt(("export", KB, self._bundle), happened=lambda before, after: self._has_bundle())

    def _has_bundle(self) -> bool:
        """Whether there is an exported file; one that is there must be whole. Raises AssertionError."""
        return self._bundle.exists() and bool(self.program.ok("verify", self._bundle))

    async def _import(self, before: State) -> Attempt:
        if not self._bundle.exists():
            self.program.ok("export", KB, self._bundle)
            self._exported = before.texts[before.active]
        return Attempt(
            ("import", self._bundle, "--name", "Copy"), self._exported,
            happened=lambda before, after: "Copy" in after.copies,
        )  # fmt: skip

    async def _drop_copies(self) -> None:
        """Make the next turn start from the policy and the one knowledge base of always."""
        async with open_services(self.program.data_dir) as services:
            await services.library.set_retention(KB, None)
            for kb in await services.library.list():
                if kb.name != KB:
                    await services.library.delete(kb.id)


def table(tallies: dict[str, Tally]) -> Iterator[str]:
    """The lines of a report."""
    headings = ("operation", "kills", "failpoints", "random", "old after", "new after", "failures")
    yield f"{headings[0]:<12}" + "".join(f"{heading:>12}" for heading in headings[1:])
    total = [0] * 6
    for name, tally in tallies.items():
        kills = tally.at_failpoints + tally.at_random
        row = (kills, tally.at_failpoints, tally.at_random, tally.old, tally.new, len(tally.failures))
        total = [sum(pair) for pair in zip(total, row, strict=True)]
        yield f"{name:<12}" + "".join(f"{value:>12}" for value in row)
    yield f"{'together':<12}" + "".join(f"{value:>12}" for value in total)


def main(kills: int, seed: int) -> int:
    """Print the table; 0 when nothing failed."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        data_dir = Path(name, "data")
        asyncio.run(ModelCatalog(DataPaths(data_dir)).install(DEFAULT_MODEL))
        drill = Drill(Program(data_dir), Path(name), seed)
        asyncio.run(drill.run(kills))
    print("\n" + "\n".join(table(drill.tallies)))
    print(f"seed {seed}, {time.perf_counter() - started:.0f} s")
    for text in drill.failures():
        print(f"FAILED: {text}")
    return 1 if drill.failures() else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sys.exit(main(options.kills, options.seed))
