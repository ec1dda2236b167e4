"""Calendars (iCalendar, RFC 5545; vCalendar): appointments and tasks as a reader sees them."""

from __future__ import annotations

import quopri
import re
from collections.abc import Iterator
from pathlib import Path

from studio.documents.parsers.base import (
    MAX_HEADING_CHARS,
    TextBuilder,
    choose_title,
    clean,
    make_document,
    one_line,
    read_all,
)
from studio.documents.parsers.encodings import decode
from studio.domain import ParsedDocument

SUFFIXES = frozenset({".ics", ".vcs", ".ifb", ".ical"})

_LINE = re.compile(r"([A-Za-z0-9-]+)((?:;[^:\"]*(?:\"[^\"]*\"[^:\"]*)*)?):(.*)", re.DOTALL)
_FOLD = re.compile(r"\r?\n[ \t]")
_SOFT_FOLD = re.compile(r"=\r?\n")
_ESCAPED = re.compile(r"\\([\\;,nN])")
_NAME = re.compile(r";CN=(?:\"([^\"]*)\"|([^;:]*))", re.IGNORECASE)
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(?:\d\d)?Z?)?$")
_ITEMS = frozenset({"VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY"})
_LABELS = {
    "DTSTART": "Start", "DTEND": "End", "DUE": "Due", "LOCATION": "Location", "ORGANIZER": "Organizer",
    "ATTENDEE": "Attendee", "CATEGORIES": "Categories", "RESOURCES": "Resources", "CONTACT": "Contact", "URL": "URL",
    "STATUS": "Status", "COMMENT": "Comment", "DESCRIPTION": "Description", "ATTACH": "Attachment",
    "X-WR-CALNAME": "Calendar", "X-WR-CALDESC": "Description",
}  # fmt: skip
_PEOPLE = frozenset({"ORGANIZER", "ATTENDEE"})

Item = tuple[str, list[str]]
"""Its title, "" where it has none, and its lines."""


def parse(path: Path) -> Iterator[ParsedDocument]:
    """One document, each appointment under its title."""
    builder = TextBuilder()
    for title, lines in _items(clean(decode(read_all(path)))):
        builder.begin(anchor=one_line(title)[:MAX_HEADING_CHARS])
        builder.block(title)
        for line in lines:
            builder.line(line)
    text, spans = builder.build()
    yield make_document(text, spans, "text", title=choose_title("", "", path))


def calendar_text(source: str) -> str:
    """A calendar as text: a line for each thing it says of an appointment."""
    return "\n\n".join("\n".join(filter(None, (title, *lines))) for title, lines in _items(clean(source)))


def _items(source: str) -> Iterator[Item]:
    """The calendar itself, then its appointments and tasks; what is no calendar, as it stands."""
    if "BEGIN:VCALENDAR" not in source.upper():
        yield "", source.splitlines()
        return
    if "QUOTED-PRINTABLE" in source.upper():
        source = _SOFT_FOLD.sub("", source)
    title, lines, inside = "", list[str](), 0
    for line in _FOLD.sub("", source).split("\n"):
        found = _LINE.match(line)
        if found is None:
            continue
        name, parameters, value = found[1].upper(), found[2], found[3].strip()
        if name in ("BEGIN", "END") and value.upper() in _ITEMS:
            if title or lines:
                yield title, lines
            title, lines = "", []
        elif name in ("BEGIN", "END"):
            inside += 1 if name == "BEGIN" else -1  # the rules of a time zone, an alarm
        elif inside > 1:
            continue
        elif name == "SUMMARY" and not title:
            title = _shown(name, parameters, value)
        elif name in _LABELS and value:
            shown = _shown(name, parameters, value)
            if shown:
                lines.append(f"{_LABELS[name]}: {shown}")
    if title or lines:
        yield title, lines


def _shown(name: str, parameters: str, value: str) -> str:
    if "QUOTED-PRINTABLE" in parameters.upper():
        value = decode(quopri.decodestring(value.encode("utf-8", "replace")))
    if name in _PEOPLE:
        known = _NAME.search(parameters)
        address = re.sub("^mailto:", "", value, flags=re.IGNORECASE)
        person = (known[1] or known[2] or "").strip() if known else ""
        return f"{person} <{address}>" if person and person != address else address
    if moment := _TIME.match(value):
        day = f"{moment[1]}-{moment[2]}-{moment[3]}"
        return f"{day} {moment[4]}:{moment[5]}" if moment[4] else day
    if "ENCODING=BASE64" in parameters.upper() or "ENCODING=B" in parameters.upper().split(";"):
        return ""
    return _ESCAPED.sub(lambda mark: "\n" if mark[1] in "nN" else mark[1], value).strip()
