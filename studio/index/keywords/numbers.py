"""Numbers, account numbers, telephone numbers and part numbers as they are without what separates their groups."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator

_SPACE = "[ \u00a0\u2009\u202f]"
_LONGEST = 64
_KEPT = 1 << 12
_LEAST_SPACED = 7
"""Digits that two groups with a space between them must have, and begin like a telephone number, to be one number."""
_LEAST_NATIONAL = 9
_LONGEST_LETTERS = 6
_LEAST_JOINED = 5
_LEAST_ACCOUNT = 14

_DIGITS = re.compile("[0-9]++")
_RUN_ON = re.compile(
    rf"\S++(?:(?:{_SPACE}[-–/])?{_SPACE}(?=[+(]?[0-9]|[-–/]\(?[0-9]|[A-Z0-9]{{1,4}}(?![^\W_]))(?!\+)\S++)*+"
)
_AROUND = ".,;:!?()[]{}<>=~%$€£\"'“”„‘’*|"
_PLAIN_DECIMAL = re.compile(r"[0-9]+\.[0-9]+")
_ACCOUNT = re.compile(
    rf"(?<![^\W_])([A-Za-z]{{2}}[0-9]{{2}}(?:{_SPACE}[A-Za-z0-9]{{4}}){{2,7}}(?:{_SPACE}[A-Za-z0-9]{{1,3}})?)(?![^\W_])"
)
_AMOUNT = re.compile(
    r"(?<![\w.,'’·+-])(?<![0-9][ \u00a0\u202f])(?:"
    rf"([0-9]{{1,3}}(?:(?:,[0-9]{{3}})+|(?:\.[0-9]{{3}})+|(?:['’·][0-9]{{3}})+|(?:{_SPACE}[0-9]{{3}})+))(?:[.,]([0-9]+))?"
    r"|([0-9]+),([0-9]+))(?![\w-]|[.,'’·/][0-9]|[ \u00a0\u202f][0-9])"
)
_SPACED = re.compile(
    rf"(?<![\w.,'’/-])\+?\(?[0-9]++\)?(?:(?:{_SPACE}?[-–/.]{_SPACE}?|{_SPACE})?\(?[0-9]++\)?)+(?![^\W_])"
)
_TOKEN = re.compile(r"(?<![^\W_])[A-Za-z0-9]++(?:[-–/.,'’·][A-Za-z0-9]++)+(?![^\W_])")
_HAS_LETTERS = re.compile("[A-Za-z]")
_OUTSIDE = re.compile("[^A-Za-z0-9]+")
_GROUP = re.compile("[A-Za-z0-9]+")


def joined(text: str) -> Iterator[str]:
    """What stands for each number in groups of a text, in lower case; an amount has a point before its decimals."""
    for part in _parts(text):
        if len(part) >= _LEAST_JOINED or "," in part:
            yield from _read(part)


@functools.lru_cache(_KEPT)
def _read(part: str) -> tuple[str, ...]:
    core = part.strip(_AROUND)
    if core.isalnum():
        national = core.startswith("00") and core.isdecimal() and len(core) > _LEAST_NATIONAL
        return (core[2:],) if national else ()
    if _PLAIN_DECIMAL.fullmatch(core):
        return ()
    found: list[str] = []

    def taken(read: Callable[[re.Match[str]], Iterable[str]]) -> Callable[[re.Match[str]], str]:
        def replaced(match: re.Match[str]) -> str:
            terms = list(read(match))
            found.extend(terms)
            return "\n" if terms else match.group()

        return replaced

    letters = _HAS_LETTERS.search(part) is not None
    if letters and len(part) > _LEAST_ACCOUNT:
        part = _ACCOUNT.sub(taken(_account), part)
    part = _AMOUNT.sub(taken(_amount), part)
    if len(part) >= _LEAST_JOINED:
        part = _SPACED.sub(taken(_spaced), part)
    if letters:
        _TOKEN.sub(taken(_token), part)
    return tuple(found)


def _parts(text: str) -> Iterator[str]:
    """Words with digits, with those behind them that may go on a number."""
    end = 0
    for match in _DIGITS.finditer(text):
        at = match.start()
        if at < end:
            continue
        start = max(text.rfind(space, max(end, at - _LONGEST), at) for space in " \n\t\u00a0\u2009\u202f") + 1
        run = _RUN_ON.match(text, max(start, end))
        if run is not None:
            yield run.group()
            end = run.end()


def _account(match: re.Match[str]) -> Iterator[str]:
    """An international bank account number: as many of the groups as its check digits confirm."""
    groups = match[1].split()
    while len(groups) > 3:
        together = "".join(groups).upper()
        if int("".join(str(int(char, 36)) for char in together[4:] + together[:4])) % 97 == 1:
            yield together.lower()
            return
        groups.pop()
    groups = match[1].split()
    if match[1].isupper() and any(map(str.isdigit, "".join(groups[1:]))):
        yield "".join(groups if groups[-1].isdecimal() or len(groups[-1]) == 4 else groups[:-1]).lower()


def _amount(match: re.Match[str]) -> Iterator[str]:
    whole, part, digits, decimals = match.groups()
    if whole is None:
        yield f"{digits}.{decimals}"
        return
    plain = _OUTSIDE.sub("", whole)
    yield f"{plain}.{part}" if part else plain
    if part is None and len(plain) < 7 and "," in whole:  # in German these are decimals
        yield whole.replace(",", ".")


def _spaced(match: re.Match[str]) -> Iterator[str]:
    """A number in groups of digits: a telephone number is known with and without its country."""
    found = match.group()
    digits, groups = _OUTSIDE.sub("", found), len(_GROUP.findall(found))
    if len(digits) < _LEAST_JOINED:
        return
    together = not any(map(str.isspace, found))
    if len(digits) > _LONGEST or (groups == 2 and "." in found):
        return
    if groups == 2 and not together and (len(digits) < _LEAST_SPACED or found[0] not in "+(0"):
        return
    if "(0)" in found and found[0] == "+":
        country, _, rest = found.partition("(0)")
        yield _OUTSIDE.sub("", country + rest)
        yield "0" + _OUTSIDE.sub("", rest)
        return
    yield digits
    if digits.startswith("00") and len(digits) > _LEAST_NATIONAL:
        yield digits[2:]


def _token(match: re.Match[str]) -> Iterator[str]:
    """A part number or the like, groups of digits and few letters."""
    token = match.group()
    groups = _GROUP.findall(token)
    if len(groups) == 2 and token.replace(".", "").isdecimal():
        return
    if (
        any(map(str.isdigit, token))
        and _LEAST_JOINED <= len(token) <= _LONGEST
        and all(len(group) <= _LONGEST_LETTERS or not group.isalpha() for group in groups)
    ):
        yield _OUTSIDE.sub("", token).lower()
