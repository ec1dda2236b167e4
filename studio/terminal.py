"""What others wrote, for a terminal: nothing in it moves the cursor, changes a colour or turns the order of letters.

Documents, file names and queries may hold any characters, and a terminal obeys some of them.
"""

from __future__ import annotations

import logging
import re

from studio.ways_out import without_ways

_UNSEEN = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""Control characters but tab and line feed, bidirectional marks and overrides, separators, halves of pairs."""
_IN_TEXT, _IN_LINE = re.compile(f"[{_UNSEEN}]"), re.compile(f"[\t\n{_UNSEEN}]")


def visible(text: str) -> str:
    """Lines of text in which everything can be seen: what cannot stands there as its escape, such as `\\x1b`."""
    return _IN_TEXT.sub(_escape, text.replace("\r\n", "\n"))


def in_line(text: str) -> str:
    """`visible` for what must not begin another line or column: a name, a path, a cell of a table."""
    return _IN_LINE.sub(_escape, text)


def visible_json(text: str) -> str:
    """A JSON document that means the same: JSON itself only asks for escapes of the first 32 characters."""
    return _IN_TEXT.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class VisibleFormatter(logging.Formatter):
    """Log records for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(without_ways(super().format(record)))


def _escape(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]
