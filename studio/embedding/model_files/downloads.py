"""Downloads that can be resumed, over plain urllib."""

from __future__ import annotations

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from pathlib import Path

from studio.embedding.model_files.files import BLOCK_BYTES
from studio.embedding.model_files.progress import Monitor
from studio.errors import ModelFault

TIMEOUT_S = 15.0
ATTEMPTS = 5
PAUSE_S = 1.0
USER_AGENT = "rag-studio"

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_TRANSIENT_STATUS = (408, 429, 500, 502, 503, 504)


class _Interrupted(Exception):
    """The connection failed; what arrived so far is kept."""


class _Unreachable(_Interrupted):
    """No connection came about at all."""


def partial_path(folder: Path, url: str) -> Path:
    """Where an unfinished download of `url` is kept, so that a later attempt finds it."""
    return folder / f".partial-{hashlib.sha256(url.encode()).hexdigest()[:24]}"


def download(url: str, partial: Path, monitor: Monitor) -> None:
    """Complete the file `partial` from `url`, going on where an earlier attempt stopped.

    The server's ETag is kept beside it, so parts of two different files are never joined. Raises
    ModelFault when the server refuses or cannot be reached, Cancelled, OSError when writing fails.
    """
    reason: Exception | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            monitor.wait(PAUSE_S * attempt)
        try:
            _attempt(url, partial, monitor)
            _tag_path(partial).unlink(missing_ok=True)
            return
        except _Interrupted as error:
            if isinstance(reason, _Unreachable) and isinstance(error, _Unreachable):
                break  # twice in a row: the network is not there
            reason = error
    raise ModelFault(f"{url} cannot be downloaded: {reason}.")


def _attempt(url: str, partial: Path, monitor: Monitor) -> None:
    have = _size(partial)
    tag = _tag_path(partial).read_text() if have and _tag_path(partial).exists() else ""
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    if tag:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S) as response:
            if response.status == 206 and _strong_tag(response) not in ("", tag):
                partial.unlink()  # the server overlooked If-Range: this is a part of another file
                raise _Interrupted("the file changed on the server")
            start, total = _extent(response, have if tag else 0)
            _tag_path(partial).write_text(_strong_tag(response))
            with partial.open("ab") as file:
                file.truncate(start)
                _copy(response, file, start, total, url, monitor)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and tag:  # more is there than the server has: start afresh
            partial.unlink()
            raise _Interrupted("the part that was there does not fit the file") from error
        if error.code in _TRANSIENT_STATUS:
            raise _Interrupted(f"the server answered {error.code} {error.reason}") from error
        raise ModelFault(f"{url} cannot be downloaded: the server answered {error.code} {error.reason}.") from error
    except urllib.error.URLError as error:
        raise _Unreachable(str(error.reason)) from error
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _Interrupted(str(error) or type(error).__name__) from error
    except ValueError as error:
        raise ModelFault(f"{url} is not an address that can be downloaded: {error}.") from error


def _extent(response: http.client.HTTPResponse, asked: int) -> tuple[int, int | None]:
    """First byte of the answer and size of the whole file, where known."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status == 206 and match is not None:
        if int(match[1]) != asked:
            raise _Interrupted("the server sent another part of the file than the one asked for")
        return asked, None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length")
    return 0, int(length) if length is not None else None


def _copy(
    response: http.client.HTTPResponse, file: object, start: int, total: int | None, url: str, monitor: Monitor
) -> None:
    done = start
    name = url.rsplit("/", 1)[-1]
    while block := response.read1(BLOCK_BYTES):
        file.write(block)  # type: ignore[attr-defined]
        done += len(block)
        monitor.report(done, total, f"Downloading {name}")
    if total is not None and done != total:
        raise _Interrupted(f"the connection ended after {done} of {total} bytes")


def _strong_tag(response: http.client.HTTPResponse) -> str:
    tag = response.headers.get("ETag", "")
    return "" if tag.startswith("W/") else tag or response.headers.get("Last-Modified", "")


def _tag_path(partial: Path) -> Path:
    return partial.with_name(partial.name + ".tag")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
