"""Every way out is worded by the command line as a command it knows, and by the window as what it shows."""

from __future__ import annotations

import ast
import itertools
import json
import logging
import re
import shlex
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

from studio.cli.arguments import build_parser
from studio.cli.output import error_value, note, print_json
from studio.cli.ways_out import typed
from studio.domain import JobKind, JobState, KbSettings
from studio.errors import DocumentFault, FailureCode, StorageFault, StudioError
from studio.index.catalog import Catalog
from studio.terminal import VisibleFormatter
from studio.viewmodels.ways_out import clickable, sentences
from studio.ways_out import KINDS, AllowRemovals, InstallModel, Listing, RunRepair, Tune, WayOut, ways_in, worded
from tests.helpers import ROOT

HOSTILE = 'it\'s "my" $(notes); rm -rf ~'
VALUES = {
    str: ["", "Papers", HOSTILE],
    bool: [False, True],
    int: [452],
    Listing: list(Listing),
    tuple[str, ...]: [("/docs", f"/tmp/{HOSTILE}")],
}
PROSE = {"effect", "instead", "that", "usable", "others"}
"""Values that are part of a sentence, not of a command."""


def samples(kind: type[WayOut]) -> Iterator[WayOut]:
    """One of a kind with every combination of sample values."""
    hints = get_type_hints(kind)
    choices = []
    for field in fields(kind):
        prose = ["", "Close some programs"] if field.name in PROSE else None
        choices.append(prose or [value for value in VALUES[hints[field.name]] if value != ""])
    for values in itertools.product(*choices):
        yield kind(*values)


PARSER = build_parser()
TYPED = re.compile("rag-studio |--data-dir|--allow-removals|--overwrite|--qrels")
"""What only a person types who uses the command line."""
EVERY = [way for kind in KINDS for way in samples(kind)]


def commands(text: str) -> Iterator[tuple[list[str], str]]:
    """(arguments, what follows) of each command in a text: the longest beginning that the parser takes."""
    for after in text.split("rag-studio ")[1:]:
        ends = [match.start() for match in re.finditer(r"(?=\s|$)", after)]
        for end in reversed(ends):
            try:
                words = shlex.split(after[:end].rstrip(".;,)"))
                PARSER.parse_args(words)
            except (ValueError, SystemExit):
                continue
            yield words, after[end:]
            break
        else:
            raise AssertionError(f"no command: {after}")


# ---------------------------------------------------------------- the value in a text


@pytest.mark.parametrize("way", EVERY, ids=repr)
def test_a_way_out_comes_out_of_a_text_as_it_went_in(way: WayOut) -> None:
    text = json.loads(json.dumps(f"Before. {way} After."))
    assert ways_in(text) == [way]
    assert worded(text, lambda found: "HERE" if found == way else "") == "Before. HERE After."


def test_a_mark_that_was_cut_off_or_forged_is_left_out() -> None:
    whole = f"It failed. {AllowRemovals('KB', ('/a',))}"
    for end in range(len("It failed."), len(whole) - 1):
        assert typed(whole[:end]).rstrip() == clickable(whole[:end]).rstrip() == "It failed."
    forged = [
        "", "null", "[1, 2]", '["Unknown", {}]', '["Tune", {}]', '["Tune", {"kb": 1}]', '["Tune", {"kb": "a", "b": 1}]',
        '["AllowMemory", {"mib": true}]', '["See", {"what": "secrets"}]',
        '["AllowRemovals", {"kb": "a", "folders": "b"}]',
        '["RunRepair", {"effect": {}}]', '["Tune", []]', '[["Tune"], {}]', "[" * 100_000,
    ]  # fmt: skip
    for mark in forged:
        assert typed(f"a\ufdd0{mark}\ufdd1b") == clickable(f"a\ufdd0{mark}\ufdd1b") == "ab"


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize("way", EVERY, ids=repr)
def test_the_command_line_names_commands_that_it_knows(way: WayOut, capsys: pytest.CaptureFixture[str]) -> None:
    said = typed(str(way))
    assert said
    assert "\ufdd0" not in said
    for words, rest in commands(said):
        assert len(words) > 1 or words in (["doctor"], ["gc"])
        assert not re.search(r"(^|\s)-|\bKB\b", rest), f"{words} leaves {rest!r}"
    capsys.readouterr()  # what the parser says of beginnings


def test_what_is_named_arrives_in_the_command_as_it_is() -> None:
    (words, _), *_ = commands(typed(str(Tune(HOSTILE))))
    assert words == ["tune", HOSTILE]
    (words, _), *_ = commands(typed(str(AllowRemovals(HOSTILE, ("/a b", HOSTILE)))))
    assert words == ["ingest", HOSTILE, "/a b", HOSTILE, "--allow-removals"]


def test_json_and_texts_have_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    error = StorageFault("It is damaged.", way_out=RunRepair())
    assert error_value(error)["way_out"] == "Run: rag-studio doctor --repair."
    print_json({"error": [error.full_message]})
    note(error.full_message)
    told = capsys.readouterr()
    assert json.loads(told.out) == {"error": ["It is damaged. Run: rag-studio doctor --repair."]}
    assert told.err == "It is damaged. Run: rag-studio doctor --repair.\n"


def test_a_log_has_no_way_out() -> None:
    said = StorageFault("A.", way_out=RunRepair()).full_message
    record = logging.LogRecord("studio", logging.WARNING, "", 0, "%s", (said,), None)
    assert VisibleFormatter("%(message)s").format(record) == "A."


# ---------------------------------------------------------------- the window


@pytest.fixture(scope="module")
def shown() -> set[str]:
    """Every literal of the window, without placeholders and shortcuts."""
    found = set()
    for path in (ROOT / "studio/ui").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value.partition("\t")[0].replace("{0}", "").strip())
    return found


@pytest.mark.parametrize("way", EVERY, ids=repr)
def test_the_window_names_what_it_shows_and_nothing_to_type(way: WayOut, shown: set[str]) -> None:
    said = clickable(str(way))
    assert said
    assert "\ufdd0" not in said
    assert "rag-studio " not in said
    assert not re.search(r"(^|\s)--", said.replace(HOSTILE, ""))
    for name in re.findall("“([^”]*)”", said):
        assert name in shown, f"the window shows no “{name}”"


def test_errors_are_said_with_their_way_out() -> None:
    error = StudioError("It is not installed.", way_out=f"Wait. {InstallModel('m')}")
    assert sentences(error).startswith("It is not installed. Wait. Install m ")
    assert "rag-studio" not in sentences(error)


# ---------------------------------------------------------------- the sources


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of the string literals of a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


def test_only_the_command_line_speaks_of_its_commands() -> None:
    told = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / "studio").rglob("*.py"))
        if "cli" not in path.relative_to(ROOT).parts and TYPED.search(path.read_text(encoding="utf-8"))
        for line, text in literals(path)
        if TYPED.search(text)
    ]
    assert told == []


def test_the_rule_finds_commands_in_all_kinds_of_strings(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""Not this: rag-studio doctor."""\nA = "x"\n"""Nor this: rag-studio gc."""\n'
        'B = f"{A}: rag-studio tune {A}"\nC = ("a "\n     "rag-studio gc")\n',
        encoding="utf-8",
    )
    found = sorted(text for _, text in literals(module) if "rag-studio " in text)
    assert found == [": rag-studio tune ", "a rag-studio gc"]


def test_the_window_takes_texts_of_errors_in_its_own_words() -> None:
    """`full_message` and `way_out` are marked texts: only what words them reads them."""
    words_them = {"base.py", "ways_out.py"}
    places = [*(ROOT / "studio/ui").rglob("*.py"), *(ROOT / "studio/viewmodels").rglob("*.py"), ROOT / "studio/app.py"]
    read = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(places)
        if path.name not in words_them
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("full_message", "way_out")
    ]
    assert read == []


def test_the_catalog_keeps_the_way_out_of_a_job_and_each_face_words_it(tmp_path: Path) -> None:
    error = StorageFault("It is damaged.", way_out=RunRepair())
    with closing(Catalog(tmp_path / "catalog.sqlite3")) as catalog:
        kb = catalog.create_kb("Notes", KbSettings())
        job = catalog.jobs.create(kb.id, JobKind.INGEST, ["/notes"], {})
        catalog.jobs.set_state(job, JobState.PAUSED, error=error.full_message)
    with closing(Catalog(tmp_path / "catalog.sqlite3")) as catalog:
        kept = catalog.jobs.get(job).error
    assert ways_in(kept) == [RunRepair()]
    assert "rag-studio" not in kept
    assert typed(kept) == "It is damaged. Run: rag-studio doctor --repair."
    assert clickable(kept) == sentences(error)


def test_a_failed_document_keeps_its_way_out_as_a_value() -> None:
    fault = DocumentFault(FailureCode.VANISHED, "It is gone.", way_out=RunRepair())
    assert ways_in(fault.full_message) == [RunRepair()]
