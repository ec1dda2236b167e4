"""What an office file says about itself: title, author, date, licence, and what a person added."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import olefile

from studio.documents.parsers.base import clean
from studio.documents.parsers.package import Package, XmlHandler
from studio.errors import DocumentFault

MAX_REPEATED = 200
_KEPT = ("keywords", "keyword", "subject", "category", "contentStatus", "language")
_LICENCE_NAMES = ("license", "licence", "rights", "copyright")


@dataclass(frozen=True, slots=True)
class Properties:
    """ "" where the file says nothing; `created` is an ISO date."""

    title: str = ""
    author: str = ""
    licence: str = ""
    created: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


def office_properties(package: Package) -> Properties:
    """Properties of an OOXML package: the core part, a licence also from those a person added."""
    core, own = Fields(), _Custom()
    for kind, target in package.relations("").values():
        if target in package and kind in ("core-properties", "custom-properties"):
            _try(package, target, core if kind == "core-properties" else own)
    return _properties(core, own.found, "creator", "created", "modified")


def odf_properties(package: Package) -> Properties:
    """Properties of an OpenDocument package."""
    fields, own = Fields(), _Custom()
    if "meta.xml" in package:
        _try(package, "meta.xml", fields)
        _try(package, "meta.xml", own)
    return _properties(fields, own.found, "initial-creator", "creation-date", "date")


def _properties(fields: Fields, own: dict[str, str], author: str, *dates: str) -> Properties:
    found = fields.found
    licence = found.get("rights") or next((own[name] for name in _LICENCE_NAMES if name in own), "")
    created = next((found[name] for name in dates if name in found), "")
    said = {{"keyword": "keywords"}.get(name, name.lower()): fields.all(name) for name in _KEPT if name in found}
    added = {name: value for name, value in own.items() if name not in _LICENCE_NAMES}
    return Properties(
        found.get("title", ""), found.get(author) or found.get("creator", ""), licence, created[:10], {**added, **said}
    )


def _try(package: Package, part: str, handler: XmlHandler) -> None:
    try:
        package.parse(part, handler)
    except DocumentFault:
        pass  # the text is worth more than what is said about it


class Fields(XmlHandler):
    """Text of leaf elements by name: the first of each name, and of what may be said several times all."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self._more: list[tuple[str, str]] = []
        self._text: list[str] = []

    def all(self, name: str) -> str:
        """Every text of the leaf elements of that name, joined by commas."""
        first = self.found.get(name)
        return ", ".join([*([first] if first else ()), *(text for other, text in self._more if other == name)])

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._text = []

    def text(self, data: str) -> None:
        self._text.append(data)

    def end(self, name: str) -> None:
        value = "".join(self._text).strip()
        if value and name not in self.found:
            self.found[name] = value
        elif value and len(self._more) < MAX_REPEATED:
            self._more.append((name, value))
        self._text = []


class _Custom(XmlHandler):
    """Properties that a person added, by their names in lower case."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self._name = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name in ("property", "user-defined"):
            self._name = attributes.get("name", "").lower()

    def text(self, data: str) -> None:
        if self._name and data.strip():
            self.found[self._name] = f"{self.found.get(self._name, '')}{data}".strip()

    def end(self, name: str) -> None:
        if name in ("property", "user-defined"):
            self._name = ""


def old_properties(path: Path) -> Properties:
    """Those of a container of the old formats."""
    with contextlib.suppress(Exception), olefile.OleFileIO(path) as container:  # whatever damage provokes
        found = container.get_metadata()
        encoding = f"cp{found.codepage}" if found.codepage not in (None, 65001) else "utf-8"
        title, author = (clean((value or b"").decode(encoding, "replace")) for value in (found.title, found.author))
        created = found.create_time.date().isoformat() if found.create_time else ""
        return Properties(title, author, "", created)
    return Properties()
