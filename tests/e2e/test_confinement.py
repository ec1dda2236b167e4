"""What a confined process is denied, and that each of it works without the confinement."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio import confinement
from studio.confinement import Allowed, landlock, places, seccomp
from studio.documents.pool.process import ENVIRONMENT
from studio.embedding.client import launch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Nothing confines a process here.")
needs_both = pytest.mark.skipif(
    sys.platform != "linux" or landlock.version() < 6 or not seccomp.available(),
    reason="The kernel has no landlock of version 6 or no seccomp.",
)

PLANTED = Path(__file__).with_name("planted.py")


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Path]:
    """A home with a key, a data directory with a catalog, an own folder, and two sockets that listen."""
    for name in ("home/.ssh/id_ed25519", "home/data/catalog.sqlite3", "home/docs/a.txt", "elsewhere/file"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret")
    (tmp_path / "own").mkdir()
    yield tmp_path


def attempts(ground: Path, allowed: Allowed | None) -> dict[str, str]:
    """What became of each attempt of the planted worker: "done", or the name of an error."""
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as path, socket.socket(socket.AF_UNIX) as abstract:
        tcp.bind(("127.0.0.1", 0))
        path.bind(str(ground / "elsewhere" / f"socket{len(list((ground / 'elsewhere').iterdir()))}"))
        abstract.bind(f"\0{ground.name}-{os.getpid()}")
        for listener in (tcp, path, abstract):
            listener.listen()
        given = {
            "ground": str(ground),
            "allowed": [allowed.read, allowed.write, allowed.program] if allowed else None,
            "tcp": tcp.getsockname(),
            "unix": path.getsockname(),
            "abstract": abstract.getsockname()[1:].decode(),
        }
        done = subprocess.run(
            [sys.executable, PLANTED], input=json.dumps(given), capture_output=True, text=True, timeout=60,
            start_new_session=True,  # it signals its group
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(places.__file__).parents[2])])},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@needs_both
def test_a_planted_worker_is_denied_everything_but_its_files(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(ground / "home"))
    home = ground / "home"
    read = tuple(places.granted([home], [home / "data"]))
    free = attempts(ground, None)
    assert set(free.values()) == {"done"}, "each has to work, or its denial would tell nothing"
    mine = {"read its file", "write its folder", "start a thread"}
    for program in ("", "/usr/bin/env"):
        held = attempts(ground, Allowed(read, (str(ground / "own"),), program))
        assert {name: how for name, how in held.items() if name in mine} == dict.fromkeys(mine, "done")
        assert {name for name, how in held.items() if how == "done"} == mine
        assert set(held) == set(free)


@needs_both
@pytest.mark.parametrize("program", ["", "/usr/bin/env"])
def test_one_program_and_no_other_can_be_started(ground: Path, program: str) -> None:
    code = (
        "import subprocess, sys\nfrom studio.confinement import Allowed, confine\n"
        f"confine(Allowed(write=({str(ground / 'own')!r},), program={program!r}))\n"
        "for name in ('/usr/bin/env', '/bin/true', sys.executable):\n"
        "    try: print(subprocess.run([name], stdout=subprocess.DEVNULL).returncode)\n"
        "    except PermissionError: print('denied')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["0" if program else "denied", "denied", "denied"], done.stderr


@pytest.mark.parametrize(
    ("module", "environment"),
    [("studio.embedding.worker.main", launch.LIBRARY_ENVIRONMENT), ("studio.documents.parser_worker", ENVIRONMENT)],
)
def test_no_thread_runs_before_a_worker_is_confined(module: str, environment: dict[str, str]) -> None:
    """It would stay free."""
    code = f"import {module}, os; print(len(os.listdir('/proc/self/task')))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )
    assert done.stdout.strip() == "1", done.stderr


def test_private_folders_are_granted_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, data = tmp_path / "home", tmp_path / "home" / "work" / "data"
    for folder in (data / "kb", home / "work" / "notes", home / ".ssh", home / "music", tmp_path / "other"):
        folder.mkdir(parents=True)
    (home / "file").touch()
    (home / "link").symlink_to(data)
    monkeypatch.setenv("HOME", str(home))
    around = {str(home / name) for name in ("work/notes", "music", "file")}
    assert set(places.granted([home], [data])) == around
    assert set(places.granted([tmp_path], [data])) == {*around, str(tmp_path / "other")}
    assert set(places.granted([home / "link", data, data / "kb"], [data])) == set()
    assert set(places.granted([home / ".ssh"], [data])) == {str(home / ".ssh")}, "it was named"
    from_root = set(places.granted([Path("/")], [data]))
    assert around <= from_root and not from_root & {"/", "/proc", "/dev", str(data), str(home), str(tmp_path)}


def run_filter(program: list[seccomp.Instruction], audit: int, number: int, *arguments: int) -> int:
    """What the kernel would answer to a call."""
    given = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number, audit, 0, *(value & (1 << 64) - 1 for value in given))
    place = held = 0
    while True:
        code, yes, no, constant = program[place]
        place += 1
        if code == seccomp.RETURN:
            return constant
        if code == seccomp.LOAD:
            (held,) = struct.unpack_from("=I", data, constant)
        else:
            true = {
                seccomp.JUMP_EQUAL: held == constant,
                seccomp.JUMP_AT_LEAST: held >= constant,
                seccomp.JUMP_ANY_BIT: bool(held & constant),
            }[code]
            place += yes if true else no


@pytest.mark.parametrize("name", list(seccomp.MACHINES))
@pytest.mark.parametrize("may_run", [False, True])
def test_the_filter_of_each_processor(name: str, may_run: bool) -> None:
    machine = seccomp.MACHINES[name]
    program = seccomp.filter_for(machine, may_run=may_run, own=77, parent=55)
    intel = name == "x86_64"

    def answer(calls: tuple[int, int], *arguments: int) -> int:
        return run_filter(program, machine.audit, calls[machine.column], *arguments)

    refuse, allow = seccomp.REFUSE, seccomp.ALLOW
    run = allow if may_run else refuse
    assert len(program) < 4096 and all(yes < 256 and no < 256 for _, yes, no, _ in program)
    assert run_filter(program, 0x40000003, 1) == seccomp.KILL  # 32-bit Intel
    assert not intel or run_filter(program, machine.audit, 0x40000000 + 41) == refuse  # x32
    for calls in ((41, 198), (42, 203), (101, 117), (310, 270), (321, 280), (425, 425), (434, 434), (322, 281)):
        assert answer(calls) == refuse
    for calls in (
        (0, 63),
        (1, 64),
        (9, 222),
        (257, 56),
        (39, 172),
        (231, 94),
    ):  # read, write, mmap, openat, getpid, exit
        assert answer(calls) == allow
    assert answer((59, 221)) == run
    assert answer((319, 279)) == (refuse if may_run else allow)  # memfd_create
    for calls in (seccomp.KILL_CALL, seccomp.TGKILL):
        assert [answer(calls, process) for process in (77, 55, 0, -1, 88)] == [allow, refuse, refuse, refuse, run]
    assert [answer(seccomp.PRLIMIT, process) for process in (0, 77, 55)] == [allow, allow, refuse]
    assert answer(seccomp.CLONE3) == seccomp.UNKNOWN
    assert answer(seccomp.CLONE, 0x3D0F00) == allow  # a thread
    assert answer(seccomp.CLONE, 17) == run  # a process
    assert answer(seccomp.CLONE, 0x10000000 | 0x10000) == refuse  # a namespace of users
    assert [answer(seccomp.IOCTL, 0, request) for request in (0x5401, 0x5412, 0x541C)] == [allow, refuse, refuse]


def test_a_kernel_without_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)
    assert not confinement.available()
    assert "has no landlock: parsers and models have no network" in confinement.describe()
    monkeypatch.setattr(seccomp, "available", lambda: False)
    assert confinement.describe().endswith("has no landlock: parsers and models run with time and memory limits only")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert confinement.describe().startswith("macOS has no landlock")
