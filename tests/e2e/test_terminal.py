"""The command line with a person at a terminal: passwords are asked for, Ctrl+C keeps what was done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.command import Program
from tests.helpers.locked import locked_pdf

Write = Callable[[str, str], Path]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="terminals are opened the POSIX way")


def read_until(terminal: int, wanted: bytes, seen: bytes = b"") -> bytes:
    """What the program writes to its terminal, up to `wanted`. Fails when it ends before."""
    while wanted not in seen:
        part = os.read(terminal, 4096)
        assert part, seen.decode()
        seen += part
    return seen


# What a shell starts in the background ignores Ctrl+C, and so do all it starts.
LISTENING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_the_password_of_a_protected_file_is_asked_for(program: Program, folder: Path, write: Write) -> None:
    write("open.txt", "Everybody may read this.")
    locked_pdf(folder / "locked.pdf", "The combination of the safe is nine", "melon", "owner")
    program.ok("kb", "create", "Notes")
    person, terminal = os.openpty()
    started = subprocess.Popen(
        program.command("ingest", "Notes", folder), stdin=terminal, stderr=terminal, stdout=subprocess.PIPE, text=True
    )
    os.close(terminal)
    with started:
        read_until(person, "Password for “locked.pdf” (Enter to leave them out):".encode())
        os.write(person, b"lemon\n")
        seen = read_until(person, b"out): ")
        os.write(person, b"melon\n")
        told, _ = started.communicate(timeout=120)
    os.close(person)
    assert b"lemon" not in seen
    assert "Passwords are given with: rag-studio ingest KB FILE --ask-password" in told
    assert (started.returncode, told.count("none of the given passwords")) == (0, 1)
    found = program.ok("search", "Notes", "combination safe", "--mode", "keyword")
    assert [Path(item["citation"]["source_path"]).name for item in found["results"]][:1] == ["locked.pdf"]


def test_an_interrupted_ingest_goes_on_where_it_was(program: Program, write: Write, folder: Path) -> None:
    for n in range(60):
        write(f"{n}.txt", f"Text number {n} tells of the river. " * 20)
    program.ok("kb", "create", "River notes")
    command = [sys.executable, "-c", LISTENING, *program.command("ingest", "River notes", folder)]
    started = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    with started:
        assert started.stderr is not None
        seen = read_until(started.stderr.fileno(), b"indexing:")
        started.send_signal(signal.SIGINT)
        seen += started.stderr.read()
    assert started.returncode == 130
    assert b"rag-studio ingest 'River notes' --resume" in seen
    done = program.ok("ingest", "River notes", "--resume")
    assert (done["added"], done["failed"]) == (60, [])
    assert program.ok("jobs", "list") == []
