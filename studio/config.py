"""Settings of the program: declared once, kept in one small JSON file that several programs may write.

A change takes a lock, reads the file again and writes the one value: what another program set meanwhile stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import portalocker

from studio.errors import Busy, InvalidRequest, StorageFault, storage_fault
from studio.replacing import replacing

Value = str | int | float | bool
Listener = Callable[[frozenset[str]], None]
"""Is told the names of the settings whose values changed."""

LOCK_WAIT_S = 5.0
"""A change takes some milliseconds; who holds the lock for longer hangs."""
_TRUE, _FALSE = ("true", "on", "yes", "1"), ("false", "off", "no", "0")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: its type is the type of its default; numbers lie between `minimum` and `maximum`. `help` says what it
    is for.

    `at_start`: it is read when the program starts, so that a change takes effect with the next start. Others hold at
    once.
    """

    key: str
    default: Value
    help: str
    choices: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = 1_000_000
    at_start: bool = False

    @property
    def allowed(self) -> str:
        """The values it can have, in words."""
        if isinstance(self.default, bool):
            return f"{', '.join(_TRUE)}; {', '.join(_FALSE)}"
        if self.choices:
            return ", ".join(self.choices)
        if isinstance(self.default, int):
            return f"a whole number from {self.minimum} to {self.maximum}"
        return "a text in one line"

    @property
    def described(self) -> str:
        """Its name, default, purpose, values, and when a change takes effect, in two lines."""
        default = str(self.default) or '""'
        return f"{self.key} = {default}: {self.help}\n  " + ". ".join(filter(None, (self.allowed, self.when)))

    @property
    def when(self) -> str:
        """When a change takes effect, in a sentence; "" for at once."""
        return "Takes effect after a restart of RAG Studio." if self.at_start else ""


SETTINGS: tuple[Setting, ...] = (
    Setting("theme", "system", "colours of the window", choices=("system", "light", "dark")),
    Setting("window_geometry", "", "position and size of the window, as the window saves it", at_start=True),
    Setting("model", "all-MiniLM-L6-v2", "embedding model of new knowledge bases"),
    Setting("reranker", "", "model that orders the first results of a search anew; empty: none"),
    Setting(
        "remember_queries",
        True,
        "keep the last searches, so that the vector index is measured with them; off: removed",
    ),
    Setting("memory_budget_mib", 0, "memory the program keeps to, in MiB; 0: half of the machine's", maximum=1 << 30),
    Setting(
        "model_idle_minutes",
        15,
        "minutes without use after which a model leaves memory; 0: never",
        maximum=24 * 60,
    ),
    Setting(
        "embed_threads",
        0,
        "threads the embedding model works with; 0: as many as suit the machine",
        maximum=1024,
        at_start=True,
    ),
    Setting("parse_workers", 2, "files parsed side by side", minimum=1, maximum=64, at_start=True),
    Setting("parse_time_limit_s", 60, "seconds a file may take to parse", minimum=1, maximum=86_400, at_start=True),
    Setting(
        "parse_memory_limit_mib",
        640,
        "memory a file may take to parse, in MiB",
        minimum=64,
        maximum=1 << 20,
        at_start=True,
    ),
    Setting(
        "ocr",
        "auto",
        "recognise text in pages without any, where Tesseract is installed",
        choices=("auto", "off"),
        at_start=True,
    ),
    Setting("ocr_languages", "eng", "languages Tesseract looks for, such as eng+deu", at_start=True),
    Setting("watch_on_battery", False, "index what changes in watched folders also while on battery"),
    Setting("keep_generations", 3, "archived generations kept for rollback"),
    Setting("keep_min_age_hours", 0, "hours an archived generation is kept in any case"),
    Setting("keep_max_mib", 0, "what archived generations may add to the disk, in MiB; 0: no limit", maximum=1 << 30),
)
_BY_KEY = {item.key: item for item in SETTINGS}


class Config:
    """Reads and writes the settings file. Unknown keys in it are kept, bad values fall back to defaults.

    What another program wrote is noticed when a setting is asked for, and with `refresh`. A file that is damaged leaves
    the defaults; it is put aside before another one takes its place. Raises StorageFault when it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listeners: list[Listener] = []
        self._saving = asyncio.Lock()
        self._stamp = self._now()
        self._values = self._read() or {}

    @property
    def path(self) -> Path:
        return self._path

    def get(self, key: str) -> Value:
        """Value of a setting, its default if unset. Raises InvalidRequest for an unknown key."""
        chosen = setting(key)
        self.refresh()
        return self._value(chosen)

    def integer(self, key: str) -> int:
        """`get` for a whole number."""
        return int(self.get(key))

    def text(self, key: str) -> str:
        """`get` for a text."""
        return str(self.get(key))

    def all(self) -> dict[str, Value]:
        """Every declared setting with its present value."""
        self.refresh()
        return {item.key: self._value(item) for item in SETTINGS}

    def set(self, key: str, value: str) -> None:
        """Check, convert and save a value, and nothing else. Raises InvalidRequest, Busy or StorageFault.

        Blocking: waits for another program that does so, and for the disk.
        """
        self._take(*self._saved(key, _convert(setting(key), value)))

    async def save(self, key: str, value: str) -> None:
        """`set`, with what takes time in a thread; in effect, and told to listeners, when it returns."""
        converted = _convert(setting(key), value)
        async with self._saving:
            self._take(*await asyncio.to_thread(self._saved, key, converted))

    def _saved(self, key: str, converted: Value) -> tuple[dict[str, object], tuple[int, ...]]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self._path):
                found = self._read()
                if found is None:
                    self._put_aside()
                values = {**(found or {}), key: converted}
                with replacing(self._path) as temporary:
                    temporary.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")
                return values, self._now()
        except OSError as error:
            raise storage_fault(error, "saving the settings", self._path) from error

    def refresh(self) -> None:
        """Take in what another program wrote, and tell who wants to know. Costs one look at the file."""
        stamp = self._now()
        if stamp == self._stamp:
            return
        try:
            found = self._read()
        except StorageFault as error:
            log.warning("%s", error.full_message)
            found = None
        self._take(self._values if found is None else found, stamp)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Be told of settings that changed here or, once it is noticed, elsewhere. Returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _value(self, chosen: Setting) -> Value:
        try:
            return _convert(chosen, self._values.get(chosen.key, chosen.default))
        except InvalidRequest:
            return chosen.default

    def _take(self, values: dict[str, object], stamp: tuple[int, ...]) -> None:
        before = {item.key: self._value(item) for item in SETTINGS}
        self._values, self._stamp = values, stamp
        changed = frozenset(item.key for item in SETTINGS if self._value(item) != before[item.key])
        for listener in list(self._listeners) if changed else ():
            listener(changed)

    def _now(self) -> tuple[int, ...]:
        """What tells one state of the file from another: every change makes a new file."""
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> dict[str, object] | None:
        """What the file holds, None when that is no settings. Raises StorageFault when it cannot be read."""
        try:
            loaded = json.loads(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise storage_fault(error, "reading the settings", self._path) from error
        except (ValueError, RecursionError) as error:
            log.warning("the settings file %s is damaged (%s): the defaults hold", self._path, error)
            return None
        if isinstance(loaded, dict):
            return loaded
        log.warning("the settings file %s holds no settings: the defaults hold", self._path)
        return None

    def _put_aside(self) -> None:
        number = 1
        while (aside := self._path.with_name(f"{self._path.name}.damaged-{number}")).exists():
            number += 1
        self._path.rename(aside)
        log.warning("the damaged settings file is now %s", aside)


def setting(key: str) -> Setting:
    """The setting of this name. Raises InvalidRequest."""
    try:
        return _BY_KEY[key]
    except KeyError:
        raise InvalidRequest(
            f"There is no setting “{key}”.", way_out=f"Settings: {', '.join(sorted(_BY_KEY))}."
        ) from None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock beside the file: the file itself is another one after each change."""
    beside = path.with_name(path.name + ".lock")
    try:
        os.close(os.open(beside, os.O_RDWR | os.O_CREAT, 0o600))
        lock = portalocker.Lock(beside, "r+", timeout=LOCK_WAIT_S, check_interval=0.01)
        lock.acquire()
    except portalocker.AlreadyLocked as error:
        raise Busy("Another program is changing the settings.", way_out="Try again, or close it.") from error
    except portalocker.LockException as error:
        raise StorageFault(f"{beside} cannot be locked: {error}.") from error
    try:
        yield
    finally:
        lock.release()


def _convert(chosen: Setting, raw: object) -> Value:
    said = str(raw)
    if isinstance(chosen.default, bool):
        if said.lower() in _TRUE + _FALSE:
            return said.lower() in _TRUE
    elif isinstance(chosen.default, int):
        if re.fullmatch(r"[+-]?[0-9]{1,18}", said) and chosen.minimum <= int(said) <= chosen.maximum:
            return int(said)
    elif said in chosen.choices or (not chosen.choices and said.isprintable()):
        return said
    raise InvalidRequest(f"The setting {chosen.key} cannot be “{said}”.", way_out=f"Allowed: {chosen.allowed}.")
