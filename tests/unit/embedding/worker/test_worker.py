from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from studio.domain import ModelInfo
from studio.embedding.client import probe
from studio.embedding.client.launch import start_worker
from studio.embedding.worker import Kind, ReadyInfo, protocol
from studio.embedding.worker import main as worker
from studio.embedding.worker.engine import Embedding, Engine
from studio.embedding.worker.main import Inbox, Server
from studio.errors import ModelFault
from studio.workers import Channel
from tests.unit.embedding.model_files import bad_gguf

LONG = "the quick fox jumps over the lazy dog " * 5  # fills a pack of the tiny model on its own


class Conversation:
    """A real server and engine in a thread of this process, with the parent's end of its pipes."""

    def __init__(self, engine: Engine) -> None:
        request_end, request_start = os.pipe()
        answer_end, answer_start = os.pipe()
        self.parent = Channel(os.fdopen(answer_end, "rb"), os.fdopen(request_start, "wb"))
        self._ends = [self.parent._reader, self.parent._writer]
        child = Channel(os.fdopen(request_end, "rb"), os.fdopen(answer_start, "wb"))
        self._child_ends = [child._reader, child._writer]
        self.server = Server(child, engine)
        self._thread = threading.Thread(target=self.server.serve)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ends[1].close()
        self._thread.join()
        for end in (self._ends[0], *self._child_ends):
            end.close()


class GatedEngine(Engine):
    """A real engine that waits before its n-th pack until the test lets it go on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, max_tokens=48)
        self.batch_begun = threading.Event()
        self.go_on = threading.Event()

    def begin(self, texts: list[str]) -> Embedding:  # type: ignore[override]
        embedding = super().begin(texts)
        if len(texts) > 1:
            self.batch_begun.set()
            assert self.go_on.wait(60)
        return embedding


@pytest.fixture
def engine(tiny_gguf: Path) -> Iterator[GatedEngine]:
    loaded = GatedEngine(tiny_gguf)
    yield loaded
    loaded.close()


@pytest.fixture
def talk(engine: GatedEngine) -> Iterator[Conversation]:
    conversation = Conversation(engine)
    conversation.start()
    yield conversation
    engine.go_on.set()
    conversation.close()


def wait_until_received(conversation: Conversation, requests: int) -> None:
    """Until the reader thread has sorted in that many waiting requests."""
    inbox = conversation.server._inbox
    with inbox._changed:
        assert inbox._changed.wait_for(lambda: sum(map(len, inbox._waiting.values())) == requests, 60)


def test_a_query_overtakes_the_batch_under_way(talk: Conversation, engine: GatedEngine) -> None:
    parent = talk.parent
    parent.send(Kind.EMBED, 1, protocol.encode_texts([LONG] * 8))
    assert engine.batch_begun.wait(60)
    parent.send(Kind.EMBED, 2, protocol.encode_texts(["a house"]))
    parent.send(Kind.COUNT_TOKENS, 3, protocol.encode_texts(["a house"]))
    parent.send(Kind.EMBED_INTERACTIVE, 4, protocol.encode_texts(["the fox"]))
    wait_until_received(talk, 2)
    counted = parent.receive()  # at once, while the model is at work
    assert counted == (Kind.COUNTS, 3, protocol.encode_counts([engine.count_tokens("a house")]))
    engine.go_on.set()
    answers = [parent.receive() for _ in range(3)]
    assert [(kind, request) for kind, request, _ in answers] == [
        (Kind.VECTORS, 4),
        (Kind.VECTORS, 1),
        (Kind.VECTORS, 2),
    ]
    np.testing.assert_array_equal(protocol.decode_vectors(answers[1][2]), engine.embed([LONG]).repeat(8, axis=0))


def test_a_long_batch_gives_signs_of_life(
    talk: Conversation, engine: GatedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SIGN_EVERY_S", 0.0)
    engine.go_on.set()
    talk.parent.send(Kind.EMBED, 5, protocol.encode_texts([LONG] * 4))
    frames = [talk.parent.receive()[:2]]
    while frames[-1][0] == Kind.ALIVE:
        frames.append(talk.parent.receive()[:2])
    assert frames == [(Kind.ALIVE, 0)] * 4 + [(Kind.VECTORS, 5)]


def test_withdrawn_requests_are_not_answered(talk: Conversation, engine: GatedEngine) -> None:
    parent = talk.parent
    parent.send(Kind.EMBED, 1, protocol.encode_texts([LONG] * 8))
    assert engine.batch_begun.wait(60)
    parent.send(Kind.EMBED, 2, protocol.encode_texts(["a house"]))
    parent.send(Kind.CANCEL, 2)
    parent.send(Kind.CANCEL, 1)
    parent.send(Kind.CANCEL, 77)
    parent.send(Kind.EMBED, 3, protocol.encode_texts(["a fox"]))
    parent.send(Kind.COUNT_TOKENS, 4, protocol.encode_texts([]))
    assert parent.receive()[1] == 4
    wait_until_received(talk, 1)
    engine.go_on.set()
    assert parent.receive()[1] == 3


@pytest.mark.parametrize(
    ("kind", "body"),
    [(Kind.EMBED, b""), (Kind.EMBED_INTERACTIVE, b"\xff" * 9), (Kind.COUNT_TOKENS, b"\x09\0\0\0"), (250, b"?")],
)
def test_bad_requests_get_an_error_and_the_worker_goes_on(talk: Conversation, kind: int, body: bytes) -> None:
    talk.parent.send(kind, 9, body)
    answer, request, message = talk.parent.receive()
    assert (answer, request) == (Kind.ERROR, 9)
    assert protocol.decode_error(message)
    talk.parent.send(Kind.EMBED, 10, protocol.encode_texts([]))
    kind, request, body = talk.parent.receive()
    assert (kind, request) == (Kind.VECTORS, 10)
    assert protocol.decode_vectors(body).shape == (0, 64)


def test_the_greeting_describes_the_model(talk: Conversation) -> None:
    talk.server.ready()
    kind, request, body = talk.parent.receive()
    assert (kind, request) == (Kind.READY, 0)
    ready = ReadyInfo.decode(body)
    assert (ready.architecture, ready.dimension, ready.max_tokens, ready.pooling) == ("bert", 64, 48, "mean")


def test_a_batch_ends_when_the_parent_is_gone(engine: GatedEngine) -> None:
    conversation = Conversation(engine)
    conversation.start()
    conversation.parent.send(Kind.EMBED, 1, protocol.encode_texts([LONG] * 8))
    assert engine.batch_begun.wait(60)
    conversation._ends[1].close()
    inbox = conversation.server._inbox
    with inbox._changed:
        assert inbox._changed.wait_for(lambda: inbox._closed, 60)
    engine.go_on.set()
    conversation.close()  # joins the server's thread


def test_take_returns_the_most_urgent_first() -> None:
    inbox = Inbox()
    for request, kind in enumerate([Kind.EMBED, Kind.EMBED_INTERACTIVE, Kind.EMBED, Kind.EMBED_INTERACTIVE]):
        inbox.put((kind, request, b""))
    taken = [inbox.take() for _ in range(4)]
    assert [frame[1] for frame in taken if frame is not None] == [1, 3, 0, 2]
    assert inbox.take_urgent() is None
    inbox.close()
    assert inbox.take() is None


@pytest.mark.parametrize("case", bad_gguf.BAD)
async def test_bad_files_end_in_a_sentence(case: str, tiny_gguf: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad_gguf.BAD[case](tiny_gguf, bad)
    with pytest.raises(ModelFault) as caught:
        await probe(bad, max_tokens=48)
    assert "bad.gguf" in str(caught.value)
    assert "Traceback" not in str(caught.value)


async def test_a_good_file_is_recognised(default_model: ModelInfo) -> None:
    assert default_model.path is not None
    ready = await probe(default_model.path, max_tokens=256)
    assert (ready.dimension, ready.max_tokens, ready.pooling, ready.vocabulary_size) == (384, 256, "mean", 30522)


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFault, match=r"not-there\.gguf"):
        await start_worker(tmp_path / "not-there.gguf", max_tokens=48)


async def test_the_worker_ends_when_its_parent_closes_the_pipe(tiny_gguf: Path) -> None:
    process, ready = await start_worker(tiny_gguf, max_tokens=48)
    assert ready.pid == process.pid
    await process.close(grace_s=60)
    assert not process.alive
    assert process._process.returncode == 0
