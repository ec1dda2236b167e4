"""What to tell the person about anything that goes wrong in a parser."""

from __future__ import annotations

import logging

from studio.confinement import is_denied
from studio.documents import frames
from studio.documents.parsers.base import corrupt, too_large, unsupported
from studio.errors import DocumentFault, FailureCode, reading_fault

log = logging.getLogger(__name__)


def as_fault(error: BaseException) -> DocumentFault:
    """The fault that an exception means.

    Parsers meet every kind of damage, so whatever they raise means a bad file; the debug log keeps the
    cause in case it is a bug of ours.
    """
    if isinstance(error, DocumentFault):
        return error
    if isinstance(error, MemoryError):
        return frames.out_of_memory()
    if isinstance(error, FileNotFoundError):
        return DocumentFault(FailureCode.VANISHED, "The file is no longer there.")
    if isinstance(error, PermissionError) and is_denied(error):
        log.debug("a parser was denied something", exc_info=error)
        return unsupported("Reading this file takes other files, programs or a connection, which no parser may have.")
    if isinstance(error, PermissionError):
        return DocumentFault(
            FailureCode.NO_PERMISSION,
            "There is no permission to read this file.",
            way_out="Change its permissions or run the program as a user who may read it.",
        )
    if isinstance(error, RecursionError):
        return too_large("The content of this file is nested too deeply to be read.")
    log.debug("a parser failed", exc_info=error)
    if isinstance(error, OSError):
        return reading_fault(error)
    if isinstance(error, NotImplementedError):
        return unsupported("This file uses a variant of its format that cannot be read.")
    return corrupt("", "what is in it contradicts itself")
