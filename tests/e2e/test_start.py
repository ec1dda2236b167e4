"""The program from its start to its end, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import gc, os, signal, sys, threading, time
from pathlib import Path
from studio.app import run_gui

def end_when_settled():
    while not gc.get_freeze_count():
        time.sleep(0.05)
    print(gc.get_freeze_count(), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end_when_settled, daemon=True).start()
sys.exit(run_gui(Path(sys.argv[1])))
"""


def test_garbage_is_not_looked_for_among_the_libraries_once_all_are_loaded(tmp_path: Path) -> None:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "data")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50_000
