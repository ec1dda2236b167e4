"""The exception tree.

Two branches: an `EnvironmentFault` is the world being as it sometimes is (disk full, bad file, no
permission) and is reported to the person; anything else that escapes is a bug. Foreign exceptions
are mapped onto this tree in the one module that imports the foreign library.

    StudioError
    ├── InvalidRequest        the request makes no sense (empty query, unknown mode)   exit code 2
    ├── NotFound              a knowledge base, generation or document that is not there
    ├── Conflict              the state forbids it (name taken, generation not promotable)
    ├── Cancelled             the person stopped it
    ├── InvariantViolated     a bug, caught before it did harm
    └── EnvironmentFault
        ├── StorageFault      disk full, read-only, unreadable store, newer schema
        ├── Busy              another process holds the writer lock
        ├── BundleFault       an exported file that is damaged, hostile, or of another version
        ├── DocumentFault     one file cannot be indexed; carries a `FailureCode`
        ├── WorkerDied        a worker process ended or was killed
        │   ├── WorkerCrashed by a fault of its own
        │   └── WorkerKilled  by somebody else
        ├── MemoryRefused     what was asked for does not fit into the memory budget
        └── ModelFault        model missing, rejected, or not downloadable
"""

from __future__ import annotations

import errno
from enum import StrEnum
from pathlib import Path

from studio.ways_out import AnotherDataFolder, WayOut


class StudioError(Exception):
    """An error with a message for a person and, where there is one, the way out.

    `str()` gives the message alone; `way_out` is a text that can follow it, in which ways out stand as their marks
    (`studio.ways_out`): the command line and the window word them.
    """

    exit_code = 1

    def __init__(self, message: str, *, way_out: WayOut | str = "") -> None:
        super().__init__(message)
        self.way_out = str(way_out)

    @property
    def full_message(self) -> str:
        """Message and way out as one text, to be worded where it is shown."""
        return f"{self} {self.way_out}".rstrip()


class InvalidRequest(StudioError):
    """The request makes no sense as it stands."""

    exit_code = 2


class NotFound(StudioError):
    """What was named does not exist."""


class Conflict(StudioError):
    """The present state forbids the request."""


class Cancelled(StudioError):
    """The person stopped the operation."""


class InvariantViolated(StudioError):
    """A check inside the program failed: a bug, stopped before it was written."""


class EnvironmentFault(StudioError):
    """A fault of the environment (disk, memory, permissions, processes); not a bug."""


class StorageFault(EnvironmentFault):
    """The data directory cannot be read or written."""


class Busy(EnvironmentFault):
    """Another process is doing this already."""


class BundleFault(EnvironmentFault):
    """A file is not a whole and sound bundle, or a newer program wrote it; nothing of it was used."""


class WorkerDied(EnvironmentFault):
    """A worker process ended before it answered."""


class WorkerCrashed(WorkerDied):
    """A worker process ended by a fault of its own code, such as a segmentation fault; it was not killed."""


class WorkerKilled(WorkerDied):
    """A worker process was ended by somebody else: a person, or the system that was short of memory."""


class MemoryRefused(EnvironmentFault):
    """What was to be started needs more memory than there is; it was not started."""


class ModelFault(EnvironmentFault):
    """An embedding model is missing, broken, of the wrong kind, or cannot be fetched."""


class FailureCode(StrEnum):
    """Why a document could not be indexed: stable codes for scripts."""

    CORRUPT = "corrupt"
    ENCRYPTED = "encrypted"
    EMPTY = "empty"
    NO_TEXT = "no_text"
    NEEDS_OCR = "needs_ocr"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    CRASHED = "crashed"
    NO_PERMISSION = "no_permission"
    VANISHED = "vanished"
    UNREADABLE = "unreadable"
    BAD_VECTOR = "bad_vector"
    CHANGED = "changed"


class DocumentFault(EnvironmentFault):
    """One document cannot be indexed; the rest of the job goes on."""

    def __init__(self, code: FailureCode, message: str, *, way_out: WayOut | str = "") -> None:
        super().__init__(message, way_out=way_out)
        self.code = code


_OUT_OF_REACH = frozenset(
    getattr(errno, name)
    for name in (
        "EIO", "ENXIO", "ENODEV", "ESTALE", "EREMOTEIO", "ENOTCONN", "ENETDOWN", "ENETUNREACH", "ECONNRESET",
        "ECONNABORTED", "ETIMEDOUT", "EHOSTDOWN", "EHOSTUNREACH", "ENOMEDIUM",
    )
    if hasattr(errno, name)
)  # fmt: skip
"""What a drive or a server says that does not answer as it should."""


def reading_fault(error: OSError) -> DocumentFault:
    """What an error in the middle of a file means: that its drive does not give it, or that its content is damaged."""
    out_of_reach = error.errno in _OUT_OF_REACH
    return DocumentFault(
        FailureCode.UNREADABLE if out_of_reach else FailureCode.CORRUPT,
        f"The file cannot be read: {error.strerror or error}.",
        way_out="Check the drive or server it lies on." if out_of_reach else "",
    )


def storage_fault(error: OSError, doing: str, path: Path | str | None = None) -> StorageFault:
    """Map an `OSError` to a message a person understands. `doing` completes "while …"."""
    where = path if path is not None else error.filename
    at = f" ({where})" if where else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFault(
            f"The disk is full while {doing}{at}.",
            way_out="Free some space and try again; what was indexed before is intact.",
        )
    if error.errno == errno.EFBIG:
        return StorageFault(
            f"A file would grow beyond what is allowed here while {doing}{at}.",
            way_out=AnotherDataFolder("Raise the limit (ulimit -f, or the file system's)"),
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return StorageFault(f"No permission while {doing}{at}.", way_out="Check the folder's permissions.")
    if error.errno == errno.EROFS:
        return StorageFault(f"The file system is read-only while {doing}{at}.", way_out=AnotherDataFolder())
    return StorageFault(f"{error.strerror or error} while {doing}{at}.")
