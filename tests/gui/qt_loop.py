"""Coroutine tests on the program's own event loop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from PySide6.QtWidgets import QApplication

from studio.ui.window import StudioEventLoop

TEST_TIMEOUT_S = 60.0


def on_qt_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a coroutine test on a fresh loop over the one QApplication; tasks it leaves fail it."""

    @functools.wraps(test)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        with asyncio.Runner(loop_factory=lambda: StudioEventLoop(application)) as runner:
            runner.run(_guarded(test(*args, **kwargs)))

    return wrapper


async def _guarded(scenario: Coroutine[Any, Any, None]) -> None:
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    async with asyncio.timeout(TEST_TIMEOUT_S):
        await scenario
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    assert not left, f"tasks left running: {left}"
    assert not problems, problems
