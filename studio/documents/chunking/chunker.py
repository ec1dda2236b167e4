"""Cutting text into passages: pure functions over offsets.

Two steps, so that each text is tokenised once. `segment` cuts it into sentence-like units (in the
parser's process); the caller counts the tokens of every unit; `pack` joins units into chunks by
adding up those counts. All offsets are code points into the document's text.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from studio.documents.chunking.sentences import boundaries, ends_sentence, letter_start, line_ends, soft_cut
from studio.domain import CONTEXT, Chunk, ParsedDocument, Span

Range = tuple[int, int]

HEADING_SEPARATOR = " › "
"""Between the headings of an anchor, outermost first."""

MAX_CONTEXT_CHARS = 200
"""Widest context of a chunk (see `_width`); some 40 tokens of English, a fifth of a chunk."""

MAX_SEGMENT_CHARS = 600
"""Longest unit `segment` makes; about half a chunk of English prose."""

TAIL_SHARE = 0.10
"""A last chunk below this share of the limit joins the one before it, if it fits."""

SENTENCE_SHARE = 0.60
"""A full chunk may give back units to end with a sentence, down to this share of the limit."""

_PLACE = re.compile(r"(?:row|rows|line|lines|page|slide|sheet|cell)? ?[\W\d_]+|[\da-f-]{16,}", re.IGNORECASE)
"""Parts that only count, and file names that are hashes: they say nothing about what is in a passage."""


def segment(text: str, spans: Sequence[Span] = ()) -> tuple[Range, ...]:
    """Cut `text` into ordered units that cover it without a gap and never cross the start of a span.

    Units end at sentences, lines and paragraphs, within tables and code (`Span.whole`) at lines only. They are at most
    `MAX_SEGMENT_CHARS` long, but for a few marks that belong to the last letter; longer ones are cut at a space or
    comma, or in the middle of a word when there is neither.
    """
    cuts = {span.start for span in spans}
    at = 0
    for span in spans:
        if span.whole:
            cuts.update(boundaries(text, at, span.start))
            cuts.update(line_ends(text, span.start, span.end))
            at = span.end
    cuts.update(boundaries(text, at, len(text)))
    cuts.add(len(text))
    units: list[Range] = []
    start = 0
    for cut in sorted(cuts):
        if not start < cut <= len(text):
            continue
        while cut - start > MAX_SEGMENT_CHARS:
            middle = min(cut, soft_cut(text, start, start + MAX_SEGMENT_CHARS))
            units.append((start, middle))
            start = middle
        if start < cut:
            units.append((start, cut))
        start = cut
    return tuple(units)


def split_oversized(text: str, unit: Range) -> tuple[Range, ...]:
    """Cut a unit that holds too many tokens in two; the caller counts again and repeats.

    Returns the unit alone when it is a single character.
    """
    start, end = unit
    if end - start < 2:
        return (unit,)
    half = start + (end - start + 1) // 2
    middle = soft_cut(text, start, half)
    if middle >= end:
        middle = letter_start(text, start, half)
    if middle == start:
        middle = half  # a letter and nothing but marks: the limit comes first
    return ((start, middle), (middle, end))


def pack(
    text: str,
    spans: Sequence[Span],
    segments: Sequence[Range],
    counts: Sequence[int],
    *,
    limit: int,
    overlap: int,
) -> list[Range]:
    """Join units into chunks of at most `limit` tokens; returns (start, end) ranges without outer whitespace.

    `counts[i]` is the number of tokens of `segments[i]`; a unit above the limit becomes a chunk of
    its own, so cut it with `split_oversized` first. Consecutive chunks share whole units worth up to
    `overlap` tokens. No chunk runs across the start of a hard span, or of a section (see `_sections`). A
    whole span within the limit is never cut: it moves to the next chunk as one unit; a larger one is cut
    at the ends of lines.
    """
    if len(segments) != len(counts):
        raise ValueError(f"{len(segments)} segments but {len(counts)} token counts")
    if limit < 1 or not 0 <= overlap < limit:
        raise ValueError(f"limit {limit} and overlap {overlap}: want 0 <= overlap < limit")
    segments, counts, lines = _fused(spans, segments, counts, limit)
    packer = _Packer(text, segments, counts, limit, overlap)
    packer.lines = lines
    hard = {span.start for span in spans if span.hard}
    sections = _sections(text, spans)
    units_hard = [i for i, (start, _) in enumerate(segments) if start in hard and i]
    packer.sections = {i for i, (start, _) in enumerate(segments) if start in sections}
    ranges: list[Range] = []
    for first, last in zip([0, *units_hard], [*units_hard, len(segments)], strict=True):
        for a, b in packer.region(first, last):
            start, end = _trimmed(text, segments[a][0], segments[b - 1][1])
            if start < end:
                ranges.append((start, end))
    return ranges


class _Packer:
    """Packs runs of units. A chunk is a half-open range of unit indexes."""

    def __init__(self, text: str, segments: Sequence[Range], counts: Sequence[int], limit: int, overlap: int) -> None:
        self._text = text
        self._segments = segments
        self._sum = [0, *accumulate(counts)]
        self._limit = limit
        self._overlap = overlap
        self.sections: set[int] = set()
        """Units that begin a section."""
        self.lines: set[int] = set()
        """Units of tables and code too large for one chunk."""

    def region(self, first: int, last: int) -> list[Range]:
        """Chunks of the units first..last, which lie between two hard boundaries."""
        chunks: list[Range] = []
        fresh_starts: list[int] = []
        fresh = first
        while fresh < last:
            start = self._overlap_start(first, fresh) if fresh > first else first
            end = self._end(start, fresh, last)
            chunks.append((start, end))
            fresh_starts.append(fresh)
            fresh = end
        if len(chunks) > 1:
            self._merge_tail(chunks, fresh_starts[-1])
        return chunks

    def _tokens(self, start: int, end: int) -> int:
        return self._sum[end] - self._sum[start]

    def _end(self, start: int, fresh: int, last: int) -> int:
        """Where a chunk from `start` ends; `fresh` is its first unit that no earlier chunk holds."""
        end = fresh + 1
        while end < last and self._tokens(start, end + 1) <= self._limit:
            if end in self.sections:
                return end
            end += 1
        if end >= last or end in self.sections:
            return end
        for earlier in range(end, fresh, -1):
            if self._tokens(start, earlier) < SENTENCE_SHARE * self._limit:
                break
            if earlier in self.sections or self._ends_sentence(earlier - 1):
                return earlier
        return end

    def _ends_sentence(self, unit: int) -> bool:
        start, end = self._segments[unit]
        if unit in self.lines:  # code is cut at empty lines, not after “if x:”
            return self._text.count("\n", start, end) > 1
        return ends_sentence(self._text, start, end)

    def _overlap_start(self, first: int, fresh: int) -> int:
        """The first unit to repeat before `fresh`: whole units, within the section, leaving room for one new."""
        start = fresh
        while start > first and start not in self.sections:
            grown = self._tokens(start - 1, fresh)
            if grown > self._overlap or self._tokens(start - 1, fresh + 1) > self._limit:
                break
            start -= 1
        return start

    def _merge_tail(self, chunks: list[Range], fresh: int) -> None:
        """Drop a last chunk that is hardly worth its own row into its predecessor under the same heading."""
        before, last = chunks[-2], chunks[-1]
        if fresh in self.sections:
            return
        if self._tokens(fresh, last[1]) < TAIL_SHARE * self._limit and self._tokens(before[0], last[1]) <= self._limit:
            chunks[-2:] = [(before[0], last[1])]


def _fused(
    spans: Sequence[Span], segments: Sequence[Range], counts: Sequence[int], limit: int
) -> tuple[list[Range], list[int], set[int]]:
    """Units and counts with every whole span within the limit as one unit; which units are parts of larger ones."""
    starts = [start for start, _ in segments]
    units: list[Range] = []
    sums: list[int] = []
    lines: set[int] = set()
    done = 0
    for span in spans:
        if not span.whole:
            continue
        first, last = bisect_left(starts, span.start, done), bisect_left(starts, span.end, done)
        if first == last:
            continue
        units.extend(segments[done:first])
        sums.extend(counts[done:first])
        if sum(counts[first:last]) <= limit:
            units.append((segments[first][0], segments[last - 1][1]))
            sums.append(sum(counts[first:last]))
        else:
            lines.update(range(len(units), len(units) + last - first))
            units.extend(segments[first:last])
            sums.extend(counts[first:last])
        done = last
    return [*units, *segments[done:]], [*sums, *counts[done:]], lines


def _sections(text: str, spans: Sequence[Span]) -> set[int]:
    """Offsets at which what follows stands under another heading.

    A heading without a text of its own goes on with the first section below it, and with headings beside it that have
    none either: alone they would say nothing.
    """
    changes = [i for i, span in enumerate(spans) if span.anchor != (spans[i - 1].anchor if i else "")]
    following = [*(spans[i].anchor for i in changes[1:]), ""]
    begins: set[int] = set()
    above = beside = None  # a heading right before that stands alone: with sections below it, without
    for i, after in zip(changes, following[: len(changes)], strict=True):
        anchor = spans[i].anchor
        bare, opens = _is_bare(text, spans, i), _is_below(after, anchor)
        goes_on = above is not None and _is_below(anchor, above)
        if not goes_on and not (bare and not opens and _path(anchor) == beside):
            begins.add(spans[i].start)
        above = anchor if bare and opens else None
        beside = _path(anchor) if bare and not opens else None
    return begins


def _is_bare(text: str, spans: Sequence[Span], at: int) -> bool:
    """Whether there is nothing under the heading of a span but the heading."""
    span = spans[at]
    if at + 1 < len(spans) and spans[at + 1].anchor == span.anchor:
        return False
    heading = span.anchor.rpartition(HEADING_SEPARATOR)[2]
    return 0 < len(heading) >= span.end - span.start - 2 and text[span.start : span.end].strip() == heading


def _is_below(anchor: str, other: str) -> bool:
    return anchor.startswith(other + HEADING_SEPARATOR)


def _path(anchor: str) -> str:
    return anchor.rpartition(HEADING_SEPARATOR)[0]


def _trimmed(text: str, start: int, end: int) -> Range:
    passage = text[start:end]
    return start + len(passage) - len(passage.lstrip()), start + len(passage.rstrip())


def context_of(parsed: ParsedDocument, anchor: str, content: str = "") -> str:
    """Title and heading path as they precede a chunk, "" where they add nothing to `content`.

    Left out are parts without meaning ("Row 7", a hash), a heading that repeats the title or the one before it, and
    headings that `content` begins with. At most `MAX_CONTEXT_CHARS` wide: the outer headings go before the inner ones.
    """
    parts: list[str] = []
    for part in (_own_title(parsed), *anchor.split(HEADING_SEPARATOR)):
        part = " ".join(part.split())
        if part and not _PLACE.fullmatch(part) and part.casefold() not in (known.casefold() for known in parts):
            parts.append(part)
    first_line = " ".join(content.partition("\n")[0].split()).casefold()
    while parts and parts[-1].casefold() in first_line:
        parts.pop()
    while len(parts) > 2 and _width(HEADING_SEPARATOR.join(parts)) > MAX_CONTEXT_CHARS:
        del parts[1]
    room = MAX_CONTEXT_CHARS // max(1, len(parts)) - len(HEADING_SEPARATOR)
    if _width(HEADING_SEPARATOR.join(parts)) > MAX_CONTEXT_CHARS:
        parts = [_shortened(part, room) for part in parts]
    return HEADING_SEPARATOR.join(parts)


def _own_title(parsed: ParsedDocument) -> str:
    """The title, unless it was made up for a row of a table."""
    return "" if parsed.title.endswith(f", row {parsed.row + 1}") else parsed.title


def _width(text: str) -> int:
    """Characters, those of scripts that take more tokens counted twice (Cyrillic, Indic) or four times (CJK)."""
    return sum(1 if char < "\u0250" else 2 if char < "\u2e80" else 4 for char in text)


def _shortened(text: str, room: int) -> str:
    while _width(text) > room:
        text = text[: room if len(text) > room else -1]
    return text


def make_chunks(
    document_id: str, parsed: ParsedDocument, ranges: Sequence[Range], *, contextual: bool = False
) -> list[Chunk]:
    """The chunks of a document, with ids that depend on nothing but document, place and content.

    `parsed.text[chunk.char_start:chunk.char_end] == chunk.content` holds for every one. `contextual`: title and heading
    path stand before the text where it is embedded and looked up (see `Chunk.context`).
    """
    metadata = {"external_id": parsed.external_id} if parsed.external_id else {}
    starts = [span.start for span in parsed.spans]
    chunks = []
    for start, end in ranges:
        content = parsed.text[start:end]
        content_hash = hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()
        key = f"{document_id}:{start}:{end}:{content_hash}"
        at = bisect_right(starts, start) - 1
        while at >= 0 and _goes_on_below(parsed, at, end):
            at += 1
        span = parsed.spans[at] if at >= 0 and parsed.spans[at].end > start else None
        context = context_of(parsed, span.anchor if span else "", content) if contextual else ""
        chunks.append(
            Chunk(
                chunk_id=hashlib.sha256(key.encode()).hexdigest()[:32],
                document_id=document_id,
                content=content,
                content_hash=content_hash,
                page_number=span.page if span else None,
                anchor=span.anchor if span else "",
                char_start=start,
                char_end=end,
                metadata={**metadata, CONTEXT: context} if context else metadata,
            )
        )
    return chunks


def _goes_on_below(parsed: ParsedDocument, at: int, end: int) -> bool:
    """Whether a chunk that ends at `end` has nothing of a section but its heading, and goes on in one below."""
    spans = parsed.spans
    return (
        at + 1 < len(spans)
        and spans[at + 1].start < end
        and _is_below(spans[at + 1].anchor, spans[at].anchor)
        and _is_bare(parsed.text, spans, at)
    )
