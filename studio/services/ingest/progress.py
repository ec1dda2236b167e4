"""What a running job tells: at most ten snapshots a second, only what changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from studio.domain import FileProgress, FileState, IngestProgress, IngestStage, ProgressSink
from studio.services.ingest.control import JobControl

MIN_INTERVAL_S = 0.1
_FINAL = frozenset({FileState.INDEXED, FileState.UNCHANGED, FileState.REMOVED, FileState.FAILED})


class ProgressTracker:
    """Collects the state of every file of a job and reports it to a sink. For one event loop; `close` ends it.

    The time left follows from the bytes of the files that are through: a folder of one book and a thousand notes
    is not half done after five hundred notes.
    """

    def __init__(self, job_id: str, kb_id: str, sink: ProgressSink | None, control: JobControl | None = None) -> None:
        self._job_id = job_id
        self._kb_id = kb_id
        self._sink = sink
        self._control = control
        self._stage = IngestStage.SCANNING
        self._files: dict[str, FileProgress] = {}
        self._bytes: dict[str, int] = {}
        self._begun: dict[str, float] = {}
        self._changed: dict[str, FileProgress] = {}
        self._done = self._failed = self.chunks_done = 0
        self._bytes_total = self._bytes_done = 0
        self._started = time.monotonic()
        self._indexing_since: float | None = None
        self._embedding_since: float | None = None
        self._last = 0.0
        self._later: asyncio.TimerHandle | None = None
        if control is not None:
            control.changed = lambda: self._emit(force=True)

    def expect(self, files: Iterable[tuple[Path | str, int]]) -> None:
        """These files, of these sizes in bytes, are part of the job."""
        for path, size in files:
            self._bytes[str(path)] = size
            self._bytes_total += size
            self._set(FileProgress(str(path), FileState.WAITING))
        self._emit()

    def stage(self, stage: IngestStage) -> None:
        """The job as a whole moves on; always reported at once."""
        self._stage = stage
        if stage is IngestStage.INDEXING:
            self._indexing_since = time.monotonic()
        self._emit(force=True)

    def pages(self, path: Path | str, done: int, total: int) -> None:
        """A file is being read; so many of its pages are through."""
        before = self._files.get(str(path))
        if before is not None and before.state is FileState.PARSING:
            self._set(replace(before, pages=total, pages_done=done))
            self._emit()

    def removed(self, path: str) -> None:
        """A file is gone, and its documents with it."""
        self.file(path, FileState.REMOVED)

    def final(self, path: Path | str) -> FileProgress | None:
        """How a file ended; None while it has not."""
        found = self._files.get(str(path))
        return found if found is not None and found.state in _FINAL else None

    def file(
        self,
        path: Path | str,
        state: FileState,
        *,
        chunks_done: int = 0,
        chunks_total: int = 0,
        pages: int = 0,
        error: str = "",
        reason: str = "",
    ) -> None:
        """A file moves on."""
        key = str(path)
        begun = self._begun.setdefault(key, time.monotonic())
        before = self._files.get(key)
        self._set(
            FileProgress(
                key,
                state,
                chunks_done=(before.chunks_done if before else 0) + chunks_done,
                chunks_total=(before.chunks_total if before else 0) + chunks_total,
                pages=(before.pages if before else 0) + pages,
                seconds=time.monotonic() - begun,
                error=error,
                reason=reason,
            )
        )
        if chunks_done:
            self._embedding_since = self._embedding_since or begun
            self.chunks_done += chunks_done
        self._emit()

    def close(self) -> None:
        """Tell nothing any more that is not told at once. Idempotent."""
        if self._later is not None:
            self._later.cancel()
            self._later = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the job began."""
        return time.monotonic() - self._started

    @property
    def chunks_per_second(self) -> float:
        """Rate since the first chunk began."""
        if not self.chunks_done or self._embedding_since is None:
            return 0.0
        return self.chunks_done / max(1e-6, time.monotonic() - self._embedding_since)

    def _set(self, item: FileProgress) -> None:
        before = self._files.get(item.path)
        was_final = before is not None and before.state in _FINAL
        was_failed = before is not None and before.state is FileState.FAILED
        self._files[item.path] = item
        if self._sink is not None:
            self._changed[item.path] = item
        if item.state in _FINAL and not was_final:
            self._begun.pop(item.path, None)
            size = self._bytes.pop(item.path, 0)
            if item.state is FileState.UNCHANGED:
                self._bytes_total -= size
            else:
                self._bytes_done += size
        self._done += (item.state in _FINAL) - was_final
        self._failed += (item.state is FileState.FAILED) - was_failed

    def _emit(self, *, force: bool = False) -> None:
        if self._sink is None:
            return
        now = time.monotonic()
        wait_s = self._last + MIN_INTERVAL_S - now
        if not force and wait_s > 0:
            if self._later is None:  # else the last change before a long step would not be told until it is over
                self._later = asyncio.get_running_loop().call_later(wait_s, partial(self._emit, force=True))
            return
        self.close()
        self._last = now
        total, done = len(self._files), self._done
        left = None
        if self._bytes_done and self._indexing_since is not None and self._stage is IngestStage.INDEXING:
            left = (now - self._indexing_since) * (self._bytes_total - self._bytes_done) / self._bytes_done
        changed, self._changed = tuple(self._changed.values()), {}
        self._sink(
            IngestProgress(
                job_id=self._job_id,
                kb_id=self._kb_id,
                stage=self._stage,
                files_total=total,
                files_done=done,
                files_failed=self._failed,
                chunks_done=self.chunks_done,
                chunks_per_second=self.chunks_per_second,
                seconds_left=left,
                changed=changed,
                paused=self._control.paused if self._control is not None else "",
            )
        )
