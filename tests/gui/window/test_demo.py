"""The pictures of the demo need no display."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from PySide6.QtGui import QImage

from studio.bootstrap import open_services
from studio.paths import DataPaths, resources_dir
from tests.helpers import ROOT

PROGRAM = """
import sys
from pathlib import Path
from studio.app import run_demo_screenshots
for path in run_demo_screenshots(Path(sys.argv[1]), "Sample", "how are nested loops traced", Path(sys.argv[2])):
    print(path)
"""


async def test_screenshots_without_a_display(tmp_path: Path, model_paths: DataPaths) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "models").symlink_to(model_paths.models, target_is_directory=True)
    async with open_services(data_dir) as services:
        kb = await services.library.create("Sample")
        await services.ingest.ingest(kb.id, [resources_dir() / "samples" / "nested-trace-trees.pdf"])
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment["PYTHONPATH"] = str(ROOT)
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", PROGRAM, str(data_dir), str(tmp_path / "shots")],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    saved = [Path(line) for line in ran.stdout.splitlines()]
    assert len(saved) == 6
    for path in saved:
        image = QImage(str(path))
        assert (image.width(), image.height()) == (1440, 900)
