"""Changes below one folder, as the operating system reports them.

On Linux, and wherever it polls, watchfiles would follow links to folders out of the tree, and enter `.git` and
`node_modules`; there the folders are listed here, as a scan enters them, and each is watched by itself.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from studio.documents.names import has_hidden_name
from studio.services.scan import IGNORE_FILE, IgnoreRules, read_rules, storable

STEP_MS = 200
"""Changes are told once nothing more came for this long; a stop is noticed as fast."""
GROUP_MS = 1000
ALIVE_MS = 1000
"""How often the listening thread comes back when nothing happens."""
POLL_MS = 10_000
"""Polling stats every file of a folder each time, which watchfiles by default does three times a second."""
RULES_KEPT = 10_000

_NATIVE_TREES = sys.platform in ("win32", "darwin")
"""Where the system watches a whole tree by itself, links not followed."""

log = logging.getLogger(__name__)


class Noise:
    """Tells changes that cannot matter to an ingest: of hidden, system and ignored files and of the program's own."""

    def __init__(self, root: Path, own: Path) -> None:
        self._real = _slashed(os.path.realpath(root))
        self._roots = tuple(dict.fromkeys((_slashed(str(root)), self._real)))
        self._own = _slashed(os.path.realpath(own))
        self._rules: dict[str, IgnoreRules | None] = {}

    def matters(self, path: str) -> bool:
        """Whether an ingest could find a difference at this path."""
        root = next((name for name in self._roots if path.startswith(name) and path != name), None)
        if root is None:
            return True  # the root itself, or spelt in a way we do not know
        below = path[len(root) :]
        if _slashed(self._real + below).startswith(self._own):
            return False
        *folders, name = Path(below).parts
        if name == IGNORE_FILE:
            self._rules.clear()
            return not any(map(has_hidden_name, folders))
        around: list[tuple[int, IgnoreRules]] = []
        at = root
        for part in (*folders, name):
            rules = self._rules_in(at)
            if rules is not None:
                around.insert(0, (len(at), rules))
            here = at + part
            if has_hidden_name(part) or self._ignored(here, part, around):
                return False
            at = here + os.sep
        return True

    def _ignored(self, path: str, name: str, around: Iterable[tuple[int, IgnoreRules]]) -> bool:
        is_folder: bool | None = None
        for start, rules in around:
            if is_folder is None:
                is_folder = os.path.isdir(path)  # noqa: PTH112
            decided = rules.decide(path[start:].replace(os.sep, "/"), name, is_folder=is_folder)
            if decided is not None:
                return decided
        return False

    def _rules_in(self, folder: str) -> IgnoreRules | None:
        if folder not in self._rules:
            if len(self._rules) >= RULES_KEPT:
                self._rules.clear()
            try:
                self._rules[folder] = read_rules(folder)
            except OSError:
                self._rules[folder] = None
        return self._rules[folder]

    def folders(self) -> list[str]:
        """The root and every folder below it that a scan would enter. Raises OSError when the root cannot be read."""
        root = self._roots[0]
        found: list[str] = []
        pending = [root]
        while pending:
            folder = pending.pop()
            try:
                with os.scandir(folder) as listing:
                    names = [entry.path for entry in listing if entry.is_dir(follow_symlinks=False)]
            except OSError:  # gone again, or not ours to read
                if folder == root:
                    raise
                continue
            found.append(folder)
            pending += [_slashed(name) for name in names if storable(name) and self.matters(name)]
        return found


class FolderEvents:
    """Listens to one folder in the calling thread until it is stopped."""

    def __init__(self, root: Path, own: Path, listening: Callable[[], None], changed: Callable[[], None]) -> None:
        self.polling = False
        """Whether the system's own means ran out and the folder is looked through now and then instead."""
        self._root = root
        self._noise = Noise(root, own)
        self._listening = listening
        self._changed = changed
        self._stop = threading.Event()

    def stop(self) -> None:
        """Let `listen` return within some hundred milliseconds. From any thread."""
        self._stop.set()

    def listen(self) -> None:
        """Call `listening` once no change escapes any more, and `changed` after each burst. Both from this thread.

        Returns when it is stopped or the folder is gone. Raises OSError when it cannot be watched at all.
        """
        told = False
        while not self._stop.is_set():
            begun = False
            try:
                for outdated in self._listen_once():
                    if not told:
                        told = True
                        self._listening()
                    elif not begun:
                        self._changed()  # something may have come while the list of folders was made anew
                    begun = True
                    if outdated:
                        break
                else:
                    return
            except FileNotFoundError:  # a folder of the list went away
                if not self._root.is_dir():
                    return
                self._stop.wait(STEP_MS / 1000)
            except OSError as error:
                if self.polling:
                    raise
                log.warning("%s is looked through every %d s instead: %s", self._root, POLL_MS // 1000, error)
                self.polling = True

    def _listen_once(self) -> Iterator[bool]:
        """Yields now and then; True at the end, when a folder appeared or rules changed: the list is out of date."""
        import watchfiles  # with its event loop library it takes a tenth of a second

        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # a line for every change
        tree = _NATIVE_TREES and not self.polling
        for changes in watchfiles.watch(
            *([str(self._root)] if tree else self._noise.folders()),
            watch_filter=lambda _, path: self._noise.matters(path),
            debounce=GROUP_MS, step=STEP_MS, rust_timeout=ALIVE_MS, yield_on_timeout=True, stop_event=self._stop,
            raise_interrupt=False, force_polling=self.polling or None, poll_delay_ms=POLL_MS, recursive=tree,
            ignore_permission_denied=False,  # with True it also says nothing of its limits
        ):  # fmt: skip
            if changes:
                self._changed()
            outdated = not tree and any(_adds_folders(change.name, Path(path)) for change, path in changes)
            yield outdated
            if outdated:
                return


def _adds_folders(change: str, path: Path) -> bool:
    return path.name == IGNORE_FILE or (change == "added" and path.is_dir() and not path.is_symlink())


def _slashed(path: str) -> str:
    return path.rstrip(os.sep) + os.sep
