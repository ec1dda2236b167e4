"""What an evaluation is made of: settings that are compared, what was measured of each, and their differences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product

from studio.domain import Fusion, SearchMode, SearchRequest
from studio.errors import InvalidRequest

Judgments = dict[str, dict[str, int]]
"""Query id → document name → grade; above 0 is relevant."""

DEPTH = 100
"""Documents of a ranking that are kept, for run files; measures look at the first k of them."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to search. `name` stands for it in reports; `weight` None lets the program choose for each query.

    `exact` goes round the vector index; `generation` None is the active one.
    """

    name: str
    mode: SearchMode = SearchMode.HYBRID
    weight: float | None = None
    fusion: Fusion = Fusion.MINMAX
    reranker: str = ""
    exact: bool = False
    generation: int | None = None
    candidates: int = 100

    def request(self, kb_id: str, query: str, limit: int) -> SearchRequest:
        """The search that this setting makes of a query."""
        return SearchRequest(
            (kb_id,), query, self.mode, limit=limit, fusion=self.fusion, weight=self.weight,
            candidates=self.candidates, generation=self.generation, reranker=self.reranker, exact=self.exact,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """Means of one setting over the judged queries, cut off at k, and latency percentiles in milliseconds.

    `intervals` are 95 % confidence intervals of the means by measure; none with fewer than two queries. `per_query`
    holds each measure's values in the order of `Evaluation.query_ids`. `rankings` are (document name, score) by query
    id, at most `DEPTH` each; a stored run has none.
    """

    setting: Setting
    ndcg: float
    recall: float
    mrr: float
    map: float
    precision: float
    latency_ms: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    per_query: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    rankings: Mapping[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """Setting `b` against setting `a` in one measure: mean of b − a over the same queries.

    `interval` is the 95 % confidence interval of that mean, `p_value` that of the paired randomisation test.
    """

    a: str
    b: str
    measure: str
    difference: float
    interval: tuple[float, float]
    p_value: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` found. `modes` maps names of settings to what was measured.

    `differences` compare every setting with the first one. `id` and `created_ms` are 0 where the run was not stored;
    `query_ids` are the names of the queries, `texts` what they ask.
    """

    k: int
    queries: int
    modes: Mapping[str, Measured]
    differences: tuple[Difference, ...] = ()
    query_ids: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    id: int = 0
    created_ms: int = 0


@dataclass(frozen=True, slots=True)
class QueryMove:
    """A query that setting `b` answers better or worse than `a`: both values, and b − a."""

    query_id: str
    query: str
    a: float
    b: float
    difference: float


@dataclass(frozen=True, slots=True)
class AbReport:
    """Two settings side by side. `differences` has one entry per measure.

    `gained` are the queries that b improves most by nDCG, `lost` those that it harms most, each the largest first.
    """

    evaluation: Evaluation
    a: str
    b: str
    differences: tuple[Difference, ...]
    gained: tuple[QueryMove, ...]
    lost: tuple[QueryMove, ...]
    unchanged: int


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A stored evaluation as a list shows it: nDCG by setting."""

    id: int
    created_ms: int
    k: int
    queries: int
    ndcg: Mapping[str, float]


def grid(
    modes: Sequence[SearchMode] = tuple(SearchMode),
    weights: Sequence[float | None] = (None,),
    fusions: Sequence[Fusion] = (Fusion.MINMAX,),
    *,
    exact: Sequence[bool] = (False,),
    generations: Sequence[int | None] = (None,),
    rerankers: Sequence[str] = ("",),
) -> list[Setting]:
    """Every combination, named by where it differs from an ordinary search; those that mean the same come once.

    Where there is one of each mode, the mode is its name.
    """
    settings = (
        _meaningful(Setting("", mode, weight, fusion, reranker, flat, generation))
        for mode, weight, fusion, reranker, flat, generation in product(
            modes, weights, fusions, rerankers, exact, generations
        )
    )
    found = list(dict.fromkeys(settings))
    alone = len({setting.mode for setting in found}) == len(found)
    return [replace(setting, name=setting.mode.value if alone else _name(setting)) for setting in found]


def parse_setting(text: str) -> Setting:
    """A setting from its name: a mode, then in any order a weight, a fusion, `exact`, `gN`, `rerank=NAME`, between “/”.

    For example `hybrid/0.25/rrf`. Raises InvalidRequest.
    """
    mode, *parts = (part.strip() for part in text.split("/"))
    setting = Setting("")
    try:
        setting = replace(setting, mode=SearchMode(mode))
        for part in parts:
            if part == "exact":
                setting = replace(setting, exact=True)
            elif part in tuple(Fusion):
                setting = replace(setting, fusion=Fusion(part))
            elif part.startswith("rerank="):
                setting = replace(setting, reranker=part.removeprefix("rerank="))
            elif part[:1] == "g" and part[1:].isdecimal():
                setting = replace(setting, generation=int(part[1:]))
            else:
                setting = replace(setting, weight=float(part))
    except ValueError:
        raise InvalidRequest(
            f"“{text}” is not a setting.",
            way_out="A mode and what differs, for example hybrid/0.25/rrf, vector/exact or hybrid/g3.",
        ) from None
    setting = _meaningful(setting)
    return replace(setting, name=_name(setting))


def _meaningful(setting: Setting) -> Setting:
    """Without what the mode has no use for."""
    if setting.mode is not SearchMode.HYBRID:
        setting = replace(setting, weight=None, fusion=Fusion.MINMAX)
    return replace(setting, exact=False) if setting.mode is SearchMode.KEYWORD else setting


def _name(setting: Setting) -> str:
    parts = [setting.mode.value]
    if setting.weight is not None:
        parts.append(f"{setting.weight:g}")
    if setting.fusion is not Fusion.MINMAX:
        parts.append(setting.fusion.value)
    if setting.exact:
        parts.append("exact")
    if setting.generation is not None:
        parts.append(f"g{setting.generation}")
    if setting.reranker:
        parts.append(f"rerank={setting.reranker}")
    return "/".join(parts)


def report_text(evaluation: Evaluation) -> str:
    """An evaluation as JSON, without its rankings."""
    modes = {name: replace(measured, rankings={}) for name, measured in evaluation.modes.items()}
    value = asdict(replace(evaluation, modes=modes))
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def loaded(number: int, created_ms: int, report: str) -> Evaluation:
    """An evaluation from `report_text`."""
    value = json.loads(report)
    modes = {}
    for name, row in value["modes"].items():
        setting = {
            **row["setting"],
            "mode": SearchMode(row["setting"]["mode"]),
            "fusion": Fusion(row["setting"]["fusion"]),
        }
        modes[name] = Measured(
            **{
                **row,
                "setting": Setting(**setting),
                "intervals": {key: tuple(pair) for key, pair in row["intervals"].items()},
                "per_query": {key: tuple(column) for key, column in row["per_query"].items()},
            }
        )
    differences = tuple(Difference(**{**row, "interval": tuple(row["interval"])}) for row in value["differences"])
    return Evaluation(
        value["k"], value["queries"], modes, differences, tuple(value["query_ids"]), tuple(value["texts"]),
        number, created_ms,
    )  # fmt: skip


def summary(evaluation: Evaluation) -> RunSummary:
    """What a list of evaluations shows of one."""
    ndcg = {name: measured.ndcg for name, measured in evaluation.modes.items()}
    return RunSummary(evaluation.id, evaluation.created_ms, evaluation.k, evaluation.queries, ndcg)
