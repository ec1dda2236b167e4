"""One window for each data directory, and a window all the same where nothing can be written."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QApplication

from studio.ui.window import SingleInstance
from tests.helpers.filesystems import read_only


def test_the_second_is_not_first(qapp: QApplication, tmp_path: Path) -> None:
    with SingleInstance(tmp_path / "window.lock") as first, SingleInstance(tmp_path / "window.lock") as second:
        assert first.is_first
        assert not second.is_first


def test_a_directory_that_cannot_be_written_still_gets_its_window(qapp: QApplication, tmp_path: Path) -> None:
    with read_only(tmp_path), SingleInstance(tmp_path / "window.lock") as alone:
        assert alone.is_first
