"""What the command line prints: one JSON document or plain text on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

from studio.cli.arguments import Options
from studio.cli.ways_out import typed
from studio.domain import FileFailure, FileProgress, HeldRemovals, IngestProgress, IngestStage
from studio.errors import FailureCode, StudioError
from studio.services.ingest import allowing
from studio.terminal import in_line, visible, visible_json


def plain(value: object) -> Any:
    """Dataclasses, enums and paths as what JSON knows; ways out in texts as commands."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return typed(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [plain(item) for item in value]
    return value


def write(text: str) -> None:
    """A line, or lines, on stdout."""
    sys.stdout.write(visible(typed(text)) + "\n")


def note(text: str) -> None:
    """A line, or lines, on stderr."""
    sys.stderr.write(visible(typed(text)) + "\n")


def print_json(value: object) -> None:
    """One JSON document on stdout: the data as it is, with the escapes of JSON for what cannot be seen."""
    text = json.dumps(plain(value), ensure_ascii=False, indent=2)
    sys.stdout.write(visible_json(text.encode("utf-8", "replace").decode("utf-8")) + "\n")


def say(options: Options, value: object, text: str) -> None:
    """The result of a command: `value` with --json, else `text`."""
    if options.json:
        print_json(value)
    elif text:
        write(text)


def print_error(error: StudioError, *, as_json: bool) -> None:
    """The message on stderr; with --json also as the document on stdout."""
    note(f"rag-studio: {error.full_message}")
    if as_json:
        print_json({"error": error_value(error)})


def error_value(error: StudioError) -> dict[str, str]:
    """An error as JSON knows it."""
    return {"type": type(error).__name__, "message": typed(str(error)), "way_out": typed(error.way_out)}


def table(rows: Sequence[Sequence[object]], headings: Sequence[str]) -> str:
    """Columns aligned by their widest cell."""
    cells = [[in_line(typed(str(cell))) for cell in row] for row in (headings, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def could_not_be_indexed(failed: Sequence[FileFailure] | Sequence[FileProgress]) -> list[str]:
    """Files with their reasons, and how protected ones are opened; nothing for no files."""
    if not failed:
        return []
    reasons = (f"  {in_line(item.path)}: {in_line(typed(item.reason))}" for item in failed)
    lines = ["", "Could not be indexed:", *reasons]
    if any(item.error == FailureCode.ENCRYPTED for item in failed):
        lines += ["", "Passwords are given with: rag-studio ingest KB FILE --ask-password"]
    return lines


def kept_documents(held: Sequence[HeldRemovals], kb: str) -> list[str]:
    """What is not removed although its files are gone, and how it would be; nothing for nothing."""
    if not held:
        return []
    lines = [f"  {item.count:,} of {item.folder}: {item.why}" for item in held]
    return ["", "Documents that are kept:", *lines, str(allowing(held, kb))]


def size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


class ProgressLine:
    """A line on stderr that tells how a job goes: rewritten on a terminal, one per stage elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._stage: IngestStage | str | None = None

    def ingest(self, progress: IngestProgress) -> None:
        """A snapshot of an ingest."""
        text = f"{progress.stage.value}: {progress.files_done} of {progress.files_total} files"
        if progress.files_failed:
            text += f", {progress.files_failed} failed"
        if progress.chunks_done:
            text += f", {progress.chunks_done} chunks, {progress.chunks_per_second:.0f}/s"
        if progress.seconds_left is not None:
            text += f", about {_duration(progress.seconds_left)} left"
        if progress.paused:
            text = f"{progress.paused} {text}"
        self._show(progress.paused or progress.stage, text)

    def transfer(self, done: int, total: int | None, what: str) -> None:
        """Bytes that were read or written."""
        self._show(what, f"{what}: {size(done)}" + (f" of {size(total)}" if total else ""))

    def count(self, done: int, total: int) -> None:
        """Steps of a long command."""
        self._show("searching", f"searching: {done} of {total}")

    def close(self) -> None:
        """End the line."""
        if self._terminal and self._stage is not None:
            sys.stderr.write("\n")

    def _show(self, stage: IngestStage | str, text: str) -> None:
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{visible(typed(text))}")
        elif stage != self._stage:
            note(text)
        self._stage = stage
        sys.stderr.flush()


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
