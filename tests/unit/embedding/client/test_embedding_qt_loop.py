"""The client on the event loop the window uses."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from studio.domain import ModelInfo
from studio.embedding.models import ModelCatalog
from studio.embedding.pool import EmbedderPool
from studio.paths import DataPaths
from studio.ui.window import StudioEventLoop


def test_embedding_and_recovery_on_the_qt_loop(
    qapp: Any, model_paths: DataPaths, default_model: ModelInfo, capfd: Any
) -> None:
    async def main() -> tuple[int, ...]:
        pool = EmbedderPool(ModelCatalog(model_paths))
        try:
            embedder = await pool.embedder(default_model.name)
            first, query = await asyncio.gather(
                embedder.embed(["a house"] * 100), embedder.embed(["a fox"], interactive=True)
            )
            os.kill(pool.loaded()[0].pid, signal.SIGKILL)
            again = await embedder.embed(["a house"])
            counts = await embedder.count_tokens(["a house"])
            return (len(first), len(query), len(again), *counts)
        finally:
            await pool.close()

    with asyncio.Runner(loop_factory=lambda: StudioEventLoop(qapp)) as runner:
        assert runner.run(main()) == (100, 1, 1, 2)
