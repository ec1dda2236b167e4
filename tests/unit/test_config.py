from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path

import portalocker
import pytest

from studio.config import SETTINGS, Config, setting
from studio.errors import InvalidRequest


def test_values_are_checked_converted_and_kept(tmp_path: Path) -> None:
    config = Config(tmp_path / "sub" / "config.json")
    assert config.get("embed_threads") == 0
    config.set("embed_threads", "4")
    config.set("theme", "dark")
    again = Config(config.path)
    assert (again.integer("embed_threads"), again.text("theme")) == (4, "dark")
    assert set(again.all()) == {setting.key for setting in SETTINGS}


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("theme", "pink", "system, light, dark"),
        ("theme", "Dark", "system, light, dark"),
        ("embed_threads", "-1", "from 0 to 1024"),
        ("embed_threads", "1025", "from 0 to 1024"),
        ("embed_threads", "two", "from 0 to 1024"),
        ("embed_threads", "1_0", "from 0 to 1024"),
        ("embed_threads", "1.5", "from 0 to 1024"),
        ("embed_threads", "9" * 5000, "from 0 to 1024"),
        ("watch_on_battery", "ja", "true, on, yes, 1; false, off, no, 0"),
        ("watch_on_battery", "", "true, on, yes, 1; false, off, no, 0"),
        ("watch_on_battery", "2", "true, on, yes, 1; false, off, no, 0"),
        ("model", "a\x1b[2J", "a text in one line"),
    ],
)
def test_bad_values_are_refused_with_what_is_allowed(tmp_path: Path, key: str, value: str, allowed: str) -> None:
    config = Config(tmp_path / "config.json")
    with pytest.raises(InvalidRequest) as refused:
        config.set(key, value)
    assert key in str(refused.value)
    assert value in str(refused.value)
    assert allowed in refused.value.way_out
    assert not config.path.exists()


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no setting “none”"):
        Config(tmp_path / "config.json").set("none", "1")


@pytest.mark.parametrize(("said", "meant"), [("true", 1), ("ON", 1), ("yes", 1), ("1", 1),
                                             ("False", 0), ("off", 0), ("no", 0), ("0", 0)])  # fmt: skip
def test_yes_and_no_have_names(tmp_path: Path, said: str, meant: int) -> None:
    config = Config(tmp_path / "config.json")
    config.set("watch_on_battery", said)
    assert config.get("watch_on_battery") is bool(meant)


def test_a_bad_value_in_the_file_falls_back_to_the_default(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"embed_threads": "lots", "theme": "dark", "from_the_future": 1}))
    config = Config(path)
    assert (config.get("embed_threads"), config.get("theme")) == (0, "dark")
    config.set("theme", "light")
    assert json.loads(path.read_text()) == {"embed_threads": "lots", "theme": "light", "from_the_future": 1}


@pytest.mark.parametrize("damaged", [b"{", b"[]", b"\xff\xfe", b"", b"[" * 100_000])
def test_a_damaged_file_is_named_and_put_aside(
    tmp_path: Path, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "config.json"
    for number in (1, 2):
        path.write_bytes(damaged)
        config = Config(path)
        assert config.get("theme") == "system"
        assert str(path) in caplog.text
        assert path.read_bytes() == damaged, "reading moves nothing"
        config.set("theme", "dark")
        assert (tmp_path / f"config.json.damaged-{number}").read_bytes() == damaged
        assert Config(path).get("theme") == "dark"


def test_two_programs_lose_nothing_of_one_another(tmp_path: Path) -> None:
    first, second = Config(tmp_path / "config.json"), Config(tmp_path / "config.json")
    for turn in range(50):
        first.set("keep_generations", str(turn))
        second.set("keep_min_age_hours", str(turn))
        for config in (first, second, Config(first.path)):
            assert (config.get("keep_generations"), config.get("keep_min_age_hours")) == (turn, turn)


def test_who_asked_is_told_of_what_changed_here_and_elsewhere(tmp_path: Path) -> None:
    config, other = Config(tmp_path / "config.json"), Config(tmp_path / "config.json")
    told: list[frozenset[str]] = []
    forget = config.subscribe(told.append)
    config.set("theme", "dark")
    config.set("theme", "dark")
    other.set("memory_budget_mib", "2048")
    assert told == [{"theme"}]
    config.refresh()
    config.refresh()
    assert told == [{"theme"}, {"memory_budget_mib"}]
    forget()
    config.set("theme", "light")
    assert len(told) == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    config = Config(tmp_path / "config.json")
    config.set("theme", "dark")
    assert {stat.S_IMODE(item.stat().st_mode) for item in tmp_path.iterdir()} == {0o600}


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(tmp_path / "config.json")
    config.set("theme", "dark")
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(Exception, match=r"saving the settings|disk is full|space"):
            config.set("theme", "light")
    assert Config(config.path).get("theme") == config.get("theme") == "dark"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["config.json", "config.json.lock"]


def test_every_setting_explains_itself() -> None:
    assert all(item.help and item.allowed for item in SETTINGS)
    assert len({item.key for item in SETTINGS}) == len(SETTINGS)


def test_what_is_read_at_the_start_says_so() -> None:
    late = {item.key for item in SETTINGS if item.when}
    assert late == {"window_geometry", "embed_threads", "parse_workers", "parse_time_limit_s",
                    "parse_memory_limit_mib", "ocr", "ocr_languages"}  # fmt: skip


async def test_saving_waits_for_another_program_without_holding_up_the_event_loop(tmp_path: Path) -> None:
    config = Config(tmp_path / "config.json")
    config.set("theme", "dark")
    heard: list[frozenset[str]] = []
    config.subscribe(heard.append)
    lock = portalocker.Lock(tmp_path / "config.json.lock", "r+")
    lock.acquire()
    first = asyncio.create_task(config.save("theme", "light"))
    second = asyncio.create_task(config.save("theme", "system"))
    for _ in range(20):
        await asyncio.sleep(0)  # the event loop goes on
    assert not first.done()
    assert config.get("theme") == "dark"
    lock.release()
    await asyncio.gather(first, second)
    assert Config(config.path).get("theme") == config.get("theme") == "system", "in the order they were asked for"
    assert heard == [frozenset({"theme"})] * 2
    with pytest.raises(InvalidRequest):
        await config.save("theme", "pink")


def test_a_setting_is_described_with_its_default_values_and_effect() -> None:
    assert setting("theme").described == "theme = system: colours of the window\n  system, light, dark"
    assert setting("reranker").described.startswith('reranker = "": ')
    assert setting("parse_workers").described == (
        "parse_workers = 2: files parsed side by side\n"
        "  a whole number from 1 to 64. Takes effect after a restart of RAG Studio."
    )
