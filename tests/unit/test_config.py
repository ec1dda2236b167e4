from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.config import SETTINGS, Config
from studio.errors import InvalidRequest, StorageFault


def test_values_are_checked_converted_and_kept(tmp_path: Path) -> None:
    config = Config(tmp_path / "sub" / "config.json")
    assert config.get("embed_threads") == 0
    config.set("embed_threads", "4")
    config.set("theme", "dark")
    again = Config(config.path)
    assert (again.integer("embed_threads"), again.text("theme")) == (4, "dark")
    assert set(again.all()) == {setting.key for setting in SETTINGS}


@pytest.mark.parametrize(
    ("key", "value"), [("theme", "pink"), ("embed_threads", "-1"), ("embed_threads", "two"), ("none", "1")]
)
def test_bad_values_are_refused_and_change_nothing(tmp_path: Path, key: str, value: str) -> None:
    config = Config(tmp_path / "config.json")
    with pytest.raises(InvalidRequest):
        config.set(key, value)
    assert not config.path.exists()


def test_a_bad_value_in_the_file_falls_back_to_the_default(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"embed_threads": "lots", "theme": "dark", "from_the_future": 1}))
    config = Config(path)
    assert (config.get("embed_threads"), config.get("theme")) == (0, "dark")
    config.set("theme", "light")
    assert json.loads(path.read_text())["from_the_future"] == 1


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{")
    with pytest.raises(StorageFault, match=r"config\.json"):
        Config(path)


def test_every_setting_explains_itself() -> None:
    assert all(setting.help for setting in SETTINGS)
    assert len({setting.key for setting in SETTINGS}) == len(SETTINGS)
