from __future__ import annotations

import hashlib
import itertools
import random
import re

import pytest

from studio.documents.chunker import MAX_SEGMENT_CHARS, make_chunks, pack, segment, split_oversized
from studio.domain import ParsedDocument, Span

ALPHABET = "abcdefghij é ß 你好。，！ \t\n\n. ! ? 😀 \u0301 \u200d ) ” , ; x"


def words(text: str) -> int:
    """A stand-in for a tokenizer that adds up over units: one token a word piece or CJK character."""
    return len(re.findall(r"[^\W_]{1,6}|[^\w\s]", text))


def random_text(rng: random.Random, length: int) -> str:
    return "".join(rng.choice(ALPHABET) for _ in range(length))


def random_spans(rng: random.Random, length: int) -> tuple[Span, ...]:
    starts = sorted({0, *(rng.randrange(length) for _ in range(rng.randrange(8)))}) if length else []
    ends = [*starts[1:], length]
    return tuple(
        Span(a, b, rng.choice([None, 1, 2, 3]), rng.choice(["", "A", "B › C"]), rng.random() < 0.4)
        for a, b in zip(starts, ends, strict=False)
    )


def split_all(text: str, units: tuple[tuple[int, int], ...], limit: int) -> tuple[list[tuple[int, int]], list[int]]:
    waiting = list(reversed(units))
    done: list[tuple[int, int]] = []
    while waiting:
        unit = waiting.pop()
        pieces = split_oversized(text, unit) if words(text[unit[0] : unit[1]]) > limit else (unit,)
        if len(pieces) == 1:
            done.append(unit)
        else:
            waiting.extend(reversed(pieces))
    return done, [words(text[a:b]) for a, b in done]


@pytest.mark.parametrize("seed", range(60))
def test_segments_cover_the_text_and_respect_spans(seed: int) -> None:
    rng = random.Random(seed)
    text = random_text(rng, rng.randrange(4000))
    spans = random_spans(rng, len(text))
    units = segment(text, spans)
    assert "".join(text[a:b] for a, b in units) == text
    assert all(0 < b - a <= MAX_SEGMENT_CHARS for a, b in units)
    starts = {a for a, _ in units}
    assert all(span.start in starts for span in spans if span.start < len(text))


@pytest.mark.parametrize("seed", range(60))
def test_chunks_keep_the_limit_lose_nothing_and_never_cross_a_page(seed: int) -> None:
    rng = random.Random(1000 + seed)
    text = random_text(rng, rng.randrange(1, 6000))
    spans = random_spans(rng, len(text))
    limit = rng.choice([5, 20, 64, 240])
    overlap = rng.randrange(0, limit // 2)
    units, counts = split_all(text, segment(text, spans), limit)
    ranges = pack(text, spans, units, counts, limit=limit, overlap=overlap)

    assert ranges == sorted(set(ranges))
    covered = set()
    hard = [span.start for span in spans if span.hard]
    for start, end in ranges:
        passage = text[start:end]
        assert passage == passage.strip()
        assert passage
        assert words(passage) <= limit
        assert not any(start < page < end for page in hard)
        covered.update(range(start, end))
    assert all(i in covered for i, character in enumerate(text) if not character.isspace())
    # Every chunk says something new: nothing is pure overlap.
    for (_, before), (_, after) in itertools.pairwise(ranges):
        assert after > before


def test_overlap_repeats_whole_units_up_to_the_budget() -> None:
    sentences = [f"Sentence {chr(97 + i)} has six words here. " for i in range(20)]
    text = "".join(sentences)
    units = segment(text)
    counts = [words(text[a:b]) for a, b in units]
    ranges = pack(text, (), units, counts, limit=40, overlap=10)
    assert len(ranges) > 2
    for (_, end), (start, _) in itertools.pairwise(ranges):
        shared = text[start:end]
        assert shared.startswith("Sentence")
        assert 0 < words(shared) <= 10


def test_no_overlap_means_none() -> None:
    text = "One two three. " * 50
    units = segment(text)
    ranges = pack(text, (), units, [4] * len(units), limit=12, overlap=0)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ranges))


def test_a_full_chunk_ends_with_a_sentence() -> None:
    # Hard-wrapped prose: lines are units, but the cut comes after the sentence, not in the middle of it.
    text = "alpha beta gamma delta\n" * 3 + "the end.\n" + "alpha beta gamma delta\n" * 6
    units = segment(text)
    counts = [words(text[a:b]) for a, b in units]
    first = pack(text, (), units, counts, limit=24, overlap=0)[0]
    assert text[first[0] : first[1]].endswith("the end.")


def test_a_heading_starts_a_chunk_once_the_current_one_is_a_quarter_full() -> None:
    small, large = "tiny. ", "Some longer prose stands here. " * 4
    text = small + "Head one\n" + large + "Head two\n" + large
    one, two = text.index("Head one"), text.index("Head two")
    spans = (Span(0, one), Span(one, two, None, "One"), Span(two, len(text), None, "Two"))
    units = segment(text, spans)
    counts = [words(text[a:b]) for a, b in units]
    ranges = pack(text, spans, units, counts, limit=60, overlap=15)
    assert [start for start, _ in ranges] == [0, two]  # "Head one" joins the tiny start, "Head two" does not


def test_a_short_tail_joins_the_chunk_before_it_only_if_it_fits() -> None:
    body, tail = "word " * 50 + ". ", "end"
    text = body + tail
    spans = (Span(0, len(body), None, "A"), Span(len(body), len(text), None, "B"))
    units = segment(text, spans)
    counts = [words(text[a:b]) for a, b in units]
    assert len(pack(text, spans, units, counts, limit=100, overlap=0)) == 1
    assert len(pack(text, spans, units, counts, limit=sum(counts) - 1, overlap=0)) == 2
    hard = (spans[0], Span(len(body), len(text), 2, "B", hard=True))
    assert len(pack(text, hard, units, counts, limit=100, overlap=0)) == 2


def test_chinese_is_cut_after_its_full_stops() -> None:
    text = "今天天气很好。我们去公园吧！好吗？「好的。」他说。"
    assert [text[a:b] for a, b in segment(text)] == [
        "今天天气很好。",
        "我们去公园吧！",
        "好吗？",
        "「好的。」",
        "他说。",
    ]


@pytest.mark.parametrize("text", ["x" * 200_000, "汉" * 200_000, "x," * 100_000, "." * 1_000_000])
def test_text_without_a_space_is_still_split(text: str) -> None:
    units = segment(text)
    assert max(b - a for a, b in units) <= MAX_SEGMENT_CHARS
    units, counts = split_all(text, units, 50)
    ranges = pack(text, (), units, counts, limit=50, overlap=8)
    assert ranges[-1][1] == len(text)
    assert all(words(text[a:b]) <= 50 for a, b in ranges)


def test_a_cut_keeps_accents_with_their_letter() -> None:
    text = "e\u0301" * 101
    (_, middle), _ = split_oversized(text, (0, len(text)))
    assert text[middle] == "e"
    assert split_oversized("ab", (0, 1)) == ((0, 1),)


def test_a_unit_beyond_the_limit_stands_alone() -> None:
    text = "one. twotwotwo. three. "
    units = segment(text)
    assert pack(text, (), units, [2, 99, 2], limit=10, overlap=4) == [(0, 4), (5, 15), (16, 22)]


def test_blank_text_gives_no_chunks() -> None:
    assert segment("") == ()
    assert pack("", (), (), (), limit=10, overlap=2) == []
    units = segment(" \n\n \t")
    assert pack(" \n\n \t", (), units, [0] * len(units), limit=10, overlap=2) == []


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="token counts"):
        pack("a", (), [(0, 1)], [], limit=10, overlap=0)
    with pytest.raises(ValueError, match="overlap"):
        pack("a", (), [(0, 1)], [1], limit=10, overlap=10)


def test_chunks_carry_place_and_stable_ids() -> None:
    text = "Intro here. Page two text 😀 ends."
    cut = text.index("Page")
    parsed = ParsedDocument(
        text,
        (Span(0, cut, 1, "", True), Span(cut, len(text), 2, "Part", True)),
        (),
        "pdf",
        external_id="row-7",
        metadata={"lang": "en"},
    )
    chunks = make_chunks("doc", parsed, [(0, 11), (cut, len(text))])
    assert [(c.page_number, c.anchor) for c in chunks] == [(1, ""), (2, "Part")]
    for chunk in chunks:
        assert parsed.text[chunk.char_start : chunk.char_end] == chunk.content
        assert chunk.content_hash == hashlib.sha256(chunk.content.encode()).hexdigest()
        assert len(chunk.chunk_id) == 32
        assert chunk.metadata == {"lang": "en", "external_id": "row-7"}
    assert chunks == make_chunks("doc", parsed, [(0, 11), (cut, len(text))])
    assert chunks[0].chunk_id != make_chunks("other", parsed, [(0, 11)])[0].chunk_id
    outside = ParsedDocument("gap text", (Span(4, 8, 3),), (), "text")
    assert make_chunks("doc", outside, [(0, 3)])[0].page_number is None
