"""What errors of Lance mean to a person."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
from collections.abc import Iterator
from pathlib import Path

from studio.errors import StorageFault, StudioError, storage_fault
from studio.ways_out import RunRepair

_MISSING = re.compile(r"Not found: ((?:/|[A-Za-z]:)[^,]+)")


def is_panic(error: BaseException) -> bool:
    """Whether the library panicked over a damaged file: an exception of the async bridge's own, or no `Exception`."""
    return type(error).__name__ in ("RustPanic", "PanicException")


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[None]:
    """Lance raises RuntimeError, OSError or ValueError with the cause in the text."""
    try:
        yield
    except (StudioError, asyncio.CancelledError):
        raise
    except OSError as error:
        raise _from_text(error, path) or storage_fault(error, "using the vector tables", path) from error
    except BaseException as error:
        if not isinstance(error, RuntimeError | ValueError) and not is_panic(error):
            raise
        raise _from_text(error, path) or StorageFault(
            f"The vector tables in {path} failed: {str(error).splitlines()[0][:300]}",
            way_out=RunRepair(),
        ) from error


def _from_text(error: BaseException, path: Path) -> StorageFault | None:
    text = str(error)
    for code, needles in (
        (errno.ENOSPC, ("No space left", "os error 28")),
        (errno.EACCES, ("Permission denied", "os error 13")),
        (errno.EROFS, ("Read-only file system", "os error 30")),
    ):
        if any(needle in text for needle in needles):
            return storage_fault(OSError(code, text[:120]), "using the vector tables", path)
    if any(needle in text for needle in ("Not found", "not found", "no longer exists", "No such file")):
        file = _MISSING.search(text)
        return StorageFault(
            f"A file of the vector tables is gone: {file.group(1) if file else path}.",
            way_out=RunRepair(),
        )
    return None
