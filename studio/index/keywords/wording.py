"""Whether a text has a phrase word for word: stop words and endings count, case, accents and punctuation do not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from studio.index.keywords.analysis import in_one_spelling, is_spaceless

_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile("(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def has_phrase(text: str, phrase: str) -> bool:
    """Whether the words of a phrase stand in a text, one behind the other. True for a phrase without words."""
    return any(_stands(one, other) for one, other in zip(_forms(text), _forms(phrase), strict=True))


def words_of(phrase: str) -> list[str]:
    """The words of a phrase as they are compared."""
    return _WORD.findall(phrase)


def _forms(text: str) -> Iterator[str]:
    """A text in the ways that it is compared: plain, with accents written out, and with the parts of identifiers."""
    yield _spoken(text, False)
    yield _spoken(text, True)
    yield _spoken(_CAMEL.sub(" ", text), False)


def _spoken(text: str, spelled_out: bool) -> str:
    return " ".join(_WORD.findall(in_one_spelling(unicodedata.normalize("NFC", text), spelled_out)))


def _stands(text: str, phrase: str) -> bool:
    if not phrase:
        return True
    at = text.find(phrase)
    while at >= 0:
        if _ends(text[at - 1 : at], phrase[0]) and _ends(text[at + len(phrase) : at + len(phrase) + 1], phrase[-1]):
            return True
        at = text.find(phrase, at + 1)
    return False


def _ends(beside: str, last: str) -> bool:
    """Whether a word ends between two characters; scripts without spaces have no such ends."""
    return beside in ("", " ") or is_spaceless(last) or is_spaceless(beside)
