from __future__ import annotations

import asyncio
import threading

import pytest

from studio.concurrency import Executor, TaskOwner


async def test_the_latest_of_a_key_wins() -> None:
    owner = TaskOwner("test")
    ran: list[str] = []

    async def work(name: str) -> None:
        await asyncio.sleep(0)
        ran.append(name)

    first, second = owner.launch("search", work("first")), owner.launch("search", work("second"))
    await asyncio.gather(first, second, return_exceptions=True)
    assert ran == ["second"]
    assert first.cancelled()


async def test_failures_are_reported_and_cancellations_are_not() -> None:
    errors: list[BaseException] = []
    owner = TaskOwner("test", errors.append)

    async def fail() -> None:
        raise ValueError("told")

    async def wait() -> None:
        await asyncio.Event().wait()

    task = owner.start(fail(), name="fail")
    owner.launch("wait", wait())
    await asyncio.wait([task])
    owner.cancel("wait")
    owner.cancel("nothing of that name")
    await owner.close()
    assert [str(error) for error in errors] == ["told"]


async def test_closing_cancels_and_waits() -> None:
    owner = TaskOwner("test")
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    owner.start(work(), name="work")
    await asyncio.sleep(0)
    await owner.close()
    assert ended.is_set()


async def test_an_executor_of_one_thread_is_a_queue() -> None:
    executor = Executor("serial")
    threads = await asyncio.gather(*(executor.run(threading.get_ident) for _ in range(5)))
    assert len(set(threads)) == 1
    with pytest.raises(ZeroDivisionError):
        await executor.run(lambda: 1 // 0)
    executor.close()
