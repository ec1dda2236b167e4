"""The command line as scripts see it: exit codes, one JSON document, messages."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.domain import ModelInfo
from tests.helpers import ROOT
from tests.helpers.command import Program

Write = Callable[[str, str], Path]


@pytest.fixture
def library(program: Program, folder: Path, write: Write) -> Program:
    """A program with one knowledge base of two documents."""
    write(
        "whales.md", "# Whales\n\nBlue whales sing songs that travel far under water.\n\n## Food\n\nThey eat krill.\n"
    )
    write("pianos.txt", "A grand piano has more than two hundred strings.\n")
    program.ok("kb", "create", "Notes")
    program.ok("ingest", "Notes", folder)
    return program


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, default_model: ModelInfo) -> Program:
    """One knowledge base that several tests only ask questions."""
    root = tmp_path_factory.mktemp("untouched")
    assert default_model.path is not None
    (root / "data").mkdir()
    (root / "data" / "models").symlink_to(default_model.path.parent)
    program = Program(root / "data")
    (root / "whales.txt").write_text("Blue whales sing songs.")
    program.ok("kb", "create", "Notes")
    program.ok("ingest", "Notes", root / "whales.txt")
    return program


def test_the_whole_path(program: Program, folder: Path, write: Write) -> None:
    created = program.ok("kb", "create", "Notes", "--chunk-tokens", "64", "--chunk-overlap", "8", "--language", "de")
    assert set(created) == {"name", "id", "documents", "chunks", "size_bytes", "active_generation", "settings"}
    assert created["settings"]["chunk_tokens"] == 64
    write("whales.md", "# Whales\n\nBlue whales sing songs that travel far under water.\n")
    report = program.ok("ingest", "Notes", folder)
    assert set(report) >= {
        "job_id", "generation", "promoted", "added", "updated", "unchanged", "removed", "failed", "chunks_added",
        "embedded", "reused", "seconds", "chunks_per_second",
    }  # fmt: skip
    assert (report["generation"], report["promoted"], report["added"]) == (1, True, 1)
    again = program.ok("ingest", "Notes", folder)
    assert (again["generation"], again["promoted"], again["embedded"], again["unchanged"]) == (1, False, 0, 1)
    (document,) = program.ok("documents", "Notes")
    assert (document["status"], document["chunks"], document["error"]) == ("indexed", 1, None)
    assert document["path"] == str(folder / "whales.md")
    assert document["pages"] == {"total": 0, "readable": 0, "empty": 0, "failed": 0, "ocr": 0}
    assert document["created"] == ""
    found = program.ok("search", "Notes", "marine mammals that sing", "--limit", "1", "--explain")
    (result,) = found["results"]
    assert set(result) >= {
        "chunk_id", "document_id", "kb_id", "score", "content", "snippet", "metadata", "citation", "explanation",
    }  # fmt: skip
    assert set(result["citation"]) == {
        "title", "source_path", "licence", "version", "anchor", "page_number", "char_start", "char_end",
        "also_at",
    }  # fmt: skip
    assert (found["mode"], found["degraded"], found["generation"]) == ("hybrid", None, 1)
    assert found["query"] == "marine mammals that sing"
    removed = program.ok("remove", "Notes", document["id"])
    assert (removed["removed"], removed["generation"]) == (1, 2)
    assert program.ok("search", "Notes", "whales")["results"] == []
    assert [item["state"] for item in program.ok("generations", "Notes")] == ["active", "archived"]
    assert program.ok("rollback", "Notes")["generation"] == 1
    assert len(program.ok("search", "Notes", "whales")["results"]) == 1
    assert program.ok("promote", "Notes", "2")["state"] == "active"
    assert program.ok("doctor")["ok"] is True
    assert program.ok("kb", "rename", "Notes", "Other")["name"] == "Other"
    assert [kb["name"] for kb in program.ok("kb", "list")] == ["Other"]
    assert program.ok("kb", "info", "Other")["active_generation"] == 2
    program.ok("kb", "delete", "Other", "--yes")
    assert program.ok("kb", "list") == []


def test_modes_filters_and_paging(library: Program) -> None:
    for mode in ("hybrid", "vector", "keyword"):
        found = library.ok("search", "Notes", "piano strings", "--mode", mode)
        assert found["results"][0]["citation"]["title"] == "pianos"
        assert found["results"][0]["explanation"]["matched_terms"] == ["piano", "strings"]
    assert (
        library.ok("search", "Notes", "whales piano", "--filter", "type=markdown")["results"][0]["metadata"]["type"]
        == "markdown"
    )
    first, second = (
        library.ok("search", "Notes", "whales piano", "--limit", "1", "--offset", str(n))["results"] for n in (0, 1)
    )
    assert first[0]["chunk_id"] != second[0]["chunk_id"]
    assert library.ok("search", "Notes", "whales", "--fusion", "rrf", "--weight", "0.3")["results"]


def test_explanations_can_be_read(library: Program) -> None:
    outcome = library.run("search", "Notes", "piano strings", "--limit", "1", "--explain")
    assert outcome.code == 0
    assert "vector #1" in outcome.out
    assert "keywords #1" in outcome.out
    assert "minmax, weight 0.50 · matched: piano, strings" in outcome.out
    assert "vector #1" not in library.run("search", "Notes", "piano strings").out


def test_partly_done_is_exit_code_three(library: Program, folder: Path) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    outcome = library.run("--json", "ingest", "Notes", folder)
    assert outcome.code == 3
    (failure,) = outcome.json["failed"]
    assert failure["path"] == str(folder / "broken.pdf")
    assert failure["error"] == "corrupt"
    assert "damaged" in failure["reason"]
    listed = {item["path"]: item for item in library.ok("documents", "Notes")}
    assert listed[failure["path"]]["status"] == "failed"


def test_only_failures_is_exit_code_one(program: Program, folder: Path) -> None:
    program.ok("kb", "create", "Notes")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    outcome = program.run("--json", "ingest", "Notes", folder / "broken.pdf")
    assert outcome.code == 1
    assert len(outcome.json["failed"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "Nobody", "x"], 1, "no knowledge base “Nobody”"),
        (["kb", "info", "Nobody"], 1, "Nobody"),
        (["ingest", "Nobody", "."], 1, "Nobody"),
        (["search", "Notes", ""], 2, "query is empty"),
        (["search", "Notes", "   "], 2, "query is empty"),
        (["search", "Notes", "x", "--mode", "psychic"], 2, "invalid choice"),
        (["search", "Notes", "x", "--limit", "0"], 2, "limit"),
        (["search", "Notes", "x", "--filter", "colour=red"], 2, "colour"),
        (["search", "Notes", "x", "--filter", "nonsense"], 2, "KEY=VALUE"),
        (["search", "Notes", "x", "--generation", "99"], 1, "no generation 99"),
        (["ingest", "Notes", "/no/such/file.pdf"], 1, "/no/such/file.pdf"),
        (["ingest", "Notes"], 2, "Nothing to ingest"),
        (["kb", "create", "Notes"], 1, "already"),
        (["kb", "create", "a,b"], 2, "comma"),
        (["kb", "create", "C", "--chunk-tokens", "1"], 2, "16 tokens"),
        (["kb", "set", "Notes", "--chunk-tokens", "1"], 2, "16 tokens"),
        (["kb", "set", "Notes"], 2, "Nothing to change"),
        (["kb", "delete", "Notes"], 2, "--yes"),
        (["promote", "Notes", "7"], 1, "no generation 7"),
        (["rollback", "Notes"], 1, "no older generation"),
        (["rollback", "Notes", "1", "--forward"], 2, "not allowed with"),
        (["rollback", "Notes", "--forward"], 1, "no newer generation"),
        (["generations", "Notes", "--note", "one", "text"], 2, "“one”"),
        (["generations", "Notes", "--note", "9", "text"], 1, "no generation 9"),
        (["kb", "retention", "Notes", "--keep", "-1"], 2, "negative"),
        (["kb", "retention", "Notes", "--min-age", "nan"], 2, "number of hours"),
        (["kb", "retention", "Notes", "--default", "--keep", "1"], 2, "--default"),
        (["diff", "Notes", "1", "two"], 2, "invalid int"),
        (["diff", "Notes", "1", "9"], 1, "no generation 9"),
        (["diff", "Notes", "1", "1", "--queries", "/none"], 1, "/none"),
        (["gate", "add", "Notes", "query"], 2, "--must-find"),
        (["gate", "add", "Notes", "query", "--must-find", "nothing.txt"], 1, "nothing.txt"),
        (["gate", "remove", "Notes", "7"], 1, "no pinned query 7"),
        (["remove", "Notes", "nothing"], 1, "no document"),
        (["model", "install", "/no/such/model.gguf"], 1, "/no/such/model.gguf"),
        (["model", "use", "Notes", "no-such-model"], 1, "no-such-model"),
        (["config", "get", "nothing"], 2, "no setting"),
        (["config", "set", "embed_threads", "many"], 2, "a whole number"),
        (["evaluate", "Notes", "--queries", "/none", "--qrels", "/none"], 1, "/none"),
        (["frobnicate"], 2, "invalid choice"),
        (["kb"], 2, "required"),
    ],
)
def test_bad_requests_say_what_is_wrong(untouched: Program, arguments: list[str], code: int, message: str) -> None:
    outcome = untouched.run(*arguments)
    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert outcome.out == ""


def test_errors_are_json_too_when_asked_for(untouched: Program) -> None:
    outcome = untouched.run("search", "Nobody", "x", "--json")
    assert outcome.code == 1
    assert outcome.json["error"]["type"] == "NotFound"
    assert "Notes" in outcome.json["error"]["way_out"]


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all" * 100, b"GGUF\x03\0\0\0" + b"\xff" * 4000])
def test_a_wrong_gguf_is_a_message(program: Program, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wrong.gguf"
    path.write_bytes(content)
    outcome = program.run("model", "install", path)
    assert outcome.code == 1
    assert "wrong.gguf" in outcome.err


def test_global_options_work_on_both_sides_of_the_command(library: Program, tmp_path: Path) -> None:
    before = [sys.executable, "-m", "studio", "--json", "--data-dir", str(library.data_dir), "kb", "list"]
    after = [sys.executable, "-m", "studio", "kb", "list", "--data-dir", str(library.data_dir), "--json"]
    elsewhere = [sys.executable, "-m", "studio", "--json", "kb", "list", "--data-dir", str(tmp_path / "other")]
    outputs = [json.loads(subprocess.check_output(command)) for command in (before, after, elsewhere)]
    assert [len(output) for output in outputs] == [1, 1, 0]


def test_the_settings_of_a_knowledge_base_can_be_changed(library: Program) -> None:
    shown = library.run("kb", "info", "Notes").out
    assert "chunk_tokens: 240" in shown
    assert "contextual: True" in shown
    before = library.ok("search", "Notes", "krill", "--limit", "1")["results"][0]
    text = library.run("kb", "set", "Notes", "--chunk-tokens", "32", "--chunk-overlap", "0", "--no-contextual").out
    assert "next ingest of “Notes” rebuilds it" in text
    changed = library.ok("kb", "info", "Notes")["settings"]
    assert (changed["chunk_tokens"], changed["chunk_overlap"], changed["contextual"]) == (32, 0, False)
    assert "already" in library.run("kb", "set", "Notes", "--no-contextual").out
    report = library.ok("ingest", "Notes", Path(before["citation"]["source_path"]).parent)
    assert report["failed"] == []
    after = library.ok("search", "Notes", "krill", "--limit", "1")["results"][0]
    assert len(after["content"]) <= len(before["content"])
    assert library.ok("generations", "Notes")[0]["settings"]["chunk_tokens"] == 32


def test_settings_can_be_read_and_written(program: Program) -> None:
    assert program.ok("config", "get", "theme") == {"theme": "system"}
    assert program.ok("config", "set", "theme", "dark") == {"theme": "dark"}
    assert program.ok("config", "get")["theme"] == "dark"
    assert Path(program.ok("config", "path")["path"]).is_file()


def test_two_knowledge_bases_at_once(library: Program, tmp_path: Path) -> None:
    other = tmp_path / "krill.txt"
    other.write_text("Krill drift in swarms that whales follow.")
    library.ok("kb", "create", "Sea")
    library.ok("ingest", "Sea", other)
    found = library.ok("search", "Notes,Sea", "whales krill")
    assert {result["kb_name"] for result in found["results"]} == {"Notes", "Sea"}
    assert found["generation"] == {"Notes": 1, "Sea": 1}


def test_gc_reports_and_frees(library: Program, folder: Path, write: Write) -> None:
    write("third.txt", "Third document.")
    library.ok("ingest", "Notes", folder)
    library.ok("config", "set", "keep_generations", "0")
    dry = library.ok("gc", "Notes", "--dry-run")
    assert dry["deleted"] == ["Notes/1"]
    report = library.ok("gc")
    assert report["deleted"] == ["Notes/1"]
    assert report["freed_bytes"] > 0
    assert report["kept"] == [{"kb": "Notes", "generation": 2, "why": "active"}]


def test_the_data_directory_is_private(library: Program) -> None:
    assert stat.S_IMODE(library.data_dir.stat().st_mode) == 0o700


def test_models_are_listed(program: Program) -> None:
    models = program.ok("model", "list")
    default = next(model for model in models if model["name"] == "all-MiniLM-L6-v2")
    assert (default["installed"], default["dimension"]) == (True, 384)


def test_evaluate_prints_every_measure(program: Program) -> None:
    root = ROOT / "resources"
    program.ok("kb", "create", "Samples")
    program.ok("ingest", "Samples", root / "samples")
    judged = root / "samples_eval"
    result = program.ok("evaluate", "Samples", "--queries", judged / "queries.jsonl", "--qrels", judged / "qrels.tsv")
    assert result["k"] == 10
    assert set(result["modes"]) == {"hybrid", "vector", "keyword"}
    measures = {"ndcg", "recall", "mrr", "map", "precision"}
    assert set(result["modes"]["hybrid"]) == {*measures, "latency_ms", "intervals", "setting"}
    low, high = result["modes"]["hybrid"]["intervals"]["ndcg"]
    assert low <= result["modes"]["hybrid"]["ndcg"] <= high
    assert {(item["a"], item["b"]) for item in result["differences"]} == {("hybrid", "vector"), ("hybrid", "keyword")}
    assert result["modes"]["hybrid"]["ndcg"] > 0.9


def test_starting_the_command_line_imports_no_heavy_library(data_dir: Path) -> None:
    code = (
        "import sys; sys.argv = ['rag-studio', 'kb', 'list']\n"
        "from studio.__main__ import main\n"
        "main()\n"
        "heavy = {'PySide6', 'qasync', 'lancedb', 'lance', 'pyarrow', 'tantivy', 'llama_cpp'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    output = subprocess.check_output([sys.executable, "-c", code], env={**os.environ}, text=True)
    assert output.splitlines()[-1] == "[]"


def test_an_internal_error_is_logged_not_shown(data_dir: Path) -> None:
    code = (
        "import sys\n"
        "import studio.cli.dispatch as dispatch\n"
        "async def broken(services, options): raise RuntimeError('wires crossed')\n"
        "dispatch._COMMANDS['memory'] = broken\n"
        "from studio.cli.main import run\n"
        "sys.exit(run(['memory'], window=None, screenshots=None))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "wires crossed" in done.stderr
    assert "RuntimeError: wires crossed" in (data_dir / "logs" / "errors.log").read_text()
