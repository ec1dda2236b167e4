"""Current Office files (.docx, .pptx, .xlsx) that are protected by a password."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from studio.documents.kinds import file_kind
from studio.documents.parsers import sheets, slides, word
from studio.documents.parsers.base import corrupt
from studio.documents.parsers.detect import zip_kind
from studio.documents.parsers.office_crypto import decrypted
from studio.domain import ParserEvent

_NAMES = {"docx": word.WHAT, "pptx": slides.WHAT, "xlsx": sheets.WHAT}
_PARSERS: Mapping[str, Callable[[Path, BinaryIO], Iterator[ParserEvent]]] = {
    "docx": word.parse,
    "pptx": slides.parse,
    "xlsx": sheets.parse_xlsx,
}


def parse(path: Path) -> Iterator[ParserEvent]:
    """What is in a protected file. Raises DocumentFault ENCRYPTED if none of the given passwords opens it."""
    promised = file_kind(path)
    what = _NAMES.get(promised, "Office")
    plain = decrypted(path, what)
    kind = zip_kind(path, promised, plain)
    if kind not in _PARSERS:
        raise corrupt(what, f"what it protects is not that of a {what} file")
    yield from _PARSERS[kind](path, plain)
