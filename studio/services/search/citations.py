"""Citations in words that can be pasted anywhere, and the locator in each that leads back to its passage.

Every citation carries a locator, one line without spaces:

    rag-studio:KB/GENERATION/DOCUMENT#START-END;path=PATH;sha256=FILE;text=TEXT

KB and DOCUMENT are ids, START and END code points of the extracted text, PATH is percent-encoded, FILE the hash of the
file and TEXT the first 16 hexadecimal digits of the SHA-256 of the passage. It says nothing of what the passage holds,
and yet whether a text is the one that was cited can be told from it.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from studio.domain import Citation, CitationStyle, SearchResult

HASH_DIGITS = 16

_LOCATOR = re.compile(
    r"rag-studio:(?P<kb>[\w.-]{1,64})/(?P<generation>\d{1,12})/(?P<document>[0-9a-f]{8,64})"
    r"#(?P<start>\d{1,12})-(?P<end>\d{1,12});path=(?P<path>[\w.%/:-]{0,12288});sha256=(?P<sha256>[0-9a-f]{64})"
    rf";text=(?P<text>[0-9a-f]{{{HASH_DIGITS}}})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Locator:
    """What a citation says about its passage in a form that can be checked; see the module's head."""

    kb_id: str
    generation: int
    document_id: str
    char_start: int
    char_end: int
    path: str
    sha256: str
    text_hash: str

    def __str__(self) -> str:
        path = quote(self.path, safe="/:", errors="replace").replace("~", "%7E")
        return (
            f"rag-studio:{self.kb_id}/{self.generation}/{self.document_id}#{self.char_start}-{self.char_end}"
            f";path={path};sha256={self.sha256};text={self.text_hash}"
        )


def text_hash(text: str) -> str:
    """What a locator says of a text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:HASH_DIGITS]


def locators(text: str) -> list[Locator]:
    """Every locator in a text, in order, each once."""
    found = []
    for match in _LOCATOR.finditer(text):
        start, end = int(match["start"]), int(match["end"])
        if start < end:
            path = unquote(match["path"], errors="replace")
            numbers = int(match["generation"]), match["document"], start, end
            found.append(Locator(match["kb"], *numbers, path, match["sha256"], match["text"]))
    return list(dict.fromkeys(found))


def locator(result: SearchResult) -> Locator:
    """The locator of a result."""
    place = result.citation
    return Locator(
        result.kb_id, result.generation, result.document_id, place.char_start, place.char_end, place.source_path,
        str(result.metadata.get("sha256", "")) or "0" * 64, text_hash(result.content),
    )  # fmt: skip


def citation(result: SearchResult, style: CitationStyle = CitationStyle.PLAIN) -> str:
    """A result as a citation: title, author, place, file, hash, knowledge base, generation, and its locator.

    Plain text and Markdown are one line; BibTeX is one `@misc` entry whose key depends on title, file and place alone.
    """
    if style is CitationStyle.BIBTEX:
        return _bibtex(result)
    place, author = result.citation, _folded(str(result.metadata.get("author", "")))
    title, path = _title(place), Path(place.source_path)
    held = [f"knowledge base “{_folded(result.kb_name)}”", f"generation {result.generation}"]
    parts = [author, *_places(place)]
    notes = [place.licence, *_hash_note(result), *held]
    copies = len(place.also_at)
    if copies:
        notes.insert(0, f"also at {copies} other place{'s' if copies > 1 else ''}")
    if style is CitationStyle.MARKDOWN:
        head = f"[{_markdown(title)}](<{_link(path)}>)"
        parts, notes = [[_markdown(text) for text in texts] for texts in (parts, notes)]
        end = f"`{locator(result)}`"
    else:
        head = f"“{title}”"
        notes.insert(0, _folded(place.source_path))
        end = f"<{locator(result)}>"
    return f"{', '.join(filter(None, [head, *parts]))} ({', '.join(filter(None, notes))}) {end}"


def _bibtex(result: SearchResult) -> str:
    place = result.citation
    authors = " and ".join(filter(None, map(_folded, str(result.metadata.get("author", "")).split(";"))))
    notes = [
        place.anchor, f"characters {place.char_start}--{place.char_end}", place.licence, *_hash_note(result),
        f"knowledge base “{result.kb_name}”, generation {result.generation}",
    ]  # fmt: skip
    fields = {
        "title": f"{{{_latex(_title(place))}}}",
        "author": _latex(authors),
        "howpublished": _latex(place.source_path),
        "pages": str(place.page_number) if place.page_number is not None else "",
        "note": "; ".join(_latex(note) for note in notes if note),
        "url": _link(Path(place.source_path)),
        "ragstudio": str(locator(result)),  # raw: no style typesets it
    }
    lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
    return f"@misc{{{_key(result)},\n" + ",\n".join(lines) + "\n}"


def _key(result: SearchResult) -> str:
    """ASCII letters and digits of the title's first words, then file and place: the same for the same passage."""
    ascii_title = unicodedata.normalize("NFKD", _title(result.citation)).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", ascii_title.lower())[:3]
    where = locator(result)
    return "-".join([*(words or ["document"]), where.sha256[:8], str(where.char_start)])


def _title(place: Citation) -> str:
    return _folded(place.title) or Path(place.source_path).stem


def _places(place: Citation) -> list[str]:
    page = f"p. {place.page_number}" if place.page_number is not None else ""
    return [page, _folded(place.anchor), f"characters {place.char_start}–{place.char_end}"]


def _hash_note(result: SearchResult) -> list[str]:
    sha256 = str(result.metadata.get("sha256", ""))
    return [f"SHA-256 {sha256[:12]}…"] if sha256 else []


def _link(path: Path) -> str:
    """A file URI, safe between angle brackets, parentheses and braces."""
    link = path.as_uri() if path.is_absolute() else quote(path.as_posix(), errors="replace")
    return "".join(f"%{ord(character):02X}" if character in "<>(){}\\" else character for character in link)


def _folded(text: str) -> str:
    return " ".join(text.split())


def _markdown(text: str) -> str:
    return "".join(f"\\{character}" if character in "\\`*_[]<>" else character for character in text)


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\textbraceleft{}", "}": r"\textbraceright{}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", **{character: f"\\{character}" for character in "$&%#_"},
}  # fmt: skip
"""BibTeX counts braces even behind a backslash, so that a lone one must go."""


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in _folded(text))
