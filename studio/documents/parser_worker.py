"""The process that reads untrusted files: `python -m studio.documents.parser_worker LIMIT_BYTES LIMIT_S [FOLDER]`.

FOLDER is its own, for temporary files; it goes when the process ends.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from studio.confinement import confine
from studio.documents import frames
from studio.documents.parsers import archive, as_fault, parse_file, passwords
from studio.domain import ParsedDocument, ParserEvent, PartFailure
from studio.errors import DocumentFault
from studio.workers import Channel

BATCH_CHARS = 1 << 18
BATCH_DOCUMENTS = 256
BATCH_SECONDS = 1.0
PROGRESS_SECONDS = 0.1
ADDRESS_SLACK_BYTES = 96 << 20
"""Address space is taken in larger pieces than memory: over 85 files of all formats it grew by up to 65 MiB more than
the memory in use."""

log = logging.getLogger(__name__)

ParseFile = Callable[[Path], Iterator[ParserEvent]]


def main(arguments: list[str]) -> int:
    """Serve requests until the parent closes the pipe."""
    warnings.simplefilter("ignore")  # parsers warn about sloppy files; they are not read here
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in a terminal reaches the whole group; the parent decides
    channel = Channel.claim_stdio()
    _silence_libraries()
    memory_limit_bytes, time_limit_s, folder = int(arguments[0]), float(arguments[1]), arguments[2:]
    for name in folder:
        tempfile.tempdir = name
        os.environ.update(TMPDIR=name, TMP=name, TEMP=name)
    limit_memory(memory_limit_bytes)
    try:
        serve(channel, lambda: arm_watchdog(time_limit_s))
    finally:
        for name in folder:  # usually the parent does it, but it may have been killed
            shutil.rmtree(name, ignore_errors=True)
    return 0


def _silence_libraries() -> None:
    """Native libraries tell the console what is wrong with a file; the person is told in other ways. Logging stays."""
    stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)
    sys.stderr = stderr
    logging.basicConfig(stream=stderr, level=logging.ERROR, format="%(name)s: %(message)s")
    logging.getLogger("studio").setLevel(logging.WARNING)


def serve(channel: Channel, started: Callable[[], None], parse: ParseFile = parse_file) -> None:
    """Answer requests one after the other; `started` is called whenever the clock of a file starts anew."""
    memory = frames.encode_memory(resident_bytes())
    try:
        while True:
            kind, number, body = channel.receive()
            if kind == frames.CONFINE:
                confine(frames.decode_allowed(body))
                continue
            if kind != frames.PARSE:
                raise ValueError(f"unknown frame kind {kind}")
            request = frames.decode_request(body)
            channel.send(frames.STARTED, number, memory)
            started()
            answer = _Answer(channel, number, started)
            try:
                with passwords.given(request.passwords), archive.resuming(request.resume):
                    for event in parse(request.path):
                        answer.take(event)
                answer.flush()
            except _ParentGone:
                return
            except BaseException as error:  # a panic of a Rust library is no Exception
                if isinstance(error, DocumentFault):
                    answer.flush()  # what was read before it is sound
                channel.send(frames.FAULT, number, frames.encode_fault(as_fault(error)))
            else:
                channel.send(frames.DONE, number)
    except (EOFError, BrokenPipeError, _ParentGone):
        return


class _ParentGone(Exception):
    """The answers are not read; a parser may come upon an end of file or a broken pipe of its own."""


class _Answer:
    """Sends what a parser yields: documents in frames of a useful size, signs of life when one is due."""

    def __init__(self, channel: Channel, number: int, started: Callable[[], None]) -> None:
        self._channel = channel
        self._number = number
        self._started = started
        self._batch: list[ParsedDocument] = []
        self._chars = 0
        self._since = self._told = time.monotonic()
        self._steps = 0

    def take(self, event: ParserEvent) -> None:
        """Send an event, or keep it for the next frame."""
        if isinstance(event, ParsedDocument):
            self._batch.append(event)
            self._chars += len(event.text)
            full = self._chars >= BATCH_CHARS or len(self._batch) >= BATCH_DOCUMENTS
            if full or time.monotonic() - self._since >= BATCH_SECONDS:
                self.flush()
        elif isinstance(event, PartFailure):
            self.flush()
            self._send(frames.FAILURE, frames.encode_failure(event))
        elif isinstance(event, frames.MemberBegins):
            self.flush()  # whatever happens to this member, those before it are safe
            self._send(frames.MEMBER, frames.encode_member(event))
        else:
            self._steps += 1
            if time.monotonic() - self._told >= PROGRESS_SECONDS:
                self._send(frames.PROGRESS, frames.encode_progress(event, self._steps))
                self._steps = 0

    def flush(self) -> None:
        """Send the documents that wait."""
        if self._batch:
            self._send(frames.DOCUMENTS, *frames.encode_documents(self._batch))
            self._batch, self._chars = [], 0
        self._since = time.monotonic()

    def _send(self, kind: int, *parts: bytes) -> None:
        try:
            self._channel.send(kind, self._number, *parts)
        except BrokenPipeError as error:
            raise _ParentGone from error
        self._told = time.monotonic()
        self._started()


def resident_bytes() -> int:
    """Real memory this process holds."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        import resource

        return int(statm.read_text().split()[1]) * resource.getpagesize()
    import psutil

    return int(psutil.Process().memory_info().rss)


def limit_memory(limit_bytes: int) -> None:
    """Let this process grow by at most `limit_bytes` and a slack of address space. Does nothing on Windows.

    It is there for what grows faster than the parent looks, and lets most files fail in good order.
    """
    if sys.platform == "win32":
        return
    import resource

    own = ADDRESS_SLACK_BYTES
    statm = Path("/proc/self/statm")
    if statm.exists():
        own += int(statm.read_text().split()[0]) * resource.getpagesize()
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
