"""What the event loop replaces in qasync is still what qasync calls: run first after an upgrade."""

from __future__ import annotations

import asyncio.base_events
import inspect

import pytest
import qasync

from studio.ui.window import StudioEventLoop

REPLACED = ("call_at", "call_later", "call_soon", "call_soon_threadsafe")


@pytest.mark.parametrize("name", REPLACED)
def test_what_is_replaced_is_there_with_the_same_arguments(name: str) -> None:
    theirs = inspect.signature(getattr(qasync.QEventLoop, name))
    ours = inspect.signature(getattr(StudioEventLoop, name))
    kinds = [parameter.kind for parameter in theirs.parameters.values()]
    assert kinds == [parameter.kind for parameter in ours.parameters.values()]


def test_handles_wait_in_an_object_that_ours_stands_in_for() -> None:
    calls = inspect.getsource(qasync)
    assert "self._timer" in calls
    used = {name for name in ("add_callback", "stop", "set_debug") if f"_timer.{name}" in calls}
    assert used == {"add_callback", "stop", "set_debug"}


def test_the_default_executor_is_where_asyncio_looks() -> None:
    assert "self._default_executor" in inspect.getsource(asyncio.base_events.BaseEventLoop.shutdown_default_executor)
    assert "self.__default_executor" in inspect.getsource(qasync._QEventLoop.set_default_executor), "its own name"


def test_callbacks_from_threads_come_through_a_signal() -> None:
    assert "call_soon_threadsafe" in vars(qasync._QEventLoop)
