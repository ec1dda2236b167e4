"""Starting a worker process and hearing what it loaded."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import numpy as np
import psutil

from studio.domain import RANK_POOLING
from studio.embedding.worker import Kind, ProtocolError, ReadyInfo, protocol
from studio.errors import ModelFault, WorkerCrashed, WorkerDied
from studio.workers import WorkerProcess

log = logging.getLogger(__name__)

WORKER_MODULE = "studio.embedding.worker.main"
START_TIMEOUT_S = 60.0
SLOW_DISK_BYTES_PER_S = 20_000_000
"""Loading reads the whole file: a large one may take longer by what this gives."""

LIBRARY_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads ruin query latency on a busy machine
    "GGML_NO_BACKTRACE": "1",  # an abort would start a debugger and hang
    "OPENBLAS_NUM_THREADS": "1",  # numpy's threads would begin before the process is confined, and stay free
}

_SENTENCE = "A sentence to try the model with."
_TRY_AGAIN = "Try again. If it happens again, memory may be short: close other programs or choose a smaller model."
_SLOW = "Try again when the computer has less to do, or choose a smaller model."
_UNSUITABLE = "The file is damaged or not an embedding model; install another one."


def usual_threads() -> int:
    """How many threads suit this machine: one less than it has cores, so that files are read beside the model and a
    window stays quick. Threads wait for each other after every step, so one that shares its core slows all of them.

    Hyper-threads do not count, nor cores this process may not use; beyond eight a small model gains little.
    """
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    return max(1, min(cores - 1, 8))


async def start_worker(
    path: Path, *, max_tokens: int, threads: int = 1, cautious: bool = False
) -> tuple[WorkerProcess, ReadyInfo]:
    """Start a worker and load a GGUF file, `cautious` as of `Engine`.

    Raises WorkerCrashed when loading crashes the process, ModelFault when it fails or the process ends otherwise.
    """
    arguments = [str(path), "--max-tokens", str(max_tokens), "--threads", str(threads)]
    if cautious:
        arguments.append("--cautious")
    process = await WorkerProcess.spawn(WORKER_MODULE, arguments, LIBRARY_ENVIRONMENT)
    try:
        return process, await _greeting(process, path)
    except BaseException:
        await process.kill()
        raise


async def _greeting(process: WorkerProcess, path: Path) -> ReadyInfo:
    size = path.stat().st_size if path.is_file() else 0  # one that is missing is the worker's to name
    patience_s = START_TIMEOUT_S + size / SLOW_DISK_BYTES_PER_S
    try:
        async with asyncio.timeout(patience_s):
            kind, _, body = await process.receive()
        if kind != Kind.READY:
            message, way_out = protocol.decode_error(body)
            raise ModelFault(message, way_out=way_out)
        return ReadyInfo.decode(body)
    except WorkerCrashed:
        raise
    except WorkerDied as error:
        raise ended_fault(path.name, error) from error
    except TimeoutError as error:
        raise ModelFault(f"{path.name} did not load within {patience_s:.0f} seconds.", way_out=_SLOW) from error
    except ProtocolError as error:
        raise ModelFault(f"The worker that loaded {path.name} gave a senseless answer: {error}.") from error


def ended_fault(name: str, error: WorkerDied) -> ModelFault:
    """What to say when a model's process ended while it loaded and nothing says that the file was the cause."""
    return ModelFault(f"The process that was to run {name} ended before it was ready: {error}", way_out=_TRY_AGAIN)


def crash_fault(name: str, error: WorkerCrashed) -> ModelFault:
    """What to say when a model crashed its process, also without what crashes on some processors."""
    return ModelFault(
        f"{name} crashes the process that runs it, also without the processor's special instructions: {error}",
        way_out="The file is damaged, or llama.cpp cannot run models of its kind here; install another one.",
    )


async def probe(path: Path, *, max_tokens: int) -> ReadyInfo:
    """Load a GGUF file in a process of its own and try it, to see that it works. Raises ModelFault."""
    try:
        return await _probe(path, max_tokens, cautious=False)
    except WorkerCrashed as error:
        log.warning("%s crashed; it is tried without the processor's special instructions: %s", path.name, error)
    try:
        return await _probe(path, max_tokens, cautious=True)
    except WorkerCrashed as error:
        raise crash_fault(path.name, error) from error


async def _probe(path: Path, max_tokens: int, *, cautious: bool) -> ReadyInfo:
    process, ready = await start_worker(path, max_tokens=max_tokens, cautious=cautious)
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            if ready.pooling == RANK_POOLING:
                await process.send(Kind.RANK, 1, protocol.encode_texts(["What is tried?", _SENTENCE]))
            else:
                await process.send(Kind.EMBED, 1, protocol.encode_texts([_SENTENCE]))
            kind = int(Kind.ALIVE)
            while kind == Kind.ALIVE:
                kind, _, body = await process.receive()
        if kind != Kind.VECTORS:
            raise ModelFault(f"{path.name} loads but does not work: {protocol.decode_error(body)[0]}")
        vectors = protocol.decode_vectors(body)
        if ready.pooling == RANK_POOLING:
            usable = vectors.shape == (1, 1)
        else:
            usable = vectors.shape == (1, ready.dimension) and bool(vectors.any())
        if not usable or not np.isfinite(vectors).all():
            raise ModelFault(f"{path.name} loads but gives unusable vectors.", way_out=_UNSUITABLE)
        return ready
    except WorkerCrashed:
        raise
    except WorkerDied as error:
        raise ended_fault(path.name, error) from error
    except TimeoutError as error:
        raise ModelFault(f"{path.name} gave no answer within {START_TIMEOUT_S:.0f} seconds.") from error
    except ProtocolError as error:
        raise ModelFault(f"{path.name} loads but gives a senseless answer: {error}.", way_out=_UNSUITABLE) from error
    finally:
        await process.kill()
