"""Cutting text into passages: pure functions over offsets.

Two steps, so that each text is tokenised once. `segment` cuts it into sentence-like units (in the
parser's process); the caller counts the tokens of every unit; `pack` joins units into chunks by
adding up those counts. All offsets are code points into the document's text.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from studio.domain import Chunk, ParsedDocument, Span

Range = tuple[int, int]

MAX_SEGMENT_CHARS = 600
"""Longest unit `segment` makes; about half a chunk of English prose."""

SECTION_SHARE = 0.25
"""A heading starts a new chunk once the current one holds this share of the limit."""

TAIL_SHARE = 0.10
"""A last chunk below this share of the limit joins the one before it, if it fits."""

SENTENCE_SHARE = 0.60
"""A full chunk may give back units to end with a sentence, down to this share of the limit."""

_BOUNDARY = re.compile(
    r"""\n\s*\n                                  # blank line
      | (?<![.!?…؟।۔])[.!?…؟।۔]++["'”’»)\]]*+\s+  # end of sentence, then space; a run is looked at once
      | [。！？｡．]+["'”’」』）】]*\s*              # the same where no space follows
      | \n""",
    re.VERBOSE,
)
_SENTENCE_END = re.compile(r"[.!?…؟।۔:。！？｡．][\"'”’»)\]」』）】]*\s*\Z")
_SOFT_BREAK = re.compile(r"\s+|[,;，、；：,]+\s*")


def segment(text: str, spans: Sequence[Span] = ()) -> tuple[Range, ...]:
    """Cut `text` into ordered units that cover it without a gap and never cross the start of a span.

    Units end at sentences, lines and paragraphs and are at most `MAX_SEGMENT_CHARS` long; longer
    ones are cut at a space or comma, or in the middle of a word when there is neither.
    """
    cuts = {match.end() for match in _BOUNDARY.finditer(text)}
    cuts.update(span.start for span in spans)
    cuts.add(len(text))
    units: list[Range] = []
    start = 0
    for cut in sorted(cuts):
        if not start < cut <= len(text):
            continue
        while cut - start > MAX_SEGMENT_CHARS:
            middle = _soft_cut(text, start, start + MAX_SEGMENT_CHARS)
            units.append((start, middle))
            start = middle
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
    middle = _soft_cut(text, start, half)
    middle = middle if middle < end else half  # nothing but marks to the end: the limit comes first
    return ((start, middle), (middle, end))


def _soft_cut(text: str, start: int, latest: int) -> int:
    """The last good place to cut in the second half of `text[start:latest]`, else `latest` itself."""
    best = 0
    for match in _SOFT_BREAK.finditer(text, start + (latest - start) // 2, latest):
        best = match.end()
    if best > start:
        return best
    cut = latest
    # Keep accents and emoji sequences whole; give up on text that is nothing but marks.
    while (
        cut < len(text)
        and cut - latest < 16
        and (unicodedata.combining(text[cut]) or "\u200d" in text[cut - 1 : cut + 1])
    ):
        cut += 1
    return cut


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
    `overlap` tokens. No chunk runs across the start of a hard span; a changed anchor starts a new
    chunk, without overlap, once the current one is a quarter full.
    """
    if len(segments) != len(counts):
        raise ValueError(f"{len(segments)} segments but {len(counts)} token counts")
    if limit < 1 or not 0 <= overlap < limit:
        raise ValueError(f"limit {limit} and overlap {overlap}: want 0 <= overlap < limit")
    packer = _Packer(text, segments, counts, limit, overlap)
    hard, sections = _span_starts(spans)
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
            if end in self.sections and self._tokens(start, end) >= SECTION_SHARE * self._limit:
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
        tail = self._text[max(start, end - 40) : end]
        return tail.count("\n") > 1 or _SENTENCE_END.search(tail) is not None

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
        """Drop a last chunk that is hardly worth its own row into its predecessor."""
        before, last = chunks[-2], chunks[-1]
        if self._tokens(fresh, last[1]) < TAIL_SHARE * self._limit and self._tokens(before[0], last[1]) <= self._limit:
            chunks[-2:] = [(before[0], last[1])]


def _span_starts(spans: Sequence[Span]) -> tuple[set[int], set[int]]:
    """Offsets where a hard span starts, and where the anchor changes."""
    hard = {span.start for span in spans if span.hard}
    sections: set[int] = set()
    anchor = ""
    for span in spans:
        if span.anchor != anchor:
            sections.add(span.start)
            anchor = span.anchor
    return hard, sections


def _trimmed(text: str, start: int, end: int) -> Range:
    passage = text[start:end]
    return start + len(passage) - len(passage.lstrip()), start + len(passage.rstrip())


def make_chunks(document_id: str, parsed: ParsedDocument, ranges: Sequence[Range]) -> list[Chunk]:
    """The chunks of a document, with ids that depend on nothing but document, place and content.

    `parsed.text[chunk.char_start:chunk.char_end] == chunk.content` holds for every one.
    """
    metadata: dict[str, str] = dict(parsed.metadata)
    if parsed.external_id:
        metadata["external_id"] = parsed.external_id
    starts = [span.start for span in parsed.spans]
    chunks = []
    for start, end in ranges:
        content = parsed.text[start:end]
        content_hash = hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()
        key = f"{document_id}:{start}:{end}:{content_hash}"
        at = bisect_right(starts, start) - 1
        span = parsed.spans[at] if at >= 0 and parsed.spans[at].end > start else None
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
                metadata=metadata,
            )
        )
    return chunks
