"""A PDF with the files it carries: each a document of its own, as those of a message are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from studio.documents.parsers import pdf
from studio.documents.parsers.attachments import attached
from studio.documents.parsers.base import Parser
from studio.documents.parsers.letters import Attachment
from studio.domain import ParserEvent, PartFailure
from studio.errors import DocumentFault, FailureCode

_COVERS = frozenset({FailureCode.NO_TEXT, FailureCode.NEEDS_OCR})
"""What may be wrong with the pages of a PDF that is a folder for its files."""


def parse(path: Path, parsers: Mapping[str, Parser]) -> Iterator[ParserEvent]:
    """The document of its pages, then those of its files."""
    with pdf.opened(path) as document:
        carried = [Attachment(name, partial(bytes, content)) for name, content in pdf.attachments(document)]
        try:
            yield from pdf.read(document, path)
        except DocumentFault as fault:
            if not carried or fault.code not in _COVERS:
                raise
            yield PartFailure("its pages", fault.code.value, fault.full_message)
    yield from attached(carried, parsers, row=1)
