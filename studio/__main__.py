"""Entry point: the window without a command, else the command line. Starting the one imports nothing of the other."""

from __future__ import annotations

import importlib
import multiprocessing
import sys
from pathlib import Path

from studio.private import keep_private

WORKERS = ("studio.embedding.worker.main", "studio.documents.parser_worker")


def main() -> int:
    """Run the program with `sys.argv`; returns the exit code."""
    multiprocessing.freeze_support()
    keep_private()
    arguments = sys.argv[1:]
    if len(arguments) >= 2 and arguments[0] == "--worker" and arguments[1] in WORKERS:
        sys.argv = [arguments[1], *arguments[2:]]
        result = importlib.import_module(arguments[1]).main()
        return int(result or 0)
    from studio.cli.main import run

    return run(arguments, window=_window, screenshots=_screenshots)


def _window(data_dir: Path | None, sample: bool) -> int:
    from studio.app import run_gui

    return int(run_gui(data_dir, sample=sample))


def _screenshots(data_dir: Path | None, kb: str, query: str, output: Path) -> list[Path]:
    from studio.app import run_demo_screenshots
    from studio.paths import DataPaths

    return list(run_demo_screenshots(DataPaths.resolve(data_dir).root, kb, query, output))


if __name__ == "__main__":
    sys.exit(main())
