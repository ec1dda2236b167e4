"""What a running job tells: at most ten snapshots a second, only what changed."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from studio.domain import FileProgress, FileState, IngestProgress, IngestStage, ProgressSink

MIN_INTERVAL_S = 0.1
_FINAL = frozenset({FileState.INDEXED, FileState.UNCHANGED, FileState.REMOVED, FileState.FAILED})


class ProgressTracker:
    """Collects the state of every file of a job and reports it to a sink."""

    def __init__(self, job_id: str, kb_id: str, sink: ProgressSink | None) -> None:
        self._job_id = job_id
        self._kb_id = kb_id
        self._sink = sink
        self._stage = IngestStage.SCANNING
        self._files: dict[str, FileProgress] = {}
        self._begun: dict[str, float] = {}
        self._changed: dict[str, FileProgress] = {}
        self._done = self._failed = self.chunks_done = 0
        self._started = time.monotonic()
        self._embedding_since: float | None = None
        self._last = 0.0

    def expect(self, paths: Iterable[Path | str]) -> None:
        """These files are part of the job."""
        for path in paths:
            self._set(FileProgress(str(path), FileState.WAITING))
        self._emit()

    def stage(self, stage: IngestStage) -> None:
        """The job as a whole moves on; always reported at once."""
        self._stage = stage
        self._emit(force=True)

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
        self._changed[item.path] = item
        self._done += (item.state in _FINAL) - was_final
        self._failed += (item.state is FileState.FAILED) - was_failed

    def _emit(self, *, force: bool = False) -> None:
        if self._sink is None:
            return
        now = time.monotonic()
        if not force and now - self._last < MIN_INTERVAL_S:
            return
        self._last = now
        total, done = len(self._files), self._done
        elapsed = now - self._started
        left = elapsed / done * (total - done) if done and self._stage is IngestStage.INDEXING else None
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
            )
        )
