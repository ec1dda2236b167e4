"""The process that runs the model: `python -m studio.embedding.worker MODEL --max-tokens N --threads N [--cautious]`.

A reader thread sorts incoming requests by urgency; the main thread alone touches the model. While it
embeds a batch it looks, between two packs, for queries and serves them first, so a query waits for one
pack (some 50 ms) and not for a whole ingest message. Tokens are counted in a thread of their own, on a
core the model leaves free: llama.cpp's tokeniser only reads the vocabulary.

A bad request is answered with an error frame. The process ends when the parent closes the pipe.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from studio.confinement import Allowed, confine
from studio.embedding.worker import protocol
from studio.embedding.worker.protocol import Kind, ProtocolError, ReadyInfo
from studio.errors import ModelFault
from studio.workers import Channel

if TYPE_CHECKING:
    from studio.embedding.worker.engine import Embedding, Engine

ADDRESS_SPACE_BESIDE_MODEL = 6 << 30
"""Bytes a worker may map beyond its model file; far above need, it stops only absurd metadata."""

SIGN_EVERY_S = 10.0
"""A text takes a model of 4 GB that long, a message of 32 some minutes."""

Frame = tuple[int, int, bytes]  # kind, request id, body

_URGENCY = (Kind.EMBED_INTERACTIVE, Kind.EMBED, Kind.RANK)
_BATCHES = (Kind.EMBED, Kind.RANK)
"""Done in steps, between which what is more urgent is served and a withdrawal is seen."""


class Inbox:
    """Requests waiting, most urgent first, and in order of arrival among equals."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[Frame]] = {kind: deque() for kind in _URGENCY}
        self._withdrawn: set[int] = set()
        self._running: int | None = None
        self._closed = False
        self._changed = threading.Condition()

    def put(self, frame: Frame) -> None:
        """Add a request, or let a CANCEL withdraw the one it names."""
        kind, request, _ = frame
        with self._changed:
            if kind == Kind.CANCEL:
                self._withdraw(request)
            else:  # a kind of no urgency is answered soon or not slowly: a count, or an error
                self._waiting.get(kind, self._waiting[Kind.EMBED_INTERACTIVE]).append(frame)
            self._changed.notify()

    def _withdraw(self, request: int) -> None:
        for queue in self._waiting.values():
            for frame in queue:
                if frame[1] == request:
                    queue.remove(frame)
                    return
        if request == self._running:
            self._withdrawn.add(request)

    def take(self) -> Frame | None:
        """The most urgent request, waiting for one; None once the parent is gone."""
        with self._changed:
            while not self._closed:
                for queue in self._waiting.values():
                    if queue:
                        return queue.popleft()
                self._changed.wait()
            return None

    def take_urgent(self) -> Frame | None:
        """The most urgent request that may interrupt a batch, if one waits."""
        with self._changed:
            for kind, waiting in self._waiting.items():
                if kind not in _BATCHES and waiting:
                    return waiting.popleft()
            return None

    def begin_batch(self, request: int) -> None:
        """Name the batch under way, so that it can be withdrawn."""
        with self._changed:
            self._running = request

    def batch_goes_on(self) -> bool:
        """False when the batch under way was withdrawn or its asker is gone."""
        with self._changed:
            return not self._closed and self._running not in self._withdrawn

    def end_batch(self) -> None:
        with self._changed:
            self._running = None
            self._withdrawn.clear()

    def close(self) -> None:
        """The parent is gone: no answer is waited for."""
        with self._changed:
            self._closed = True
            self._changed.notify()


class Server:
    """Answers requests with one engine."""

    def __init__(self, channel: Channel, engine: Engine) -> None:
        self._channel = channel
        self._engine = engine
        self._inbox = Inbox()
        self._counts = Inbox()

    def ready(self) -> None:
        """Tell the parent what was loaded."""
        engine = self._engine
        info = ReadyInfo(
            pid=os.getpid(),
            architecture=engine.architecture,
            dimension=engine.dimension,
            max_tokens=engine.max_tokens,
            pooling=engine.pooling,
            vocabulary_size=engine.vocabulary_size,
        )
        self._channel.send(Kind.READY, 0, info.encode())

    def serve(self) -> None:
        """Answer until the parent closes the pipe."""
        threading.Thread(target=self.read, name="reader", daemon=True).start()
        counter = threading.Thread(target=self._count, name="counter", daemon=True)
        counter.start()
        while (frame := self._inbox.take()) is not None:
            self._answer(frame)
        counter.join()

    def read(self) -> None:
        """Sort what the parent sends into the inbox, until it closes the pipe."""
        try:
            while True:
                frame = self._channel.receive()
                kind = frame[0]
                if kind != Kind.COUNT_TOKENS:
                    self._inbox.put(frame)
                if kind in (Kind.COUNT_TOKENS, Kind.CANCEL):
                    self._counts.put(frame)
        except (EOFError, OSError):
            self._inbox.close()
            self._counts.close()

    def _count(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # the parent is gone, which the reader finds out as well
            while (frame := self._counts.take()) is not None:
                self._answer(frame)

    def _answer(self, frame: Frame) -> None:
        kind, request, body = frame
        try:
            if kind not in (Kind.COUNT_TOKENS, *_URGENCY):
                raise ProtocolError(f"request kind {kind} is unknown")
            texts = protocol.decode_texts(body)
            if kind == Kind.COUNT_TOKENS:
                counts = [self._engine.count_tokens(text) for text in texts]
                self._channel.send(Kind.COUNTS, request, protocol.encode_counts(counts))
            elif kind == Kind.EMBED_INTERACTIVE:
                vectors = self._engine.embed(texts)
                self._channel.send(Kind.VECTORS, request, *protocol.encode_vectors(vectors))
            elif kind == Kind.RANK:
                if not texts:
                    raise ProtocolError("there is no query to rank by")
                self._run(request, lambda: self._engine.begin_ranking(texts[0], texts[1:]))
            else:
                self._run(request, lambda: self._engine.begin(texts))
        except (ModelFault, ProtocolError, MemoryError, ValueError) as error:
            self._channel.send(Kind.ERROR, request, protocol.encode_error(str(error) or type(error).__name__))

    def _run(self, request: int, begin: Callable[[], Embedding]) -> None:
        self._inbox.begin_batch(request)
        try:
            embedding = begin()
            last_sign = time.monotonic()
            while embedding.step():
                if time.monotonic() - last_sign >= SIGN_EVERY_S:
                    self._channel.send(Kind.ALIVE, 0)
                    last_sign = time.monotonic()
                if not self._inbox.batch_goes_on():
                    return
                while (urgent := self._inbox.take_urgent()) is not None:
                    self._answer(urgent)
            self._channel.send(Kind.VECTORS, request, *protocol.encode_vectors(embedding.vectors))
        finally:
            self._inbox.end_batch()


def limit_memory(model: Path) -> None:
    """Refuse allocations that only absurd metadata can ask for (POSIX)."""
    if sys.platform != "win32":
        import resource

        limit = model.stat().st_size + ADDRESS_SPACE_BESIDE_MODEL
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> int:
    """Run a worker on the standard streams."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--max-tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cautious", action="store_true")
    options = parser.parse_args()
    channel = Channel.claim_stdio()
    # Ctrl-C in a terminal reaches the whole process group; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        limit_memory(options.model)
        confine(Allowed(read=(os.path.realpath(options.model),)))  # before anything of the file is read
        from studio.embedding.worker.engine import Engine

        limits = {"max_tokens": options.max_tokens, "threads": options.threads, "cautious": options.cautious}
        server = Server(channel, Engine(options.model, **limits))
    except (ModelFault, OSError, ImportError, ValueError, MemoryError) as error:
        fault = (
            error if isinstance(error, ModelFault) else ModelFault(f"{options.model.name} cannot be loaded: {error}.")
        )
        channel.send(Kind.ERROR, 0, protocol.encode_error(str(fault), fault.way_out))
        return 1
    try:
        server.ready()
        server.serve()
    except BrokenPipeError:
        return 0
    return 0


if __name__ == "__main__":
    # The reader thread sits in a blocking read that interpreter shutdown would wait for.
    code = main()
    sys.stderr.flush()
    os._exit(code)
