"""Which single-byte encoding a text in a Latin script has, by the letters that each language writes with.

A wrong encoding gives letters that no language has together (Polish as Windows-1252: “£ódŸ”), or marks within words.
"""

from __future__ import annotations

import re
from collections import Counter

LEAST_SHARE = 0.95
"""Letters beyond ASCII that one language must have, so that a few names in another cost nothing."""

BETTER_BY = 0.005
"""How much better a less common encoding must fit."""

ENCODINGS = ("cp1252", "cp1250", "iso8859_2", "cp1254", "cp1257", "mac_roman", "cp850", "cp852", "cp857", "cp775")
"""The more common first, which wins where several fit as well. Windows has what ISO 8859-1, -9 and -13 have."""

_DOS = frozenset(("cp850", "cp852", "cp857", "cp775"))

_LANGUAGES = {
    "da": "æøåéü", "de": "äöüßé", "es": "áéíñóúüç", "et": "äõöüšž", "fi": "äöåšž", "fr": "àâçéèêëîïôöùûüÿœæ",
    "is": "áðéíóúýþæö", "it": "àèéìíîòóùú", "nl": "ëéïöüèêáóç", "pt": "ãõáâàçéêíóôúü", "sv": "åäöéü",
    "cs": "áčďéěíňóřšťúůýž", "hr": "čćđšž", "hu": "áéíóöőúüű", "lt": "ąčęėįšųūž", "lv": "āčēģīķļņšūžõ",
    "pl": "ąćęłńóśźż", "ro": "ăâîșțşţ", "sk": "áäčďéíĺľňóôŕšťúýž", "tr": "çğıöşüâîû",
}  # fmt: skip
_LETTERS = {name: frozenset(letters + letters.upper() + "İ" * (name == "tr")) for name, letters in _LANGUAGES.items()}
_WITHIN_WORDS = frozenset("’'‘·\u00ad-‐‑")
_HIGH = re.compile(r"[^\x00-\x7f]")
_CONTROLS = re.compile("[\x80-\x9f]")


def latin_encoding(sample: bytes) -> str | None:
    """The encoding in which the letters beyond ASCII are those of one language; None where they are in none."""
    best: tuple[float, str] = (0.0, "")
    for name in ENCODINGS:
        share = _share(sample, name)
        if share >= LEAST_SHARE and share > best[0] + BETTER_BY:
            best = (share, name)
            if share + BETTER_BY >= 1.0:
                break
    return best[1] or None


def _share(sample: bytes, encoding: str) -> float:
    """How many of the characters beyond ASCII are what the best of the languages writes, 0 to 1."""
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError:
        return 0.0
    if _CONTROLS.search(text):
        return 0.0
    letters: Counter[str] = Counter()
    wrong = right = 0
    for match in _HIGH.finditer(text):
        at, sign = match.start(), match.group()
        before, after = text[at - 1 : at], text[at + 1 : at + 2]
        if sign.isupper() and before.islower():
            wrong += 1
        elif sign.isalpha() and sign not in "ªº":
            letters[sign] += 1
        elif before.isalpha() and after.isalpha() and sign not in _WITHIN_WORDS:
            wrong += 1
        elif "\u2500" <= sign <= "\u259f" or sign in "¤¦¨¬¯´¸¹²³¾¼þÞ":  # frames of tables, and what is hardly written
            wrong += encoding not in _DOS
            right += 1
        else:
            right += 1
    known = max(sum(count for sign, count in letters.items() if sign in own) for own in _LETTERS.values())
    found = sum(letters.values())
    return (known + right * 0.5) / (found + wrong + right * 0.5) if found else 0.0
