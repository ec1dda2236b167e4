"""What Markdown says of itself before its text: YAML between `---`, TOML between `+++` (the only importer of yaml).

It comes from anywhere, so nothing is built of it but texts, lists and maps, whatever a tag says, and it is short. An
entry that is no YAML costs itself.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from studio.documents.parsers.base import MAX_LISTED, scalar_text

_BLOCK = re.compile(r"\A(---|\+\+\+)[ \t]*\r?\n(?:(.*?)\r?\n)??(?:\1|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_PLAIN_ENTRY = re.compile(r"([^\s:][^:]*):[ \t]+(.*)")
_NOTHING = ("~", "null", "Null", "NULL")

MAX_CHARS = 32_768
"""What is longer between two rules is text: half a second to read."""

_MAX_DEPTH = 16


def split(source: str) -> tuple[dict[str, str], str]:
    """The fields of the front matter of a Markdown source by lower-case name, lists joined by commas; and what follows.

    What is between two rules and has no fields is text like any other. Never raises.
    """
    block = _BLOCK.match(source)
    if block is None or len(block[2] or "") > MAX_CHARS:
        return {}, source
    found = _toml(block[2] or "") if block[1] == "+++" else _yaml(block[2] or "")
    if found is None:
        return {}, source
    fields: dict[str, str] = {}
    for name, value in found.items():
        fields.setdefault(str(name).lower(), _text(value))
    return fields, source[block.end() :]


def _toml(block: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(block.replace("\r\n", "\n"), parse_float=str)
    except (ValueError, RecursionError):  # also what is no date, and numbers of a thousand digits
        return None


def _yaml(block: str) -> dict[str, Any] | None:
    """The map that a block is, or what can be read of it; None if it is none."""
    import yaml

    # Of the safe loaders the one that takes every scalar for a text: “1.10” is no number, “no” is a word.
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # the other is ten times slower

    def load(text: str) -> Any:
        depth = 0
        for event in yaml.parse(text, loader):  # lists in lists overflow the stack of the process, but not here
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise yaml.YAMLError("too deep")
        return yaml.load(text, loader)

    try:
        found = load(block)
        return found if isinstance(found, dict) else None if found else {}
    except (yaml.YAMLError, ValueError, RecursionError):
        pass
    fields: dict[str, Any] = {}
    for entry in _entries(block):
        try:
            found = load(entry)
        except (yaml.YAMLError, ValueError, RecursionError):
            plain = _PLAIN_ENTRY.fullmatch(entry.rstrip())  # “title: One: two”
            found = {plain[1]: plain[2]} if plain else None
        if isinstance(found, dict):
            fields = {**found, **fields}
    return fields or None


def _entries(block: str) -> Iterator[str]:
    """The parts of a map that begin at the left margin."""
    entry: list[str] = []
    for line in block.splitlines(keepends=True):
        if entry and line[0] not in " \t\r\n-#]}":
            yield "".join(entry)
            entry = []
        entry.append(line)
    yield "".join(entry)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(filter(None, map(_item, value[:MAX_LISTED])))
    return _item(value)


def _item(value: Any) -> str:
    """A scalar as text; of a person the name; of `[[a link]]` what it leads to. "" for anything else."""
    if isinstance(value, dict):
        value = value.get("name")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, list) or value in _NOTHING:
        return ""
    return scalar_text(value).strip()
