"""What health is: the numbers, what is still good, and how to say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from studio.domain import AnnIndex
from studio.index.catalog import LoggedQuery, Outcome
from studio.index.vectors import TARGET_RECALL
from studio.ways_out import FasterModel, RunRepair, SeeWhatIsMissing, SmallerReranker, Tune

SLOW_P95_MS = 200.0
"""Of 20 searches one may be slower. Longer waits are no longer felt as an answer to a key press."""
MAX_ERROR_RATE = 0.01
MAX_UNINDEXED = 0.1
"""Rows beside the index are compared one by one: with a tenth of them that takes longer than the index itself."""
MIN_SEARCHES = 20
"""With fewer the slowest single search would be the 95th percentile."""
RATES_WITHIN_MS = 24 * 3600 * 1000
"""What failed longer ago has been seen to, or is over."""


class Level(StrEnum):
    """Whether a person needs to look."""

    GOOD = "good"
    ATTENTION = "attention"


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of how long searches took, in milliseconds."""

    searches: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Recall:
    """Share of the ten nearest passages that the vector index finds, for so many queries.

    `of` is "searches" where they were real ones, "passages" where the knowledge base's own had to do, "exact" where
    every vector is compared, so that none can be missed.
    """

    value: float
    queries: int
    of: str


@dataclass(frozen=True, slots=True)
class Freshness:
    """How the active generation stands to what it was made from. `failed_files` are those it could not read.

    `folders_waiting` are watched folders with changes not yet indexed, `folders_gone` those that cannot be followed.
    """

    generation: int
    age_s: float
    rows: int
    unindexed_rows: int
    failed_files: int
    folders_waiting: tuple[str, ...] = ()
    folders_gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that needs attention, and what to do about it: a text with ways out, as those of errors."""

    message: str
    way_out: str


@dataclass(frozen=True, slots=True)
class KbHealth:
    """How one knowledge base is searched. `latency` is None before the first search, `recall` while unknown."""

    kb_id: str
    name: str
    level: Level
    findings: tuple[Finding, ...]
    index: AnnIndex
    latency: Latency | None
    sides: Mapping[str, Latency]
    recent_searches: int
    error_rate: float
    degraded_rate: float
    recall: Recall | None
    freshness: Freshness | None


@dataclass(frozen=True, slots=True)
class HealthReport:
    """How searching stands, over all knowledge bases and for each."""

    level: Level
    latency: Latency | None
    knowledge_bases: tuple[KbHealth, ...] = ()
    remembers_queries: bool = True
    """False: nothing is kept of what was searched for."""

    @property
    def findings(self) -> list[Finding]:
        """Everything that needs attention."""
        return [finding for kb in self.knowledge_bases for finding in kb.findings]


@dataclass(frozen=True, slots=True)
class Searches:
    """What the log says: percentiles of the warm searches, rates of the recent ones."""

    latency: Latency | None
    sides: Mapping[str, Latency] = field(default_factory=dict)
    recent: int = 0
    error_rate: float = 0.0
    degraded_rate: float = 0.0


def latency(times_ms: Sequence[float]) -> Latency | None:
    """Percentiles by linear interpolation; None of nothing."""
    if not times_ms:
        return None
    p50, p95, p99 = (round(float(value), 2) for value in np.percentile(times_ms, (50, 95, 99)))
    return Latency(len(times_ms), p50, p95, p99)


def warm(entries: Iterable[LoggedQuery]) -> list[LoggedQuery]:
    """Those whose time says how quick searching is: answered, and not the first, which opens files and the model."""
    return [entry for entry in entries if not entry.first and entry.outcome is not Outcome.FAILED]


def summarise(entries: Sequence[LoggedQuery], now: int) -> Searches:
    """What a log says at `now`, in milliseconds since the epoch."""
    counted = warm(entries)
    sides: dict[str, list[float]] = {}
    for entry in counted:
        for side, took in entry.timings_ms.items():
            sides.setdefault(side, []).append(took)
    recent = [entry for entry in entries if now - entry.at_ms <= RATES_WITHIN_MS]

    def rate(outcome: Outcome) -> float:
        return round(sum(entry.outcome is outcome for entry in recent) / len(recent), 4) if recent else 0.0

    return Searches(
        latency([entry.took_ms for entry in counted]),
        {side: found for side, times in sides.items() if (found := latency(times)) is not None},
        len(recent),
        rate(Outcome.FAILED),
        rate(Outcome.DEGRADED),
    )


# ---------------------------------------------------------------- what needs attention


def judge(
    name: str, index: AnnIndex, searches: Searches, recall: Recall | None, freshness: Freshness | None
) -> list[Finding]:
    """What is beyond its limit, worst for a person first."""
    found = []
    if searches.error_rate > MAX_ERROR_RATE:
        found.append(
            Finding(
                f"{searches.error_rate:.1%} of the searches of “{name}” in the last day failed.",
                str(RunRepair()),
            )
        )
    if searches.degraded_rate > 0:
        found.append(
            Finding(
                f"{searches.degraded_rate:.1%} of the searches of “{name}” in the last day were answered by one side "
                "only.",
                str(SeeWhatIsMissing()),
            )
        )
    if recall is not None and recall.value < TARGET_RECALL:
        found.append(
            Finding(
                f"The vector index of “{name}” finds {recall.value:.1%} of the nearest passages, less than "
                f"{TARGET_RECALL:.0%}.",
                str(Tune(name)),
            )
        )
    indexed = freshness if index is not AnnIndex.FLAT else None
    if indexed is not None and indexed.unindexed_rows > MAX_UNINDEXED * indexed.rows:
        found.append(
            Finding(
                f"{indexed.unindexed_rows:,} of {indexed.rows:,} passages of “{name}” are not in its vector index.",
                str(Tune(name)),
            )
        )
    took = searches.latency
    if took is not None and took.searches >= MIN_SEARCHES and took.p95_ms > SLOW_P95_MS:
        side = max(searches.sides, key=lambda name: searches.sides[name].p95_ms, default="")
        what, way_out = _slow_side(side, name)
        most = f"; most of it goes into {what}" if what else ""
        found.append(
            Finding(
                f"One in twenty searches of “{name}” takes more than {took.p95_ms:.0f} ms{most}.",
                way_out,
            )
        )
    return found


def _slow_side(side: str, kb: str) -> tuple[str, str]:
    """What a side that is slow does, and the way out."""
    match side:
        case "embed":
            return "the model", str(FasterModel())
        case "vector":
            return "finding the nearest vectors", str(Tune(kb))
        case "rerank":
            return "the reranker", str(SmallerReranker())
    return "", "See whether other programs keep the machine busy."


# ---------------------------------------------------------------- in words


def text_of(report: HealthReport) -> str:
    """The report as a person reads it, with ways out still to be worded."""
    if not report.knowledge_bases:
        return "There is no knowledge base yet."
    head = "Searching is in good health." if report.level is Level.GOOD else "Searching needs attention."
    parts = [head]
    if report.latency is not None and len(report.knowledge_bases) > 1:
        parts[0] += f" Over all: {_latency(report.latency)}."
    forgets = [] if report.remembers_queries else ["Nothing is kept of what was searched for."]
    return "\n\n".join([*parts, *("\n".join(_lines(kb)) for kb in report.knowledge_bases), *forgets])


def _lines(kb: KbHealth) -> list[str]:
    lines = [f"{kb.name}: {'good' if kb.level is Level.GOOD else 'needs attention'}"]
    lines += [f"  ! {finding.message} {finding.way_out}" for finding in kb.findings]
    if kb.latency is None:
        lines.append("  Speed       not searched yet")
    else:
        lines.append(f"  Speed       {_latency(kb.latency)}")
        parts = [f"{side} {found.p50_ms:.1f} / {found.p95_ms:.1f}" for side, found in kb.sides.items()]
        lines += [f"              of it (p50 / p95 ms): {', '.join(parts)}"] if parts else []
    lines.append(f"  Recall      {_recall(kb)}")
    if kb.recent_searches:
        lines.append(
            f"  Failures    {kb.error_rate:.1%} failed, {kb.degraded_rate:.1%} answered by one side only "
            f"({_count(kb.recent_searches, 'search', 'searches')} in the last day)"
        )
    lines.append(f"  Freshness   {_freshness(kb.freshness)}")
    return lines


def _latency(found: Latency) -> str:
    times = f"p50 {found.p50_ms:.0f} ms, p95 {found.p95_ms:.0f} ms, p99 {found.p99_ms:.0f} ms"
    return f"{times} ({_count(found.searches, 'search', 'searches')})"


def _recall(kb: KbHealth) -> str:
    if kb.recall is None:
        return "not measured"
    if kb.recall.of == "exact":
        return "1.000 (every vector is compared)"
    of = "your last searches" if kb.recall.of == "searches" else "its own passages"
    return f"{kb.recall.value:.3f} of the ten nearest (index {kb.index}, {kb.recall.queries} of {of})"


def _freshness(found: Freshness | None) -> str:
    if found is None:
        return "nothing indexed yet"
    parts = [f"generation {found.generation}, {_age(found.age_s)} old"]
    if found.failed_files:
        parts.append(f"{_count(found.failed_files, 'file', 'files')} could not be indexed")
    if found.unindexed_rows:
        parts.append(f"{_count(found.unindexed_rows, 'passage', 'passages')} beside the vector index")
    if found.folders_waiting:
        parts.append(f"changes wait in {', '.join(found.folders_waiting)}")
    if found.folders_gone:
        parts.append(f"cannot be followed: {', '.join(found.folders_gone)}")
    return "; ".join(parts)


def _age(seconds: float) -> str:
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return _count(int(seconds // length), unit, f"{unit}s")
    return "less than a minute"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
