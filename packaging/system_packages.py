"""Which system package holds what the program needs, and how to say "install it" on this system.

Standard library only and no syntax newer than Python 3.8: the setup script runs before anything is
installed and must be able to say that the Python at hand is too old.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Manager(NamedTuple):
    """A package manager: its program, the words before the package names, and the names it uses."""

    program: str
    install: str
    column: int


MANAGERS = (
    Manager("apt-get", "apt-get install -y --no-install-recommends", 0),
    Manager("dnf", "dnf install -y", 1),
    Manager("pacman", "pacman -S --needed --noconfirm", 2),
)

PACKAGES: dict[str, Sequence[str]] = {
    # needed: (Debian and Ubuntu, Fedora, Arch)
    "c++": ("g++", "gcc-c++", "gcc"),
    "Xvfb": ("xvfb", "xorg-x11-server-Xvfb", "xorg-server-xvfb"),
    "xdotool": ("xdotool", "xdotool", "xdotool"),
    "libEGL.so.1": ("libegl1", "libglvnd-egl", "libglvnd"),
    "libGL.so.1": ("libgl1", "libglvnd-glx", "libglvnd"),
    "libX11.so.6": ("libx11-6", "libX11", "libx11"),
    "libX11-xcb.so.1": ("libx11-xcb1", "libX11-xcb", "libx11"),
    "libbrotlicommon.so.1": ("libbrotli1", "libbrotli", "brotli"),
    "libbrotlidec.so.1": ("libbrotli1", "libbrotli", "brotli"),
    "libdbus-1.so.3": ("libdbus-1-3", "dbus-libs", "dbus"),
    "libfontconfig.so.1": ("libfontconfig1", "fontconfig", "fontconfig"),
    "libfreetype.so.6": ("libfreetype6", "freetype", "freetype2"),
    "libglib-2.0.so.0": ("libglib2.0-0", "glib2", "glib2"),
    "libgthread-2.0.so.0": ("libglib2.0-0", "glib2", "glib2"),
    "libgssapi_krb5.so.2": ("libgssapi-krb5-2", "krb5-libs", "krb5"),
    "libwayland-client.so.0": ("libwayland-client0", "libwayland-client", "wayland"),
    "libwayland-cursor.so.0": ("libwayland-cursor0", "libwayland-cursor", "wayland"),
    "libwayland-egl.so.1": ("libwayland-egl1", "libwayland-egl", "wayland"),
    "libxcb-cursor.so.0": ("libxcb-cursor0", "xcb-util-cursor", "xcb-util-cursor"),
    "libxcb-icccm.so.4": ("libxcb-icccm4", "xcb-util-wm", "xcb-util-wm"),
    "libxcb-image.so.0": ("libxcb-image0", "xcb-util-image", "xcb-util-image"),
    "libxcb-keysyms.so.1": ("libxcb-keysyms1", "xcb-util-keysyms", "xcb-util-keysyms"),
    "libxcb-randr.so.0": ("libxcb-randr0", "libxcb", "libxcb"),
    "libxcb-render-util.so.0": ("libxcb-render-util0", "xcb-util-renderutil", "xcb-util-renderutil"),
    "libxcb-render.so.0": ("libxcb-render0", "libxcb", "libxcb"),
    "libxcb-shape.so.0": ("libxcb-shape0", "libxcb", "libxcb"),
    "libxcb-shm.so.0": ("libxcb-shm0", "libxcb", "libxcb"),
    "libxcb-sync.so.1": ("libxcb-sync1", "libxcb", "libxcb"),
    "libxcb-util.so.1": ("libxcb-util1", "xcb-util", "xcb-util"),
    "libxcb-xfixes.so.0": ("libxcb-xfixes0", "libxcb", "libxcb"),
    "libxcb-xkb.so.1": ("libxcb-xkb1", "libxcb", "libxcb"),
    "libxcb.so.1": ("libxcb1", "libxcb", "libxcb"),
    "libxkbcommon.so.0": ("libxkbcommon0", "libxkbcommon", "libxkbcommon"),
    "libxkbcommon-x11.so.0": ("libxkbcommon-x11-0", "libxkbcommon-x11", "libxkbcommon-x11"),
    "libz.so.1": ("zlib1g", "zlib", "zlib"),
    "libzstd.so.1": ("libzstd1", "libzstd", "zstd"),
}

QT_FILES = (
    "QtCore.abi3.so",
    "QtGui.abi3.so",
    "QtWidgets.abi3.so",
    "QtSvg.abi3.so",
    "QtNetwork.abi3.so",
    "QtPdf.abi3.so",
    "Qt/plugins/platforms/libqoffscreen.so",
    "Qt/plugins/platforms/libqxcb.so",
    "Qt/plugins/platforms/libqwayland.so",
    "Qt/plugins/imageformats/libqsvg.so",
)
"""The parts of PySide6 the program loads, below its folder."""

_MISSING = re.compile(r"^\s*(\S+)\s+=>\s+not found", re.MULTILINE)


def missing_libraries(ldd_output: str) -> list[str]:
    """The libraries that `ldd` did not find, sorted, each once."""
    return sorted(set(_MISSING.findall(ldd_output)))


def qt_files(site_packages: Path) -> list[Path]:
    """The Qt binaries that are installed there and whose libraries must exist."""
    return [path for path in (site_packages / "PySide6" / name for name in QT_FILES) if path.exists()]


def installed_manager() -> Manager | None:
    """The package manager of this system, None if it is one we have no names for."""
    return next((manager for manager in MANAGERS if shutil.which(manager.program)), None)


def package_names(needed: Sequence[str], manager: Manager) -> list[str]:
    """The packages that provide what is needed, sorted, each once.

    What the table does not know keeps its own name, so that the person can search for it.
    """
    names = {PACKAGES[item][manager.column] if item in PACKAGES else item for item in needed}
    return sorted(names)


def install_line(names: Sequence[str], manager: Manager | None, *, root: bool) -> str:
    """The exact line to type, or a sentence where the package manager is unknown."""
    if manager is None:
        return "install with your system's package manager: " + ", ".join(names)
    return f"{'' if root else 'sudo '}{manager.install} {' '.join(names)}"


def is_root() -> bool:
    """Whether packages can be installed without a password."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
