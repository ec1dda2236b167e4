"""What lies in ZIP and TAR archives and in compressed files: one entry after the other, nothing put on disk."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, cast

from studio.documents.names import has_hidden_name
from studio.documents.parsers import passwords
from studio.documents.parsers.base import clean, corrupt, encrypted, unsupported
from studio.documents.parsers.package import MAX_RATIO, RATIO_FREE_BYTES
from studio.documents.parsers.zip_names import own_encoding, zip_name
from studio.errors import DocumentFault, FailureCode

MAX_UNPACKED_BYTES = 4 << 30
"""Of one archive, those inside it included."""
MAX_HEADERS = 100_000
"""Folders, links and files of one archive together."""
HEADER_BYTES = 512
MAX_READ_BYTES = 16 << 20
"""What is read in one piece: contents come in blocks, but names are as long as a header says."""
BLOCK_BYTES = 1 << 18
_AES = 99
_METHODS = {
    1: "Shrink",
    **dict.fromkeys(range(2, 6), "Reduce"),
    6: "Implode",
    9: "Deflate64",
    93: "Zstandard",
    98: "PPMd",
}
_STRONG_ENCRYPTION = 0x40
_PROBED = 3

_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")
UNSOUND = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)
"""What the libraries raise on damaged archives."""


Way = Callable[[], IO[bytes]]
"""Opens the content of an entry; raises DocumentFault or one of `UNSOUND`."""


class Overfull(Exception):
    """A limit on the archive as a whole is reached; `fault` says which."""

    def __init__(self, fault: DocumentFault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def beyond_limits(message: str) -> DocumentFault:
    """An archive, or a file in one, that goes beyond what is opened here."""
    return DocumentFault(
        FailureCode.TOO_LARGE, message, way_out="If you trust the archive, unpack it and add the folder."
    )


def unpacked_too_large() -> Overfull:
    """The archive unpacks to more than `MAX_UNPACKED_BYTES`."""
    limit = MAX_UNPACKED_BYTES >> 30
    return Overfull(beyond_limits(f"This archive unpacks to more than {limit} GB; what is beyond that was left out."))


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in an archive. `name` is a label without "..", never a place on disk; `size` is what the archive says.

    `ways` open its content, one per password to try; a wrong password may show only while it is read. `size` is -1
    where the archive says nothing.
    """

    name: str
    size: int
    ways: Sequence[Way]
    fault: DocumentFault | None = None
    guarded: bool = False


def is_archive(path: Path, head: bytes) -> bool:
    """Whether a file whose name is that of an archive is one; `head` are its first bytes."""
    return head.startswith(_MAGIC) or _is_tar(head) or zipfile.is_zipfile(path)


def _is_tar(head: bytes) -> bool:
    """Whether it begins with the header of a member; of an archive without members there is only zeros."""
    block = head[:HEADER_BYTES]
    if len(block) == HEADER_BYTES and not block.strip(b"\0"):
        return True
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def open_archive(path: Path, files: ExitStack) -> tuple[Iterator[Entry], int]:
    """The entries of an archive, in its order, and how many there are, 0 if that is not known.

    What it opens belongs to `files`. Hidden and system files, folders, links and devices are left out. Each entry is to
    be read before the next is asked for. Raises DocumentFault CORRUPT, ENCRYPTED, UNSUPPORTED; while iterating also
    Overfull.
    """
    raw = files.enter_context(path.open("rb"))
    head = raw.read(HEADER_BYTES)
    raw.seek(0)
    if head.startswith(_MAGIC):
        stream = _Forward(files.enter_context(_decompressed(raw, head)), raw)
        try:
            start = stream.peek(HEADER_BYTES)
        except UNSOUND as error:
            raise corrupt("compressed", "it is incomplete or was changed on the way") from error
        if _is_tar(start):
            return _tar_entries(stream), 0
        only = Entry(_label(path.stem) or "content", -1 if start else 0, [lambda: cast("IO[bytes]", stream)])
        return iter([only]), 1
    if _is_tar(head):
        return _tar_entries(_Forward(raw, None)), 0
    try:
        archive = files.enter_context(zipfile.ZipFile(raw))
    except UNSOUND as error:
        raise corrupt("ZIP", "it is incomplete or was changed on the way") from error
    encoding = own_encoding(archive.infolist())
    infos = [info for info in archive.infolist() if _is_file(info) and _visible(_zip_label(info, encoding))]
    _probe(archive, infos)
    return (_zip_entry(archive, info, _zip_label(info, encoding)) for info in infos), len(infos)


def _decompressed(raw: IO[bytes], head: bytes) -> IO[bytes]:
    if head.startswith(_MAGIC[0]):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    return bz2.BZ2File(raw) if head.startswith(_MAGIC[1]) else lzma.LZMAFile(raw)


# ---------------------------------------------------------------- names


def _label(name: str) -> str:
    """A member's path as a label: forward slashes, no root, nothing that leads upwards."""
    parts = (" ".join(clean(part).split()) for part in name.split("/"))
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def _visible(label: str) -> bool:
    return bool(label) and not any(has_hidden_name(part) for part in label.split("/"))


# ---------------------------------------------------------------- ZIP


def _zip_label(info: zipfile.ZipInfo, encoding: str) -> str:
    return _label(zip_name(info, encoding).replace("\\", "/"))


def _is_file(info: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(info.external_attr >> 16)
    return not info.is_dir() and kind in (0, stat.S_IFREG)


def _zip_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Entry:
    fault = None
    guarded = bool(info.flag_bits & 1)
    if guarded and _is_aes(info):
        fault = _aes_fault()
    elif guarded and not passwords.current():
        fault = encrypted("ZIP")
    elif info.file_size > RATIO_FREE_BYTES and info.file_size > MAX_RATIO * max(1, info.compress_size):
        fault = beyond_limits("This file unpacks to far more than a document should; it looks like a trap.")
    keys: list[bytes | None] = list(_keys()) if guarded else [None]
    ways = [partial(_open_member, archive, info, key) for key in keys]
    return Entry(name, info.file_size, ways, fault, guarded)


def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, key: bytes | None) -> IO[bytes]:
    try:
        return archive.open(info, pwd=key)
    except NotImplementedError as error:
        method = _METHODS.get(info.compress_type, f"method {info.compress_type}")
        raise unsupported(
            f"This file is packed by a method that is not read ({method}).", "Unpack the archive and add the folder."
        ) from error
    except RuntimeError as error:  # a wrong password
        raise encrypted("ZIP") from error


def _keys() -> Iterator[bytes]:
    """The given passwords as bytes: programs disagree on the encoding."""
    for password in passwords.current():
        forms = [password.encode("utf-8", "surrogatepass")]
        for encoding in ("cp437", "latin-1"):
            form = password.encode(encoding, "ignore")
            if form and form not in forms:
                forms.append(form)
        yield from forms


def _is_aes(info: zipfile.ZipInfo) -> bool:
    return info.compress_type == _AES or bool(info.flag_bits & _STRONG_ENCRYPTION)


def _aes_fault() -> DocumentFault:
    return unsupported(
        "This ZIP file is encrypted with AES, which cannot be opened here.",
        "Unpack it with its password and add the folder.",
    )


def _probe(archive: zipfile.ZipFile, infos: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse a ZIP file of which nothing can be read for want of a password, as a whole: the person is asked once."""
    if not infos or not all(info.flag_bits & 1 for info in infos):
        return
    if all(_is_aes(info) for info in infos):
        raise _aes_fault()
    known = [info for info in infos if not _is_aes(info)]
    for info in sorted(known, key=lambda info: info.file_size)[:_PROBED]:
        for key in _keys():
            try:
                with archive.open(info, pwd=key) as stream:
                    while stream.read(BLOCK_BYTES):
                        pass
            except NotImplementedError:
                return
            except (RuntimeError, *UNSOUND):
                continue
            return
    raise encrypted("ZIP")


# ---------------------------------------------------------------- TAR


def _tar_entries(stream: _Forward) -> Iterator[Entry]:
    last = ""
    headers = 0
    try:
        with tarfile.TarFile(fileobj=cast("IO[bytes]", stream), encoding="utf-8", errors="surrogateescape") as archive:
            for info in archive:
                headers += 1
                if headers > MAX_HEADERS:
                    raise Overfull(beyond_limits(f"This archive holds more than {MAX_HEADERS:,} entries."))
                name = _label(info.name)
                if info.isreg() and _visible(name):
                    last = name
                    yield Entry(name, info.size, [partial(_open_tar_member, archive, info)])
            broken = bool(stream.last.strip(b"\0"))
    except tarfile.ReadError as error:
        if stream.position <= HEADER_BYTES and not stream.last.strip(b"\0"):
            return  # nothing in it
        raise _broken_off(last) from error
    except UNSOUND as error:
        raise _broken_off(last) from error
    if broken:  # where the next header, or zeros, should be; the library takes it for the end
        raise _broken_off(last)


def _open_tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(info)
    if stream is None:
        raise corrupt("TAR", "a part of it is missing")
    return stream


def _broken_off(last: str) -> DocumentFault:
    after = f" after “{last}”" if last else ""
    return corrupt("archive", f"it breaks off or is unreadable{after}")


class _Forward(io.RawIOBase):
    """A stream that is only ever read forwards, what is skipped included; guards against bombs.

    `packed` is the file it is decompressed from, None if it is not compressed. `last` is the last block read.
    """

    def __init__(self, stream: IO[bytes], packed: IO[bytes] | None) -> None:
        super().__init__()
        self._stream = stream
        self._packed = packed
        self._ahead = b""
        self.position = 0
        self.last = b""

    def peek(self, size: int) -> bytes:
        """The first bytes, without moving on."""
        self._ahead = self._stream.read(size)
        return self._ahead

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def read(self, size: int = -1) -> bytes:
        if size > MAX_READ_BYTES:
            raise tarfile.ReadError("a header announces a name of gigabytes")
        if self._ahead:
            taken, self._ahead = (self._ahead, b"") if size < 0 else (self._ahead[:size], self._ahead[size:])
            if len(taken) < size:
                taken += self._stream.read(size - len(taken))
        else:
            taken = self._stream.read(size)
        self.position += len(taken)
        self.last = taken[-HEADER_BYTES:]
        if self._packed is not None and self.position > RATIO_FREE_BYTES:
            if self.position > MAX_RATIO * max(1, self._packed.tell()):
                raise Overfull(beyond_limits("This archive unpacks to far more than it should; it looks like a trap."))
            if self.position > MAX_UNPACKED_BYTES:
                raise unpacked_too_large()
        return taken

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or position < self.position:
            raise io.UnsupportedOperation("only forwards")
        if self._packed is None and not self._ahead:
            self._stream.seek(position)
            self.position = position
        while self.position < position:
            if not self.read(min(BLOCK_BYTES, position - self.position)):
                break
        return self.position
