"""The registry of parsers: one entry per kind of document.

Only the parser worker imports this package: parsers meet untrusted bytes.

Belongs here: one module for each format, and what several formats share.
Does not: the process that parsers run in (`parser_worker`, `pool`), what becomes of a text (`chunking`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from studio.documents.parsers import (
    archive,
    asciidoc,
    calendars,
    code,
    data,
    epub,
    html,
    images,
    latex,
    mail,
    markdown,
    mhtml,
    msg,
    odf,
    old_office,
    org,
    passwords,
    plain,
    portfolio,
    protected,
    rst,
    rtf,
    sheets,
    slides,
    subtitles,
    tabular,
    word,
)
from studio.documents.parsers.base import Parser
from studio.documents.parsers.detect import detect
from studio.documents.parsers.faults import as_fault
from studio.domain import ParserEvent

__all__ = ["PARSERS", "archive", "as_fault", "parse_file", "passwords"]

PARSERS: Mapping[str, Parser] = {
    "pdf": lambda path: portfolio.parse(path, PARSERS),
    "protected": protected.parse,
    "docx": word.parse,
    "pptx": slides.parse,
    "xlsx": sheets.parse_xlsx,
    "xls": sheets.parse_xls,
    "doc": old_office.parse_doc,
    "ppt": old_office.parse_ppt,
    "ods": sheets.parse_ods,
    "odt": odf.parse_odt,
    "odp": odf.parse_odp,
    "epub": epub.parse,
    "rtf": rtf.parse,
    "html": html.parse,
    "markdown": markdown.parse,
    "text": lambda path: (calendars if path.suffix.lower() in calendars.SUFFIXES else plain).parse(path),
    "jsonl": tabular.parse_jsonl,
    "csv": tabular.parse_csv,
    "tsv": tabular.parse_tsv,
    "parquet": data.parse_parquet,
    "json": data.parse_json,
    "ipynb": data.parse_notebook,
    "image": images.parse,
    "eml": lambda path: mail.parse_eml(path, PARSERS),
    "mbox": lambda path: mail.parse_mbox(path, PARSERS),
    "mhtml": mhtml.parse,
    "msg": lambda path: msg.parse(path, PARSERS),
    "rst": rst.parse,
    "asciidoc": asciidoc.parse,
    "latex": latex.parse,
    "org": org.parse,
    "subtitles": subtitles.parse,
    "code": code.parse,
    "archive": lambda path: archive.parse(path, PARSERS),
}


def parse_file(path: Path) -> Iterator[ParserEvent]:
    """The documents of a regular file, between signs of life and parts that cannot be read.

    Raises DocumentFault, or whatever a broken file provokes in a parser."""
    yield from PARSERS[detect(path)](path)
