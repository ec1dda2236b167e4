"""What Tantivy's errors mean: it raises ValueError, and sometimes OSError, with the cause in the text."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from studio.errors import StorageFault, StudioError, storage_fault
from studio.index.keywords.tantivy_internals import FILE_GONE, NO_SPACE
from studio.ways_out import RunRepair


@contextlib.contextmanager
def mapped(path: Path) -> Iterator[None]:
    """Raise StorageFault for what goes wrong with the index in `path` while the block runs."""
    try:
        yield
    except StudioError:
        raise
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise _gone(path) from error
        raise storage_fault(error, "using the keyword index", path) from error
    except (ValueError, RuntimeError) as error:
        text = str(error)
        if FILE_GONE in text:
            raise _gone(path) from error
        if any(part in text for part in NO_SPACE):
            raise storage_fault(OSError(errno.ENOSPC, text), "using the keyword index", path) from error
        raise StorageFault(
            f"The keyword index in {path} failed: {text.splitlines()[0][:300]}",
            way_out=RunRepair(),
        ) from error


def _gone(path: Path) -> StorageFault:
    return StorageFault(f"The keyword index {path} is gone, or files of it are.", way_out=RunRepair())
