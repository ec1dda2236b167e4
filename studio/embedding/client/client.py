"""Models as the rest of the program sees them: a client of one worker process per model.

`ModelClient` is the conversation, `EmbeddingClient` and `RankingClient` what is asked for in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np

from studio.concurrency import TaskOwner, first_error
from studio.domain import ModelInfo, Vectors
from studio.embedding.admission import Admission, Unlimited
from studio.embedding.client.loading import Check, Loader
from studio.embedding.model_files import ModelFootprint
from studio.embedding.worker import Kind, ProtocolError, protocol
from studio.errors import ModelFault, WorkerCrashed, WorkerDied
from studio.ways_out import InstallModel
from studio.workers import WorkerProcess

T = TypeVar("T")

log = logging.getLogger(__name__)

TEXTS_PER_MESSAGE = 32
CHARS_PER_MESSAGE = 256 * 1024
"""Bounds what a query may have to wait for while a message is cut into tokens."""
MESSAGES_IN_FLIGHT = 4
"""Of a kind, over all callers; enough to keep the worker busy, few enough to fail and cancel quickly."""
SMALL_PART = 4
"""A small message takes this part of the texts and characters of a usual one."""
STALL_S = 120.0
"""A worker that owes answers and is silent for this long hangs; a message takes some 2 s."""


@dataclass(slots=True)
class _Pending:
    """A request that was sent and not yet answered."""

    process: WorkerProcess
    answer: asyncio.Future[tuple[int, bytes]]


def messages(texts: Sequence[str], *, small: bool = False) -> list[list[str]]:
    """Cut a list of texts into messages of bounded count and size; order is kept."""
    part = SMALL_PART if small else 1
    parts: list[list[str]] = []
    chars = 0
    for text in texts:
        full = parts and (len(parts[-1]) == TEXTS_PER_MESSAGE // part or chars + len(text) > CHARS_PER_MESSAGE // part)
        if not parts or full:
            parts.append([])
            chars = 0
        parts[-1].append(text)
        chars += len(text)
    return parts


class ModelClient:
    """One model's worker process: requests by id, restart after a crash.

    When the worker dies, every request in flight is a suspect. Each is tried once more, alone in a fresh
    worker, so only the one that kills twice fails; new requests wait until the suspects are cleared.

    The worker is started when a request needs it, after `admission` has found room for it. `small_batches` may be set
    at any time and holds for the requests that follow.
    """

    def __init__(
        self,
        info: ModelInfo,
        *,
        threads: int = 1,
        admission: Admission | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use `start` instead. `clock` returns seconds."""
        self._info = info
        self._loader = Loader(info, threads, admission or Unlimited())
        self._clock = clock
        self._last_use = clock()
        self._holds = 0
        self._free = asyncio.Event()
        self._free.set()
        self.small_batches = False
        self._owner = TaskOwner(f"model {info.name}")
        self._process: WorkerProcess | None = None
        self._starting = asyncio.Lock()
        self._pending: dict[int, _Pending] = {}
        self._next_request = 1
        self._last_sign_of_life = time.monotonic()
        self._slots = {
            kind: asyncio.Semaphore(MESSAGES_IN_FLIGHT) for kind in (Kind.EMBED, Kind.COUNT_TOKENS, Kind.RANK)
        }
        self._suspects: set[int] = set()
        self._alone = asyncio.Lock()
        self._calm = asyncio.Event()
        self._calm.set()
        self._closed = False

    @classmethod
    async def start(
        cls,
        info: ModelInfo,
        *,
        threads: int = 1,
        admission: Admission | None = None,
        clock: Callable[[], float] = time.monotonic,
        check: Check | None = None,
    ) -> Self:
        """Start the worker and load the model, after room was found for it and `check` did not object.

        Raises ModelFault, WorkerDied.
        """
        client = cls(info, threads=threads, admission=admission, clock=clock)
        try:
            with client.hold():
                await client._running(check)
        except BaseException:
            await client.close()
            raise
        client._owner.start(client._watch(), name="watch")
        return client

    @property
    def model(self) -> ModelInfo:
        return self._info

    @property
    def pid(self) -> int | None:
        """Process id of the worker; None while there is none (unloaded or crashed, until the next request)."""
        return self._process.pid if self._process is not None and self._process.alive else None

    async def footprint(self) -> ModelFootprint:
        """What the worker takes, told from the file. Raises ModelFault when there is no such file or it is damaged."""
        return await self._loader.footprint()

    @property
    def idle(self) -> bool:
        """True when there is no request and the model is not held."""
        return not self._holds

    @property
    def last_use(self) -> float:
        """When the last request or hold ended, on the clock."""
        return self._last_use

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Until this is left the worker is not ended for being idle or to make room for another model."""
        self._holds += 1
        self._free.clear()
        try:
            yield
        finally:
            self._holds -= 1
            self._last_use = self._clock()
            if not self._holds:
                self._free.set()

    async def unload(self) -> None:
        """End the worker process to free its memory; the next request starts another."""
        async with self._starting:
            await self._end()

    async def unload_if_idle(self) -> bool:
        """`unload`, unless there is a request or a hold. True when a worker was ended."""
        async with self._starting:  # a request that comes now waits for this, and then starts another worker
            if self._holds or self._process is None:
                return False
            await self._end()
            return True

    async def unload_when_idle(self) -> None:
        """End the worker as soon as its last request is answered and it is not held."""
        while self.pid is not None and not await self.unload_if_idle():
            await self._free.wait()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._loader.forgive()
            await process.close()
        self._loader.release()

    async def close(self) -> None:
        """End the worker process; requests in flight fail with WorkerDied. Idempotent."""
        self._closed = True
        process, self._process = self._process, None
        if process is not None:
            self._fail_pending(process, WorkerDied(f"The model {self._info.name} was closed."))
            await process.close()
        await self._owner.close()
        self._loader.release()

    # ------------------------------------------------------------ requests

    async def _call_all(self, kind: Kind, texts: Sequence[str], *, first: Sequence[str] = ()) -> list[bytes]:
        """Send texts in as many messages as they need, `first` before those of each."""
        parts = [[*first, *part] for part in messages(texts, small=self.small_batches)]
        with self.hold():
            if len(parts) == 1:
                return [await self._call(kind, parts[0])]
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._call(kind, part)) for part in parts]
            except BaseExceptionGroup as errors:
                raise first_error(errors) from None
            return [task.result() for task in tasks]

    async def _call(self, kind: Kind, texts: list[str]) -> bytes:
        body = protocol.encode_texts(texts)
        request = self._next_request
        self._next_request = request % 0xFFFF_FFFF + 1
        async with self._slots.get(kind, contextlib.nullcontext()):
            try:
                await self._calm.wait()
                process = await self._running()
                try:
                    return await self._exchange(process, kind, request, body)
                except WorkerDied:
                    if self._closed:
                        raise
                    self._suspect(request)
                log.warning("the worker of a model died; its %d texts are tried again", len(texts))
                async with self._alone:
                    process = await self._running()
                    try:
                        return await self._exchange(process, kind, request, body)
                    except WorkerDied as error:
                        raise WorkerDied(
                            f"The process of the model {self._info.name} ended twice on the same "
                            f"{len(texts)} texts, the first beginning {texts[0][:40]!r}. {error}"
                        ) from error
            finally:
                self._suspects.discard(request)
                if not self._suspects:
                    self._calm.set()

    def _suspect(self, *requests: int) -> None:
        self._suspects.update(requests)
        if self._suspects:
            self._calm.clear()

    async def _exchange(self, process: WorkerProcess, kind: Kind, request: int, body: bytes) -> bytes:
        if not self._pending:
            self._last_sign_of_life = time.monotonic()
        pending = _Pending(process, asyncio.get_running_loop().create_future())
        self._pending[request] = pending
        try:
            await process.send(kind, request, body)
            answer, data = await pending.answer
        except asyncio.CancelledError:
            # `send` writes a whole frame before it first waits, so the stream stays in step.
            if process.alive and not self._closed:
                self._owner.start(self._withdraw(process, request), name="withdraw")
            raise
        finally:
            self._pending.pop(request, None)
            if not pending.answer.cancelled() and pending.answer.done():
                pending.answer.exception()  # mark as seen: `send` may have failed before it was awaited
        if answer == Kind.ERROR:
            message, way_out = self._decoded(protocol.decode_error, data)
            raise ModelFault(f"The model {self._info.name} failed: {message}", way_out=way_out)
        expected = Kind.COUNTS if kind is Kind.COUNT_TOKENS else Kind.VECTORS
        if answer != expected:
            raise self._nonsense(f"answer kind {answer} to request kind {kind}")
        return data

    async def _withdraw(self, process: WorkerProcess, request: int) -> None:
        with contextlib.suppress(WorkerDied):
            await process.send(Kind.CANCEL, request)

    def _decoded(self, decode: Callable[[bytes], T], body: bytes) -> T:
        try:
            return decode(body)
        except ProtocolError as error:
            raise self._nonsense(str(error)) from error

    def _nonsense(self, what: str) -> ModelFault:
        return ModelFault(f"The process of the model {self._info.name} gave an answer that makes no sense: {what}.")

    # ------------------------------------------------------------ the process

    async def _running(self, check: Check | None = None) -> WorkerProcess:
        """The worker, started if there is none. Raises ModelFault, WorkerDied."""
        async with self._starting:
            if self._closed:
                raise WorkerDied(f"The model {self._info.name} was closed.")
            if self._process is None or not self._process.alive:
                self._process = await self._loader.load(check)
                if self._closed:  # meanwhile
                    await self._end()
                    raise WorkerDied(f"The model {self._info.name} was closed.")
                self._owner.start(self._read(self._process), name="read")
            return self._process

    async def _read(self, process: WorkerProcess) -> None:
        """Hand answers to those that wait for them, until the worker ends."""
        try:
            while True:
                kind, request, body = await process.receive()
                self._last_sign_of_life = time.monotonic()
                pending = self._pending.pop(request, None)
                if pending is not None and not pending.answer.done():
                    pending.answer.set_result((kind, body))
        except WorkerDied as error:
            if self._process is process:
                self._process = None
            if isinstance(error, WorkerCrashed):
                self._loader.be_cautious()
            # Before any of them runs again: no new request may share a worker with a suspect.
            self._suspect(*(key for key, pending in self._pending.items() if pending.process is process))
            self._fail_pending(process, error)
        finally:
            await process.kill()
            async with self._starting:
                if self._process is None:  # another one was not started yet
                    self._loader.release()

    def _fail_pending(self, process: WorkerProcess, error: WorkerDied) -> None:
        for pending in self._pending.values():
            if pending.process is process and not pending.answer.done():
                pending.answer.set_exception(error)

    async def _watch(self) -> None:
        """End a worker that hangs; `_read` then sees it die."""
        while True:
            await asyncio.sleep(STALL_S / 8)
            process = self._process
            if self._pending and process is not None and time.monotonic() - self._last_sign_of_life > STALL_S:
                log.error("the worker of the model %s hangs and is ended", self._info.name)
                await process.kill()


class EmbeddingClient(ModelClient):
    """Texts to vectors. Implements `domain.Embedder`."""

    async def embed(self, texts: Sequence[str], *, interactive: bool = False, query: bool = False) -> Vectors:
        """Embed texts, each behind the model's prefix: shape (len(texts), dimension), float32, rows of unit length.

        Long texts are cut to the model's length. Raises WorkerDied when a text kills the worker twice,
        ModelFault when the model fails or gives an unusable vector.
        """
        if not texts:
            return np.zeros((0, self._info.dimension), np.float32)
        kind = Kind.EMBED_INTERACTIVE if interactive else Kind.EMBED
        prefix = self._info.query_prefix if query else self._info.passage_prefix
        bodies = await self._call_all(kind, [prefix + text for text in texts] if prefix else texts)
        parts = [self._decoded(protocol.decode_vectors, body) for body in bodies]
        given = self._info.given_dimension
        if any(part.shape[1] != given for part in parts):
            raise self._nonsense(f"vectors of other than {given} dimensions")
        vectors = np.concatenate(parts)
        if given != self._info.dimension:
            vectors = vectors[:, : self._info.dimension]
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = vectors / np.maximum(lengths, np.float32(1e-12))
        self._check(vectors, texts)
        return vectors

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens. Raises WorkerDied, ModelFault."""
        bodies = await self._call_all(Kind.COUNT_TOKENS, texts)
        counts = [count for body in bodies for count in self._decoded(protocol.decode_counts, body)]
        if len(counts) != len(texts):
            raise self._nonsense(f"{len(counts)} counts for {len(texts)} texts")
        return counts

    def _check(self, vectors: Vectors, texts: Sequence[str]) -> None:
        if len(vectors) != len(texts):
            raise self._nonsense(f"{len(vectors)} vectors for {len(texts)} texts")
        usable = np.isfinite(vectors).all(axis=1) & (np.abs(vectors).max(axis=1, initial=0.0) > 0)
        if not usable.all():
            text = texts[int(np.argmin(usable))]
            raise ModelFault(
                f"The model {self._info.name} gave no usable vector for the text beginning {text[:40]!r}.",
                way_out=InstallModel(self._info.name, check=True),
            )


class RankingClient(ModelClient):
    """Scores of passages for a query."""

    async def scores(self, query: str, passages: Sequence[str]) -> list[float]:
        """The cross-encoder's score of each passage, higher is better; long passages are cut to what it can read.

        Raises WorkerDied when a passage kills the worker twice, ModelFault when the model gives no usable score.
        """
        if not passages:
            return []
        bodies = await self._call_all(Kind.RANK, passages, first=[query])
        scores = np.concatenate([self._decoded(protocol.decode_vectors, body) for body in bodies])
        if scores.shape != (len(passages), 1):
            raise self._nonsense(f"scores of shape {scores.shape} for {len(passages)} passages")
        if not np.isfinite(scores).all():
            raise self._nonsense("scores that are not numbers")
        return [float(score) for score in scores[:, 0]]
