"""Nothing that others wrote steers the terminal it is printed on."""

from __future__ import annotations

import argparse
import ast
import json
import logging

import pytest

from studio.cli.output import ProgressLine, could_not_be_indexed, print_error, print_json, say, table
from studio.domain import FileFailure
from studio.errors import FailureCode, StudioError
from studio.terminal import VisibleFormatter, in_line, visible
from tests.helpers import ROOT

CLI = ROOT / "studio" / "cli"
HOSTILE = "".join(map(chr, [*range(9), *range(11, 32), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, 0x2028, 0x2029])) + (
    "".join(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xD800, 0xDFFF]))
)
PLAIN = "Grüße, 日本語, שלום, 👍, a\tb\nc – …"


def steers(text: str) -> set[str]:
    return set(text) & set(HOSTILE)


@pytest.mark.parametrize("letter", HOSTILE, ids=lambda letter: f"{ord(letter):04x}")
def test_what_cannot_be_seen_stands_there_as_its_escape(letter: str) -> None:
    for shown in (visible(f"a{letter}b"), in_line(f"a{letter}b")):
        assert shown == f"a{ascii(letter)[1:-1]}b"


def test_what_can_be_seen_stays() -> None:
    assert visible(PLAIN) == PLAIN
    assert visible("one\r\ntwo") == "one\ntwo"
    assert in_line("a\tb\nc") == r"a\tb\nc"


def test_every_way_to_the_terminal_is_guarded(capsys: pytest.CaptureFixture[str]) -> None:
    options = argparse.Namespace(json=False)
    say(options, None, table([[HOSTILE, "a\nb"]], ("NAME", "PATH")))
    say(options, None, "\n".join(could_not_be_indexed([FileFailure(f"/{HOSTILE}", FailureCode.ENCRYPTED, HOSTILE)])))
    print_error(StudioError(HOSTILE, way_out=HOSTILE), as_json=True)
    line = ProgressLine()
    line.count(1, 2)
    line.transfer(1, 2, HOSTILE)
    line._terminal = True
    line.transfer(1, 2, HOSTILE)
    line.close()
    record = logging.LogRecord("studio", logging.WARNING, "", 0, "about %s", (HOSTILE,), None)
    said = capsys.readouterr()
    assert not steers(said.out + said.err.replace("\r\x1b[K", "") + VisibleFormatter().format(record))
    assert r"a\nb" in said.out


def test_json_keeps_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    data = {PLAIN: HOSTILE.encode("utf-8", "ignore").decode()}
    print_json(data)
    said = capsys.readouterr().out
    assert json.loads(said) == data
    assert not steers(said)


def test_no_command_prints_past_the_guard() -> None:
    found = [
        f"{path.name}:{node.lineno}"
        for path in sorted(CLI.glob("*.py"))
        if path.name != "output.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and (ast.unparse(node.func) == "print" or ast.unparse(node.func) in ("sys.stdout.write", "sys.stderr.write"))
        and not all(_guarded(argument) for argument in node.args)
    ]
    assert not found, f"use studio.cli.output.write or note: {found}"


def _guarded(argument: ast.expr) -> bool:
    """Whether a text is a literal, whose parts went through `visible` or `in_line` or are sizes and numbers."""
    if isinstance(argument, ast.JoinedStr):
        return all(_guarded(part) for part in argument.values)
    if isinstance(argument, ast.FormattedValue):
        return ast.unparse(argument.value) in ("kb.documents",) or _guarded(argument.value)
    if isinstance(argument, ast.Call):
        return ast.unparse(argument.func) in ("visible", "in_line", "size")
    return isinstance(argument, ast.Constant)
