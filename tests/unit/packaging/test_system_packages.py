"""From a linker's complaint to the line a person types."""

from __future__ import annotations

from pathlib import Path

import pytest
import system_packages as system

LDD = """\
/env/PySide6/QtGui.abi3.so:
\tlinux-vdso.so.1 (0x00007ffd3a1f2000)
\tlibEGL.so.1 => not found
\tlibQt6Core.so.6 => /env/PySide6/Qt/lib/libQt6Core.so.6 (0x00007f0b1c000000)
/env/PySide6/Qt/plugins/platforms/libqxcb.so:
\tlibxcb-cursor.so.0 => not found
\tlibEGL.so.1 => not found
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f0b1b000000)
"""


def manager(program: str) -> system.Manager:
    return next(one for one in system.MANAGERS if one.program == program)


def test_missing_libraries_are_listed_once() -> None:
    assert system.missing_libraries(LDD) == ["libEGL.so.1", "libxcb-cursor.so.0"]
    assert system.missing_libraries("\tstatically linked\n") == []


@pytest.mark.parametrize(
    ("program", "root", "line"),
    [
        ("apt-get", False, "sudo apt-get install -y --no-install-recommends g++ libegl1 libxcb-cursor0"),
        ("apt-get", True, "apt-get install -y --no-install-recommends g++ libegl1 libxcb-cursor0"),
        ("dnf", False, "sudo dnf install -y gcc-c++ libglvnd-egl xcb-util-cursor"),
        ("pacman", False, "sudo pacman -S --needed --noconfirm gcc libglvnd xcb-util-cursor"),
    ],
)
def test_the_line_to_type_fits_the_system(program: str, root: bool, line: str) -> None:
    names = system.package_names(["libxcb-cursor.so.0", "libEGL.so.1", "c++"], manager(program))
    assert system.install_line(names, manager(program), root=root) == line


def test_libraries_of_one_package_name_it_once() -> None:
    assert system.package_names(["libglib-2.0.so.0", "libgthread-2.0.so.0"], manager("apt-get")) == ["libglib2.0-0"]


def test_what_the_table_does_not_know_keeps_its_name() -> None:
    assert system.package_names(["libnew.so.9"], manager("dnf")) == ["libnew.so.9"]


def test_an_unknown_system_gets_a_sentence() -> None:
    line = system.install_line(["libegl1"], None, root=False)
    assert line == "install with your system's package manager: libegl1"


def test_every_entry_names_a_package_for_every_manager() -> None:
    for needed, names in system.PACKAGES.items():
        assert len(names) == len(system.MANAGERS), needed
        assert all(name and " " not in name for name in names), needed


def test_only_installed_parts_of_qt_are_asked_about(tmp_path: Path) -> None:
    present = tmp_path / "PySide6" / "QtGui.abi3.so"
    present.parent.mkdir()
    present.touch()
    assert system.qt_files(tmp_path) == [present]
