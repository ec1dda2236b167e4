"""Settings of the program: declared once, kept in one small JSON file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from studio.errors import InvalidRequest, StorageFault, storage_fault

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: its type is the type of its default; numbers keep to `minimum`."""

    key: str
    default: Value
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None


SETTINGS: tuple[Setting, ...] = (
    Setting("theme", "system", "colours of the window", choices=("system", "light", "dark")),
    Setting("window_geometry", "", "position and size of the window, as the window saves it"),
    Setting("model", "all-MiniLM-L6-v2", "embedding model of new knowledge bases"),
    Setting("reranker", "", "model that orders the first results of a search anew; empty: none"),
    Setting(
        "remember_queries",
        True,
        "keep the last searches, so that the vector index is measured with them; off: removed",
    ),
    Setting("memory_budget_mib", 0, "memory the program keeps to, in MiB; 0: half of the machine's", minimum=0),
    Setting("model_idle_minutes", 15, "minutes without use after which a model leaves memory; 0: never", minimum=0),
    Setting("embed_threads", 0, "threads the embedding model works with; 0: as many as suit the machine", minimum=0),
    Setting("parse_workers", 2, "files parsed side by side", minimum=1),
    Setting("parse_time_limit_s", 60, "seconds a file may take to parse", minimum=1),
    Setting("parse_memory_limit_mib", 640, "memory a file may take to parse, in MiB", minimum=64),
    Setting(
        "ocr", "auto", "recognise text in pages without any, where Tesseract is installed", choices=("auto", "off")
    ),
    Setting("ocr_languages", "eng", "languages Tesseract looks for, such as eng+deu"),
    Setting("watch_on_battery", False, "index what changes in watched folders also while on battery"),
    Setting("keep_generations", 3, "archived generations kept for rollback", minimum=0),
    Setting("keep_min_age_hours", 0, "hours an archived generation is kept in any case", minimum=0),
    Setting("keep_max_mib", 0, "what archived generations may add to the disk, in MiB; 0: no limit", minimum=0),
)
_BY_KEY = {setting.key: setting for setting in SETTINGS}


class Config:
    """Reads and writes the settings file. Unknown keys in it are kept, bad values fall back to defaults."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[str, object] = {}
        try:
            loaded = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return
        except OSError as error:
            raise storage_fault(error, "reading the settings", path) from error
        except ValueError as error:
            raise StorageFault(
                f"The settings file {path} is not valid JSON ({error}).", way_out="Repair or delete it."
            ) from error
        if isinstance(loaded, dict):
            self._values = loaded

    @property
    def path(self) -> Path:
        return self._path

    def get(self, key: str) -> Value:
        """Value of a setting, its default if unset. Raises InvalidRequest for an unknown key."""
        setting = _setting(key)
        raw = self._values.get(key, setting.default)
        try:
            return _convert(setting, raw)
        except InvalidRequest:
            return setting.default

    def integer(self, key: str) -> int:
        """`get` for a whole number."""
        return int(self.get(key))

    def text(self, key: str) -> str:
        """`get` for a text."""
        return str(self.get(key))

    def set(self, key: str, value: str) -> None:
        """Check, convert and save a value. Raises InvalidRequest or StorageFault."""
        self._values[key] = _convert(_setting(key), value)
        temporary = self._path.with_name(self._path.name + ".tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(self._values, indent=2, sort_keys=True) + "\n", "utf-8")
            os.replace(temporary, self._path)  # noqa: PTH105
        except OSError as error:
            raise storage_fault(error, "saving the settings", self._path) from error

    def all(self) -> dict[str, Value]:
        """Every declared setting with its present value."""
        return {setting.key: self.get(setting.key) for setting in SETTINGS}


def _setting(key: str) -> Setting:
    try:
        return _BY_KEY[key]
    except KeyError:
        raise InvalidRequest(
            f"There is no setting “{key}”.", way_out=f"Settings: {', '.join(sorted(_BY_KEY))}."
        ) from None


def _convert(setting: Setting, raw: object) -> Value:
    try:
        value: Value
        if isinstance(setting.default, bool):
            value = str(raw).lower() in ("1", "true", "yes", "on")
        elif isinstance(setting.default, int):
            value = int(str(raw))
        elif isinstance(setting.default, float):
            value = float(str(raw))
        else:
            value = str(raw)
    except ValueError:
        raise InvalidRequest(f"“{raw}” is not a number, which {setting.key} must be.") from None
    if setting.choices and value not in setting.choices:
        raise InvalidRequest(
            f"“{raw}” is not a value of {setting.key}.", way_out=f"One of: {', '.join(setting.choices)}."
        )
    if setting.minimum is not None and isinstance(value, int | float) and value < setting.minimum:
        raise InvalidRequest(f"{setting.key} must be at least {setting.minimum:g}.")
    return value
