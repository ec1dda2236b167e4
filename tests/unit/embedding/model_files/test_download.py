from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from studio.embedding.model_files import Monitor, download, partial_path
from studio.embedding.model_files import downloads as download_module
from studio.errors import Cancelled, ModelFault

CONTENT = np.random.default_rng(2).bytes(3_000_000)


class Site(ThreadingHTTPServer):
    """A file server that knows ranges, and breaks the connection after so many bytes if told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.etag = '"one"'
        self.ignores_conditions = False
        self.ranges: list[str | None] = []
        self.break_after: list[int] = []
        self.status: list[int] = []

    def url(self, name: str = "model.gguf") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        site = self.server
        asked = self.headers.get("Range")
        site.ranges.append(asked)
        if site.status and (status := site.status.pop(0)) != 200:
            self.send_error(status)
            return
        start = 0
        condition = None if site.ignores_conditions else self.headers.get("If-Range")
        if asked and condition in (None, site.etag):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(site.content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(site.content) - 1}/{len(site.content)}")
        else:
            self.send_response(200)
        body = site.content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", site.etag)
        self.end_headers()
        self.wfile.write(body[: site.break_after.pop(0)] if site.break_after else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(download_module, "PAUSE_S", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Site()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def monitor() -> Monitor:
    return Monitor(lambda *_: None)


def test_a_download_arrives_whole_with_progress(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    download(site.url(), tmp_path / "p", Monitor(lambda done, total, _: seen.append((done, total))))
    assert (tmp_path / "p").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_a_broken_download_goes_on_where_it_stopped(site: Site, tmp_path: Path, monitor: Monitor) -> None:
    site.break_after = [1_000_000, 500_000]
    download(site.url(), tmp_path / "p", monitor)
    assert (tmp_path / "p").read_bytes() == CONTENT
    assert site.ranges == [None, "bytes=1000000-", "bytes=1500000-"]


@pytest.mark.parametrize("ignores_conditions", [False, True])
def test_a_changed_file_is_fetched_from_the_start(
    site: Site, tmp_path: Path, monitor: Monitor, ignores_conditions: bool
) -> None:
    site.ignores_conditions = ignores_conditions
    site.break_after = [1_000_000]
    site.status = [200, 404]
    with pytest.raises(ModelFault, match="404"):
        download(site.url(), tmp_path / "p", monitor)
    site.content, site.etag = CONTENT[::-1], '"two"'
    download(site.url(), tmp_path / "p", monitor)
    assert site.ranges[2] == "bytes=1000000-"
    assert (tmp_path / "p").read_bytes() == CONTENT[::-1]


def test_a_part_longer_than_the_file_is_thrown_away(site: Site, tmp_path: Path, monitor: Monitor) -> None:
    (tmp_path / "p").write_bytes(b"x" * (len(CONTENT) + 5))
    (tmp_path / "p.tag").write_text(site.etag)
    download(site.url(), tmp_path / "p", monitor)
    assert (tmp_path / "p").read_bytes() == CONTENT


def test_passing_trouble_is_waited_out(site: Site, tmp_path: Path, monitor: Monitor) -> None:
    site.status = [503, 429, 200]
    download(site.url(), tmp_path / "p", monitor)
    assert (tmp_path / "p").read_bytes() == CONTENT


def test_a_server_that_always_breaks_is_given_up_with_the_reason(site: Site, tmp_path: Path, monitor: Monitor) -> None:
    site.break_after = [0] * 10
    with pytest.raises(ModelFault, match="after 0 of 3000000 bytes"):
        download(site.url(), tmp_path / "p", monitor)


def test_nobody_there_and_nonsense_addresses(tmp_path: Path, site: Site, monitor: Monitor) -> None:
    with pytest.raises(ModelFault, match="refused"):
        download("http://127.0.0.1:9/model.gguf", tmp_path / "p", monitor)
    for url in ("http://[broken/model.gguf", "nothing://x/y"):
        with pytest.raises(ModelFault):
            download(url, tmp_path / "p", monitor)


def test_stopping_keeps_the_part_that_arrived(site: Site, tmp_path: Path) -> None:
    def stop(done: int, _total: int | None, _what: str) -> None:
        if done:
            monitor.stop()

    monitor = Monitor(stop)
    with pytest.raises(Cancelled):
        download(site.url(), tmp_path / "p", monitor)
    assert CONTENT.startswith((tmp_path / "p").read_bytes())
    assert (tmp_path / "p").stat().st_size > 0


def test_partial_names_differ_by_address(tmp_path: Path) -> None:
    assert partial_path(tmp_path, "http://a/x.gguf") != partial_path(tmp_path, "http://b/x.gguf")
