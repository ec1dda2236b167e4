from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio import private
from studio.paths import DataPaths
from studio.private import hand_over, keep_private, make_folder, open_to_others, tighten
from studio.services.health.modes import check_modes, mend_modes

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process of ours, started by a person whose umask is 0o027."""
    before = os.umask(0o027)
    monkeypatch.setattr(private, "_own_umask", None)
    keep_private()
    keep_private()
    yield
    os.umask(before)


@pytest.mark.usefixtures("strict")
def test_what_is_made_is_private_but_for_what_a_person_asked_for(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("x")
    assert mode(kept) == 0o600
    hand_over(kept)
    assert mode(kept) == 0o640
    make_folder(tmp_path / "a" / "b")
    assert (mode(tmp_path / "a"), mode(tmp_path / "a" / "b")) == (0o750, 0o750)


def test_an_open_data_directory_is_closed_at_once_where_it_counts_and_wholly_by_doctor(tmp_path: Path) -> None:
    paths = DataPaths(tmp_path / "data")
    deep = paths.kb("k").texts
    deep.mkdir(parents=True)
    files = [paths.catalog, paths.config, deep / "text"]
    for path in files:
        path.write_text("x")
        path.chmod(0o644)
    for folder in (paths.root, paths.root / "kb", deep):
        folder.chmod(0o755)
    assert not check_modes(paths.root).ok
    paths.create()
    assert [mode(path) for path in (paths.root, paths.root / "kb", *files)] == [0o700, 0o700, 0o600, 0o600, 0o644]
    found = check_modes(paths.root)
    assert found.ok
    assert "closed" in found.detail
    mend_modes(paths.root)
    assert list(open_to_others(paths.root)) == []
    assert mode(deep) == 0o700
    assert check_modes(paths.root).detail == "files are their owner's alone"


def test_a_model_that_is_also_elsewhere_is_left_alone(tmp_path: Path) -> None:
    paths = DataPaths(tmp_path / "data")
    paths.create()
    (tmp_path / "model.gguf").write_text("x")
    (tmp_path / "model.gguf").chmod(0o644)
    os.link(tmp_path / "model.gguf", paths.models / "model.gguf")
    tighten(tmp_path / "data")
    mend_modes(paths.root)
    assert mode(tmp_path / "model.gguf") == 0o644
