from __future__ import annotations

import sys

import pytest

from studio import workers
from studio.errors import WorkerDied
from studio.workers import WorkerProcess, worker_command
from tests.helpers import ROOT


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch):
    process = await WorkerProcess.spawn("tests.unit.echo_worker", environment={"PYTHONPATH": str(ROOT)})
    yield process
    await process.kill()


async def test_frames_come_back_whole_whatever_the_child_prints(worker: WorkerProcess) -> None:
    for request, body in enumerate([b"", b"x" * 3_000_000, b"\n\x00\xff"]):
        await worker.send(7, request, body[:10], memoryview(body)[10:])
        assert await worker.receive() == (7, request, body + b"!")
    assert worker.alive
    await worker.close()
    assert not worker.alive


async def test_a_death_is_told_with_its_cause(worker: WorkerProcess) -> None:
    await worker.send(1, 1, b"die")
    with pytest.raises(WorkerDied, match="echo_worker process ended unexpectedly"):
        await worker.receive()
    with pytest.raises(WorkerDied):
        for _ in range(50):
            await worker.send(1, 2, b"x" * 100_000)


async def test_a_worker_that_will_not_end_is_killed(worker: WorkerProcess) -> None:
    await worker.send(1, 1, b"stay")
    await worker.close(grace_s=0.2)
    assert not worker.alive


async def test_an_absurd_frame_length_ends_the_worker(worker: WorkerProcess) -> None:
    await worker.send(1, 1, b"lie")
    with pytest.raises(WorkerDied, match="frame"):
        await worker.receive()
    assert not worker.alive


async def test_a_program_that_is_not_there_is_a_worker_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "worker_command", lambda module: ["/no/such/program", module])
    with pytest.raises(WorkerDied, match="cannot be started"):
        await WorkerProcess.spawn("tests.unit.echo_worker")


def test_a_frozen_program_starts_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_command("a.b")[-2:] == ["-m", "a.b"]
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert worker_command("a.b") == [sys.executable, "--worker", "a.b"]
