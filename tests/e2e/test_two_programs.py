"""Programs that change the settings at the same time never undo each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from studio.config import Config

_SETS = """
import sys
from pathlib import Path
from studio.config import Config
config = Config(Path(sys.argv[1]))
for turn in range(50):
    config.set(sys.argv[2], str(turn))
    assert Config(config.path).integer(sys.argv[2]) == turn
"""


def test_two_programs_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    keys = ("keep_generations", "keep_min_age_hours")
    running = [subprocess.Popen([sys.executable, "-c", _SETS, str(path), key]) for key in keys]
    assert [process.wait(60) for process in running] == [0, 0]
    assert [Config(path).get(key) for key in keys] == [49, 49]
    assert sorted(item.name for item in tmp_path.iterdir()) == ["config.json", "config.json.lock"]
