"""`ingest --dry-run`: what an ingest would take, before it is started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from studio.bootstrap import Services
from studio.cli.arguments import Options
from studio.cli.exit_codes import DONE
from studio.cli.output import kept_documents, note, say, size
from studio.domain import ALL_REMOVALS, IngestOptions, Preflight, SkippedFiles
from studio.errors import InvalidRequest

LIMIT_S = 6.0
"""The processes that read and embed are started first, which a window has done long before."""


def ingest_options(options: Options) -> IngestOptions:
    """How the command line asks folders to be read."""
    return IngestOptions(
        recursive=options.recursive, include=tuple(options.include), exclude=tuple(options.exclude),
        promote=not options.no_promote, jobs=options.jobs, hidden=options.hidden,
        allow_removals=ALL_REMOVALS if options.allow_removals else 0,
    )  # fmt: skip


async def preflight(services: Services, options: Options, passwords: Sequence[str] = ()) -> int:
    """Say what an ingest would take; nothing is changed."""
    if not options.paths:
        raise InvalidRequest("Nothing to look at: name at least one file or folder.")
    found = await services.preflight.look(
        options.kb, options.paths, ingest_options(options), limit_s=LIMIT_S, passwords=passwords
    )
    say(options, found, preflight_text(found, options.kb))
    if warning := disk_warning(found):
        note(f"rag-studio: {warning}")
    return DONE


def preflight_text(found: Preflight, kb: str = "KB") -> str:
    """What was estimated, in sentences for a person."""
    more = "" if found.complete else "At least "
    changes = [
        f"{count:,} {what}"
        for count, what in (
            (found.new, "new"), (found.changed, "changed"), (found.unchanged, "unchanged"), (found.removed, "removed"),
        )
        if count
    ]  # fmt: skip
    listed = f": {', '.join(changes)}" if changes else ""
    lines = [f"{more}{_count(found.files, 'file')} ({size(found.bytes)}){listed}."]
    if found.new or found.changed or found.chunks:
        lines.append(
            f"About {_count(_rounded(found.chunks), 'passage')}, {duration(found.seconds)}, "
            f"{size(found.disk_bytes)} of disk ({size(found.free_disk_bytes)} are free), "
            f"peak memory {size(found.peak_memory_bytes)}."
        )
    elif found.files or found.removed:
        lines.append("Nothing has to be embedded." if found.removed else "There is nothing to do.")
    if found.skipped:
        lines.append(f"Skipped: {', '.join(f'{item.count:,} {item.reason}' for item in found.skipped)}.")
        lines += [f"  {item.reason}: {_examples(item)}" for item in found.skipped]
    lines += kept_documents(found.held_removals, kb)
    if not found.complete:
        lines.append("There are too many files to look at all of them; these numbers are of those that were seen.")
    return "\n".join(lines)


def disk_warning(found: Preflight) -> str:
    """That the disk is too full, "" when it is not."""
    if found.disk_bytes <= found.free_disk_bytes:
        return ""
    return (
        f"The disk is too full: about {size(found.disk_bytes)} are needed, {size(found.free_disk_bytes)} are free. "
        "Free some space, or choose another --data-dir."
    )


def duration(seconds: float) -> str:
    """A time as a person says it."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * length or (unit == "minute" and seconds >= 55):
            return _count(max(1, round(seconds / length)), unit)
    return _count(max(1, round(seconds)), "second")


def _examples(item: SkippedFiles) -> str:
    names = [f"{PurePath(path).name}/" if path.endswith(("/", "\\")) else PurePath(path).name for path in item.examples]
    return ", ".join(names) + (" …" if item.count > len(names) else "")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _rounded(number: int) -> int:
    """Two digits that count, for what is only estimated."""
    return number if number < 100 else int(float(f"{number:.2g}"))
