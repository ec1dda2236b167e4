"""Commands that ask: a search, and a measurement of many."""

from __future__ import annotations

from typing import Any

from studio.bootstrap import Services
from studio.cli.arguments import Options, key_value
from studio.cli.main import DONE
from studio.cli.output import ProgressLine, plain, say, table
from studio.domain import Explanation, Fusion, SearchMode, SearchRequest, SearchResponse
from studio.errors import InvalidRequest


async def search(services: Services, options: Options) -> int:
    """Search one or more knowledge bases."""
    request = SearchRequest(
        knowledge_bases=tuple(name.strip() for name in options.kb.split(",") if name.strip()),
        query=options.query,
        mode=SearchMode(options.mode),
        limit=options.limit,
        offset=options.offset,
        fusion=Fusion(options.fusion),
        weight=options.weight,
        filters=tuple(key_value(text) for text in options.filter),
        generation=options.generation,
    )
    response = await services.search.search(request)
    say(options, response_value(response), results_text(response, explain=options.explain))
    return DONE


def response_value(response: SearchResponse) -> dict[str, Any]:
    """A response as JSON knows it; one generation is a number, several are named by knowledge base."""
    value: dict[str, Any] = plain(response)
    generations = value.pop("generations")
    value["generation"] = next(iter(generations.values()), None) if len(generations) <= 1 else generations
    return value


def results_text(response: SearchResponse, *, explain: bool = False) -> str:
    """A response as a person reads it."""
    lines = [response.degraded, ""] if response.degraded else []
    for number, result in enumerate(response.results, start=1):
        citation = result.citation
        place = f", page {citation.page_number}" if citation.page_number else ""
        anchor = f" · {citation.anchor}" if citation.anchor else ""
        lines += [
            f"{number}. {citation.title}{place}{anchor}  [{result.score:.3f}]",
            f"   {result.snippet}",
            f"   {citation.source_path}",
        ]
        if explain:
            lines.append(f"   {_explained(result.explanation)}")
    if not response.results:
        lines.append("Nothing found.")
    return "\n".join(line for line in lines if line is not None)


def _explained(told: Explanation) -> str:
    """`vector #1 0.73 → 1.00 · keywords #4 5.8 → 0.28 · weight 0.50 · matched: nested, loops`."""
    sides = (
        ("vector", told.vector_rank, told.vector_score, told.vector_normalised),
        ("keywords", told.keyword_rank, told.keyword_score, told.keyword_normalised),
    )
    parts = [f"{name} #{rank} {score:.2f} → {norm:.2f}" for name, rank, score, norm in sides if rank is not None]
    if told.fusion != "none":
        parts.append(f"{told.fusion}, weight {told.weight:.2f}")
    if told.matched_terms:
        parts.append(f"matched: {', '.join(told.matched_terms)}")
    return " · ".join(parts)


async def evaluate(services: Services, options: Options) -> int:
    """Measure retrieval quality with judged queries."""
    try:
        modes = [SearchMode(name.strip()) for name in options.modes.split(",") if name.strip()]
    except ValueError:
        raise InvalidRequest(
            f"“{options.modes}” names an unknown mode.", way_out="Modes: hybrid, vector, keyword."
        ) from None
    progress = ProgressLine()
    result = await services.quality.evaluate(
        options.kb, options.queries, options.qrels, modes=modes, k=options.k, weight=options.weight,
        fusion=Fusion(options.fusion), progress=progress.count,
    )  # fmt: skip
    progress.close()
    rows = [
        [name, *(f"{value:.4f}" for value in (mode.ndcg, mode.recall, mode.mrr, mode.map, mode.precision)),
         f"{mode.latency_ms['p50']:.1f}", f"{mode.latency_ms['p95']:.1f}"]
        for name, mode in result.modes.items()
    ]  # fmt: skip
    k = result.k
    headings = ("MODE", f"NDCG@{k}", f"RECALL@{k}", f"MRR@{k}", f"MAP@{k}", f"P@{k}", "P50 MS", "P95 MS")
    say(options, result, f"{result.queries} queries\n{table(rows, headings)}")
    return DONE
