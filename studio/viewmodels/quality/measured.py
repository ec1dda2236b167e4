"""Evaluations as the window shows them: what can be compared, rows of numbers, points of plots, sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from studio.domain import Fusion, SavedQuery, SearchMode
from studio.services.quality import AbReport, Difference, Evaluation, Measured, QueryMove, Setting, grid
from studio.viewmodels.base import ItemListModel
from studio.viewmodels.text import count

MEASURES = (("ndcg", "nDCG"), ("recall", "Recall"), ("mrr", "MRR"), ("map", "MAP"), ("precision", "Precision"))
SIGNIFICANT = 0.05
"""A p-value below it counts as shown."""

WEIGHTS = (None, 0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the vector side that can be compared; None is the one chosen for each query."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which ways to search a run compares: every combination."""

    modes: tuple[SearchMode, ...] = tuple(SearchMode)
    weights: tuple[float | None, ...] = (None,)
    fusions: tuple[Fusion, ...] = (Fusion.MINMAX,)
    exact: tuple[bool, ...] = (False,)
    generations: tuple[int | None, ...] = (None,)

    def settings(self) -> list[Setting]:
        """Every combination that means something, once."""
        return grid(self.modes, self.weights, self.fusions, exact=self.exact, generations=self.generations)


@dataclass(frozen=True, slots=True)
class QueryRow:
    """A saved query."""

    id: int
    name: str
    query: str
    relevant: int
    irrelevant: int

    @property
    def title(self) -> str:
        """The text; before it the name where it has one of its own."""
        return self.query if self.query.startswith(self.name.removesuffix("…")) else f"{self.name}: {self.query}"

    @property
    def judged(self) -> str:
        """`3 relevant, 1 not`."""
        if not self.relevant:
            return "nothing relevant yet"
        return f"{self.relevant:,} relevant" + (f", {self.irrelevant:,} not" if self.irrelevant else "")


class QueryModel(ItemListModel[QueryRow]):
    """Oldest first."""

    def describe(self, row: int, item: QueryRow) -> str:
        return f"{item.title}, {item.judged}"

    def tip(self, item: QueryRow) -> str:
        return item.query if len(item.query) > 60 else ""


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """What was measured of one setting. `values` are (mean, interval) in words by measure, in the order of `MEASURES`.

    `side` is "A" or "B" where it is one of the two that are compared.
    """

    name: str
    values: tuple[tuple[str, str], ...]
    latency: tuple[str, str, str]
    best: bool = False
    side: str = ""


class MeasuredModel(ItemListModel[MeasuredRow]):
    """The settings of one evaluation."""

    k = 10

    def describe(self, row: int, item: MeasuredRow) -> str:
        values = (
            f"{name} {mean}{f', {interval}' if interval else ''}"
            for (_, name), (mean, interval) in zip(MEASURES, item.values, strict=True)
        )
        p50, p95, p99 = item.latency
        side = f"{item.side}: " if item.side else ""
        return f"{side}{item.name}; {'; '.join(values)}; latency in milliseconds p50 {p50}, p95 {p95}, p99 {p99}"


@dataclass(frozen=True, slots=True)
class MoveRow:
    """A query that one setting answers better than the other."""

    query: str
    gained: bool
    change: str
    values: str


class MoveModel(ItemListModel[MoveRow]):
    """What gained most, then what lost most."""

    def describe(self, row: int, item: MoveRow) -> str:
        return f"{item.query}: {'gained' if item.gained else 'lost'} {item.change}, {item.values}"


@dataclass(frozen=True, slots=True)
class Point:
    """A mean with its interval. `at` is its place on the axis, None where it has its own line."""

    name: str
    value: float
    low: float
    high: float
    side: str = ""
    at: float | None = None


def query_rows(saved: Sequence[SavedQuery]) -> list[QueryRow]:
    """Saved queries as rows."""
    return [
        QueryRow(item.id, item.name, item.query, item.relevant, len(item.judgments) - item.relevant) for item in saved
    ]


def measured_rows(evaluation: Evaluation, sides: Sequence[str]) -> list[MeasuredRow]:
    """The settings of an evaluation, those in `sides` marked A and B."""
    best = max((measured.ndcg for measured in evaluation.modes.values()), default=0.0)
    return [
        MeasuredRow(
            name, tuple(_value(measured, key) for key, _ in MEASURES), _latency(measured),
            best=measured.ndcg == best and len(evaluation.modes) > 1, side=_side(name, sides),
        )
        for name, measured in evaluation.modes.items()
    ]  # fmt: skip


def _side(name: str, sides: Sequence[str]) -> str:
    return "AB"[sides.index(name)] if len(sides) == 2 and name in sides else ""


def _value(measured: Measured, key: str) -> tuple[str, str]:
    interval = measured.intervals.get(key)
    return f"{getattr(measured, key):.3f}", f"{interval[0]:.3f} – {interval[1]:.3f}" if interval else ""


def _latency(measured: Measured) -> tuple[str, str, str]:
    values = [measured.latency_ms.get(name, 0.0) for name in ("p50", "p95", "p99")]
    p50, p95, p99 = (f"{value:.1f}" if value < 100 else f"{value:.0f}" for value in values)
    return p50, p95, p99


def move_rows(report: AbReport) -> list[MoveRow]:
    """The queries that gained, then those that lost."""
    return [_move(move) for move in (*report.gained, *report.lost)]


def _move(move: QueryMove) -> MoveRow:
    return MoveRow(move.query, move.difference > 0, signed(move.difference), f"{move.a:.2f} → {move.b:.2f}")


def signed(value: float) -> str:
    """`+0.031`, `−0.004`, `0.000`."""
    text = f"{abs(value):.3f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def points(evaluation: Evaluation, sides: Sequence[str]) -> list[Point]:
    """nDCG of every setting."""
    return [_point(name, measured, sides) for name, measured in evaluation.modes.items()]


def weight_points(evaluation: Evaluation, sides: Sequence[str]) -> list[Point]:
    """nDCG over the vector side's share, of hybrid settings that differ in nothing else; [] for fewer than three."""
    groups: dict[Setting, list[Point]] = {}
    for name, measured in evaluation.modes.items():
        setting = measured.setting
        if setting.mode is SearchMode.HYBRID and setting.weight is not None:
            key = replace(setting, name="", weight=None)
            groups.setdefault(key, []).append(replace(_point(name, measured, sides), at=setting.weight))
    largest = max(groups.values(), key=len, default=[])
    return sorted(largest, key=lambda point: point.at or 0.0) if len(largest) > 2 else []


def _point(name: str, measured: Measured, sides: Sequence[str]) -> Point:
    low, high = measured.intervals.get("ndcg", (measured.ndcg, measured.ndcg))
    return Point(name, measured.ndcg, low, high, _side(name, sides))


def verdict(report: AbReport) -> str:
    """Whether B finds more than A, in a sentence."""
    found = next((item for item in report.differences if item.measure == "ndcg"), None)
    if found is None:
        return "One judged query shows nothing about others. Judge more queries."
    numbers = f"{signed(found.difference)} nDCG@{report.evaluation.k} {_interval(found)}, {_p(found.p_value)}"
    if found.p_value >= SIGNIFICANT:
        return f"No difference can be shown between A ({report.a}) and B ({report.b}): {numbers}"
    word = "more" if found.difference > 0 else "less"
    return f"B ({report.b}) finds {word} than A ({report.a}): {numbers}"


def asides(report: AbReport) -> str:
    """The other measures, and how many queries moved."""
    names = dict(MEASURES)
    others = [
        f"{names[item.measure]} {signed(item.difference)}" for item in report.differences if item.measure != "ndcg"
    ]
    gained = sum(value > 0 for value in _changes(report))
    lost = sum(value < 0 for value in _changes(report))
    moved = f"{count(gained, 'query', 'queries')} better, {lost:,} worse, {report.unchanged:,} alike"
    return " · ".join([*others, moved])


def _changes(report: AbReport) -> list[float]:
    before, after = (report.evaluation.modes[name].per_query.get("ndcg", ()) for name in (report.a, report.b))
    return [new - old for old, new in zip(before, after, strict=True)]


def _interval(found: Difference) -> str:
    return f"[{signed(found.interval[0])}, {signed(found.interval[1])}]"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"
