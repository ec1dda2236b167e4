"""What a process that reads untrusted bytes may do on Linux: read and write what it was given, and run one program.

Landlock rules files, signals and TCP, seccomp refuses system calls, both for the process and all it starts, for good.
Where the kernel has one of them only, that one holds; where it has neither, nothing changes (`describe` tells).
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass

from studio.confinement import landlock, seccomp
from studio.confinement.places import system_folders, what_runs

MAX_OPEN_FILES = 256
MAX_WRITTEN_BYTES = 4 << 30


_confined = False


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a process may reach beside Python and the libraries.

    `read` are files and folders with all below them, `write` folders of its own, both without links in their paths;
    `program` is the only one it may start, "" for none. The process that a program becomes is confined as well.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    program: str = ""


def confine(allowed: Allowed) -> None:
    """Confine this process, which must have no second thread yet, as far as the kernel can. Raises OSError."""
    if not sys.platform.startswith("linux"):
        return
    global _confined
    _limit_resources()
    program = what_runs(allowed.program)
    landlock.restrict(
        system=(*system_folders(), *program.read), read=allowed.read, write=allowed.write, run=program.run
    )
    seccomp.restrict(may_run=bool(program.run))
    _confined = True


def is_denied(error: PermissionError) -> bool:
    """Whether the confinement of this process is to blame and not the system, which still tells what it would allow."""
    if not _confined or error.errno is None:
        return False
    name = error.filename
    return name is None or os.access(name, os.R_OK) or not os.access(name, os.F_OK)


def _limit_resources() -> None:
    """Bound what is opened and written; never above what holds already."""
    import resource

    for kind, limit in ((resource.RLIMIT_NOFILE, MAX_OPEN_FILES), (resource.RLIMIT_FSIZE, MAX_WRITTEN_BYTES)):
        _, hard = resource.getrlimit(kind)
        most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (most, most))


def available() -> bool:
    """Whether this system can confine the files of a process."""
    return sys.platform.startswith("linux") and landlock.version() > 0


def describe() -> str:
    """How parsers and models are confined here, in a clause for a person."""
    if not sys.platform.startswith("linux"):
        system = {"darwin": "macOS", "win32": "Windows"}.get(sys.platform, platform.system())
        return f"{system} has no landlock: parsers and models run with time and memory limits only"
    version, calls = landlock.version(), seccomp.available()
    kernel = f"Linux {os.uname().release}"
    if version > 0 and calls:
        return f"by landlock (version {version}) and seccomp"
    if version > 0:
        return f"by landlock (version {version}); no seccomp filter for {kernel} on {platform.machine()}"
    if calls:
        return f"{kernel} has no landlock: parsers and models have no network, but can read what you can"
    return f"{kernel} has no landlock: parsers and models run with time and memory limits only"
