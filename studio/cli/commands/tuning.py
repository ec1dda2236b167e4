"""The command that tunes the vector index of a knowledge base."""

from __future__ import annotations

from studio.bootstrap import Services
from studio.cli.arguments import Options
from studio.cli.exit_codes import DONE, FAILED
from studio.cli.output import note, say, size, table
from studio.domain import AnnIndex
from studio.errors import InvalidRequest
from studio.services.health import DEFAULT_INDEXES, Tuning

_TYPES: list[AnnIndex] = [kind for kind in AnnIndex if kind is not AnnIndex.AUTO]


async def tune(services: Services, options: Options) -> int:
    """Measure vector indexes and use the cheapest that finds enough; exit code 1 when none does."""
    found = await services.tuning.tune(
        options.kb,
        recall=options.recall,
        indexes=_indexes(options.indexes),
        samples=options.samples,
        apply=options.apply,
        progress=note,
    )
    say(options, found, _text(found))
    return DONE if found.chosen is not None else FAILED


def _indexes(text: str | None) -> list[AnnIndex]:
    if text is None:
        return list(DEFAULT_INDEXES)
    if text == "all":
        return _TYPES
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    known = {kind.value: kind for kind in _TYPES}
    for name in names:
        if name not in known:
            raise InvalidRequest(f"There is no index “{name}”.", way_out=f"There are: {', '.join(known)}, or all.")
    return [known[name] for name in names]


def _text(found: Tuning) -> str:
    rows = [
        [
            "*" if row == found.chosen else "", row.index.value, row.nprobes or "", row.refine_factor or "",
            row.ef or "", f"{row.recall:.3f}", f"{row.p50_ms:.1f}", f"{row.p95_ms:.1f}", f"{row.build_s:.1f}",
            size(row.bytes),
        ]
        for row in found.table
    ]  # fmt: skip
    headings = ("", "INDEX", "PROBES", "REFINE", "EF", "RECALL@10", "P50 MS", "P95 MS", "BUILD S", "SIZE")
    missed = f"Nothing reaches a recall of {found.target:g}. " if found.chosen is None else ""
    return f"{table(rows, headings)}\n\n{found.rows} vectors. {missed}{found.applied}"
