"""A real embedding worker that crashes as one does on a processor its library was badly compiled for; run by tests in
place of the real one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any

from studio.embedding.worker import engine
from studio.embedding.worker import main as worker

CRASHES = "RAG_STUDIO_TEST_CRASHES"
"""`load` or `embed`: then, unless it is cautious; `always`: cautious or not; `killed`: by another while it loads."""


class CrashingEngine(engine.Engine):
    def __init__(self, *arguments: Any, cautious: bool, **options: Any) -> None:
        when = os.environ[CRASHES]
        self._crashes_on_texts = when == "embed" and not cautious
        if when == "killed":
            os.kill(os.getpid(), signal.SIGTERM)
        if when == "always" or (when == "load" and not cautious):
            os.kill(os.getpid(), signal.SIGSEGV)
        super().__init__(*arguments, cautious=cautious, **options)

    def begin(self, texts: Sequence[str]) -> engine.Embedding:
        if self._crashes_on_texts:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().begin(texts)


if __name__ == "__main__":
    engine.Engine = CrashingEngine  # type: ignore[misc]
    os._exit(worker.main())
