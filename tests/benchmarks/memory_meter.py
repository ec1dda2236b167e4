"""What the operating system says a program holds, read by psutil beside the program's own ledger; and made-up notes."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from studio.config import Config
from studio.embedding.models import DEFAULT_MODEL, ModelCatalog
from studio.memory import MemorySnapshot
from studio.paths import DataPaths
from tests.helpers.mixed_files import sentences


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes of a process and of all below it.

    Of mapped pages that several processes have, of this program or not, `mapped` counts its share where that is told.
    `resident` counts them in each process that has them.
    """

    private: int
    mapped: int
    resident: int

    @property
    def total(self) -> int:
        return self.private + self.mapped


def held_by(pid: int) -> Held:
    """Ask psutil about a process and all below it; those that end meanwhile hold nothing."""
    process = psutil.Process(pid)
    private = mapped = resident = 0
    for part in (process, *process.children(recursive=True)):
        try:
            info = part.memory_full_info()
        except psutil.Error:
            continue
        own = info.rss - info.shared if hasattr(info, "shared") else info.uss
        private += own
        mapped += max(0, getattr(info, "pss", info.rss) - own)
        resident += info.rss
    return Held(private, mapped, resident)


@dataclass(frozen=True, slots=True)
class Sample:
    """Both at one moment. `parts` are the ledger's."""

    held: Held
    ledger: int
    parts: Mapping[str, int]

    @property
    def difference(self) -> float:
        """What the ledger says more, as a share of what was measured."""
        return self.ledger / self.held.total - 1


class Meter:
    """Samples this process and all below it while the block runs, some times a second, in a thread of its own."""

    def __init__(self, snapshot: Callable[[], MemorySnapshot], every_s: float = 0.2) -> None:
        self._snapshot = snapshot
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter")
        self.samples: list[Sample] = []

    @property
    def peak(self) -> Sample:
        """The sample in which most was measured."""
        return max(self.samples, key=lambda sample: sample.held.total)

    @property
    def worst(self) -> Sample:
        """The sample in which both differ most."""
        return max(self.samples, key=lambda sample: abs(sample.difference))

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            told = self._snapshot()
            self.samples.append(Sample(held_by(os.getpid()), told.used_bytes, told.parts))
            if self._ended.wait(self._every_s):
                return


def highest() -> int | None:
    """The most this process alone ever had resident, mapped files included, in bytes; None where it is not told."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return getattr(psutil.Process().memory_info(), "peak_wset", None)
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def write_notes(folder: Path, count: int, seed: int = 1) -> Path:
    """Write `count` notes of 2 to 6 KB, plain or Markdown, made of sentences; most are short. Returns the folder."""
    rng, pool = random.Random(seed), sentences()
    for number in range(count):
        wanted, paragraphs = rng.triangular(2_000, 6_000, 2_000), [f"# Note {number} of set {seed}"]
        while sum(map(len, paragraphs)) < wanted:
            paragraphs.append(". ".join(rng.sample(pool, 4)) + ".")
        place = folder / f"topic {number % 20}" / f"note {number:05}{('.md', '.txt')[number % 2]}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("\n\n".join(paragraphs), "utf-8")
    return folder


def question(rng: random.Random, words: list[str]) -> str:
    """Seven words, so that no two questions are alike and no answer is remembered."""
    return " ".join(rng.sample(words, 7))


def words() -> list[str]:
    """The different words of the notes."""
    return sorted({word for sentence in sentences() for word in sentence.split() if word.isalpha()})


def prepare(folder: Path, budget_mib: int = 0) -> Path:
    """A data directory with the default model and a budget."""
    paths = DataPaths.resolve(folder)
    paths.create()
    asyncio.run(ModelCatalog(paths).install(DEFAULT_MODEL))
    Config(paths.config).set("memory_budget_mib", str(budget_mib))
    return folder


def mb(size: float) -> str:
    """Megabytes, as in every table here."""
    return f"{size / 1e6:,.0f}"
