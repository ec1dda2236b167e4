from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from studio import paths as paths_module
from studio.cli.ways_out import typed
from studio.domain import ModelWishes
from studio.embedding import models
from studio.embedding.client import EmbeddingClient
from studio.embedding.model_files import KNOWN_MODELS, Monitor, sha256_of, sources
from studio.embedding.models import DEFAULT_MODEL, ModelCatalog
from studio.embedding.worker.engine import Engine
from studio.errors import Cancelled, Conflict, ModelFault, NotFound, StorageFault
from studio.paths import DataPaths
from tests.helpers import tiny_bert
from tests.unit.embedding.model_files import bad_gguf
from tests.unit.embedding.model_files.test_download import Site, site

__all__ = ["site"]  # the fixture

INSTALL = """
import asyncio, sys
from pathlib import Path
from studio.embedding.models import ModelCatalog
from studio.paths import DataPaths
report = lambda done, total, what: print(what, flush=True)
info = asyncio.run(ModelCatalog(DataPaths(Path(sys.argv[1]))).install(sys.argv[2], report))
print("INSTALLED", info.sha256, flush=True)
"""


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCatalog:
    """A catalog that finds nothing outside its own empty directory."""
    monkeypatch.setattr(paths_module, "default_data_dir", lambda: tmp_path / "nobody")
    return ModelCatalog(DataPaths(tmp_path / "data"))


def folder_of(catalog: ModelCatalog) -> Path:
    return catalog._paths.models


def visible(catalog: ModelCatalog) -> list[str]:
    """Suffixes of what lies in the models folder, the lock left out."""
    return sorted(path.name[-5:] for path in folder_of(catalog).iterdir() if path.name != models.LOCK_NAME)


def test_an_empty_catalog_offers_what_it_knows_the_default_first(catalog: ModelCatalog) -> None:
    info = catalog.list()[0]
    assert [offered.name for offered in catalog.list()] == list(KNOWN_MODELS)
    assert (info.name, info.installed, info.path, info.dimension) == (DEFAULT_MODEL, False, None, 384)
    assert catalog.find("nobody-knows-me") is None


async def test_a_folder_is_converted_installed_found_and_removed(catalog: ModelCatalog, tiny_folder: Path) -> None:
    steps: list[str] = []
    info = await catalog.install(str(tiny_folder), lambda _done, _total, what: steps.append(what))
    await asyncio.sleep(0)
    assert (info.name, info.dimension, info.max_tokens, info.pooling) == ("tiny-bert", 64, 48, "mean")
    assert info.path == folder_of(catalog) / f"{info.sha256}.gguf"
    assert info.size_bytes == info.path.stat().st_size
    assert catalog.find("tiny-bert") == info
    assert "Trying the model" in steps
    assert visible(catalog) == [".gguf", ".json"]
    await catalog.verify(info)
    assert await catalog.install(str(tiny_folder)) == info
    catalog.remove("tiny-bert")
    assert visible(catalog) == []
    with pytest.raises(NotFound):
        catalog.remove("tiny-bert")


async def test_other_ways_to_name_a_model_give_the_same_file(
    catalog: ModelCatalog, tiny_folder: Path, tmp_path: Path
) -> None:
    wheel = tmp_path / "tiny-bert.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in tiny_folder.rglob("*.*"):
            archive.write(file, f"package/model/{file.relative_to(tiny_folder)}")
        archive.writestr("../../escaped.txt", "no")
    direct = await catalog.install(str(tiny_folder / "model.safetensors"))
    assert await catalog.install(str(wheel)) == direct
    assert not (tmp_path.parent / "escaped.txt").exists()


async def test_a_gguf_file_is_tried_and_copied(catalog: ModelCatalog, tiny_gguf: Path) -> None:
    info = await catalog.install(str(tiny_gguf))
    assert (info.name, info.sha256, info.max_tokens) == ("tiny-bert", sha256_of(tiny_gguf), 64)
    assert tiny_gguf.exists()


async def test_another_model_of_the_same_name_gets_a_longer_one(
    catalog: ModelCatalog, tiny_gguf: Path, tmp_path: Path
) -> None:
    first = await catalog.install(str(tiny_gguf))
    other = tiny_bert.make_model(tmp_path / "tiny-bert", seed=8)
    second = await catalog.install(str(other))
    assert second.name == f"tiny-bert-{second.sha256[:8]}"
    assert {info.name for info in catalog.list() if info.installed} == {first.name, second.name}
    impostor = tmp_path / f"{DEFAULT_MODEL}.gguf"
    shutil.copy(tiny_gguf, impostor)
    catalog.remove(first.name)
    assert (await catalog.install(str(impostor))).name != DEFAULT_MODEL


@pytest.mark.parametrize("case", ["random", "cut in the middle", "language model", "2^31 layers", "empty"])
async def test_a_wrong_gguf_leaves_nothing_behind(
    case: str, catalog: ModelCatalog, tiny_gguf: Path, tmp_path: Path
) -> None:
    bad_gguf.BAD[case](tiny_gguf, tmp_path / "bad.gguf")
    with pytest.raises(ModelFault, match=r"bad\.gguf"):
        await catalog.install(str(tmp_path / "bad.gguf"))
    assert visible(catalog) == []


async def test_a_folder_that_cannot_be_converted_is_named(catalog: ModelCatalog, tmp_path: Path) -> None:
    folder = tiny_bert.make_model(tmp_path / "mine", config={"model_type": "mpnet"})
    with pytest.raises(ModelFault, match=rf"{re.escape(str(folder))} cannot be installed.*mpnet"):
        await catalog.install(str(folder))
    assert visible(catalog) == []


async def test_what_is_set_at_installation_holds_until_the_model_is_removed(
    catalog: ModelCatalog, tmp_path: Path
) -> None:
    folder = tiny_bert.make_model(tmp_path / "mine")
    with pytest.raises(ModelFault, match="cannot be cut to 65"):
        await catalog.install(str(folder), wishes=ModelWishes(dimension=65))
    info = await catalog.install(str(folder), wishes=ModelWishes("q: ", None, 16))
    assert (info.query_prefix, info.passage_prefix, info.dimension, info.full_dimension) == ("q: ", "", 16, 64)
    assert await catalog.install(str(folder)) == info
    with pytest.raises(Conflict, match="16 dimensions"):
        await catalog.install(str(folder), wishes=ModelWishes(dimension=32))
    client = await EmbeddingClient.start(info)
    try:
        query = await client.embed(["fox"], query=True)
        passage = await client.embed(["fox"])
    finally:
        await client.close()
    assert isinstance(info.path, Path)
    engine = Engine(info.path, max_tokens=48)
    whole = engine.embed(["q: fox", "fox"])[:, :16]
    engine.close()
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    np.testing.assert_allclose(np.concatenate((query, passage)), whole, atol=1e-3)


async def test_things_that_are_no_model_are_refused(catalog: ModelCatalog, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "broken.whl").write_bytes(b"PK\x03\x04 not really")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
        archive.writestr("readme.txt", "hello")
    for what in ("empty", "text.txt", "broken.whl", "other.whl", "not-there.gguf"):
        with pytest.raises(ModelFault):
            await catalog.install(str(tmp_path / what))
    with pytest.raises(ModelFault, match=r"\.gguf"):
        await catalog.install("https://example.org/page.html")
    assert visible(catalog) == []


async def test_a_gguf_is_fetched_from_an_address(catalog: ModelCatalog, tiny_gguf: Path, site: Site) -> None:
    site.content = tiny_gguf.read_bytes()
    site.break_after = [50_000]
    info = await catalog.install(site.url("my%20model.gguf"))
    assert (info.name, info.sha256) == ("my-model", sha256_of(tiny_gguf))
    assert site.ranges == [None, "bytes=50000-"]
    assert visible(catalog) == [".gguf", ".json"]


async def test_the_default_model_comes_from_the_local_copy(
    catalog: ModelCatalog, default_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(sources.SOURCE_VARIABLE, str(default_source))
    info = await catalog.install(DEFAULT_MODEL)
    assert (info.name, info.dimension, info.max_tokens, info.licence) == (DEFAULT_MODEL, 384, 256, "Apache-2.0")
    assert info.path is not None
    description = json.loads(info.path.with_suffix(".json").read_text())
    assert sources.SOURCE_VARIABLE in description["source"]
    # Damage is noticed, and installing again mends it.
    data = bytearray(info.path.read_bytes())
    data[-100] ^= 1
    info.path.write_bytes(data)
    with pytest.raises(ModelFault, match="changed or damaged"):
        await catalog.verify(info)
    assert await catalog.install(DEFAULT_MODEL) == info
    await catalog.verify(info)
    assert visible(catalog) == [".gguf", ".json"]


async def test_the_default_model_is_recognised_by_its_weights(
    catalog: ModelCatalog, default_source: Path, tmp_path: Path
) -> None:
    info = await catalog.install(str(default_source))
    assert info.name == DEFAULT_MODEL
    elsewhere = ModelCatalog(DataPaths(tmp_path / "elsewhere"))
    assert elsewhere.find(DEFAULT_MODEL) is not None


async def test_without_a_network_every_attempt_is_named_with_its_reason(
    catalog: ModelCatalog, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(sources.SOURCE_VARIABLE, str(tiny_folder))  # the wrong weights
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setattr(sources, "HUB", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(ModelFault) as caught:
        await catalog.install(DEFAULT_MODEL)
    message = typed(caught.value.full_message)
    for part in (sources.SOURCE_VARIABLE, "SHA-256", "package index", "No matching distribution", "hub", "refused"):
        assert part in message
    assert "rag-studio model install FOLDER" in message
    assert visible(catalog) == []


def test_the_hub_gives_the_files_when_nothing_else_does(
    default_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetch_from_site(url: str, partial: Path, _monitor: Monitor) -> None:
        name = url.split("/resolve/main/")[1]
        asked.append(name)
        shutil.copy(default_source / name, partial)

    monkeypatch.setattr(sources, "download", fetch_from_site)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.delenv(sources.SOURCE_VARIABLE, raising=False)
    known = sources.KNOWN_MODELS[DEFAULT_MODEL]
    folder, source = sources.fetch(known, tmp_path, tmp_path, Monitor(lambda *_: None))
    assert source == "the model hub"
    assert asked[-1] == "model.safetensors"
    assert sha256_of(folder / "model.safetensors") == known.weights_sha256


async def test_models_of_other_folders_are_used_but_not_removed(
    catalog: ModelCatalog, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = await catalog.install(str(tiny_folder))
    monkeypatch.setattr(paths_module, "default_data_dir", lambda: tmp_path / "data")
    other = ModelCatalog(DataPaths(tmp_path / "other"))
    assert other.find("tiny-bert") == info
    assert await other.install(str(tiny_folder)) == info
    assert visible(other) == []
    with pytest.raises(Conflict):
        other.remove("tiny-bert")


async def test_damaged_descriptions_are_passed_over(catalog: ModelCatalog, tiny_folder: Path) -> None:
    info = await catalog.install(str(tiny_folder))
    folder = folder_of(catalog)
    good = (folder / f"{info.sha256}.json").read_text()
    (folder / "note.json").write_text(good)
    (folder / f"{'0' * 64}.json").write_text(good)
    (folder / f"{'1' * 64}.json").write_text("{broken")
    (folder / f"{'2' * 64}.json").write_text("[]")
    assert [found.name for found in catalog.list() if found.installed] == ["tiny-bert"]
    assert info.path is not None
    info.path.unlink()
    assert [found for found in catalog.list() if found.installed] == []
    with pytest.raises(ModelFault, match="cannot be read"):
        await catalog.verify(info)
    default = catalog.find(DEFAULT_MODEL)
    assert default is not None
    with pytest.raises(ModelFault, match="not installed"):
        await catalog.verify(default)


async def test_cancelling_leaves_nothing_behind(catalog: ModelCatalog, tiny_folder: Path) -> None:
    begun = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(catalog.install(str(tiny_folder), lambda *_: begun.set()))
        await begun.wait()
        task.cancel()
    assert task.cancelled()
    assert visible(catalog) == []
    await catalog.install(str(tiny_folder))


def test_a_stopped_monitor_stops_the_work() -> None:
    monitor = Monitor(lambda *_: None)
    monitor.stop()
    for stopped in (monitor.check, lambda: monitor.wait(60), lambda: monitor.report(0, None, "")):
        with pytest.raises(Cancelled):
            stopped()


async def test_a_models_folder_that_cannot_be_made_is_a_storage_fault(catalog: ModelCatalog, tiny_folder: Path) -> None:
    folder_of(catalog).parent.write_text("a file where the data directory should be")
    with pytest.raises(StorageFault):
        await catalog.install(str(tiny_folder))


def start_install(data: Path, source: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "HOME": str(data.parent), "XDG_DATA_HOME": str(data.parent / "share")}
    command = [sys.executable, "-c", INSTALL, str(data), str(source)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_two_processes_install_at_once(catalog: ModelCatalog, tiny_folder: Path) -> None:
    data = folder_of(catalog).parent
    with start_install(data, tiny_folder) as first, start_install(data, tiny_folder) as second:
        said = [process.communicate()[0] for process in (first, second)]
    info = catalog.find("tiny-bert")
    assert info is not None
    assert all(f"INSTALLED {info.sha256}" in text for text in said)
    assert visible(catalog) == [".gguf", ".json"]


@pytest.mark.parametrize("step", ["Copying model.safetensors", "Copying config.json", "Trying the model"])
async def test_a_killed_installation_leaves_nothing_that_counts(
    step: str, catalog: ModelCatalog, tiny_folder: Path
) -> None:
    with start_install(folder_of(catalog).parent, tiny_folder) as process:
        assert process.stdout is not None
        assert any(line.strip() == step for line in process.stdout)
        process.kill()
    assert [info for info in catalog.list() if info.installed] == []
    info = await catalog.install(str(tiny_folder))
    await catalog.verify(info)
    assert visible(catalog) == [".gguf", ".json"]


async def test_a_default_model_that_was_damaged_under_another_hash_is_replaced(
    catalog: ModelCatalog, default_source: Path, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(catalog).mkdir(parents=True)
    stale = folder_of(catalog) / f"{'0' * 64}.gguf"
    shutil.copy(tiny_gguf, stale)
    description = {"name": DEFAULT_MODEL, "sha256": "0" * 64, "dimension": 384, "max_tokens": 256}
    stale.with_suffix(".json").write_text(json.dumps({**description, "pooling": "mean", "size_bytes": 1}))
    monkeypatch.setenv(sources.SOURCE_VARIABLE, str(default_source))
    info = await catalog.install(DEFAULT_MODEL)
    assert catalog.find(DEFAULT_MODEL) == info
    assert visible(catalog) == [".gguf", ".json"]


async def test_cancelling_stops_the_thread_and_waits_for_it() -> None:
    monitor = Monitor(lambda *_: None)
    begun = threading.Event()
    outcome: list[str] = []

    def work() -> None:
        begun.set()
        try:
            monitor.wait(60)
            outcome.append("ran to its end")
        except Cancelled:
            outcome.append("stopped")
            raise

    async with asyncio.TaskGroup() as group:
        task = group.create_task(models._in_thread(monitor, work))
        await asyncio.to_thread(begun.wait)
        task.cancel()
    assert outcome == ["stopped"]
