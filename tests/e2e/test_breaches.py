"""The contracts of .importlinter catch what they are there for: breaches are planted into a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.helpers import ROOT

BREACHES = {
    "the window uses a service": ("studio.ui.search.pane", "studio.services.search"),
    "the window uses an index": ("studio.ui.generations.pane", "studio.index.generations"),
    "a view-model uses a widget": ("studio.viewmodels.search.model", "studio.ui.parts"),
    "a use case uses a view-model": ("studio.services.watch.service", "studio.viewmodels.ingest"),
    "a use case uses Qt": ("studio.services.jobs.queue", "PySide6"),
    "the command line uses Qt": ("studio.cli.output", "PySide6"),
    "an index uses a use case": ("studio.index.upkeep.gc", "studio.services.scan"),
    "a value reads a document": ("studio.domain.search", "studio.documents"),
    "parsing knows models": ("studio.documents.texts", "studio.embedding"),
    "memory knows models": ("studio.memory.budget", "studio.embedding"),
    "packages of one layer the wrong way round": ("studio.services.scan.walk", "studio.services.ingest"),
    "a circle of modules": ("studio.index.ranking.fusion", "studio.index.ranking.snippets"),
    "lancedb beside its package": ("studio.services.search.results", "lancedb"),
    "lance beside its package": ("studio.index.upkeep.mending", "lance"),
    "tantivy beside its package": ("studio.index.vectors.rows", "tantivy"),
    "llama.cpp outside the worker": ("studio.embedding.pool", "llama_cpp"),
    "qasync outside the window": ("studio.viewmodels.base", "qasync"),
}
STRAY = ("studio.services.stray", "studio.index.ranking.stray", "studio.stray")


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What lint-imports says of a tree with all breaches at once, a chain of imports in one line."""
    tree = tmp_path_factory.mktemp("planted")
    shutil.copytree(ROOT / "studio", tree / "studio", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tree)
    for module, imported in BREACHES.values():
        with (tree / f"{module.replace('.', '/')}.py").open("a") as source:
            source.write(f"\nimport {imported}\n")
    for module in STRAY:
        (tree / f"{module.replace('.', '/')}.py").write_text("")
    lint = Path(sysconfig.get_path("scripts")) / "lint-imports"
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run([lint, "--no-cache"], cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return re.sub(r"->\s+", "-> ", done.stdout)


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_caught(verdict: str, breach: str) -> None:
    module, imported = BREACHES[breach]
    assert re.search(rf"{re.escape(module)} -> {re.escape(imported)}(?![\w.])", verdict)


@pytest.mark.parametrize("module", STRAY)
def test_a_module_without_a_place_is_caught(verdict: str, module: str) -> None:
    assert f"\n- {module}\n" in verdict
