from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.documents import frames, parser_worker
from studio.documents.parsers.base import corrupt, make_document
from studio.domain import PageCounts, ParsedDocument, Span
from studio.errors import DocumentFault, FailureCode
from studio.workers import HEADER, Channel
from tests.unit.documents.making import read


def answers(
    paths: list[Path], parse: Callable[[Path], Iterator[ParsedDocument]] | None = None
) -> list[tuple[int, int, bytes]]:
    """Run the worker's loop in this process over the given requests."""
    requests, out = io.BytesIO(), io.BytesIO()
    for number, path in enumerate(paths, 1):
        Channel(io.BytesIO(), requests).send(frames.PARSE, number, frames.encode_request(frames.Request(path)))
    requests.seek(0)
    channel = Channel(requests, out)
    if parse is None:
        parser_worker.serve(channel, lambda: None)
    else:
        parser_worker.serve(channel, lambda: None, parse)
    out.seek(0)
    received, reader = [], Channel(out, io.BytesIO())
    while out.tell() < len(out.getvalue()):
        received.append(reader.receive())
    return received


def document(text: str, row: int = 0) -> ParsedDocument:
    return make_document(text, (Span(0, len(text), 3, "A › B", True),), "text", row=row)


def test_documents_survive_the_pipe_unchanged() -> None:
    originals = [
        make_document(
            "Größe 😀. Zweiter Satz.\n\n你好。",
            (Span(0, 9, 1, "", True), Span(9, 28, None, "Ü")),
            "pdf",
            title="T",
            author="A",
            licence="L",
            created="2024",
            external_id="x",
            row=4,
            pages=PageCounts(4, 2, 1, 1),
            metadata={"k": "v"},
        ),
        document("plain", 7),
        ParsedDocument("", (), (), "text"),
    ]
    assert frames.decode_documents(b"".join(frames.encode_documents(originals))) == originals


def test_paths_and_faults_survive_the_pipe() -> None:
    odd = Path(os.fsdecode(b"/tmp/\xff\xfe name"))
    request = frames.Request(odd, ("geheim", "ß😀"), frames.Resume((3, 1), 17, {"empty": 2}))
    assert frames.decode_request(frames.encode_request(request)) == request
    assert "geheim" not in repr(request)
    fault = frames.decode_fault(frames.encode_fault(corrupt("PDF", "größer")))
    assert (fault.code, str(fault)) == (FailureCode.CORRUPT, "This PDF file is damaged and cannot be read: größer.")
    assert fault.way_out


def test_each_request_is_answered_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    received = answers([tmp_path / "a.txt", tmp_path / "gone.txt", tmp_path / "a.txt"])
    assert [(kind, request) for kind, request, _ in received] == [
        (frames.STARTED, 1),
        (frames.DOCUMENTS, 1),
        (frames.DONE, 1),
        (frames.STARTED, 2),
        (frames.FAULT, 2),
        (frames.STARTED, 3),
        (frames.DOCUMENTS, 3),
        (frames.DONE, 3),
    ]
    assert frames.decode_documents(received[1][2]) == read(tmp_path / "a.txt")
    assert frames.decode_fault(received[4][2]).code is FailureCode.VANISHED


def test_rows_travel_in_batches_of_bounded_size() -> None:
    received = answers([Path("x")], lambda _: (document("word " * 100, i) for i in range(2000)))
    batches = [frames.decode_documents(body) for kind, _, body in received if kind == frames.DOCUMENTS]
    assert [parsed.row for batch in batches for parsed in batch] == list(range(2000))
    assert len(batches) > 2
    assert all(len(batch) <= parser_worker.BATCH_DOCUMENTS for batch in batches)
    big = answers([Path("x")], lambda _: (document("x" * 100_000, i) for i in range(12)))
    sizes = [len(body) for kind, _, body in big if kind == frames.DOCUMENTS]
    assert len(sizes) == 4
    assert max(sizes) < 2 * parser_worker.BATCH_CHARS


def test_a_file_that_yields_slowly_is_sent_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser_worker, "BATCH_SECONDS", 0.0)
    received = answers([Path("x")], lambda _: (document("x", i) for i in range(5)))
    assert sum(kind == frames.DOCUMENTS for kind, _, _ in received) == 5


class Panic(BaseException):
    """What a Rust library raises when it gives up."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), FailureCode.OUT_OF_MEMORY),
        (RecursionError(), FailureCode.TOO_LARGE),
        (PermissionError(13, "denied"), FailureCode.NO_PERMISSION),
        (FileNotFoundError(2, "gone"), FailureCode.VANISHED),
        (OSError(5, "Input/output error"), FailureCode.UNREADABLE),
        (OSError("Invalid data stream"), FailureCode.CORRUPT),
        (NotImplementedError("x"), FailureCode.UNSUPPORTED),
        (KeyError("some internal name"), FailureCode.CORRUPT),
        (Panic("index out of bounds"), FailureCode.CORRUPT),
        (EOFError("in a compressed stream"), FailureCode.CORRUPT),
        (BrokenPipeError(32, "of another program"), FailureCode.CORRUPT),
        (corrupt("PDF"), FailureCode.CORRUPT),
    ],
)
def test_whatever_a_parser_raises_becomes_a_sentence(error: BaseException, code: FailureCode) -> None:
    def parse(path: Path) -> Iterator[ParsedDocument]:
        yield document("before")
        raise error

    received = answers([Path("x"), Path("x")], parse)
    faults = [frames.decode_fault(body) for kind, _, body in received if kind == frames.FAULT]
    assert [fault.code for fault in faults] == [code, code]
    for fault in faults:
        assert str(fault).endswith(".")
        assert "internal name" not in str(fault)
        assert "index out" not in str(fault)


def test_rows_before_a_fault_are_delivered() -> None:
    def parse(path: Path) -> Iterator[ParsedDocument]:
        yield document("good")
        raise DocumentFault(FailureCode.CORRUPT, "The rest is bad.")

    received = answers([Path("x")], parse)
    assert [kind for kind, _, _ in received] == [frames.STARTED, frames.DOCUMENTS, frames.FAULT]


def test_a_parent_that_is_gone_ends_the_loop() -> None:
    class Broken(io.BytesIO):
        def flush(self) -> None:
            if self.tell() > HEADER.size:
                raise BrokenPipeError

    requests = io.BytesIO()
    Channel(io.BytesIO(), requests).send(frames.PARSE, 1, frames.encode_request(frames.Request(Path("x"))))
    requests.seek(0)
    parser_worker.serve(Channel(requests, Broken()), lambda: None, lambda _: iter([document("a")]))
    requests.seek(0)
    parser_worker.serve(Channel(requests, Broken(b"x" * 20)), lambda: None, lambda _: iter([]))


def test_a_foreign_frame_is_a_bug() -> None:
    requests = io.BytesIO()
    Channel(io.BytesIO(), requests).send(99, 1)
    requests.seek(0)
    with pytest.raises(ValueError, match="99"):
        parser_worker.serve(Channel(requests, io.BytesIO()), lambda: None)
