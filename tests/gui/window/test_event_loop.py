"""The event loop keeps asyncio's promises on top of Qt."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import sys
import threading
import time

from tests.gui.qt_loop import on_qt_loop


@on_qt_loop
async def test_callbacks_run_in_the_order_they_were_given() -> None:
    loop = asyncio.get_running_loop()
    order: list[int] = []
    done = asyncio.Event()
    for number in range(200):
        loop.call_soon(order.append, number)
    loop.call_soon(done.set)
    await done.wait()
    assert order == list(range(200))


@on_qt_loop
async def test_a_deadline_is_never_seen_too_early() -> None:
    loop = asyncio.get_running_loop()
    for delay in (0.001, 0.013, 0.05):
        deadline = loop.time() + delay
        reached: asyncio.Future[float] = loop.create_future()
        handle = loop.call_at(deadline, lambda reached=reached: reached.set_result(loop.time()))
        assert handle.when() == deadline
        assert await reached >= deadline


@on_qt_loop
async def test_a_cancelled_timer_does_not_run_and_is_not_kept() -> None:
    loop = asyncio.get_running_loop()
    ran: list[bool] = []
    timers = loop._timer._delayed  # type: ignore[attr-defined]
    before = dict(timers)
    handles = [loop.call_later(0.02, ran.append, True) for _ in range(50)]
    assert len(timers) == len(before) + 50
    for handle in handles:
        handle.cancel()
    assert timers == before
    await asyncio.sleep(0.05)
    assert not ran


@on_qt_loop
async def test_a_busy_coroutine_leaves_the_timers_their_turn() -> None:
    loop = asyncio.get_running_loop()
    fired = asyncio.Event()
    loop.call_later(0.01, fired.set)
    deadline = time.monotonic() + 10
    while not fired.is_set():
        assert time.monotonic() < deadline, "a loop of sleep(0) starved a timer"
        await asyncio.sleep(0)


@on_qt_loop
async def test_calls_from_threads_carry_their_context_and_can_be_cancelled() -> None:
    loop = asyncio.get_running_loop()
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []
    done = asyncio.Event()

    def from_thread() -> None:
        variable.set("thread")
        loop.call_soon_threadsafe(lambda: seen.append("cancelled")).cancel()
        loop.call_soon_threadsafe(lambda: (seen.append(variable.get()), done.set()))

    thread = threading.Thread(target=from_thread)
    thread.start()
    thread.join()
    await done.wait()
    assert seen == ["thread"]


@on_qt_loop
async def test_subprocess_pipes_work() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    data = os.urandom(3_000_000)
    output, _ = await process.communicate(data)
    assert output == data
    assert process.returncode == 0


@on_qt_loop
async def test_a_base_exception_in_a_thread_reaches_who_waits() -> None:
    def fail() -> None:
        raise SystemExit(3)

    try:
        await asyncio.to_thread(fail)
    except SystemExit as error:
        assert error.code == 3
    else:
        raise AssertionError("the exception was lost")


@on_qt_loop
async def test_a_signal_is_handled_while_nothing_else_happens() -> None:
    loop = asyncio.get_running_loop()
    got = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, got.set)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(got.wait(), 10)
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)
