"""File systems that refuse to be written: really so where this user may mount, by permissions elsewhere."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_WRITE_BITS = 0o222
_NOBODY = 65534


def can_mount() -> bool:
    """True when a file system can be mounted: Linux, as root, outside a sealed container."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    trial = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


@contextlib.contextmanager
def small_disk(at: Path, size_bytes: int) -> Iterator[Path]:
    """An empty file system of that size at a new directory. Needs `can_mount`."""
    at.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", at)
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def can_mount_exfat() -> bool:
    """True when a real exFAT can be mounted: with exfat-fuse and exfatprogs installed, and a loop device."""
    tools = ("mkfs.exfat", "mount.exfat-fuse", "losetup")
    return can_mount() and Path("/dev/fuse").exists() and all(map(shutil.which, tools))


@contextlib.contextmanager
def exfat(at: Path) -> Iterator[Path]:
    """An empty exFAT at a new directory: no links, no modes, times of two seconds. Needs `can_mount_exfat`."""
    at.mkdir()
    image = at.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.exfat", image], check=True, capture_output=True)
    found = subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True)
    device = found.stdout.strip()
    try:
        subprocess.run(["mount.exfat-fuse", device, at], check=True, capture_output=True)
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=False)
        subprocess.run(["losetup", "--detach", device], check=True)


@contextlib.contextmanager
def starved(disk: Path, *, leave_bytes: int) -> Iterator[str]:
    """Only `leave_bytes` can be written to `disk` while the block runs. Yields words that a message about it holds.

    Where it could not be mounted, each file (of this process and its children) is held to a quarter of that instead.
    """
    if disk.is_mount():
        filler = disk / "filler"
        _fill(filler, leave_bytes)
        try:
            yield "disk is full"
        finally:
            filler.unlink()
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (leave_bytes // 4, hard))
    try:
        yield "rag-studio"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _fill(filler: Path, leave_bytes: int) -> None:
    descriptor = os.open(filler, os.O_CREAT | os.O_WRONLY)
    with contextlib.suppress(OSError):
        while os.write(descriptor, bytes(4096)):
            pass
    os.close(descriptor)
    os.truncate(filler, filler.stat().st_size - leave_bytes)


@contextlib.contextmanager
def read_only(root: Path) -> Iterator[None]:
    """This process cannot write below `root` while the block runs: mounted so, or by permissions and another user."""
    if can_mount():
        with mounted_read_only(root):
            yield
        return
    with without_permission(root), _as_nobody(root):
        yield


@contextlib.contextmanager
def mounted_read_only(root: Path) -> Iterator[bool]:
    """`root` is on a read-only file system while the block runs. Yields whether a program must be bound: no.

    Where nothing can be mounted the permissions are taken away instead.
    """
    if not can_mount():
        with without_permission(root) as bound:
            yield bound
        return
    _mount("--bind", root, root)
    try:
        _mount("-o", "remount,bind,ro", root)
        yield False
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True)


@contextlib.contextmanager
def without_permission(root: Path) -> Iterator[bool]:
    """Nobody may write below `root` while the block runs. Yields that a program of root must be bound to obey."""
    found = [path for path in (root, *root.rglob("*")) if not path.is_symlink()]
    # A hard link shares its mode with files of other tests; it is the folder's that counts.
    modes = {path: path.stat().st_mode for path in found if path.is_dir() or path.stat().st_nlink == 1}
    for path, mode in modes.items():
        path.chmod(mode & ~_WRITE_BITS)
    try:
        yield True
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@contextlib.contextmanager
def _as_nobody(root: Path) -> Iterator[None]:
    """Root is not bound by permissions: another user reads what lies below `root`. Others are bound as they are."""
    if os.geteuid() != 0:
        yield
        return
    readable = {path: path.stat().st_mode for path in (*root.parents, root, *root.rglob("*"))}
    for path, mode in readable.items():
        path.chmod(mode | (0o055 if path.is_dir() else 0o044))
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        for path, mode in readable.items():
            path.chmod(mode)
