"""The program as its user runs it, in this process where nothing speaks against it."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Protocol

from studio.cli.main import run
from studio.failpoints import VARIABLE
from studio.private import STRICT
from tests.helpers.forking import Nursery

WORKERS, PROGRAMS = Nursery("workers"), Nursery("programs")
"""What the tests of this process fork from."""
_CHANGED = """
import importlib, json, sys
constants, limit = json.loads(sys.argv.pop(1))
for name, value in constants.items():
    module, _, constant = name.partition(":")
    setattr(importlib.import_module(module), constant, value)
if limit is not None:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from studio.__main__ import main
sys.exit(main())
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of the program ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


class Running(Protocol):
    """A program that runs, started or forked."""

    pid: int
    returncode: int | None

    def wait(self, timeout: float | None = None) -> int: ...


class Program:
    """Runs `rag-studio` on one data directory."""

    def __init__(self, data_dir: Path, *, bound: bool = False, constants: Mapping[str, int] | None = None) -> None:
        """`bound` by permissions also where root runs it. `constants` ("module:NAME") differ where it runs apart."""
        self.data_dir = data_dir
        self._bound = bound
        self._constants = dict(constants or {})

    def arguments(self, *arguments: str | Path) -> list[str]:
        return ["--data-dir", str(self.data_dir), *map(str, arguments)]

    def command(self, *arguments: str | Path) -> list[str]:
        """What starts it as a process of its own."""
        return [sys.executable, "-m", "studio", *self.arguments(*arguments)]

    def run(self, *arguments: str | Path, stdin: str = "") -> Outcome:
        """Run a command to its end in this process, which saves the seconds of a start; one that is bound apart."""
        if self._bound:
            return self.run_apart(*arguments, stdin=stdin)
        with ThreadPoolExecutor(1) as thread:  # an event loop may run in this one
            return thread.submit(_within, self.arguments(*arguments), stdin).result()

    def start(
        self,
        *arguments: str | Path,
        streams: tuple[int, int, int],
        file_limit_bytes: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Running:
        """Run it as a process that leads a group of its own, forked where that is possible.

        `streams` are descriptors. `file_limit_bytes` caps how long a file of it gets (POSIX).
        """
        whole = {**os.environ, "PYTHONUTF8": "1", "QT_QPA_PLATFORM": "offscreen", **(environment or {})}
        if Nursery.available():
            request = {
                "arguments": self.arguments(*arguments),
                "environment": whole,
                "constants": self._constants,
                "file_limit_bytes": file_limit_bytes,
                "bound": self._bound and os.geteuid() == 0,
            }
            return PROGRAMS.program(request, streams, WORKERS)
        changed = json.dumps([self._constants, file_limit_bytes])
        command = [sys.executable, "-c", _CHANGED, changed, *self.arguments(*arguments)]
        stdin, stdout, stderr = streams
        return subprocess.Popen(
            command, stdin=stdin, stdout=stdout, stderr=stderr, env=whole, start_new_session=os.name == "posix"
        )

    def run_apart(
        self,
        *arguments: str | Path,
        stdin: str = "",
        timeout_s: float = 300,
        file_limit_bytes: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Run it to the end as a process."""
        with TemporaryFile() as given, ThreadPoolExecutor(2) as threads:
            given.write(stdin.encode())
            given.seek(0)
            (out, out_end), (err, err_end) = os.pipe(), os.pipe()
            streams = (given.fileno(), out_end, err_end)
            process = self.start(
                *arguments, streams=streams, file_limit_bytes=file_limit_bytes, environment=environment
            )
            for end in (out_end, err_end):
                os.close(end)
            told = [threads.submit(_all_of, pipe) for pipe in (out, err)]
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                kill_group(process)
                raise
            return _ended(process.wait(), *(text.result() for text in told))

    def killed(self, point: str, *arguments: str | Path) -> None:
        """Run it as a process that dies where `RAG_STUDIO_FAILPOINT=point` says."""
        outcome = self.run_apart(*arguments, environment={VARIABLE: point})
        assert outcome.code == -signal.SIGKILL, f"{point} was not reached: {outcome.err}"

    def ok(self, *arguments: str | Path) -> Any:
        """Run with --json, expect success, return the document."""
        outcome = self.run("--json", *arguments)
        assert outcome.code == 0, outcome.err + outcome.out
        return outcome.json


def kill_group(process: Running) -> None:
    """End a program, with the workers it started itself; those that were forked end with their pipes."""
    with suppress(ProcessLookupError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.kill(process.pid, signal.SIGTERM)


def _all_of(pipe: int) -> str:
    with os.fdopen(pipe, encoding="utf-8") as stream:
        return stream.read()


def _within(arguments: Sequence[str], stdin: str) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    with _as_a_process(stdin), redirect_stdout(out), redirect_stderr(err):
        code = run(arguments, window=_no_window, screenshots=_no_window)
    return _ended(code, out.getvalue(), err.getvalue())


@contextmanager
def _as_a_process(stdin: str) -> Iterator[None]:
    """What a process has for itself: its umask, its standard input and where its log goes."""
    root, umask, before = logging.getLogger(), os.umask(STRICT), sys.stdin
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    sys.stdin = io.StringIO(stdin)
    try:
        yield
    finally:
        sys.stdin = before
        root.handlers[:] = handlers
        root.setLevel(level)
        os.umask(umask)


def _no_window(*_: object) -> Any:
    raise AssertionError("the window is started as a process of its own")


def _ended(code: int, out: str, err: str) -> Outcome:
    assert "Traceback" not in err, err
    assert "Traceback" not in out, out
    return Outcome(code, out, err)
