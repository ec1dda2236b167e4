"""The command that compares two generations."""

from __future__ import annotations

from typing import Any

from studio.bootstrap import Services
from studio.cli.arguments import Options
from studio.cli.exit_codes import DONE
from studio.cli.output import plain, say
from studio.domain import SearchMode
from studio.services.generations import Comparison, DocumentChanges, DocumentItem, HitChange, QueryChange


async def diff(services: Services, options: Options) -> int:
    """Compare the documents of two generations, and what queries find in them."""
    comparison = await services.compare.compare(
        options.kb, options.a, options.b, options.queries, SearchMode(options.mode), options.limit
    )
    say(options, _value(comparison), "\n".join(_lines(comparison)))
    return DONE


def _value(comparison: Comparison) -> dict[str, Any]:
    value: dict[str, Any] = plain(comparison)
    documents, queries = value.pop("documents"), value.pop("queries")
    return {**value, **documents, "queries": queries}


def _lines(comparison: Comparison) -> list[str]:
    changes = comparison.documents
    counts = (
        f"{len(changes.added)} added, {len(changes.changed)} changed, {len(changes.removed)} removed, "
        f"{len(changes.moved)} moved, {changes.unchanged} unchanged"
    )
    lines = [f"{comparison.kb}, generation {comparison.a} → {comparison.b}: {counts}", *_document_lines(changes)]
    for query in comparison.queries:
        lines += ["", *_query_lines(query)]
    return lines


def _document_lines(changes: DocumentChanges) -> list[str]:
    """`+` added, `~` changed, `-` removed, `>` moved."""
    return [
        *(f"  + {_place(item)}" for item in changes.added),
        *(f"  ~ {_place(item)}" for item in changes.changed),
        *(f"  - {_place(item)}" for item in changes.removed),
        *(f"  > {item.path_before} → {_place(item)}" for item in changes.moved),
    ]


def _place(item: DocumentItem) -> str:
    return f"{item.path} [{item.key}]" if item.key else item.path


def _query_lines(change: QueryChange) -> list[str]:
    lines = [
        f"“{change.query}”: {len(change.gained)} gained, {len(change.lost)} lost, {len(change.moved)} moved, "
        f"{change.unchanged} unchanged"
    ]
    if change.degraded:
        lines.append(f"  {change.degraded}")
    lines += [f"  + #{hit.rank_after} {_hit(hit)}" for hit in change.gained]
    lines += [f"  - #{hit.rank_before} {_hit(hit)}" for hit in change.lost]
    lines += [f"  > #{hit.rank_before} → #{hit.rank_after} {_hit(hit)}" for hit in change.moved]
    return lines


def _hit(hit: HitChange) -> str:
    return f"{hit.title}{f', page {hit.page}' if hit.page else ''}: {hit.snippet}"
