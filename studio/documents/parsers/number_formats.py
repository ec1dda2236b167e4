"""Numbers as a spreadsheet shows them: format codes of Excel (ECMA-376-1, 18.8.30 and 18.8.31)."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

BUILT_IN = {
    0: "General", 1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 5: '"$"#,##0', 6: '"$"#,##0', 7: '"$"#,##0.00',
    8: '"$"#,##0.00', 9: "0%", 10: "0.00%", 11: "0.00E+00", 12: "# ?/?", 13: "# ??/??", 18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss", 37: "#,##0;-#,##0", 38: "#,##0;-#,##0", 39: "#,##0.00;-#,##0.00",
    40: "#,##0.00;-#,##0.00", 41: "#,##0", 42: '"$"#,##0', 43: "#,##0.00", 44: '"$"#,##0.00', 45: "mm:ss",
    46: "[h]:mm:ss", 47: "mm:ss.0", 48: "##0.0E+0", 49: "@",
}  # fmt: skip
ISO_DATES = frozenset({*range(14, 18), 22, *range(27, 37), *range(50, 59)})
"""Numbers of formats that follow the language of whoever opens the file."""
ISO = "\0iso"
"""Stands for their code: such a date is shown as ISO 8601."""
MAX_CODE_CHARS = 500
MAX_KNOWN = 4096
"""Numbers of a format that are kept as they are shown: days and shares come again and again."""
MAX_DAY = 2_958_465
MAX_DIGITS = 15
"""What Excel shows of a number at most."""

EPOCH = datetime.datetime(1899, 12, 30)
"""Day 0 of Excel's calendar for every date after the 29 February 1900 it believes in."""
EPOCH_1904 = datetime.datetime(1904, 1, 1)

_TOKEN = re.compile(
    r"""(?P<quoted>"[^"]*"?)|\\(?P<escaped>.)|_(?P<space>.)|\*(?P<fill>.)|\[(?P<bracket>[^\]]*)\]
    |(?P<general>General)|(?P<ampm>AM/PM|A/P)|(?P<date>[yY]+|[mM]+|[dD]+|[hH]+|[sS]+(?:\.0+)?|[eg]+|[bB]{2,})
    |(?P<exponent>E[+-])|(?P<digits>[0#?][0#?,.]*|\.[0#?]+)|(?P<percent>%)|(?P<slash>/)|(?P<at>@)|(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_SECTIONS = re.compile(r"""((?:"[^"]*"?|\\.|\[[^\]]*\]|[^;"\\\[])*)(?:;|\Z)""", re.DOTALL)
_THOUSANDS = re.compile(r"(?<=\d)(?=(?:\d{3})+$)")
_NUMBERS = re.compile(r"-?\d+(?:\.\d+)?")
_CONDITION = re.compile(r"(<=|>=|<>|<|>|=)(-?\d+(?:\.\d+)?)$")
_ELAPSED = re.compile(r"[hH]+$|[mM]+$|[sS]+$")
_CURRENCY = re.compile(r"\$([^-]*)")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Token = tuple[str, str]
Shown = Callable[[float], str]


def general(number: float) -> str:
    """A number without a format: no more digits than are shown, no exponent where it can be done without."""
    if number.is_integer() and abs(number) < 1e21:
        return str(int(number))
    return f"{number:.{MAX_DIGITS}g}"


@lru_cache(maxsize=1024)
def formatter(code: str, is_1904: bool = False) -> Shown | None:
    """How numbers are shown under a format code; None where it is as they are.

    A number stands behind what is shown of it, in brackets, where digits are lost or changed; a date as ISO 8601.
    """
    if code == ISO:
        return lambda number: iso(number, is_1904)
    sections = [_tokens(part) for part in _SECTIONS.findall(code[:MAX_CODE_CHARS])[:4]] or [[]]
    if len(sections) > 1 and not sections[-1] and not code.rstrip().endswith(";"):
        sections.pop()
    if all(_is_general(section) for section in sections):
        return None
    first = _Plain.of(sections)
    known: dict[float, str] = {}

    def shown(number: float) -> str:
        number = float(number)
        if number in known:
            return known[number]
        text = first.shown(number) if first is not None else None
        text = _as_shown(sections, number, is_1904) if text is None else text
        if len(known) < MAX_KNOWN:
            known[number] = text
        return text

    return shown


def _as_shown(sections: list[list[Token]], number: float, is_1904: bool) -> str:
    section, magnitude = _section(sections, number)
    if _is_general(section):
        return general(number)
    if any(kind in ("date", "elapsed", "ampm") for kind, _ in section):
        return _moment(section, number, is_1904)
    text = _number(section, magnitude).strip()
    raw = general(number)
    return text if not text or raw in _NUMBERS.findall(text.replace(",", "")) else f"{text} ({raw})"


@dataclass(frozen=True, slots=True)
class _Plain:
    """The usual format, worked out once: a number with so many places, a word before and after it."""

    before: str
    after: str
    whole: str
    places: str
    factor: int

    @classmethod
    def of(cls, sections: list[list[Token]]) -> _Plain | None:
        """The first of some sections, None where it is an unusual one."""
        kinds = [kind for kind, _ in sections[0]]
        if kinds.count("digits") != 1 or not set(kinds) <= {"digits", "text", "percent"}:
            return None
        if any(kind == "condition" for section in sections for kind, _ in section):
            return None
        at = kinds.index("digits")
        pattern = sections[0][at][1]
        if pattern.endswith(","):
            return None
        before, after = ("".join(text for _, text in part) for part in (sections[0][:at], sections[0][at + 1 :]))
        whole, _, places = pattern.partition(".")
        return cls(before.lstrip(), after.rstrip(), whole, places, 100 ** kinds.count("percent"))

    def shown(self, number: float) -> str | None:
        """What is shown of a number above zero, and the number where that is not the same."""
        if not 0 < number < 1e15:
            return None
        digits = _plain(number * self.factor, self.whole, self.places)
        raw = general(number)
        text = f"{self.before}{digits}{self.after}"
        return text if raw == digits or raw == digits.replace(",", "") else f"{text} ({raw})"


def code_of(number: int, own: dict[int, str]) -> str:
    """The code of a format by its number."""
    if number in own:
        return own[number]
    return ISO if number in ISO_DATES else BUILT_IN.get(number, "General")


def is_date(code: str) -> bool:
    """Whether a code shows a point in time, or a time of day."""
    return code == ISO or any(
        kind in ("date", "elapsed")
        for part in _SECTIONS.findall(code[:MAX_CODE_CHARS])[:1]
        for kind, _ in _tokens(part)
    )


def iso(number: float, is_1904: bool = False) -> str:
    """A day number as ISO 8601, with its time of day if it has one; what is no day, as a number."""
    moment = _moment_of(number, is_1904)
    if moment is None:
        return general(number)
    return moment.date().isoformat() if moment.time() == datetime.time() else moment.isoformat(" ", "seconds")


def _moment_of(number: float, is_1904: bool) -> datetime.datetime | None:
    if not 0 <= number <= MAX_DAY:
        return None
    seconds = round(number * 86_400)
    return (EPOCH_1904 if is_1904 else EPOCH) + datetime.timedelta(seconds=seconds)


def _tokens(section: str) -> list[Token]:
    tokens: list[Token] = []
    for found in _TOKEN.finditer(section):
        kind, text = found.lastgroup or "other", found[found.lastgroup or 0] or ""
        if kind == "quoted":
            tokens.append(("text", text.strip('"')))
        elif kind == "escaped" or kind in ("other", "slash"):
            tokens.append(("text" if kind != "slash" else "slash", text))
        elif kind == "space":
            tokens.append(("text", " "))
        elif kind == "bracket":
            if _ELAPSED.match(text):
                tokens.append(("elapsed", text.lower()))
            elif condition := _CONDITION.match(text):
                tokens.append(("condition", condition[0]))
            elif currency := _CURRENCY.match(text):
                tokens.append(("text", currency[1]))
        elif kind != "fill":
            tokens.append((kind, text))
    return tokens


def _is_general(section: list[Token]) -> bool:
    kinds = [kind for kind, text in section if kind != "text" or text.strip()]
    return all(kind in ("general", "at") for kind in kinds)


def _section(sections: list[list[Token]], number: float) -> tuple[list[Token], float]:
    """The section for a number, and the number as that section shows it: a section for negatives has its own sign."""
    stated = [next((text for kind, text in section if kind == "condition"), "") for section in sections]
    if any(stated):
        for section, condition in zip(sections, stated, strict=True):
            if not condition or _holds(condition, number):
                return section, number
        return sections[-1], number
    if len(sections) > 1 and number < 0:
        return sections[1], -number
    if len(sections) > 2 and number == 0:
        return sections[2], number
    return sections[0], number


def _holds(condition: str, number: float) -> bool:
    sign, value = re.match(r"([<>=]+)(.*)", condition).groups()  # type: ignore[union-attr]
    limit = float(value)
    return {
        "<": number < limit, ">": number > limit, "=": number == limit,
        "<=": number <= limit, ">=": number >= limit, "<>": number != limit,
    }[sign]  # fmt: skip


def _number(section: list[Token], number: float) -> str:
    digits = [text for kind, text in section if kind == "digits"]
    if not digits:  # only text: a word for zero, say
        return ("-" if number < 0 else "") + "".join(text for kind, text in section if kind == "text")
    if any(kind == "slash" for kind, _ in section):
        return _fraction(section, number)
    number *= 100 ** sum(kind == "percent" for kind, _ in section)
    exponent = any(kind == "exponent" for kind, _ in section)
    mantissa = digits[:-1] if exponent and len(digits) > 1 else digits
    pattern = "".join(mantissa)
    scaled = len(pattern) - len(pattern.rstrip(","))
    whole, _, places = pattern.rstrip(",").partition(".")
    number /= 1000**scaled
    shown = _scientific(number, places, digits[-1]) if exponent else _plain(abs(number), whole, places)
    negative = number < 0 and any(char in "123456789" for char in shown)
    pieces = [shown, *[""] * (len(digits) - 1)] if exponent or "." in pattern else _dealt(shown, digits)
    out = ["-" if negative else ""]
    for kind, text in section:
        if kind == "digits":
            out.append(pieces.pop(0))
        elif kind in ("text", "percent"):
            out.append(text)
    return "".join(out)


def _dealt(shown: str, digits: list[str]) -> list[str]:
    """The digits of a number over the places of a pattern that something stands between, as in "000-00-0000"."""
    pieces: list[str] = []
    for pattern in reversed(digits[1:]):
        pieces.insert(0, shown[-len(pattern) :])
        shown = shown[: -len(pattern)]
    return [shown, *pieces]


def _plain(number: float, whole: str, places: str) -> str:
    """A number without a sign, in the digits that a pattern asks for."""
    decimals = len(places)
    text = f"{number:.{MAX_DIGITS}g}" if number < 1e15 else str(int(number))
    left, _, right = text.partition(".")
    if "e" in text or len(right) > decimals:
        if right[decimals:] == "5":  # spreadsheets round a half up, as it is written
            number = float(f"{left}.{right}1")
        left, _, right = f"{number:.{decimals}f}".partition(".")
    if decimals:
        needed = len(places.rstrip("#"))
        right = right.ljust(decimals, "0")
        right = right[:needed] + right[needed:].rstrip("0")
    least = whole.count("0")
    if len(left) < least or left == "0":
        left = left.lstrip("0").rjust(least, "0")
    if "," in whole and len(left) > 3:
        left = _THOUSANDS.sub(",", left)
    return f"{left}.{right}" if right else left


def _scientific(number: float, places: str, exponent: str) -> str:
    mantissa, _, power = f"{abs(number):.{len(places)}e}".partition("e")
    value = int(power)
    return f"{mantissa}E{'-' if value < 0 else '+'}{abs(value):0{max(1, exponent.count('0'))}d}"


def _fraction(section: list[Token], number: float) -> str:
    kinds = [kind for kind, _ in section]
    below = next((text for kind, text in section[kinds.index("slash") + 1 :] if text.strip()), "?")
    if below.isdecimal() and int(below):
        top = round(abs(number) * int(below))
        value, size = Fraction(top, int(below)), int(below)
    else:
        value = Fraction(abs(number)).limit_denominator(10 ** max(1, sum(char in "?#0" for char in below)) - 1)
        size = value.denominator
    whole = int(value) if kinds[: kinds.index("slash")].count("digits") > 1 else 0
    rest = round((value - whole) * size)
    sign = "-" if number < 0 else ""
    if not rest:
        return f"{sign}{whole}"
    return f"{sign}{whole} {rest}/{size}" if whole else f"{sign}{rest}/{size}"


def _moment(section: list[Token], number: float, is_1904: bool) -> str:
    if any(kind == "elapsed" for kind, _ in section):
        return _elapsed(section, number)
    moment = _moment_of(number, is_1904)
    if moment is None:
        return general(number)
    shown = _date(section, moment).strip()
    if not any(kind == "date" and text[0] in "yYdDeg" for kind, text in section):
        return shown if number < 1 else f"{shown} ({iso(number, is_1904)})" if _has_day(section) else shown
    day = moment.date().isoformat()
    return shown if day in shown else f"{shown} ({day})"


def _has_day(section: list[Token]) -> bool:
    return any(kind == "date" and len(text) > 2 and text[0] in "mM" for kind, text in section)


def _date(section: list[Token], moment: datetime.datetime) -> str:
    twelve = any(kind == "ampm" for kind, _ in section)
    out: list[str] = []
    for at, (kind, text) in enumerate(section):
        if kind == "date":
            out.append(_part(section, at, text.lower(), moment, twelve))
        elif kind == "ampm":
            out.append(("AM" if moment.hour < 12 else "PM")[: 2 if len(text) > 3 else 1])
        elif kind in ("text", "slash"):
            out.append(text)
        elif kind == "digits":  # "yyyy.mm" comes apart at the stop
            out.append(text if set(text) <= set(".,") else "")
    return "".join(out)


def _part(section: list[Token], at: int, text: str, moment: datetime.datetime, twelve: bool) -> str:
    letter, length = text[0], len(text)
    if letter in "yeg":
        return f"{moment.year:04d}" if length > 2 or letter == "e" else f"{moment.year % 100:02d}"
    if letter == "d":
        name = _DAYS[moment.weekday()]
        return name if length > 3 else name[:3] if length == 3 else f"{moment.day:0{length}d}"
    if letter == "h":
        hour = (moment.hour - 1) % 12 + 1 if twelve else moment.hour
        return f"{hour:0{min(length, 2)}d}"
    if letter == "s":
        return f"{moment.second:0{min(len(text.partition('.')[0]), 2)}d}"
    if letter == "m" and _is_minute(section, at):
        return f"{moment.minute:0{min(length, 2)}d}"
    if letter == "m":
        name = _MONTHS[moment.month - 1]
        return {3: name[:3], 4: name, 5: name[:1]}.get(length, f"{moment.month:0{min(length, 2)}d}")
    return ""


def _is_minute(section: list[Token], at: int) -> bool:
    """Whether an "m" is a minute: after an hour, or before a second."""
    before = [text[0].lower() for kind, text in section[:at] if kind in ("date", "elapsed")]
    after = [text[0].lower() for kind, text in section[at + 1 :] if kind in ("date", "elapsed")]
    return len(section[at][1]) <= 2 and (before[-1:] == ["h"] or after[:1] == ["s"])


def _elapsed(section: list[Token], number: float) -> str:
    """A duration: its first part counts on beyond 24 or 60."""
    left = round(abs(number) * 86_400)
    out = ["-" if number < 0 else ""]
    sizes = {"h": 3600, "m": 60, "s": 1}
    for kind, text in section:
        if kind in ("elapsed", "date") and (size := sizes.get(text[0].lower())):
            count, left = divmod(left, size)
            out.append(f"{count:0{len(text.partition('.')[0])}d}")
        elif kind in ("text", "slash"):
            out.append(text)
    return "".join(out)
