"""Commands that measure: evaluations, judgments, saved queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from studio.bootstrap import Services
from studio.cli.arguments import Options
from studio.cli.exit_codes import DONE
from studio.cli.output import ProgressLine, plain, say, table
from studio.domain import Fusion, SavedQuery, SearchMode
from studio.errors import InvalidRequest
from studio.services.quality import AbReport, Difference, Evaluation, Setting, grid, parse_setting

T = TypeVar("T")
E = TypeVar("E", bound=Enum)
_MEASURES = ("ndcg", "recall", "mrr", "map", "precision")
_INDEXES = {"ann": False, "exact": True}


async def evaluate(services: Services, options: Options) -> int:
    """Measure retrieval quality with judged queries."""
    if options.compare:
        return await _compare(services, options)
    settings = _settings(options)
    progress = ProgressLine()
    try:
        result = await services.quality.evaluate(
            options.kb, options.queries, options.qrels, settings=settings, k=options.k,
            store=options.queries is None, progress=progress.count,
        )  # fmt: skip
    finally:
        progress.close()
    if options.output:
        await _export(services, result, options.output)
    say(options, evaluation_value(result, per_query=options.per_query), _text(result))
    return DONE


async def _compare(services: Services, options: Options) -> int:
    a, b = (parse_setting(text) for text in options.compare)
    progress = ProgressLine()
    try:
        report = await services.quality.compare(
            options.kb, a, b, queries=options.queries, qrels=options.qrels, k=options.k,
            store=options.queries is None, progress=progress.count,
        )  # fmt: skip
    finally:
        progress.close()
    if options.output:
        await _export(services, report.evaluation, options.output)
    value = plain(report)
    value["evaluation"] = evaluation_value(report.evaluation, per_query=options.per_query)
    say(options, value, _ab_text(report))
    return DONE


async def judge(services: Services, options: Options) -> int:
    """Say how relevant a document is to a query, or take that back."""
    judging = services.quality.judging
    if options.remove:
        saved = await judging.unjudge(options.kb, options.query, options.document)
    else:
        saved = await judging.judge(options.kb, options.query, options.document, options.grade)
    say(options, saved, f"“{saved.name}”: {saved.relevant} relevant of {len(saved.judgments)} judged documents.")
    return DONE


async def queries(services: Services, options: Options) -> int:
    """List, import, export, rename or delete saved queries."""
    judging = services.quality.judging
    if options.action == "list":
        saved = await judging.queries(options.kb)
        say(options, saved, _listed(saved))
    elif options.action == "import":
        loaded = await judging.load(options.kb, options.file, options.qrels)
        text = f"{loaded.queries} queries, {loaded.judgments} judgments."
        if loaded.unknown:
            text += f" {loaded.unknown} judgments belong to none of the queries and were left out."
        say(options, loaded, text)
    elif options.action == "export":
        files = await judging.export(options.kb, options.folder.absolute(), options.format)
        say(options, {"files": files}, "\n".join(map(str, files)))
    elif options.action == "rename":
        found = await judging.find(options.kb, options.query)
        renamed = await judging.rename(options.kb, found.id, options.name)
        say(options, renamed, f"“{found.name}” is called “{renamed.name}” now.")
    else:
        found = await judging.find(options.kb, options.query)
        await judging.delete(options.kb, found.id)
        say(options, {"deleted": found.name}, f"Deleted “{found.name}” and its {len(found.judgments)} judgments.")
    return DONE


def evaluation_value(evaluation: Evaluation, *, per_query: bool = False) -> dict[str, Any]:
    """An evaluation as JSON; rankings go into run files."""
    value: dict[str, Any] = plain(evaluation)
    for mode in value["modes"].values():
        del mode["rankings"]
        if not per_query:
            del mode["per_query"]
    if not per_query:
        del value["query_ids"], value["texts"]
    return value


def _settings(options: Options) -> list[Setting]:
    modes = _parts(options.modes, _member(SearchMode), "mode", [item.value for item in SearchMode])
    weights: Sequence[float | None] = (None,)
    if options.weights:
        weights = _parts(options.weights, float, "weight", ["numbers from 0 to 1"])
    generations: Sequence[int | None] = (None,)
    if options.generations:
        generations = _parts(options.generations, int, "generation", ["numbers, see: rag-studio generations KB"])
    return grid(
        modes,
        weights,
        _parts(options.fusions, _member(Fusion), "fusion", [item.value for item in Fusion]),
        exact=_parts(options.indexes, _INDEXES.__getitem__, "index", list(_INDEXES)),
        generations=generations,
        rerankers=[name.strip() for name in options.rerankers.split(",")],
    )


def _member(kind: type[E]) -> Callable[[str], E]:
    return lambda text: kind(text)


def _parts(text: str, convert: Callable[[str], T], what: str, known: Sequence[str]) -> list[T]:
    """A list with commas. Raises InvalidRequest."""
    try:
        return [convert(part.strip()) for part in text.split(",") if part.strip()]
    except (ValueError, KeyError):
        raise InvalidRequest(f"“{text}” names an unknown {what}.", way_out=f"Known: {', '.join(known)}.") from None


async def _export(services: Services, evaluation: Evaluation, path: Path) -> None:
    """A run file of the one setting, or of each, with its name in the file's."""
    for name in evaluation.modes:
        alone = len(evaluation.modes) == 1
        target = path if alone else path.with_name(f"{path.stem}.{name.replace('/', '-')}{path.suffix}")
        await services.quality.export_run(evaluation, name, target.absolute())


def _text(evaluation: Evaluation) -> str:
    k = evaluation.k
    rows = [
        [name, *(_with_interval(getattr(mode, item), mode.intervals.get(item)) for item in _MEASURES),
         f"{mode.latency_ms['p50']:.1f}", f"{mode.latency_ms['p95']:.1f}", f"{mode.latency_ms['p99']:.1f}"]
        for name, mode in evaluation.modes.items()
    ]  # fmt: skip
    headings = (
        "SETTING", f"NDCG@{k}", f"RECALL@{k}", f"MRR@{k}", f"MAP@{k}", f"P@{k}", "P50 MS", "P95 MS", "P99 MS"
    )  # fmt: skip
    lines = [f"{evaluation.queries} queries", table(rows, headings)]
    if evaluation.differences:
        lines += ["", _differences(evaluation.differences, k)]
    return "\n".join(lines)


def _ab_text(report: AbReport) -> str:
    lines = [_text(report.evaluation)]
    if report.differences:
        lines += ["", _differences(report.differences, report.evaluation.k)]
    for title, moves in (("Gained most", report.gained), ("Lost most", report.lost)):
        if moves:
            rows = [[f"{item.a:.3f}", f"{item.b:.3f}", f"{item.difference:+.3f}", item.query] for item in moves]
            lines += ["", f"{title}:", table(rows, ("A", "B", "CHANGE", "QUERY"))]
    lines += ["", f"{report.unchanged} queries unchanged."]
    return "\n".join(lines)


def _differences(differences: Sequence[Difference], k: int) -> str:
    rows = [
        [f"{item.b} − {item.a}", f"{item.measure}@{k}", f"{item.difference:+.4f}",
         f"{item.interval[0]:+.4f} … {item.interval[1]:+.4f}", f"{item.p_value:.4f}"]
        for item in differences
    ]  # fmt: skip
    return table(rows, ("DIFFERENCE", "MEASURE", "MEAN", "95 % INTERVAL", "P"))


def _with_interval(value: float, interval: tuple[float, float] | None) -> str:
    return f"{value:.4f}" if interval is None else f"{value:.4f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def _listed(saved: Sequence[SavedQuery]) -> str:
    rows = [[item.relevant, len(item.judgments), item.name, _other(item)] for item in saved]
    return table(rows, ("RELEVANT", "JUDGED", "NAME", "QUERY")) if rows else "No saved queries."


def _other(query: SavedQuery) -> str:
    return "" if query.query == query.name else query.query
