"""The decisions of the setup script, on real files, processes and interpreters."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import bootstrap
import pytest
import setup_commands
from setup_commands import Runner, SetupFailed

SCRIPTS = ("bootstrap.py", "setup_commands.py", "system_packages.py")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "new" / "setup.log"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


# ---------------------------------------------------------------- which Python


def test_a_supported_python_is_kept() -> None:
    assert bootstrap.choose_python((3, 12), "/this/one", ["/other"]) == "/this/one"


def test_an_unsupported_python_gives_way_to_one_that_is_supported() -> None:
    chosen = bootstrap.choose_python((3, 9), "/old", ["/does/not/exist", sys.executable])
    assert chosen == sys.executable


def test_without_a_supported_python_the_message_names_versions_and_way_out() -> None:
    with pytest.raises(SetupFailed, match=r"3\.11, 3\.12 or 3\.13.*this is Python 3\.14.*Install one"):
        bootstrap.choose_python((3, 14), "/new", ["/does/not/exist"])


def test_the_version_of_an_interpreter_is_asked_of_it() -> None:
    assert bootstrap.python_version(sys.executable) == sys.version_info[:2]
    assert bootstrap.python_version("/does/not/exist") is None


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_old_python_can_read_the_scripts_to_say_that_it_is_too_old(name: str) -> None:
    source = (bootstrap.ROOT / "packaging" / name).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 8))
    deferred = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert [alias.name for node in deferred for alias in node.names] == ["annotations"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_import_only_the_standard_library(name: str) -> None:
    source = (bootstrap.ROOT / "packaging" / name).read_text(encoding="utf-8")
    siblings = {path.removesuffix(".py") for path in SCRIPTS}
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for module in names:
            assert module.split(".")[0] in sys.stdlib_module_names | siblings, f"{name} imports {module}"


# ---------------------------------------------------------------- what is already done


def test_the_digest_moves_with_content_words_and_missing_files(tmp_path: Path) -> None:
    settings = tmp_path / "pyproject.toml"
    settings.write_text("a")
    first = bootstrap.digest([settings], "3.11")
    assert bootstrap.digest([settings], "3.11") == first
    assert bootstrap.digest([settings], "3.12") != first
    settings.write_text("b")
    changed = bootstrap.digest([settings], "3.11")
    settings.unlink()
    gone = bootstrap.digest([settings], "3.11")
    assert len({first, changed, gone}) == 3


def test_an_installation_counts_if_it_has_the_digest_and_the_extras() -> None:
    stamps = {"packages": {"digest": "d", "extras": ["test"]}}
    assert bootstrap.packages_current(stamps, "d", [])
    assert bootstrap.packages_current(stamps, "d", ["test"])
    assert not bootstrap.packages_current(stamps, "other", ["test"])
    assert not bootstrap.packages_current({"packages": {"digest": "d", "extras": []}}, "d", ["test"])
    assert not bootstrap.packages_current({}, "d", [])


@pytest.mark.parametrize("content", ["", "{broken", "[]", "3"])
def test_an_unreadable_record_means_that_nothing_is_done(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "STAMPS", tmp_path / "setup.json")
    assert bootstrap.read_stamps() == {}
    bootstrap.STAMPS.write_text(content)
    assert bootstrap.read_stamps() == {}


def test_a_record_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "STAMPS", tmp_path / "setup.json")
    bootstrap.write_stamps({"packages": {"digest": "d", "extras": ["test"]}})
    assert bootstrap.read_stamps()["packages"]["extras"] == ["test"]
    assert [path.name for path in tmp_path.iterdir()] == ["setup.json"]


def test_a_pin_is_found_under_any_spelling_of_the_name() -> None:
    constraints = "numpy==2.4.6\nLlama_cpp.python==0.3.36\nqt==6.11.3; python_version < '3.12'\n"
    assert bootstrap.pin("llama-cpp-python", constraints) == "0.3.36"
    assert bootstrap.pin("qt", constraints) == "6.11.3"
    assert bootstrap.pin("num", constraints) == ""


def test_every_direct_dependency_is_pinned() -> None:
    project = tomllib.loads((bootstrap.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    constraints = bootstrap.CONSTRAINTS.read_text(encoding="utf-8")
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["test"]]:
        name = re.match(r"[\w.-]+", requirement)
        assert name
        assert bootstrap.pin(name.group(), constraints), f"{name.group()} is not in packaging/constraints.txt"


# ---------------------------------------------------------------- running commands


def test_output_goes_to_the_log_and_each_command_gets_its_own(log: Path) -> None:
    runner = Runner(log.parent.parent, log)
    assert runner.quiet(python("print('first')")) == (0, "first\n")
    code, output = runner.quiet(python("import sys; print('second', file=sys.stderr); sys.exit(4)"))
    assert (code, output) == (4, "second\n")
    assert "first\n" in log.read_text()


def test_a_program_that_is_not_there_is_a_failure_not_a_traceback(log: Path) -> None:
    code, output = Runner(log.parent.parent, log).quiet(["/does/not/exist"])
    assert code == 127
    assert "No such file" in output


def test_a_failed_step_shows_the_end_and_the_way_out(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    noisy = "import sys; [print('line', n) for n in range(50)]; sys.exit('ERROR: No space left on device')"
    with pytest.raises(SetupFailed, match=r"^It failed\. The disk is full"):
        Runner(log.parent.parent, log).step(python(noisy), "It failed.")
    shown = capfd.readouterr().out
    assert "line 49" in shown
    assert "line 30" not in shown


def test_an_unknown_failure_names_the_log(log: Path) -> None:
    with pytest.raises(SetupFailed, match=r"The whole output is in .*setup\.log"):
        Runner(log.parent.parent, log).step(python("raise SystemExit(1)"), "It failed.")


def test_verbose_output_goes_to_the_terminal(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Runner(log.parent.parent, log, verbose=True).step(python("print('seen')"), "It failed.")
    assert "seen" in capfd.readouterr().out


def test_a_long_step_shows_that_it_is_alive(
    log: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_commands, "HEARTBEAT_SECONDS", 0.05)
    flag = log.parent.parent / "go"
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(flag)!r}).exists(): time.sleep(0.01)"
    beats: list[str] = []

    def say(text: str) -> None:
        beats.append(text)
        flag.touch()

    monkeypatch.setattr(setup_commands, "say", say)
    Runner(log.parent.parent, log).step(python(waits), "It failed.", heartbeat="still building")
    assert beats[0].startswith("    still building (0:0")


def test_children_cannot_ask_and_do_not_inherit_python_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    environment = setup_commands.child_environment({"CMAKE_ARGS": "-DX=1"})
    assert "PYTHONPATH" not in environment
    assert environment["PIP_NO_INPUT"] == "1"
    assert environment["DEBIAN_FRONTEND"] == "noninteractive"
    assert environment["CMAKE_ARGS"] == "-DX=1"


def test_a_child_that_asks_finds_nobody_at_the_keyboard(log: Path) -> None:
    asks = python("import sys; sys.exit('got an answer' if sys.stdin.read() else 0)")
    script = (
        "import pathlib, sys, setup_commands as s\n"
        f"log = pathlib.Path({str(log)!r})\n"
        f"code, _ = s.Runner(log.parent.parent, log).quiet({asks!r})\n"
        f"sys.exit(code or not s.works({asks!r}))"
    )
    done = subprocess.run(python(script), cwd=bootstrap.ROOT / "packaging", input=b"yes\n", timeout=60)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("Failed to establish a new connection: Temporary failure in name resolution", "check the network"),
        ("ERROR: No matching distribution found for lancedb", "Supported are"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "Memory ran out"),
        ("something else", ""),
    ],
)
def test_the_way_out_fits_the_cause(output: str, advice: str) -> None:
    found = setup_commands.way_out(output)
    assert advice in found if advice else found == ""


# ---------------------------------------------------------------- the script as a person starts it


def test_a_test_process_that_crashes_ends_the_run_with_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test_one.py").write_text("import os\ndef test_crash(): os.abort()\ndef test_after(): pass\n")
    (tmp_path / "test_two.py").write_text("def test_fine(): pass\n")
    monkeypatch.setattr(bootstrap, "in_venv", lambda program: sys.executable)
    assert bootstrap.run_tests(["-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]) == 1
    assert "crashed while running 'test_one.py::test_crash'" in capfd.readouterr().out


def test_all_tests_together_have_a_limit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    hanging = [sys.executable, "-c", "import threading; threading.Event().wait()"]
    call = subprocess.call
    monkeypatch.setattr(subprocess, "call", lambda command, **options: call(hanging, **options))
    assert bootstrap.run_tests([], limit_s=0.2) == 1
    assert "did not end within" in capsys.readouterr().out


def test_wrong_usage_is_explained_without_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, str(bootstrap.ROOT / "packaging" / "bootstrap.py"), "fly"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "invalid choice" in done.stderr
    assert "Traceback" not in done.stderr


def test_setting_up_in_a_place_that_cannot_be_written_ends_with_one_sentence(tmp_path: Path) -> None:
    packaging = tmp_path / "packaging"
    packaging.mkdir()
    for name in SCRIPTS:
        (packaging / name).write_bytes((bootstrap.ROOT / "packaging" / name).read_bytes())
    (tmp_path / ".venv").write_text("a file where the environment should be")
    done = subprocess.run([sys.executable, str(packaging / "bootstrap.py"), "setup"], capture_output=True, text=True)
    assert done.returncode == 1
    assert str(tmp_path) in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_judgments_name_documents_that_exist() -> None:
    samples, judged = bootstrap.ROOT / "resources" / "samples", bootstrap.ROOT / "resources" / "samples_eval"
    rows = (samples / "glossary.jsonl").read_text(encoding="utf-8").splitlines()
    documents = {json.loads(row)["_id"] for row in rows}
    documents |= {path.stem for path in samples.iterdir() if path.suffix != ".jsonl"}
    lines = (judged / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    queries = {json.loads(line)["_id"] for line in lines}
    header, *judgments = (judged / "qrels.tsv").read_text(encoding="utf-8").splitlines()
    assert header == "query-id\tcorpus-id\tscore"
    pairs = [line.split("\t") for line in judgments]
    assert {query for query, _, _ in pairs} == queries
    assert {document for _, document, _ in pairs} <= documents
