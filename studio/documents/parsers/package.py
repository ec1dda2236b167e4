"""Documents that are ZIP archives of XML: reading both without being blown up by either."""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote
from xml.parsers import expat

from studio.documents.parsers.base import clean, corrupt, encrypted, too_large, unsupported

MAX_MEMBERS = 20_000
MAX_UNPACKED_BYTES = 512 << 20
MAX_RATIO = 200
"""Deflate reaches about 1000:1 on zeros; real office XML stays below 100:1."""
RATIO_FREE_BYTES = 16 << 20
"""Members below this size are never suspicious."""
MAX_DEPTH = 2_000
MAX_DIGITS = 9
BLOCK_BYTES = 1 << 18
_DECLARED = re.compile(rb"""(?:\xef\xbb\xbf)?<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([^"'>]{1,40})""")


class Package:
    """A ZIP archive whose members are read into memory within limits.

    Every method raises DocumentFault: CORRUPT, ENCRYPTED or TOO_LARGE.
    """

    def __init__(self, archive: zipfile.ZipFile, what: str) -> None:
        self._archive = archive
        self._what = what
        # Some programs write the separators of Windows, and names in other cases than they refer to.
        self._members = {info.filename.replace("\\", "/").lstrip("/"): info for info in archive.infolist()}
        self._by_fold = {name.casefold(): info for name, info in self._members.items()}
        self._unpacked = 0
        if len(self._members) > MAX_MEMBERS:
            raise too_large(f"This {what} file has more than {MAX_MEMBERS} parts.")

    def __contains__(self, name: str) -> bool:
        return name in self._members or name.casefold() in self._by_fold

    @property
    def names(self) -> list[str]:
        """All members, in the archive's order."""
        return list(self._members)

    def check(self) -> None:
        """Refuse an archive that announces more than the limits allow, before another library unpacks it."""
        for info in self._members.values():
            self._check_member(info)
        if sum(info.file_size for info in self._members.values()) > MAX_UNPACKED_BYTES:
            raise self._bomb()

    def _check_member(self, info: zipfile.ZipInfo) -> None:
        if info.flag_bits & 1:
            raise encrypted(self._what)
        if info.file_size > RATIO_FREE_BYTES and info.file_size > MAX_RATIO * max(1, info.compress_size):
            raise self._bomb()

    def _bomb(self) -> Exception:
        return too_large(f"This {self._what} file unpacks to far more than a document should; it looks like a trap.")

    def read(self, name: str) -> bytes:
        """A member's content. What the archive says about its size is not trusted."""
        return b"".join(self.blocks(name))

    def blocks(self, name: str) -> Generator[bytes]:
        """A member's content in pieces. Wrap it in `contextlib.closing` when it may not be read to its end."""
        info = self._members.get(name) or self._by_fold.get(name.casefold())
        if info is None:
            raise corrupt(self._what, f'its part "{name}" is missing')
        self._check_member(info)
        try:
            with self._archive.open(info) as stream:
                while block := stream.read(BLOCK_BYTES):
                    self._unpacked += len(block)
                    if self._unpacked > MAX_UNPACKED_BYTES:
                        raise self._bomb()
                    yield block
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
            raise corrupt(self._what, f'its part "{name}" is incomplete or was changed on the way') from error
        except (NotImplementedError, RuntimeError) as error:
            raise unsupported(f"This {self._what} file is packed in a way that cannot be read.") from error

    def parse(self, name: str, handler: XmlHandler) -> None:
        """Run a member's XML through a handler."""
        with closing(self.blocks(name)) as blocks:
            parse_xml(blocks, handler, self._what)

    def relations(self, part: str) -> dict[str, tuple[str, str]]:
        """Relations of an OOXML part ("" for the package): id to (kind, target member). External ones are left out."""
        folder, base = posixpath.split(part)
        name = posixpath.join(folder, "_rels", f"{base}.rels")
        if name not in self:
            return {}
        collector = _Relations()
        self.parse(name, collector)
        return {
            key: (kind.rsplit("/", 1)[-1], resolve(folder, target)) for key, (kind, target) in collector.found.items()
        }


def resolve(folder: str, target: str) -> str:
    """The member a relative link inside a package points to."""
    target = unquote(target.split("#", 1)[0]).replace("\\", "/")
    if target.startswith("/"):
        return posixpath.normpath(target).lstrip("/")
    return posixpath.normpath(posixpath.join(folder, target))


@contextmanager
def open_package(path: Path, what: str, source: BinaryIO | None = None) -> Iterator[Package]:
    """The package at `path`, or in `source` where that file is protected; `what` names the format in messages."""
    try:
        archive = zipfile.ZipFile(source or path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise corrupt(what, "it is incomplete or was changed on the way") from error
    with archive:
        yield Package(archive, what)


class XmlHandler:
    """Receives elements by local name: OOXML comes in two sets of namespaces, ODF in many versions."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins; attribute names are local too."""

    def end(self, name: str) -> None:
        """An element ends."""

    def text(self, data: str) -> None:
        """Character data."""


class _Relations(XmlHandler):
    def __init__(self) -> None:
        self.found: dict[str, tuple[str, str]] = {}

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Relationship" and attributes.get("TargetMode") != "External":
            self.found[attributes.get("Id", "")] = (attributes.get("Type", ""), attributes.get("Target", ""))


class _Forbidden(Exception):
    """The XML declares a document type or entities: no office program writes these, attackers do."""


def parse_xml(blocks: Iterable[bytes], handler: XmlHandler, what: str) -> None:
    """Parse XML without document types, entities or anything external.

    Raises DocumentFault CORRUPT for broken XML and for declared entities, TOO_LARGE for absurd nesting.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise too_large(f"The content of this {what} file is nested too deeply to be read.")
        handler.start(_local(name), {_local(key): value for key, value in attributes.items()} if attributes else {})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        handler.end(_local(name))

    def forbidden(*_: object) -> None:
        raise _Forbidden

    def external(*_: object) -> int:
        raise _Forbidden

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = handler.text
    parser.StartDoctypeDeclHandler = forbidden
    parser.EntityDeclHandler = forbidden
    parser.ExternalEntityRefHandler = external
    try:
        for block in blocks:
            if parser.CurrentByteIndex < 0:  # the first one
                _check_encoding(block, what)
            parser.Parse(block, False)
        parser.Parse(b"", True)
    except _Forbidden as error:
        raise corrupt(what, "it declares XML entities, which documents do not need and attacks do") from error
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise corrupt(what, f"its content breaks off or is malformed ({reason}, line {error.lineno})") from error


def _local(name: str) -> str:
    return name.rsplit(" ", 1)[-1]


def _check_encoding(head: bytes, what: str) -> None:
    """Refuse a declared encoding that the parser does not know: it would raise no error of its own for that."""
    declared = _DECLARED.match(head)
    name = declared.group(1).decode("ascii", "replace") if declared else "utf-8"
    try:
        known = name.lower() in ("utf-8", "utf-16") or len(bytes(range(256)).decode(name, "replace")) == 256
    except (LookupError, ValueError):
        known = False
    if not known:
        raise corrupt(what, f"its content is said to be in an encoding that is not known here (“{clean(name)}”)")


def whole_number(value: str) -> int | None:
    """A whole number of an attribute; None if it is none of use: files hold "-1", "²" or thousands of digits."""
    return int(value) if value.isdecimal() and len(value) <= MAX_DIGITS else None
