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
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.cli.main import run
from studio.failpoints import VARIABLE
from studio.private import STRICT

_LIMITED = """
import os, resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.execv(sys.argv[2], sys.argv[2:])
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


class Program:
    """Runs `rag-studio` on one data directory."""

    def __init__(self, data_dir: Path, prefix: Sequence[str] = ()) -> None:
        """`prefix` comes before the command: a program that takes privileges away and runs the rest."""
        self.data_dir = data_dir
        self._prefix = prefix

    def command(self, *arguments: str | Path) -> list[str]:
        return [*self._prefix, sys.executable, "-m", "studio", "--data-dir", str(self.data_dir), *map(str, arguments)]

    def run(self, *arguments: str | Path, stdin: str = "") -> Outcome:
        """Run a command to its end in this process, which saves the seconds of a start; one with a prefix apart."""
        if self._prefix:
            return self.run_apart(*arguments, stdin=stdin)
        with ThreadPoolExecutor(1) as thread:  # an event loop may run in this one
            return thread.submit(_within, ["--data-dir", str(self.data_dir), *map(str, arguments)], stdin).result()

    def run_apart(
        self,
        *arguments: str | Path,
        stdin: str = "",
        timeout_s: float = 300,
        file_limit_bytes: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Run it to the end as a process. `file_limit_bytes` caps how long a file of it or a child gets (POSIX)."""
        command = self.command(*arguments)
        if file_limit_bytes is not None:
            command = [sys.executable, "-c", _LIMITED, str(file_limit_bytes), *command]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout_s,
            check=False,
            input=stdin,
            env={**os.environ, "PYTHONUTF8": "1", "QT_QPA_PLATFORM": "offscreen", **(environment or {})},
        )
        return _ended(done.returncode, done.stdout, done.stderr)

    def killed(self, point: str, *arguments: str | Path) -> None:
        """Run it as a process that dies where `RAG_STUDIO_FAILPOINT=point` says."""
        outcome = self.run_apart(*arguments, environment={VARIABLE: point})
        assert outcome.code == -signal.SIGKILL, f"{point} was not reached: {outcome.err}"

    def ok(self, *arguments: str | Path) -> Any:
        """Run with --json, expect success, return the document."""
        outcome = self.run("--json", *arguments)
        assert outcome.code == 0, outcome.err + outcome.out
        return outcome.json


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
