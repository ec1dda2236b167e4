"""Worker processes in the hundreds: forked from one process that has imported what they need, on Linux.

A worker takes a second of a core to start and hundredths to do what most tests want of it. It is the same code in a
process of its own, with the same pipes, confinement and limits; only its imports were done before.
"""

from __future__ import annotations

import array
import asyncio
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from asyncio import base_subprocess
from asyncio.subprocess import Process, SubprocessStreamProtocol
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

MODULES = ("studio.documents.parser_worker", "studio.embedding.worker.main")
LIBRARIES = ("studio.embedding.worker.engine",)
REQUEST_BYTES = 1 << 20

# ------------------------------------------------------------ the side of the tests


class Nursery:
    """Starts workers; the process that they are forked from is started with the first."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._control: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None

    @staticmethod
    def available() -> bool:
        """Whether the system tells of the end of processes by descriptors."""
        return hasattr(os, "pidfd_open")

    async def spawn(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> asyncio.subprocess.Process:
        """As `asyncio.create_subprocess_exec` with pipes does for `python -m module`, of `MODULES`."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        protocol = SubprocessStreamProtocol(limit=1 << 20, loop=loop)
        request = {"module": module, "arguments": list(arguments), "environment": {**os.environ, **environment}}
        transport = _Transport(loop, protocol, self, request, waiter)
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        return Process(transport, protocol, loop)

    def fork(self, request: dict[str, Any]) -> _Forked:
        """A worker that runs. Takes milliseconds."""
        stdin, to_child = os.pipe()
        from_child, stdout = os.pipe()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        umask = os.umask(0)
        os.umask(umask)
        with theirs:
            try:
                with self._asking:
                    passed = array.array("i", [stdin, stdout, 2, theirs.fileno()])
                    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)]
                    self._started().sendmsg([json.dumps({**request, "umask": umask}).encode()], ancillary)
            finally:
                os.close(stdin)
                os.close(stdout)
        return _Forked(int(ours.recv(64)), ours, os.fdopen(to_child, "wb", 0), os.fdopen(from_child, "rb", 0))

    def _started(self) -> socket.socket:
        if self._control is None:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._control.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REQUEST_BYTES)
            with theirs:
                self._server = subprocess.Popen(
                    [sys.executable, "-X", "utf8", "-P", __file__, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, **_environment(), "PYTHONPATH": str(Path(__file__).parents[1])},
                )
        return self._control

    def close(self) -> None:
        """End the process that is forked from."""
        if self._control is not None:
            self._control.close()
        if self._server is not None:
            self._server.wait(60)


class _Forked:
    """As much of a `Popen` as asyncio wants."""

    stderr = None

    def __init__(self, pid: int, told: socket.socket, stdin: Any, stdout: Any) -> None:
        self.pid, self.told, self.stdin, self.stdout = pid, told, stdin, stdout
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class _Transport(base_subprocess.BaseSubprocessTransport):
    """That of asyncio, but the process is forked and its end is told by a socket."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, protocol: Any, nursery: Nursery, request: dict[str, Any], waiter: Any
    ) -> None:
        self._nursery, self._request = nursery, request
        pipe = subprocess.PIPE
        super().__init__(loop, protocol, (), False, pipe, pipe, None, 0, waiter)

    def _start(self, **_: object) -> None:
        self._proc = forked = self._nursery.fork(self._request)
        self._loop.add_reader(forked.told.fileno(), self._ended, forked)

    def _ended(self, forked: _Forked) -> None:
        self._loop.remove_reader(forked.told.fileno())
        with forked.told:
            forked.returncode = int(forked.told.recv(64) or -signal.SIGKILL)
        self._process_exited(forked.returncode)


def _environment() -> dict[str, str]:
    """What has to be there before the libraries are loaded."""
    from studio.documents.pool.process import ENVIRONMENT
    from studio.embedding.client.launch import LIBRARY_ENVIRONMENT

    return {**LIBRARY_ENVIRONMENT, **ENVIRONMENT}


# ------------------------------------------------------------ the process that is forked from


def serve(control: socket.socket) -> None:
    """Fork a worker for each request, and tell how each ended, until the tests close the socket."""
    for name in (*MODULES, *LIBRARIES):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    waiting = selectors.DefaultSelector()
    waiting.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.data is None:
                message, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, 4)
                if not message:
                    return
                _fork(json.loads(message), descriptors, waiting)
            else:
                waiting.unregister(key.fd)
                os.close(key.fd)
                pid, told = key.data
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with told, suppress(OSError):  # the test may have ended
                    told.send(str(code).encode())


def _fork(request: dict[str, Any], descriptors: list[int], waiting: selectors.BaseSelector) -> None:
    stdin, stdout, stderr, told = descriptors
    pid = os.fork()
    if pid == 0:
        _be_a_worker(request, stdin, stdout, stderr)
    for descriptor in (stdin, stdout, stderr):
        os.close(descriptor)
    answers = socket.socket(fileno=told)
    answers.send(str(pid).encode())
    waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, answers))


def _be_a_worker(request: dict[str, Any], stdin: int, stdout: int, stderr: int) -> None:
    code = 1
    try:
        for descriptor, place in ((stdin, 0), (stdout, 1), (stderr, 2)):
            os.dup2(descriptor, place)
        os.closerange(3, 256)
        os.umask(request["umask"])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = [request["module"], *request["arguments"]]
        main = sys.modules[request["module"]].main
        code = main(request["arguments"]) if request["module"] == MODULES[0] else main()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
