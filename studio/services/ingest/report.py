"""What a job tells at its end."""

from __future__ import annotations

from collections.abc import Sequence

from studio.domain import Generation, HeldRemovals, IngestReport
from studio.services.ingest.runner import Run
from studio.services.ingest.sources import Outcome
from studio.ways_out import AllowRemovals


def summary_of(outcome: Outcome) -> str:
    """“3 added, 1 removed”: what a job did to documents."""
    counts = {
        "added": outcome.added, "updated": outcome.updated, "removed": outcome.removed,
        "failed": len(outcome.failures),
    }  # fmt: skip
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def note_of(what: str, outcome: Outcome, generation: Generation) -> str:
    """“ingest: 3 added”, or for what changes no document “rebuild: 3 documents with MiniLM”."""
    model = f" with {generation.model.name}" if generation.model is not None else ""
    return f"{what}: {summary_of(outcome) or f'{generation.documents} documents{model}'}"


def held_words(held: Sequence[HeldRemovals]) -> str:
    """“36 documents of /docs are kept. It is not there.”: what was not removed, and why; "" for nothing."""
    return " ".join(
        f"{item.count:,} document{'s' if item.count > 1 else ''} of {item.folder} "
        f"{'are' if item.count > 1 else 'is'} kept. {item.why}"
        for item in held
    )


def allowing(held: Sequence[HeldRemovals], kb: str = "KB") -> AllowRemovals:
    """What removes it after all."""
    return AllowRemovals(kb, tuple(dict.fromkeys(item.folder for item in held)))


def report_of(
    run: Run, generation: int | None, outcome: Outcome, *, promoted: bool = False, held: str = ""
) -> IngestReport:
    """`promoted`: it was meant to be, and is unless `held` says why not."""
    seconds = run.tracker.elapsed_s
    return IngestReport(
        job_id=run.job.id, kb_id=run.kb.id, generation=generation, promoted=promoted and not held,
        added=outcome.added, updated=outcome.updated, unchanged=outcome.unchanged, removed=outcome.removed,
        failed=tuple(sorted(outcome.failures, key=lambda item: item.path)), chunks_added=outcome.chunks_added,
        embedded=outcome.embedded, reused=outcome.reused, seconds=seconds,
        chunks_per_second=outcome.chunks_added / seconds if seconds else 0.0, held=held,
        left=outcome.left, stages={name: round(value, 3) for name, value in run.stages.seconds().items()},
    )  # fmt: skip
