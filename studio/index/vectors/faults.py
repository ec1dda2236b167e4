"""What errors of Lance mean to a person."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from studio.errors import StorageFault, StudioError, storage_fault
from studio.index.vectors.lance_internals import FILE_GONE, NAMED_FILE, NO_ACCESS, NO_SPACE, READ_ONLY, is_panic
from studio.ways_out import RunRepair


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
        (errno.ENOSPC, NO_SPACE),
        (errno.EACCES, NO_ACCESS),
        (errno.EROFS, READ_ONLY),
    ):
        if any(needle in text for needle in needles):
            return storage_fault(OSError(code, text[:120]), "using the vector tables", path)
    if any(needle in text for needle in FILE_GONE):
        file = NAMED_FILE.search(text)
        return StorageFault(
            f"A file of the vector tables is gone: {file.group(1) if file else path}.",
            way_out=RunRepair(),
        )
    return None
