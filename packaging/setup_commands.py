"""Running the commands that set a checkout up: quietly, never asking, with a heartbeat and a way out.

Standard library only, and nothing that Python 3.8 cannot read: see `system_packages`.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

HEARTBEAT_SECONDS = 20
SHOWN_LOG_LINES = 15


class SetupFailed(Exception):
    """A step failed; the message is one sentence for a person, with the way out."""


def say(text: str) -> None:
    """Progress, at once even into a pipe."""
    print(text, flush=True)


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of everything started here: no questions, no foreign Python paths."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "PYTHONPATH")}
    environment["DEBIAN_FRONTEND"] = "noninteractive"
    environment["PIP_NO_INPUT"] = "1"
    environment["PIP_USER"] = "0"
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    environment["PIP_ROOT_USER_ACTION"] = "ignore"
    environment.update(extra or {})
    return environment


def works(command: Sequence[str], environment: Mapping[str, str] | None = None) -> bool:
    """Whether a command runs and succeeds. Its output is of no interest."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
            env=child_environment(environment),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


class Runner:
    """Runs the commands of the steps from `directory`.

    Their output goes to `log`, or to the terminal when `verbose`.
    """

    def __init__(self, directory: Path, log: Path, *, verbose: bool = False) -> None:
        self.directory = directory
        self.log = log
        self.verbose = verbose

    def quiet(
        self, command: Sequence[str], *, heartbeat: str = "", environment: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Run a command; its exit code and what it printed ("" when that went to the terminal)."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            log.write(f"\n$ {' '.join(command)}\n".encode())
            log.flush()
            start = log.tell()
            try:
                process = subprocess.Popen(
                    list(command),
                    cwd=self.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=None if self.verbose else log,
                    stderr=None if self.verbose else subprocess.STDOUT,
                    env=child_environment(environment),
                )
            except OSError as error:
                return 127, str(error)
            code = _wait(process, heartbeat)
        with self.log.open("rb") as log:
            log.seek(start)
            return code, log.read().decode("utf-8", "replace")

    def step(
        self,
        command: Sequence[str],
        failure: str,
        *,
        heartbeat: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run a command that must succeed.

        Raises SetupFailed with `failure` and the way out, after showing the end of the output.
        """
        code, output = self.quiet(command, heartbeat=heartbeat, environment=environment)
        if code:
            lines = output.strip().splitlines()[-SHOWN_LOG_LINES:]
            say("\n".join(["", *(f"    | {line}" for line in lines), ""]))
            raise SetupFailed(f"{failure} {self._way_out(output)}")

    def _way_out(self, output: str) -> str:
        return way_out(output) or ("See above." if self.verbose else f"The whole output is in {self.log}.")


def _wait(process: subprocess.Popen[bytes], heartbeat: str) -> int:
    started = time.monotonic()
    try:
        while True:
            try:
                return process.wait(timeout=HEARTBEAT_SECONDS)
            except subprocess.TimeoutExpired:
                if heartbeat:
                    minutes, seconds = divmod(int(time.monotonic() - started), 60)
                    say(f"    {heartbeat} ({minutes}:{seconds:02} so far)")
    except BaseException:
        process.terminate()
        process.wait()
        raise


CAUSES = (
    (("no space left",), "The disk is full: free some space and run the command again."),
    (
        (
            "name resolution",
            "max retries exceeded",
            "connection refused",
            "network is unreachable",
            "newconnectionerror",
        ),
        "The package index cannot be reached: check the network and pip's proxy settings, then run the command again.",
    ),
    (
        ("could not find a version", "no matching distribution"),
        "The package index has no version for this system. Supported are 64-bit Linux with glibc 2.34 or newer, "
        "macOS and Windows, with Python 3.11 to 3.13.",
    ),
    (("permission denied", "read-only file system"), "Check that the checkout can be written to."),
    (
        ("out of memory", "cannot allocate memory", "killed signal"),
        "Memory ran out: close other programs and try again.",
    ),
)
"""Signs in a command's output, in lower case, and what to do about them. The first match counts."""


def way_out(output: str) -> str:
    """What to do about a failed command, judged by what it printed; "" if that tells nothing."""
    lowered = output.lower()
    return next((advice for signs, advice in CAUSES if any(sign in lowered for sign in signs)), "")
