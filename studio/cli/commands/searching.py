"""The command that asks: a search."""

from __future__ import annotations

from typing import Any

from studio.bootstrap import Services
from studio.cli.arguments import Options, key_value
from studio.cli.exit_codes import DONE
from studio.cli.output import plain, say
from studio.domain import Explanation, Fusion, SearchMode, SearchRequest, SearchResponse
from studio.terminal import in_line


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
        candidates=options.depth,
        minimum_similarity=options.min_similarity,
        similar_to=options.similar_to,
        group=options.group,
        fold=options.fold,
        diversity=options.diversity,
        reranker=options.reranker,
        exact=options.exact,
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
    lines = [*filter(None, (response.degraded, *response.notes))]
    lines += [""] if lines else []
    for number, result in enumerate(response.results, start=1):
        citation = result.citation
        place = f", page {citation.page_number}" if citation.page_number else ""
        anchor = f" · {citation.anchor}" if citation.anchor else ""
        lines += [
            f"{number}. {in_line(citation.title + place + anchor)}  [{result.score:.3f}]",
            f"   {result.snippet}",
            f"   {in_line(citation.source_path)}",
        ]
        if result.more_in_document:
            lines.append(f"   {result.more_in_document} more in this document")
        if result.duplicates:
            lines.append(f"   {len(result.duplicates)} near-identical")
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
    if told.rerank_score is not None:
        parts.append(f"reranked {told.rerank_score:.2f}, before #{told.fused_rank}")
    if told.matched_terms:
        parts.append(f"matched: {', '.join(told.matched_terms)}")
    return " · ".join(parts)
