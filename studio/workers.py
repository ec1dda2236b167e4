"""Worker processes over length-prefixed pipes: framing, spawning, killing.

Untrusted input (documents, GGUF files) is only ever touched in such a process. The child takes its
standard input and output as the pipe and points file descriptor 1 at standard error, so nothing a
native library prints can get between two frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from studio.errors import WorkerCrashed, WorkerDied, WorkerKilled

HEADER = struct.Struct("<BII")  # kind, request id, body length
MAX_FRAME_BYTES = 1 << 30
CRASH_SIGNALS = frozenset(
    getattr(signal, name)
    for name in ("SIGSEGV", "SIGILL", "SIGBUS", "SIGFPE", "SIGABRT", "SIGTRAP", "SIGSYS")
    if hasattr(signal, name)
)
"""What the system or the C library ends a process with for what it did itself; SIGKILL and SIGTERM come from others."""
KILL_SIGNALS = frozenset(getattr(signal, name) for name in ("SIGKILL", "SIGTERM") if hasattr(signal, name))
NTSTATUS_ERROR = 0xC0000000
"""On Windows an unhandled exception is the exit code, from this up (ntstatus.h: severity error)."""


class Channel:
    """The child's end of the pipe: blocking, one reader and as many senders as there are threads."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader = reader
        self._writer = writer
        self._sending = threading.Lock()

    @classmethod
    def claim_stdio(cls) -> Channel:
        """Take over the standard streams; afterwards prints go to standard error."""
        writer = os.fdopen(os.dup(1), "wb")
        reader = os.fdopen(os.dup(0), "rb")
        os.dup2(2, 1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        return cls(reader, writer)

    def receive(self) -> tuple[int, int, bytes]:
        """Next frame as (kind, request id, body). Raises EOFError when the parent is gone."""
        kind, request, length = HEADER.unpack(self._exactly(HEADER.size))
        return kind, request, self._exactly(length)

    def send(self, kind: int, request: int, *parts: bytes | memoryview) -> None:
        """Write one frame and flush it; several threads may send."""
        with self._sending:
            self._writer.write(HEADER.pack(kind, request, sum(len(part) for part in parts)))
            for part in parts:
                self._writer.write(part)
            self._writer.flush()

    def _exactly(self, size: int) -> bytes:
        data = self._reader.read(size)
        if len(data) != size:
            raise EOFError("the parent closed the pipe")
        return data


def crashed(returncode: int) -> bool:
    """Whether a process with this return code, negative for a signal, ended by a fault of its own."""
    return -returncode in CRASH_SIGNALS or returncode >= NTSTATUS_ERROR


def worker_command(module: str) -> list[str]:
    """The command line that runs `module` as a worker, from a checkout or from a frozen program."""
    if getattr(sys, "frozen", False):
        return [sys.executable, "--worker", module]
    return [sys.executable, "-P", "-m", module]


class WorkerProcess:
    """The parent's end: one child process, frames in and out."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self._process = process
        self._name = name

    @classmethod
    async def spawn(
        cls, module: str, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> WorkerProcess:
        """Start `python -m module`. Raises WorkerDied when the process cannot be started."""
        try:
            process = await asyncio.create_subprocess_exec(
                *worker_command(module),
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, **(environment or {})},
                limit=1 << 20,
            )
        except OSError as error:
            raise WorkerDied(f"The worker process {module} cannot be started: {error}.") from error
        return cls(process, module.rsplit(".", 1)[-1])

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def send(self, kind: int, request: int, *parts: bytes | memoryview) -> None:
        """Write one frame, waiting while the pipe is full. Raises WorkerDied."""
        pipe = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(HEADER.pack(kind, request, sum(len(part) for part in parts)))
            for part in parts:
                pipe.write(part)
            await pipe.drain()
        except (BrokenPipeError, ConnectionResetError, RuntimeError) as error:
            raise await self._died() from error

    async def receive(self) -> tuple[int, int, bytes]:
        """Next frame as (kind, request id, body). Raises WorkerDied when the process ended."""
        pipe = self._process.stdout
        assert pipe is not None
        try:
            kind, request, length = HEADER.unpack(await pipe.readexactly(HEADER.size))
            if length > MAX_FRAME_BYTES:
                await self.kill()
                raise WorkerDied(f"The {self._name} process sent a frame of {length} bytes and was stopped.")
            return kind, request, await pipe.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionResetError) as error:
            raise await self._died() from error

    async def _died(self) -> WorkerDied:
        code = await self._process.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        kind = WorkerCrashed if crashed(code) else WorkerKilled if -code in KILL_SIGNALS else WorkerDied
        return kind(f"The {self._name} process ended unexpectedly ({how}).")

    async def kill(self) -> None:
        """End the process at once and reap it."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        self._close_pipes()

    async def close(self, grace_s: float = 2.0) -> None:
        """Close the pipe, let the child end by itself, kill it after `grace_s` seconds."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(grace_s):
                await self._process.wait()
        except TimeoutError:
            await self.kill()
        self._close_pipes()

    def _close_pipes(self) -> None:
        # asyncio closes the transport only on the next loop turn; an abandoned one warns at exit.
        transport = getattr(self._process, "_transport", None)
        if transport is not None:
            transport.close()
