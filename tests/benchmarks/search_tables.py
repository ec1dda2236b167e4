"""The tables that `search.py` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Times = Sequence[float] | NDArray[np.float64]


@dataclass(slots=True)
class Turns:
    """What one of those compared told, turn by turn; `texts_ms` and `shown_ms` are times of answers of either kind."""

    recall: float
    index_s: float
    disk: int
    memory: list[int] = field(default_factory=list)
    code: list[int] = field(default_factory=list)
    texts_ms: list[Times] = field(default_factory=list)
    shown_ms: list[Times] = field(default_factory=list)

    def add(self, told: Mapping[str, Any]) -> None:
        """The resident memory that a process tells."""
        self.memory.append(told["memory"])
        self.code.append(told["code"])


def percentiles(times: Times) -> dict[str, float]:
    """The p50, p95 and p99."""
    return {f"p{share}": float(np.percentile(times, share)) for share in (50, 95, 99)}


def mib(size: float) -> str:
    """A number of bytes."""
    return f"{size / 2**20:,.1f} MiB"


def print_times(times: Mapping[str, Times]) -> None:
    """Ways to answer and the steps of ours, whose names are indented; and what the first two bars are about."""
    print(f"{'ms':<20}{'p50':>9}{'p95':>9}{'p99':>9}")
    shown = {name: percentiles(values) for name, values in times.items()}
    for name, found in sorted(shown.items(), key=lambda item: item[0].startswith(" ")):
        print(f"{name:<20}" + "".join(f"{value:>9.2f}" for value in found.values()))
    ours = shown["hybrid search"]
    parts = shown["query embedding"]["p50"] + max(shown["LanceDB alone"]["p50"], shown["Tantivy alone"]["p50"])
    print(f"p50 ÷ (embedding + the slower side) {ours['p50'] / parts:.2f}; p95 ÷ p50 {ours['p95'] / ours['p50']:.2f}")


def print_compared(rows: Mapping[str, Turns]) -> None:
    """Those compared, ours first: times of either kind of answer, and what an index takes."""
    _print_answers("ten texts", {name: turns.texts_ms for name, turns in rows.items()})
    _print_answers("marked snippets", {name: turns.shown_ms for name, turns in rows.items()})
    print(f"\n{'index':<18}{'recall@10':>10}{'build s':>9}{'disk MiB':>10}{'memory MiB':>12}{'without code':>14}")
    for name, turns in rows.items():
        if not turns.memory:  # it never answered
            continue
        memory = float(np.median(turns.memory))
        print(f"{name:<18}{turns.recall:>10.4f}{turns.index_s:>9.1f}{turns.disk / 2**20:>10.1f}"
              f"{memory / 2**20:>12.1f}{(memory - np.median(turns.code)) / 2**20:>14.1f}")  # fmt: skip


def _print_answers(kind: str, answers: Mapping[str, Sequence[Times]]) -> None:
    shown = {name: [percentiles(times) for times in turns] for name, turns in answers.items() if turns}
    medians = {name: {share: _median(turns, share) for share in turns[0]} for name, turns in shown.items()}
    print(f"\n{kind:<18}{'p50 ms':>9}{'least, most':>16}{'p95 ms':>9}{'÷ ours':>8}")
    ours = next(iter(medians.values()))["p50"]
    for name, turns in shown.items():
        spread = ", ".join(f"{pick(turn['p50'] for turn in turns):.2f}" for pick in (min, max))
        p50, p95 = medians[name]["p50"], medians[name]["p95"]
        print(f"{name:<18}{p50:>9.2f}{spread:>16}{p95:>9.2f}{p50 / ours:>8.2f}")


def _median(turns: Sequence[Mapping[str, float]], name: str) -> float:
    return float(np.median([turn[name] for turn in turns]))
