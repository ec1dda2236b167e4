"""Which paths below a folder its rules leave out: `.ragignore` files, and include and exclude globs.

`.ragignore` follows the pattern format of gitignore (https://git-scm.com/docs/gitignore): comments, `!` to take a
path back, a trailing `/` for folders only, patterns with another `/` count from the file's folder, others at any depth,
`**` for any number of folders. The last rule that matches decides, and the rules of a deeper folder come before those
of the folders around it.

Patterns become regular expressions that never try the same place twice: every `*` but the last one of a name, and every
`**` but the last one of a path, is matched to the first place where what follows it fits, which is as good as any other
(the reason why glob matching needs no backtracking beyond one star). A hostile rule costs no more than a harmless one.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path

IGNORE_FILE = ".ragignore"
MAX_RULES_BYTES = 1 << 20

_CASE = re.IGNORECASE if sys.platform in ("win32", "darwin") else re.NOFLAG
"""File names that differ in case alone are the same file on these systems, as in git's `core.ignorecase`."""

_POSIX_CLASSES = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "blank": r" \t", "cntrl": r"\x00-\x1f\x7f", "digit": "0-9",
    "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r" \t-\r", "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}  # fmt: skip

_STAR, _SLASH = "*", "/"


@dataclass(frozen=True, slots=True)
class _Rule:
    """One line. `anchored`: matched against the path below the file's folder, otherwise against the bare name."""

    matches: re.Pattern[str]
    takes_back: bool
    folders_only: bool
    anchored: bool


class IgnoreRules:
    """The rules of one `.ragignore` file."""

    def __init__(self, text: str) -> None:
        rules = [_rule(line.removesuffix("\r")) for line in text.removeprefix("\ufeff").split("\n")]
        self._last_first = [rule for rule in reversed(rules) if rule is not None]

    def __bool__(self) -> bool:
        return bool(self._last_first)

    def decide(self, below: str, name: str, *, is_folder: bool) -> bool | None:
        """Whether a path is ignored; None when no rule says anything about it.

        `below` is the path from the file's folder, with `/` between its parts, `name` the last of them.
        """
        below, name = _composed(below), _composed(name)
        for rule in self._last_first:
            if rule.folders_only and not is_folder:
                continue
            if rule.matches.fullmatch(below if rule.anchored else name):
                return not rule.takes_back
        return None


def read_rules(folder: str) -> IgnoreRules | None:
    """The rules in a folder, None where there are none. Raises OSError."""
    path = os.path.join(folder, IGNORE_FILE)  # noqa: PTH118  (called once a folder)
    try:
        status = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        return None
    if status.st_size > MAX_RULES_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {MAX_RULES_BYTES >> 20} MiB", path)
    return IgnoreRules(Path(path).read_bytes().decode("utf-8", "surrogateescape")) or None


class Globs:
    """Globs of the command line. They match a bare name, a path below the given folder, or a folder on its way.

    `*` runs across folders; `**/` also stands for no folder at all.
    """

    def __init__(self, globs: Sequence[str]) -> None:
        names: list[str] = []
        paths: list[str] = []
        for glob in globs:
            glob = _composed(glob.replace(os.sep, "/")).rstrip("/") or "/"
            if "**" in glob:
                tokens = _tokens(glob.removeprefix("/"))
                if tokens is not None:
                    paths.append(f"(?:{_path(tokens)})(?:/.*)?")
            else:
                names.append(translate(glob))
                paths += [translate(glob), translate(f"{glob}/*")]
        case = re.IGNORECASE if os.name == "nt" else re.NOFLAG
        self._any = bool(globs)
        self._name = re.compile("|".join(names), case) if names else None
        self._path = re.compile("|".join(paths), case | re.DOTALL) if paths else None

    def __bool__(self) -> bool:
        return self._any

    def match(self, below: str, name: str) -> bool:
        """Whether any of them matches a path (`below` the given folder, `/` between parts) or its `name`."""
        below, name = _composed(below), _composed(name)
        return bool((self._name and self._name.fullmatch(name)) or (self._path and self._path.fullmatch(below)))


def _composed(text: str) -> str:
    """One spelling of letters with accents: some file systems give them back in parts."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _rule(line: str) -> _Rule | None:
    pattern = _without_trailing_spaces(line)
    if not pattern or pattern.startswith("#"):
        return None
    takes_back = pattern.startswith("!")
    pattern = _composed(pattern.removeprefix("!"))
    folders_only = pattern.endswith("/")
    pattern = pattern.removesuffix("/")
    anchored = "/" in pattern
    tokens = _tokens(pattern.removeprefix("/"))
    if tokens is None or not all(_split(tokens)):  # no path has a part without a name
        return None
    expression = _path(tokens) if anchored else _name(tokens)
    return _Rule(re.compile(expression, _CASE | re.DOTALL), takes_back, folders_only, anchored)


def _without_trailing_spaces(line: str) -> str:
    end = at = 0
    while at < len(line):
        at += 2 if line[at] == "\\" else 1
        if line[at - 1 : at] != " " or (at - end > 1 and line[end] == "\\"):
            end = at
    return line[:end]


def _tokens(pattern: str) -> list[str] | None:
    """A pattern as expressions for one character each, `/`, and runs of `*`; None if it can never match anything."""
    found: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            start = at - 1
            while pattern[at : at + 1] == "*":
                at += 1
            found.append(_STAR * (at - start))
        elif char == "?":
            found.append("[^/]")
        elif char == "[":
            expression, at = _bracket(pattern, at)
            if not expression:
                return None
            found.append(expression)
        else:
            if char == "\\":
                char = pattern[at : at + 1]
                at += 1
                if not char:
                    return None
            found.append(_SLASH if char == "/" else re.escape(char) if char != "*" else r"\*")
    return found


def _bracket(pattern: str, at: int) -> tuple[str, int]:
    """The expression of a set that begins before `at`, and where it ends; "" if it does not end or is nonsense."""
    negated = pattern[at : at + 1] in ("!", "^")
    at += negated
    parts: list[str] = []
    before = ""  # a range may begin with it
    first = True
    while first or pattern[at : at + 1] != "]":
        first = False
        char = pattern[at : at + 1]
        if char == "-" and before and pattern[at + 1 : at + 2] not in ("", "]"):
            at += 1 + (pattern[at + 1] == "\\")
            last = pattern[at : at + 1]
            if last >= before:
                parts.append(f"{re.escape(before)}-{re.escape(last)}")
            before = ""
        elif char == "[" and pattern[at + 1 : at + 2] == ":" and (end := pattern.find("]", at + 2)) != -1 and (
            end > at + 2 and pattern[end - 1] == ":"
        ):  # fmt: skip
            name = pattern[at + 2 : end - 1]
            if name not in _POSIX_CLASSES:
                return "", at
            parts.append(_POSIX_CLASSES[name])
            before, last, at = "", "]", end
        else:
            at += char == "\\"
            before = last = pattern[at : at + 1]
            parts.append(re.escape(before))
        if not last:
            return "", at
        at += 1
    if not parts:
        return ("[^/]" if negated else "(?!)"), at + 1
    return f"(?!/)[{'^' if negated else ''}{''.join(parts)}]", at + 1


def _path(tokens: Sequence[str]) -> str:
    """The expression of a whole path: blocks of names between the `**`."""
    blocks: list[list[str]] = [[]]
    for name in _split(tokens):
        if len(name) == 1 and set(name[0]) == {_STAR} and len(name[0]) > 1:
            if blocks[-1] or len(blocks) == 1:
                blocks.append([])
        else:
            blocks[-1].append(_name(name))
    first, *others = ["/".join(block) for block in blocks]
    if not others:
        return first
    middle = "".join(f"(?>(?:[^/]+/)*?{block}/)" for block in others[:-1])
    last = f"(?:[^/]+/)*?{others[-1]}" if others[-1] else ".+"
    return f"{first}{'/' if first else ''}{middle}{last}"


def _split(tokens: Sequence[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for token in tokens:
        if token == _SLASH:
            yield part
            part = []
        else:
            part.append(token)
    yield part


def _name(tokens: Sequence[str]) -> str:
    """The expression of one name: stretches of characters between the `*`."""
    stretches = [""]
    for token in tokens:
        if set(token) == {_STAR}:
            stretches.append("")
        else:
            stretches[-1] += token
    first, *others = stretches
    if not others:
        return first
    return first + "".join(f"(?>[^/]*?{stretch})" for stretch in others[:-1] if stretch) + f"[^/]*{others[-1]}"
