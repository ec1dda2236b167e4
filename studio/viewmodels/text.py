"""Numbers, times, and citations in words."""

from __future__ import annotations

import html
from datetime import datetime
from pathlib import Path

from studio.domain import CitationStyle, SearchResult
from studio.memory import APPLICATION
from studio.services.search import citations

_COMPONENTS = {
    APPLICATION: "Program",
    "model": "Embedding model",
    "model files": "Model file (mapped)",
    "parsers": "Reading files",
    "LanceDB's caches": "Vector index cache",
    "tables of rows": "Tables of passages",
    "Arrow's buffers": "Arrow buffers",
    "keyword indexes": "Keyword index (mapped)",
    "files in the page cache": "Files of the indexes",
}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def literal_tip(text: str) -> str:
    """A tool tip that shows `text` letter by letter.

    Qt guesses from what begins with "<", or with its entity, that a tool tip is HTML, and then loads the pictures it
    names. What could be guessed at is HTML of our own; everything else stays as it is.
    """
    if "<" not in text and "&lt;" not in text:
        return text
    return f'<p style="white-space: pre-wrap">{html.escape(text)}</p>'


def count(number: int, singular: str, plural: str = "") -> str:
    """`1 passage`, `12,408 passages`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def short_count(number: int) -> str:
    """`4,112`, `12.4k`, `1.2M`: fits a narrow column."""
    if number < 10_000:
        return f"{number:,}"
    if number < 1_000_000:
        return f"{number / 1000:.1f}k"
    return f"{number / 1_000_000:.1f}M"


def size(size_bytes: int) -> str:
    """`264 B`, `1.2 MB`; decimal units."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    value = float(size_bytes)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 1000:
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{value / 1000:.1f} TB"


def memory(used_bytes: int, budget_bytes: int) -> str:
    """`1.24 of 4.0 GB`, `0.46 of 0.54 GB`."""
    return f"{used_bytes / 1e9:.2f} of {budget_bytes / 1e9:.{1 if budget_bytes >= 1e9 else 2}f} GB"


def component(name: str) -> str:
    """What a part of the memory ledger is called: `Program`, `Model bge-small`."""
    return _COMPONENTS.get(name) or f"{name[:1].upper()}{name[1:]}"


def about(seconds: float) -> str:
    """`about 2 min`."""
    if seconds < 60:
        return f"about {max(1, round(seconds))} s"
    if seconds < 3600:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def remaining(seconds: float) -> str:
    """`about 2 min left`."""
    return f"{about(seconds)} left"


def duration(seconds: float) -> str:
    """`0.3 s`, `41 s`, `2 min 5 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def moment(ms: int, now_ms: int | None = None) -> str:
    """`today 14:20`, `yesterday 09:05`, `12 Nov`, `3 Nov 2024`, in local time."""
    then = datetime.fromtimestamp(ms / 1000)
    now = datetime.fromtimestamp(now_ms / 1000) if now_ms is not None else datetime.now()
    days = (now.date() - then.date()).days
    if days in (0, 1):
        return f"{'yesterday' if days else 'today'} {then:%H:%M}"
    day = f"{then.day} {_MONTHS[then.month - 1]}"
    return day if then.year == now.year else f"{day} {then.year}"


def document_title(result: SearchResult) -> str:
    """The document's own title, or its file name."""
    return result.citation.title or Path(result.citation.source_path).name or result.document_id


def where(result: SearchResult) -> str:
    """`p. 2, 1 Introduction`: page and anchor as far as they are known."""
    citation = result.citation
    parts = [f"p. {citation.page_number}" if citation.page_number is not None else "", citation.anchor]
    return ", ".join(part for part in parts if part)


def citation(result: SearchResult, style: CitationStyle = CitationStyle.PLAIN) -> str:
    """What a person can paste into a text, and have verified later."""
    return citations.citation(result, style)


def context_markdown(result: SearchResult) -> str:
    """The passage as a Markdown quotation followed by its citation, for pasting into a prompt or a note."""
    quoted = "\n".join(f"> {line}".rstrip() for line in result.content.strip().splitlines())
    return f"{quoted}\n>\n> — {citations.citation(result, CitationStyle.MARKDOWN)}\n"


def utf16_range(text: str, start: int, end: int) -> tuple[int, int]:
    """Code-point range of `text` as (start, length) in UTF-16 units, which Qt's text classes count in."""
    before = _utf16_length(text[:start])
    return before, _utf16_length(text[start:end])


def _utf16_length(text: str) -> int:
    return len(text) + sum(1 for character in text if character > "\uffff") if not text.isascii() else len(text)
