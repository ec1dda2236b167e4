"""The process that parses: its limits, its end, and what it lets through."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

from studio.documents import frames, parser_worker
from studio.documents.pool.pool import WORKER_MODULE
from studio.workers import Channel, worker_command


def test_the_watchdog_ends_a_worker_that_lost_its_parent(tmp_path: Path) -> None:
    if sys.platform == "win32":
        assert parser_worker.arm_watchdog(1) is None
        return
    code = "from studio.documents.parser_worker import arm_watchdog\narm_watchdog(-2.45)\nwhile True: pass"
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert done.returncode == -signal.SIGPROF


def test_the_memory_limit_holds() -> None:
    code = (
        "from studio.documents.parser_worker import limit_memory\nlimit_memory(50 << 20)\n"
        "try: b'x' * (200 << 20)\nexcept MemoryError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == ("" if sys.platform == "win32" else "refused")


def test_the_worker_process_ends_with_its_input(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    requests = io.BytesIO()
    Channel(io.BytesIO(), requests).send(frames.PARSE, 5, frames.encode_request(frames.Request(tmp_path / "a.txt")))
    command = [*worker_command(parser_worker.__name__), str(1 << 30), "60"]
    done = subprocess.run(command, input=requests.getvalue(), capture_output=True, check=True, timeout=60)
    reader = Channel(io.BytesIO(done.stdout), io.BytesIO())
    assert [reader.receive()[0] for _ in range(3)] == [frames.STARTED, frames.DOCUMENTS, frames.DONE]


def test_nothing_that_libraries_print_reaches_the_console(tmp_path: Path) -> None:
    code = (
        "import os, sys, logging\n"
        f"from {WORKER_MODULE} import _silence_libraries\n"
        "_silence_libraries()\n"
        "os.write(2, b'from a library'); os.write(1, b'from another')\n"
        "logging.getLogger('pypdfium2').warning('a sloppy file')\n"
        "logging.getLogger('studio.x').warning('ours')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ), timeout=60
    )
    assert (done.stdout, done.stderr) == ("", "studio.x: ours\n")
