"""Commands around the gate: pin queries, unpin them, try them on a generation, set the quality rule."""

from __future__ import annotations

from studio.bootstrap import Services
from studio.cli.arguments import Options
from studio.cli.exit_codes import DONE, FAILED
from studio.cli.output import say, table
from studio.services.quality import MIN_JUDGED, GateReport, MissingDocument, PinOutcome, quality_sentence


async def gate(services: Services, options: Options) -> int:
    """List, add, remove or try pinned queries, or set the quality rule; FAILED when one that was tried fails."""
    if options.action == "list":
        pins = await services.gate.pins(options.kb)
        rows = [[pin.id, pin.top, pin.query, ", ".join(pin.must_find)] for pin in pins]
        say(options, pins, table(rows, ("ID", "TOP", "QUERY", "MUST FIND")) if rows else "No pinned queries.")
    elif options.action == "add":
        pin = await services.gate.add(options.kb, options.query, options.must_find, options.top)
        say(options, pin, f"Pinned “{pin.query}” as {pin.id}.")
    elif options.action == "remove":
        await services.gate.remove(options.kb, options.id)
        say(options, {"removed": options.id}, f"Removed the pinned query {options.id}.")
    elif options.action == "set":
        if options.off or options.max_ndcg_drop is not None:
            await services.gate.set_rule(options.kb, options.max_ndcg_drop)
        drop = await services.gate.rule(options.kb)
        say(options, {"max_ndcg_drop": drop}, _rule(drop))
    else:
        report = await services.gate.check(options.kb, options.generation)
        say(options, report, _text(report))
        return DONE if report.passed else FAILED
    return DONE


def _text(report: GateReport) -> str:
    lines = [f"{report.kb}, generation {report.generation}"]
    rows = [["ok" if item.passed else "FAILS", item.id, item.query, _found(item)] for item in report.queries]
    lines.append(table(rows, ("", "ID", "QUERY", "DOCUMENTS")) if rows else "No pinned queries.")
    if report.quality is not None:
        lines.append(f"{'ok' if report.quality.passed else 'FAILS'}  {quality_sentence(report.quality)}")
    return "\n".join(lines)


def _rule(drop: float | None) -> str:
    if drop is None:
        return "The saved queries have no say in a promotion."
    return f"Mean nDCG@10 of the saved queries may fall by {drop:g} at a promotion, if {MIN_JUDGED} or more are judged."


def _found(outcome: PinOutcome) -> str:
    """`whales.txt #1 · pianos.txt #12, not in the first 10`."""
    parts = [f"{name} #{rank}" for name, rank in outcome.found.items()]
    parts += [_missing(item, outcome.top) for item in outcome.missing]
    if outcome.degraded:
        parts.append(outcome.degraded)
    return " · ".join(parts)


def _missing(item: MissingDocument, top: int) -> str:
    if not item.in_generation:
        return f"{item.reference} is not in this generation"
    return (
        f"{item.reference} is not found"
        if item.rank is None
        else f"{item.reference} #{item.rank}, not in the first {top}"
    )
