"""A real embedding worker that dies or hangs on certain texts and says after each pack that it lives; run by the
client's tests in place of the real one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from studio.embedding.worker import engine
from studio.embedding.worker import main as worker

KILLER = "this text kills the worker"
HANGER = "this text hangs the worker"
ZERO = "this text has a zero vector"


class FragileEngine(engine.Engine):
    def begin(self, texts: Sequence[str]) -> engine.Embedding:
        if KILLER in texts:
            os._exit(9)
        if HANGER in texts:
            threading.Event().wait()
        embedding = super().begin(texts)
        if ZERO in texts:
            while embedding.step():
                pass
            embedding.vectors[list(texts).index(ZERO)] = 0
        return embedding

    def begin_ranking(self, query: str, passages: Sequence[str]) -> engine.Embedding:
        if KILLER in passages:
            os._exit(9)
        if HANGER in passages:
            threading.Event().wait()
        return super().begin_ranking(query, passages)


if __name__ == "__main__":
    engine.Engine = FragileEngine  # type: ignore[misc]
    worker.SIGN_EVERY_S = 0.0
    os._exit(worker.main())
