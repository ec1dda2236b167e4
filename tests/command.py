"""The program as its user runs it: a subprocess of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

    def run(self, *arguments: str | Path, timeout_s: float = 300, file_limit_bytes: int | None = None) -> Outcome:
        """Run it to the end. `file_limit_bytes` caps how long a file of it and its children may grow (POSIX)."""
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
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUTF8": "1", "QT_QPA_PLATFORM": "offscreen"},
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert "Traceback" not in done.stdout, done.stdout
        return Outcome(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str | Path) -> Any:
        """Run with --json, expect success, return the document."""
        outcome = self.run("--json", *arguments)
        assert outcome.code == 0, outcome.err + outcome.out
        return outcome.json
