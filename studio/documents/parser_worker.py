"""The process that reads untrusted files: `python -m studio.documents.parser_worker LIMIT_BYTES LIMIT_S`."""

from __future__ import annotations

import logging
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from studio.documents import frames
from studio.documents.parsers import parse_file
from studio.documents.parsers.base import corrupt, too_large, unsupported
from studio.domain import ParsedDocument
from studio.errors import DocumentFault, FailureCode
from studio.workers import Channel

BATCH_CHARS = 1 << 18
BATCH_DOCUMENTS = 256
BATCH_SECONDS = 1.0

log = logging.getLogger(__name__)

ParseFile = Callable[[Path], Iterator[ParsedDocument]]


def main(arguments: list[str]) -> int:
    """Serve requests until the parent closes the pipe."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    warnings.simplefilter("ignore")  # parsers warn about sloppy files; nobody reads that here
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in a terminal reaches the whole group; the parent decides
    channel = Channel.claim_stdio()
    memory_limit_bytes, time_limit_s = int(arguments[0]), float(arguments[1])
    limit_memory(memory_limit_bytes)
    serve(channel, lambda: arm_watchdog(time_limit_s))
    return 0


def serve(channel: Channel, started: Callable[[], None], parse: ParseFile = parse_file) -> None:
    """Answer requests one after the other; `started` is called whenever the clock of a file starts anew."""
    try:
        while True:
            kind, request, body = channel.receive()
            if kind != frames.PARSE:
                raise ValueError(f"unknown frame kind {kind}")
            channel.send(frames.STARTED, request)
            started()
            try:
                for batch in _batches(parse(frames.decode_path(body))):
                    channel.send(frames.DOCUMENTS, request, *frames.encode_documents(batch))
                    started()
            except (BrokenPipeError, EOFError):
                return
            except BaseException as error:  # a panic of a Rust library is no Exception
                fault = as_fault(error)
                channel.send(frames.FAULT, request, frames.encode_fault(fault))
            else:
                channel.send(frames.DONE, request)
    except (EOFError, BrokenPipeError):
        return  # the parent is gone


def _batches(documents: Iterator[ParsedDocument]) -> Iterator[list[ParsedDocument]]:
    """Documents in frames of a useful size; what was read before a fault is still sent."""
    batch: list[ParsedDocument] = []
    chars = 0
    since = time.monotonic()
    try:
        for parsed in documents:
            batch.append(parsed)
            chars += len(parsed.text)
            if chars >= BATCH_CHARS or len(batch) >= BATCH_DOCUMENTS or time.monotonic() - since >= BATCH_SECONDS:
                yield batch
                batch, chars, since = [], 0, time.monotonic()
    except DocumentFault:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def as_fault(error: BaseException) -> DocumentFault:
    """What to tell the person about anything that went wrong with a file.

    Parsers meet every kind of damage, so whatever they raise means a bad file; the log keeps the
    cause in case it is a bug of ours.
    """
    if isinstance(error, DocumentFault):
        return error
    if isinstance(error, MemoryError):
        return DocumentFault(
            FailureCode.OUT_OF_MEMORY,
            "Reading this file takes more memory than a document may use.",
            way_out="Split it into smaller files.",
        )
    if isinstance(error, FileNotFoundError):
        return DocumentFault(FailureCode.VANISHED, "The file is no longer there.")
    if isinstance(error, PermissionError):
        return DocumentFault(
            FailureCode.NO_PERMISSION,
            "There is no permission to read this file.",
            way_out="Change its permissions or run the program as a user who may read it.",
        )
    if isinstance(error, RecursionError):
        return too_large("The content of this file is nested too deeply to be read.")
    log.warning("a parser failed", exc_info=error)
    if isinstance(error, OSError):
        return DocumentFault(FailureCode.CORRUPT, f"The file cannot be read: {error.strerror or error}.")
    if isinstance(error, NotImplementedError):
        return unsupported("This file uses a variant of its format that cannot be read.")
    return corrupt()


def limit_memory(limit_bytes: int) -> None:
    """Let this process grow by at most `limit_bytes` of address space. Does nothing on Windows."""
    if sys.platform == "win32":
        return
    import resource

    own = 0
    statm = Path("/proc/self/statm")
    if statm.exists():
        own = int(statm.read_text().split()[0]) * resource.getpagesize()
    try:
        resource.setrlimit(resource.RLIMIT_AS, (own + limit_bytes, own + limit_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ValueError, OSError):
        log.warning("the memory limit cannot be set on this system")


def arm_watchdog(time_limit_s: float) -> None:
    """End this process if it computes for twice the limit: the parent may have died before it could.

    Processor time, so that waiting for a slow reader of the pipe does not count.
    """
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, 2 * time_limit_s + 5)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
