"""While nobody looks and nothing is at work, nothing is polled."""

from __future__ import annotations

import asyncio

from studio.concurrency import Attention


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def timers() -> list[object]:
    """What the loop would wake up for."""
    loop = asyncio.get_running_loop()
    return [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]


async def polls(attention: Attention, seen: list[int], wake: asyncio.Event | None = None) -> None:
    while True:
        seen.append(len(seen))
        await attention.pause(0.0, wake)


async def polled(seen: list[int], times: int) -> None:
    while len(seen) < times:
        await turn()


async def test_polls_rest_without_a_timer_while_the_window_is_hidden() -> None:
    attention, seen = Attention(), list[int]()
    attention.set_shown(False)
    task = asyncio.create_task(polls(attention, seen))
    await turn()
    assert seen == [0]
    assert not timers()
    attention.set_shown(True)
    await polled(seen, 4)
    attention.set_shown(False)
    await turn()
    rests = len(seen)
    await turn()
    assert len(seen) == rests
    assert not timers()
    task.cancel()


async def test_what_is_at_work_is_polled_at_full_pace_even_then() -> None:
    attention, seen = Attention(), list[int]()
    attention.set_shown(False)
    assert attention.is_quiet
    with attention.working():
        assert not attention.is_quiet
        task = asyncio.create_task(polls(attention, seen))
        await polled(seen, 4)
    assert attention.is_resting
    task.cancel()


async def test_a_wake_does_not_end_a_rest_but_ends_a_pause() -> None:
    attention, wake = Attention(), asyncio.Event()
    wake.set()
    await attention.pause(3600, wake)
    attention.set_shown(False)
    task = asyncio.create_task(attention.pause(3600, wake))
    await turn()
    assert not task.done()
    attention.set_shown(True)
    await task


def test_without_a_window_nothing_is_quiet() -> None:
    attention = Attention()
    assert not attention.is_quiet
    assert not attention.is_resting


async def test_what_is_kept_for_the_next_search_can_be_let_go_before_a_rest() -> None:
    attention, let_go = Attention(), list[str]()
    await attention.pause(0, resting=lambda: let_go.append("awake"))
    attention.set_shown(False)
    task = asyncio.create_task(attention.pause(0, resting=lambda: let_go.append("resting")))
    await turn()
    assert let_go == ["resting"]
    attention.set_shown(True)
    await task


async def test_a_long_pause_ends_when_work_begins() -> None:
    attention = Attention()
    attention.set_shown(True)
    task = asyncio.create_task(attention.pause(3600))
    await turn()
    with attention.working():
        await task
