"""What a file really is: the content decides, its name only settles what content leaves open."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from studio.documents.kinds import file_kind
from studio.documents.parsers.base import clean, corrupt, empty, unsupported
from studio.documents.parsers.containers import is_archive
from studio.documents.parsers.encodings import bom_encoding, is_binary, is_noise, wide_encoding
from studio.documents.parsers.images import is_picture
from studio.documents.parsers.ole import has_loop, top_names
from studio.errors import DocumentFault

HEAD_BYTES = 1 << 16
_OLE_SCAN_BYTES = 64 << 20
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

_ZIP_MEMBERS = (
    ("word/document.xml", "docx"),
    ("word/document2.xml", "docx"),
    ("ppt/presentation.xml", "pptx"),
    ("xl/workbook.xml", "xlsx"),
    ("xl/workbook.bin", "xlsx"),
)
_MIMETYPES = {
    "application/epub+zip": "epub",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.text-template": "odt",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/vnd.oasis.opendocument.presentation-template": "odp",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.spreadsheet-template": "ods",
}
_NAMES = {
    "pdf": "PDF",
    "docx": "Word",
    "pptx": "PowerPoint",
    "xlsx": "Excel",
    "xls": "Excel",
    "odt": "OpenDocument",
    "odp": "OpenDocument",
    "ods": "OpenDocument",
    "epub": "EPUB",
    "parquet": "Parquet",
    "msg": "Outlook message",
}
_APPLE = {".pages": "Pages document", ".key": "Keynote presentation", ".numbers": "Numbers spreadsheet"}
_EXPORT = "Export it as PDF in the program it was made with, and add that file."
_OLD_SHEETS = (b"\x09\x00\x04\x00", b"\x09\x02\x06\x00", b"\x09\x04\x06\x00")
"""How a sheet of Excel 2, 3 and 4 begins."""
_BINARY_MAGIC = (
    (b"GIF8", "an image"),
    (b"\x1f\x8b", "a compressed archive"),
    (b"7z\xbc\xaf", "a compressed archive"),
    (b"Rar!", "a compressed archive"),
    (b"BZh", "a compressed archive"),
    (b"\xfd7zXZ", "a compressed archive"),
    (b"\x28\xb5\x2f\xfd", "a compressed archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3", "a database"),
    (b"ID3", "an audio file"),
    (b"OggS", "an audio or video file"),
)
_HTML = re.compile(
    r"\s*+(?:<\?xml[^>]*+>\s*+)?(?:<!--(?:[^-]++|-(?!->))*-->\s*+)*<(?:!doctype\s+html|html|head|body)[\s>]",
    re.IGNORECASE | re.DOTALL,
)
_TEXT_KINDS_WORDS = """
    text html markdown jsonl csv tsv json ipynb eml mbox mhtml rst asciidoc latex org subtitles code
"""
_TEXT_KINDS = frozenset(_TEXT_KINDS_WORDS.split())
_DECLARING = frozenset({"html", "eml", "mbox", "mhtml"})
"""Kinds whose files state the encodings of their parts."""
_KEEP_AS_SOURCE = frozenset({".xml", ".xsl", ".svg"})
_SCRIPT = re.compile(rb"(?:\xef\xbb\xbf)?#!\s*/\S*(?:bin|env)\b")


def detect(path: Path) -> str:
    """The kind of a readable regular file.

    Raises DocumentFault: EMPTY, ENCRYPTED, CORRUPT (the name promises a format the content is not),
    UNSUPPORTED.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    if not head:
        raise empty()
    promised = file_kind(path)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return zip_kind(path, promised)
    if promised == "archive" and is_archive(path, head):
        return "archive"
    if head.startswith(_OLE_MAGIC):
        return _ole_kind(path, promised)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n\0").startswith(b"%PDF-"):
        return "pdf"
    if promised == "pdf" and (b"%PDF-" in head or b"endobj" in head):
        return "pdf"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{\\rtf"):
        return "rtf"
    if promised == "rtf" and head.startswith(b"{\\"):
        return "rtf"  # a fragment without its header
    if is_picture(head):
        return "image"
    if is_binary(head, is_named_text=promised in _TEXT_KINDS) or (promised not in _DECLARING and is_noise(head)):
        raise _binary_fault(head, path, promised)
    return _text_kind(head, promised, path)


def _text_kind(head: bytes, promised: str, path: Path) -> str:
    kind = promised if promised in _TEXT_KINDS else "text"
    if promised not in _TEXT_KINDS and _SCRIPT.match(head):
        return "code"
    if kind in ("text", "mhtml") and path.suffix.lower() not in _KEEP_AS_SOURCE:
        encoding = bom_encoding(head) or wide_encoding(head[:4096]) or "latin-1"
        if _HTML.match(head[:8192].decode(encoding, "replace").lstrip("\ufeffï»¿")):
            return "html"
    return kind


def _binary_fault(head: bytes, path: Path, promised: str) -> DocumentFault:
    if head.startswith(_OLD_SHEETS):
        return unsupported(
            "This file is in the format of Excel 4 or older, which cannot be read.",
            "Save it as .xlsx and add that file.",
        )
    if promised in _NAMES:
        return _other_content(promised)
    for magic, what in _BINARY_MAGIC:
        if head.startswith(magic):
            return unsupported(f"This file is {what}; there is no text in it to search.")
    if promised == "archive":
        return corrupt("archive", "its content is not that of a ZIP, TAR or compressed file")
    if head[4:8] == b"ftyp":
        return unsupported("This file is an audio or video file; there is no text in it to search.")
    suffix = path.suffix.lower()
    if promised in _TEXT_KINDS:
        return unsupported(f"This file is named {suffix} but holds binary data, not text.")
    return unsupported(f"Files of this type ({suffix or 'no extension'}) cannot be read; the content is binary.")


def _other_content(promised: str) -> DocumentFault:
    what = _NAMES[promised]
    return corrupt(what, f"its content is not that of {'an' if what[0] in 'AEIOU' else 'a'} {what} file")


def zip_kind(path: Path, promised: str, source: BinaryIO | None = None) -> str:
    """The kind of a ZIP archive, by its members; `source` holds it where the file itself was protected.

    Raises DocumentFault CORRUPT, UNSUPPORTED.
    """
    what = _NAMES.get(promised, "ZIP")
    try:
        with zipfile.ZipFile(source or path) as archive:
            given = archive.namelist()
            names = {name.replace("\\", "/").lstrip("/").casefold() for name in given}
            mimetype = ""
            if "mimetype" in given and archive.getinfo("mimetype").file_size < 256:
                mimetype = archive.read("mimetype").decode("ascii", "replace").strip()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        raise corrupt(what, "it is incomplete or was changed on the way, its table of contents is missing") from error
    if mimetype in _MIMETYPES:
        return _MIMETYPES[mimetype]
    for member, kind in _ZIP_MEMBERS:
        if member in names:
            return kind
    if "[content_types].xml" in names and promised in ("docx", "pptx", "xlsx"):
        return promised
    if "meta-inf/container.xml" in names:
        return "epub"
    if "content.xml" in names and promised in ("odt", "odp", "ods"):
        return promised
    if (fault := _named_package(names, clean(mimetype)[:100], path.suffix.lower())) is not None:
        raise fault
    if promised in _NAMES:
        raise corrupt(what, "parts of it are missing")
    if promised == "archive":
        return "archive"
    raise unsupported("This file is a ZIP archive under another name.", "Unpack it and add the folder instead.")


def _ole_kind(path: Path, promised: str) -> str:
    """Old Office formats share one container; the names in its directory tell them apart, in whatever case."""
    with path.open("rb") as stream:
        data = stream.read(_OLE_SCAN_BYTES)
    names = frozenset[str]() if has_loop(data) else top_names(path)

    def has(name: str) -> bool:
        return name.casefold() in names if names else (name + "\0").encode("utf-16-le") in data

    if has("EncryptedPackage"):
        return "protected"
    if has("__properties_version1.0"):
        return "msg"
    if has("Workbook") or has("Book"):
        return "xls"
    if has("WordDocument"):
        return "doc"
    if has("PowerPoint Document"):
        return "ppt"
    if has("VisioDocument"):
        raise unsupported("A Visio drawing cannot be read.", "Export it as PDF and add that file.")
    if promised in _NAMES:
        raise _other_content(promised)
    raise unsupported("This old Office format cannot be read.", "Save it in a current format and add that file.")


def _named_package(names: Collection[str], mimetype: str, suffix: str) -> DocumentFault | None:
    """Why a package of another program is not read; `names` of its members are in lower case."""
    if (
        any(name.endswith(".iwa") for name in names)
        or {"index.zip", "index.apxl"} & {*names}
        or (suffix in _APPLE and "index.xml" in names)
    ):
        what = _APPLE.get(suffix, "Apple iWork document")
        return unsupported(f"This file is a {what}; this format cannot be read.", _EXPORT)
    if any(name.startswith("visio/") for name in names):
        return unsupported("This file is a Visio drawing; this format cannot be read.", _EXPORT)
    if any(name.endswith((".fdseq", ".fdoc")) for name in names):
        return unsupported("This file is an XPS document; this format cannot be read.", _EXPORT)
    if mimetype.startswith("application/vnd.oasis.opendocument."):
        kind = mimetype.removeprefix("application/vnd.oasis.opendocument.").partition("-")[0]
        return unsupported(f"This file is an OpenDocument file of a kind that cannot be read ({kind}).", _EXPORT)
    return None
