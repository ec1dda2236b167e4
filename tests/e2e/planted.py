"""A worker taken over by a document: tries what it must not. Its parent, which may be attacked, is this program too."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

libc = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
SECRET = ctypes.create_string_buffer(b"what the parent knows")


def main(given: dict[str, Any]) -> None:
    """Fork: the parent is what is attacked, and tells what the child found out."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    receiving, sending = os.pipe()
    child = os.fork()
    if not child:
        os.close(receiving)
        os.write(sending, json.dumps(tried(given)).encode())
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving) as stream:
        print(stream.read())
    os.waitpid(child, 0)


def tried(given: dict[str, Any]) -> dict[str, str]:
    if given["allowed"] is not None:
        from studio.confinement import Allowed, confine

        read, write, program = given["allowed"]
        confine(Allowed(tuple(read), tuple(write), program))
    return {name: outcome(act) for name, act in attacks(given).items()}


def outcome(act: Callable[[], object]) -> str:
    try:
        act()
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        return type(error).__name__
    return "done"


def attacks(given: dict[str, Any]) -> dict[str, Callable[[], object]]:
    ground, parent = Path(given["ground"]), os.getppid()
    outside = ground / "elsewhere" / "file"
    return {
        "read its file": (ground / "home/docs/a.txt").read_text,
        "write its folder": lambda: written(ground / "own"),
        "start a thread": lambda: threaded(),
        "read the catalog": (ground / "home/data/catalog.sqlite3").read_text,
        "read a key": (ground / "home/.ssh/id_ed25519").read_text,
        "read outside": outside.read_text,
        "read accounts": Path("/etc/passwd").read_text,
        "list outside": lambda: list(outside.parent.iterdir()),
        "write outside": lambda: outside.write_text("changed"),
        "write in the documents": lambda: (ground / "home/docs/b.txt").write_text("new"),
        "make a folder outside": lambda: (outside.parent / f"new{os.getpid()}").mkdir(),
        "cut off a file": lambda: os.truncate(outside, 0),
        "move a file": lambda: moved(outside),
        "change a mode": lambda: outside.chmod(0o600),
        "change a time": lambda: os.utime(outside, (1, 1)),
        "connect by TCP": lambda: socket.create_connection(tuple(given["tcp"]), 5),
        "listen to TCP": lambda: socket.create_server(("127.0.0.1", 0)),
        "send by UDP": lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", tuple(given["tcp"])),
        "connect to a socket file": lambda: socket.socket(socket.AF_UNIX).connect(given["unix"]),
        "connect to an abstract socket": lambda: socket.socket(socket.AF_UNIX).connect("\0" + given["abstract"]),
        "start a program": lambda: subprocess.run(["/bin/true"], check=True),
        "start itself": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
        "start from memory": started_from_memory,
        "attach to the parent": lambda: attached(parent),
        "read the parent's memory": lambda: read_memory(parent),
        "open the parent's memory": lambda: Path(f"/proc/{parent}/mem").open("rb"),
        "read the parent's environment": Path(f"/proc/{parent}/environ").read_bytes,
        "signal the parent": lambda: os.kill(parent, signal.SIGUSR1),
        "signal its group": lambda: os.killpg(0, signal.SIGUSR1),
        "limit the parent": lambda: resource.prlimit(parent, resource.RLIMIT_CORE, (0, 0)),
    }


def written(folder: Path) -> None:
    (folder / "sub").mkdir(exist_ok=True)
    (folder / "sub" / "a").write_text("mine")
    (folder / "sub" / "a").rename(folder / "b")
    (folder / "b").unlink()


def threaded() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


def moved(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.with_name("moved").rename(path)


def started_from_memory() -> None:
    program = os.memfd_create("program")
    os.write(program, Path("/bin/true").read_bytes())
    subprocess.run([f"/proc/self/fd/{program}"], check=True, pass_fds=[program])


def attached(process: int) -> None:
    if libc.ptrace(PTRACE_ATTACH, process, None, None):
        raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(process, 0)
    libc.ptrace(PTRACE_DETACH, process, None, None)


class Span(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def read_memory(process: int) -> None:
    taken = ctypes.create_string_buffer(len(SECRET))
    here = Span(ctypes.addressof(taken), len(SECRET))
    there = Span(ctypes.addressof(SECRET), len(SECRET))
    if libc.process_vm_readv(process, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) < 0:
        raise OSError(ctypes.get_errno(), "process_vm_readv")
    assert taken.raw == SECRET.raw


if __name__ == "__main__":
    main(json.loads(sys.stdin.read()))
