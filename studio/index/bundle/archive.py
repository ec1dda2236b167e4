"""A ZIP file in one canonical form: every byte between its members follows from their names, sizes and checksums.

Members are stored as they are, one after another from the first byte on, and all sizes take eight bytes. Any ZIP
program reads such a file; this module reads nothing else. So there is no way to smuggle in what other archives are
attacked with: compressed bombs, links, folders, encryption, overlapping members, two directories that disagree. The
archive's comment is the SHA-256 of every byte before it: no byte of the file can change unnoticed.

Format: .ZIP File Format Specification (APPNOTE.TXT) 6.3.10, sections 4.3.7, 4.3.12 and 4.3.14 to 4.3.16. Everything
here blocks. What takes long is an iterator that works for some ten milliseconds a step.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from studio.errors import BundleFault, InvariantViolated, NotFound, storage_fault

MAX_MEMBERS = 1_000_000
BLOCK_BYTES = 1 << 20
BLOCKS_PER_STEP = 8
MEMBERS_PER_STEP = 500
MAX_NAME = 200

_NAME = re.compile(rb"[a-z0-9-]+(?:[./][a-z0-9-]+)*")
"""Relative, without a step up, the same file on every system."""
_LOCAL = struct.Struct("<4s5HL2L2H")
_LOCAL_SIZES = struct.Struct("<2H2Q")
_CENTRAL = struct.Struct("<4s6HL2L5H2L")
_CENTRAL_SIZES = struct.Struct("<2H3Q")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")
_SEAL_BYTES = 64
_TAIL_BYTES = _END64.size + _LOCATOR.size + _END.size
_VERSION, _UTF8, _STORED, _TIME, _DATE = 45, 0x0800, 0, 0, 0x0021
_MADE_BY, _ATTRIBUTES = (3 << 8) | _VERSION, 0o100644 << 16
_ZIP64, _HERE16, _HERE32 = 0x0001, 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the archive; `start` is the offset of its header."""

    name: str
    size: int
    crc: int
    start: int

    @property
    def data(self) -> int:
        """Offset of the first byte of content."""
        return self.start + _LOCAL.size + len(self.name) + _LOCAL_SIZES.size

    @property
    def end(self) -> int:
        """Offset behind the last byte."""
        return self.data + self.size

    def header(self) -> bytes:
        """The bytes in front of the content."""
        fixed = _LOCAL.pack(
            b"PK\3\4", _VERSION, _UTF8, _STORED, _TIME, _DATE, self.crc, _HERE32, _HERE32,
            len(self.name), _LOCAL_SIZES.size,
        )  # fmt: skip
        return fixed + self.name.encode() + _LOCAL_SIZES.pack(_ZIP64, 16, self.size, self.size)

    def entry(self) -> bytes:
        """The member's entry in the archive's directory."""
        fixed = _CENTRAL.pack(
            b"PK\1\2", _MADE_BY, _VERSION, _UTF8, _STORED, _TIME, _DATE, self.crc, _HERE32, _HERE32,
            len(self.name), _CENTRAL_SIZES.size, 0, 0, 0, _ATTRIBUTES, _HERE32,
        )  # fmt: skip
        return fixed + self.name.encode() + _CENTRAL_SIZES.pack(_ZIP64, 24, self.size, self.size, self.start)


def _tail(members: int, directory: int, size: int) -> bytes:
    """What follows the directory of that offset and size, up to the comment."""
    end64 = _END64.pack(
        b"PK\6\6", _END64.size - 12, _VERSION, _VERSION, 0, 0, members, members, size, directory
    )  # fmt: skip
    locator = _LOCATOR.pack(b"PK\6\7", 0, directory + size, 1)
    return end64 + locator + _END.pack(b"PK\5\6", 0, 0, _HERE16, _HERE16, _HERE32, _HERE32, _SEAL_BYTES)


# ---------------------------------------------------------------- writing


class MemberWriter:
    """Content of one member on its way into the archive."""

    def __init__(self, archive: ArchiveWriter, name: str, start: int, size: int | None) -> None:
        self._archive = archive
        self._member = Member(name, 0, 0, start)
        self._reserved = size
        self._crc = 0
        self._written = 0
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Append to the member. Raises OSError."""
        self._archive.put(self._member.data + self._written, data)
        self._crc = zlib.crc32(data, self._crc)
        self._sha256.update(data)
        self._written += len(data)

    def close(self) -> str:
        """Write the header; returns the SHA-256 of the content. Raises OSError."""
        if self._reserved not in (None, self._written):
            raise InvariantViolated(f"{self._member.name} has {self._written} bytes, {self._reserved} were reserved.")
        member = Member(self._member.name, self._written, self._crc, self._member.start)
        self._archive.complete(member)
        return self._sha256.hexdigest()


class ArchiveWriter:
    """Writes a new archive. Raises OSError as the disk does."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb+")
        self._end = 0
        self._members: list[Member] = []
        self.sha256 = ""
        """Of the whole file, once it is finished."""

    def begin(self, name: str, size: int | None = None) -> MemberWriter:
        """Start a member. With `size` its place is reserved, so that the next can be started before it is complete."""
        if not _NAME.fullmatch(name.encode()) or len(name) > MAX_NAME:
            raise InvariantViolated(f"“{name}” is no name for a member of a bundle.")
        start = self._end
        self._end = Member(name, size or 0, 0, start).end
        return MemberWriter(self, name, start, size)

    def put(self, offset: int, data: bytes) -> None:
        """Write content at its place."""
        self._file.seek(offset)
        self._file.write(data)
        self._end = max(self._end, offset + len(data))

    def complete(self, member: Member) -> None:
        """Write a member's header."""
        self._file.seek(member.start)
        self._file.write(member.header())
        self._members.append(member)

    def finish(self) -> Iterator[int]:
        """Write the directory and the checksum over everything. Yields the bytes read back for it, step by step."""
        members = sorted(self._members, key=lambda member: member.start)
        directory = b"".join(member.entry() for member in members)
        self._file.seek(self._end)
        self._file.write(directory + _tail(len(members), self._end, len(directory)))
        self._file.flush()
        digest = hashlib.sha256()
        self._file.seek(0)
        while data := self._file.read(BLOCK_BYTES * BLOCKS_PER_STEP):
            digest.update(data)
            yield len(data)
        seal = digest.hexdigest().encode()
        self._file.write(seal)
        self._file.flush()
        digest.update(seal)
        self.sha256 = digest.hexdigest()

    @property
    def size(self) -> int:
        """Bytes of content so far."""
        return self._end

    def close(self) -> None:
        """Close the file; it is complete only after `finish`."""
        self._file.close()


# ---------------------------------------------------------------- reading


class ArchiveReader:
    """Reads an archive that is not trusted. Not for concurrent use.

    Nothing may be read before `check` has run to its end. Raises BundleFault for every file that is not exactly as
    `ArchiveWriter` writes them, NotFound, StorageFault.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members: dict[str, Member] = {}
        self.sha256 = ""
        try:
            if not path.exists():
                raise NotFound(f"There is no file “{path}”.")
            if not path.is_file():
                raise BundleFault(f"“{path}” is not a file.", way_out="Name a file that was exported.")
            self._file = path.open("rb", buffering=0)
            self.size = self._file.seek(0, io.SEEK_END)
        except OSError as error:
            raise storage_fault(error, "reading a bundle", path) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def check(self) -> Iterator[int]:
        """Compare the checksum over the whole file, then read the directory. Yields the bytes done, step by step."""
        seal = self.read_at(max(0, self.size - _SEAL_BYTES), _SEAL_BYTES)
        if self.read_at(0, 4) != b"PK\3\4" or not re.fullmatch(rb"[0-9a-f]{64}", seal):
            raise BundleFault(
                f"“{self.path}” is not a bundle of RAG Studio, or a part of it is missing.",
                way_out="Name a file that was exported, or copy it again.",
            )
        digest = hashlib.sha256()
        step = BLOCK_BYTES * BLOCKS_PER_STEP
        for offset in range(0, self.size - _SEAL_BYTES, step):
            data = self.read_at(offset, min(step, self.size - _SEAL_BYTES - offset))
            digest.update(data)
            yield len(data)
        if digest.hexdigest().encode() != seal:
            raise BundleFault(
                f"“{self.path}” is damaged or incomplete: its checksum is wrong.",
                way_out="Copy or download it again, or export it again.",
            )
        digest.update(seal)
        self.sha256 = digest.hexdigest()
        for _ in self._read_directory():
            yield 0

    def open(self, name: str, on_read: Callable[[bytes], None] = lambda _: None) -> io.BufferedReader:
        """A member's content, seekable; `on_read` sees every piece that is read. Raises BundleFault."""
        member = self.members.get(name)
        if member is None:
            raise BundleFault(f"“{self.path}” has no {name}.", way_out="Export it again.")
        if self.read_at(member.start, len(member.header())) != member.header():
            self.refuse(f"the header of {name} differs from the directory")
        return io.BufferedReader(_Window(self, member, on_read), BLOCK_BYTES)

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes at a place, fewer at the end of the file. Raises StorageFault."""
        try:
            self._file.seek(offset)
            return self._file.read(size) or b""
        except OSError as error:
            raise storage_fault(error, "reading a bundle", self.path) from error

    def _read_directory(self) -> Iterator[None]:
        tail = self.read_at(max(0, self.size - _SEAL_BYTES - _TAIL_BYTES), _TAIL_BYTES)
        if len(tail) != _TAIL_BYTES:
            self.refuse("it is too short")
        *_, count, size, directory = _END64.unpack_from(tail)
        if tail != _tail(count, directory, size) or directory + size + _TAIL_BYTES + _SEAL_BYTES != self.size:
            self.refuse("its end is not as RAG Studio writes it")
        if count > MAX_MEMBERS:
            self.refuse(f"it has more than {MAX_MEMBERS:,} members")
        end, offset = 0, directory
        for number in range(count):
            member = self._read_entry(offset)
            if member.start != end or member.end > directory or member.name in self.members:
                self.refuse(f"the place of {member.name} is not as RAG Studio writes it")
            self.members[member.name] = member
            end, offset = member.end, offset + len(member.entry())
            if number % MEMBERS_PER_STEP == 0:
                yield
        if end != directory or offset != directory + size:
            self.refuse("there is something between its members")

    def _read_entry(self, offset: int) -> Member:
        raw = self.read_at(offset, _CENTRAL.size + MAX_NAME + _CENTRAL_SIZES.size)
        if len(raw) < _CENTRAL.size:
            self.refuse("its directory is cut off")
        fields = _CENTRAL.unpack_from(raw)
        crc, length = fields[7], fields[10]
        name = raw[_CENTRAL.size : _CENTRAL.size + length]
        sizes = raw[_CENTRAL.size + length :][: _CENTRAL_SIZES.size]
        if not _NAME.fullmatch(name) or len(sizes) != _CENTRAL_SIZES.size:
            self.refuse("it has a member whose name is not allowed")
        _, _, size, _, start = _CENTRAL_SIZES.unpack(sizes)
        member = Member(name.decode(), size, crc, start)
        if not raw.startswith(member.entry()):
            self.refuse(f"the entry of {member.name} is not as RAG Studio writes it")
        return member

    def refuse(self, why: str) -> NoReturn:
        """Raise BundleFault for a file whose checksum is right and whose content is not."""
        raise BundleFault(
            f"“{self.path}” is not a bundle of RAG Studio, or was tampered with: {why}.",
            way_out="Do not use this file; get it from whom you trust.",
        )


class _Window(io.RawIOBase):
    """A member's content as a file."""

    def __init__(self, archive: ArchiveReader, member: Member, on_read: Callable[[bytes], None]) -> None:
        self._archive = archive
        self._member = member
        self._on_read = on_read
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._member.size}[whence]
        if base + offset < 0:
            raise ValueError("a place before the start")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        wanted = min(len(buffer), max(0, self._member.size - self._at))
        data = self._archive.read_at(self._member.data + self._at, wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        self._on_read(data)
        return len(data)
