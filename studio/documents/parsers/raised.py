"""What stands above the line: powers as the signs that there are for them, anything else apart from its word."""

from __future__ import annotations

import re

RAISABLE = "0123456789+-−=()in"
RAISED = str.maketrans(RAISABLE, "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁱⁿ")
"""The signs that there are raised ones for; for `str.translate`."""
_UNIT = re.compile(r"(?:^|[\W_\d])(?:[^\W\d_]{1,2}|[\d)])$")
"""What a number stands raised behind as its power: a unit or a number. Behind a word it is that of a note."""


def raised(before: str, said: str) -> str:
    """What comes behind `before` for raised text: “m²”, “10⁶”, but “mortality 12”."""
    signs = said.translate(RAISED)
    is_power = not any(sign.isalpha() for sign in signs.replace("ⁿ", "")) and _UNIT.search(before[-4:])
    return signs if is_power else f" {said} "
