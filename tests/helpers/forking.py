"""Processes in the hundreds: forked from one that has imported what they need, on Linux.

A worker, or a program that is to be killed, takes seconds of a core to start and hundredths to do what most tests want
of it. It is the same code in a process of its own, with the same pipes, confinement and limits; only its imports were
done before.
"""

from __future__ import annotations

import array
import asyncio
import ctypes
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
import warnings
from asyncio import base_subprocess
from asyncio.subprocess import Process, SubprocessStreamProtocol
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from studio.workers import WorkerProcess
from tests.helpers import ROOT

if sys.platform != "win32":
    import fcntl
    import resource

WORKERS = ("studio.documents.parser_worker", "studio.embedding.worker.main")
IMPORTED = {
    "workers": (*WORKERS, "studio.embedding.worker.engine"),
    "programs": ("studio.__main__", "studio.bootstrap", "studio.cli.dispatch", "lance", "lancedb", "tantivy"),
}
"""What is forked → what it needs. Workers have an ancestor of their own: they are as small as they really are."""
REQUEST_BYTES = 1 << 20
_WORKERS_AT = 3
"""The descriptor by which a forked program asks for workers."""

# ------------------------------------------------------------ the side of the tests


class Nursery:
    """Starts processes of one kind; the one that they are forked from is started with the first."""

    def __init__(self, kind: str, control: socket.socket | None = None) -> None:
        """`control` leads to the process that is forked from, where it runs already."""
        self._kind = kind
        self._asking = threading.Lock()
        self._control = control
        self._server: subprocess.Popen[bytes] | None = None

    @staticmethod
    def available() -> bool:
        """Whether the system tells of the end of processes by descriptors."""
        return hasattr(os, "pidfd_open")

    async def spawn(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> asyncio.subprocess.Process:
        """As `asyncio.create_subprocess_exec` with pipes does for `python -m module`, of `WORKERS`."""
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
        try:
            pid, told = self._asked_for(request, (stdin, stdout, 2))
        finally:
            os.close(stdin)
            os.close(stdout)
        return _Forked(pid, told, os.fdopen(to_child, "wb", 0), os.fdopen(from_child, "rb", 0))

    def program(self, request: dict[str, Any], streams: tuple[int, int, int], workers: Nursery) -> ForkedProgram:
        """A program that runs, with its three standard streams; it has its workers forked by `workers`."""
        return ForkedProgram(*self._asked_for(request, (*streams, workers.control().fileno())))

    def _asked_for(self, request: dict[str, Any], descriptors: tuple[int, ...]) -> tuple[int, socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        umask = os.umask(0)
        os.umask(umask)
        with theirs:
            passed = array.array("i", [*descriptors, theirs.fileno()])
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)]
            message = json.dumps({**request, "umask": umask, "directory": str(Path.cwd())}).encode()
            self.control().sendmsg([message], ancillary)
        return int(ours.recv(64)), ours

    def control(self) -> socket.socket:
        """Where the process that is forked from is asked."""
        with self._asking:
            if self._control is None:
                self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                self._control.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REQUEST_BYTES)
                with theirs:
                    self._server = subprocess.Popen(
                        [sys.executable, "-X", "utf8", "-P", "-m", __spec__.name, self._kind, str(theirs.fileno())],
                        pass_fds=[theirs.fileno()],
                        stdin=subprocess.DEVNULL,
                        env={**os.environ, **_environment(self._kind), "PYTHONPATH": str(ROOT)},
                    )
        return self._control

    def close(self) -> None:
        """End the process that is forked from."""
        if self._control is not None:
            self._control.close()
        if self._server is not None:
            self._server.wait(60)


class ForkedProgram:
    """As much of a `Popen` as tests want."""

    def __init__(self, pid: int, told: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._told = told

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._told.settimeout(timeout)
            try:
                told = self._told.recv(64)
            except (TimeoutError, BlockingIOError) as error:  # which it is when there is no time to wait at all
                raise subprocess.TimeoutExpired("rag-studio", timeout or 0.0) from error
            self._told.close()
            self.returncode = int(told or -signal.SIGKILL)
        return self.returncode


def quick(nursery: Nursery) -> Callable[..., Awaitable[WorkerProcess]]:
    """What starts workers of the program by forking them, in the place of `WorkerProcess.spawn`."""
    spawn = WorkerProcess.spawn

    async def forked(
        module: str, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> WorkerProcess:
        if module not in WORKERS:
            return await spawn(module, arguments, environment)
        process = await nursery.spawn(module, arguments, environment or {})
        return WorkerProcess(process, module.rsplit(".", 1)[-1])

    return forked


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


def _environment(kind: str) -> dict[str, str]:
    """What has to be there before the libraries are loaded."""
    if kind != "workers":
        return {}
    from studio.documents.pool.process import ENVIRONMENT
    from studio.embedding.client.launch import LIBRARY_ENVIRONMENT

    return {**LIBRARY_ENVIRONMENT, **ENVIRONMENT}


# ------------------------------------------------------------ the process that is forked from


def serve(kind: str, control: socket.socket) -> None:
    """Fork a process for each request, and tell how each ended, until the tests close the socket."""
    for name in IMPORTED[kind]:
        importlib.import_module(name)
    warnings.simplefilter("ignore")  # LanceDB warns of forks: nothing of it runs here, so nothing is torn
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    waiting = selectors.DefaultSelector()
    waiting.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.data is None:
                message, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, 5)
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
    *streams, told = descriptors
    pid = os.fork()
    if pid == 0:
        _become(request, streams)
    for descriptor in streams:
        os.close(descriptor)
    answers = socket.socket(fileno=told)
    answers.send(str(pid).encode())
    waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, answers))


def _become(request: dict[str, Any], streams: list[int]) -> None:
    code = 1
    try:
        # Away from the places they go to first: one of them may be among those.
        for place, descriptor in enumerate([fcntl.fcntl(stream, fcntl.F_DUPFD, 64) for stream in streams]):
            os.dup2(descriptor, place)
        os.closerange(len(streams), 256)
        os.umask(request["umask"])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["directory"])
        code = _worker(request) if "module" in request else _program(request)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _worker(request: dict[str, Any]) -> int:
    sys.argv = [request["module"], *request["arguments"]]
    main = sys.modules[request["module"]].main
    return int((main(request["arguments"]) if request["module"] == WORKERS[0] else main()) or 0)


def _program(request: dict[str, Any]) -> int:
    os.setsid()
    WorkerProcess.spawn = quick(Nursery("workers", socket.socket(fileno=_WORKERS_AT)))  # type: ignore[method-assign,assignment]
    for name, value in request["constants"].items():
        module, _, constant = name.partition(":")
        setattr(importlib.import_module(module), constant, value)
    if (limit := request["file_limit_bytes"]) is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if request["bound"]:
        _be_bound_by_permissions()
    failpoints = sys.modules["studio.failpoints"]
    failpoints.choose(os.environ.get(failpoints.VARIABLE, ""))  # it read those of the process that this is forked from
    sys.argv = ["rag-studio", *request["arguments"]]
    return int(sys.modules["studio.__main__"].main())


def _be_bound_by_permissions() -> None:
    """Give up what lets root read and write everything (capset(2), capabilities(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    if libc.capget(header, data) == 0:
        for at in range(3):  # effective, permitted, inheritable: CAP_DAC_OVERRIDE is bit 1, CAP_DAC_READ_SEARCH 2
            data[at] &= ~0b110
        if libc.capset(header, data) == 0:
            return
    raise OSError(ctypes.get_errno(), "the privileges of root cannot be given up")


if __name__ == "__main__":
    serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
