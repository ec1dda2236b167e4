"""Which places a confined process may reach: Python and its libraries, what a program needs, and given folders."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_LIBRARIES = ("/usr", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", "/home/linuxbrew/.linuxbrew")
_SYSTEM = (
    "/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/ld-musl-x86_64.path", "/etc/ld-musl-aarch64.path",
    "/etc/localtime", "/etc/timezone", "/etc/mime.types", "/etc/fonts", "/etc/locale.alias",
    "/proc/self", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/filesystems", "/proc/sys/vm",
    "/proc/sys/kernel/osrelease", "/sys/devices/system/cpu", "/sys/devices/system/node",
    "/sys/kernel/mm/transparent_hugepage", "/dev/random", "/dev/urandom", "/dev/zero",
)  # fmt: skip
_NO_DOCUMENTS = ("dev", "proc", "run", "sys")
_STEPS = 5
_LOADER = 3
"""The program header that names an ELF file's loader."""


def system_folders() -> tuple[str, ...]:
    """What Python, this package and the libraries are read from."""
    home = _home()
    # A checkout on the search path is left out but for the package: there may be anything in it.
    modules = [name for name in sys.path if Path(name).name in ("site-packages", "dist-packages")]
    named = [Path(name) for name in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)]
    libraries = [str(path) for path in named if path.is_absolute() and not home.is_relative_to(path.resolve())]
    package = str(Path(__file__).resolve().parent.parent)
    return (*_LIBRARIES, *_SYSTEM, sys.prefix, sys.base_prefix, package, *modules, *libraries)


@dataclass(frozen=True, slots=True)
class Program:
    """What the kernel opens to run a program, and what the program reads."""

    run: tuple[str, ...] = ()
    read: tuple[str, ...] = ()


def what_runs(program: str) -> Program:
    """The program with its interpreter or loader, and its libraries and data if it lies outside the system's folders.

    Nothing for "". A process that runs the loader can load any program that can be read; it is confined the same.
    """
    if not program:
        return Program()
    chain = [program]
    while len(chain) < _STEPS and (behind := _interpreter(chain[-1])):
        chain.append(behind)
    read = [os.environ.get("TESSDATA_PREFIX", "")]
    for place in (Path(program), Path(program).resolve()):
        read += [str(place.parent.parent / name) for name in ("lib", "lib64", "share/tessdata", "share/tesseract-ocr")]
    return Program(tuple(chain), tuple(name for name in read if name))


def _interpreter(program: str) -> str:
    """The program named in the first line of a script, or the loader of an ELF file; "" where there is none."""
    try:
        with open(program, "rb") as stream:  # noqa: PTH123
            head = stream.read(4096)
            if head[:2] == b"#!":
                words = head[2:].split(b"\n", 1)[0].split()
                return os.fsdecode(words[0]) if words else ""
            if head[:5] != b"\x7fELF\x02":
                return ""
            start, size, count = *struct.unpack_from("<Q", head, 32), *struct.unpack_from("<HH", head, 54)
            for number in range(count):
                stream.seek(start + number * size)
                kind, _, offset, _, _, length = struct.unpack("<IIQQQQ", stream.read(40))
                if kind == _LOADER:
                    stream.seek(offset)
                    return os.fsdecode(stream.read(min(length, 4096)).rstrip(b"\0"))
    except (OSError, struct.error):
        return ""
    return ""


def granted(roots: Iterable[Path], private: Sequence[Path] = ()) -> Iterator[str]:
    """The roots, without `private` folders below them and what begins with a dot in the home folder. Blocking.

    Rules of landlock only add: a folder that holds something private is granted child by child. What comes into such
    a folder later is not granted, nor what is named through a link. A root inside a private folder is left out.
    """
    home = _home()
    closed = [path.resolve() for path in private]
    for root in roots:
        yield from _granted(root.resolve(), closed, home)


def _home() -> Path:
    # `Path.home` fails for a user that no list of accounts has, as in containers; this leaves "~".
    return Path(os.path.expanduser("~")).resolve()  # noqa: PTH111


def _granted(place: Path, closed: Sequence[Path], home: Path) -> Iterator[str]:
    if any(place.is_relative_to(path) for path in closed):
        return
    if not any(path.is_relative_to(place) for path in (*closed, home)):
        yield str(place)
        return
    try:
        with os.scandir(place) as entries:
            children = [entry.name for entry in entries if not entry.is_symlink()]
    except OSError:
        return
    for name in children:
        if (place == home and name.startswith(".")) or (place.parent == place and name in _NO_DOCUMENTS):
            continue
        yield from _granted(place / name, closed, home)
