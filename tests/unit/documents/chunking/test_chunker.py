from __future__ import annotations

import hashlib
import itertools
import random
import re
import unicodedata

import pytest

from studio.documents.chunking import make_chunks, segment
from studio.documents.chunking.chunker import MAX_CONTEXT_CHARS, MAX_SEGMENT_CHARS, context_of, pack, split_oversized
from studio.domain import ParsedDocument, Span

ALPHABET = "abcdefghij é ß 你好。，！ \t\n\n. ! ? 😀 \u0301 \u200d ) ” , ; x ไท क्ष। Dr. 3.5 "


def words(text: str) -> int:
    """A stand-in for a tokenizer that adds up over units: one token a word piece or CJK character."""
    return len(re.findall(r"[^\W_]{1,6}|[^\w\s]", text))


def random_text(rng: random.Random, length: int) -> str:
    return "".join(rng.choice(ALPHABET) for _ in range(length))


def random_spans(rng: random.Random, length: int) -> tuple[Span, ...]:
    starts = sorted({0, *(rng.randrange(length) for _ in range(rng.randrange(8)))}) if length else []
    ends = [*starts[1:], length]
    return tuple(
        Span(a, b, rng.choice([None, 1, 2, 3]), rng.choice(["", "A", "B › C"]), rng.random() < 0.4, rng.random() < 0.3)
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
    assert all(0 < b - a <= MAX_SEGMENT_CHARS + 16 for a, b in units)
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
    # Every chunk says something new: nothing is pure overlap, and of that there is no more than allowed.
    for (_, before), (start, after) in itertools.pairwise(ranges):
        assert after > before
        assert sum(count for (a, b), count in zip(units, counts, strict=True) if a >= start and b <= before) <= overlap
    for span in spans:
        inside = [count for (a, b), count in zip(units, counts, strict=True) if a >= span.start and b <= span.end]
        if span.whole and sum(inside) <= limit:
            starts = [start for start, _ in ranges if span.start < start < span.end]
            assert not text[span.start : min(starts, default=span.start)].strip()


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


def test_a_heading_starts_a_chunk_once_the_current_one_holds_more_than_headings() -> None:
    parts = [
        ("", "tiny. "),
        ("One", "One\n\n"),
        ("One › A", "A\n\nSome prose stands here.\n\n"),
        ("One › B", "B\n\nSo.\n\n"),
    ]
    parts += [("Two", "Two\n\nMore prose. " + "It goes on and on. " * 8), ("Two › C", "C\n\nEnd.")]
    text, spans = "", []
    for anchor, part in parts:
        spans.append(Span(len(text), len(text) + len(part), None, anchor))
        text += part
    parsed = ParsedDocument(text, tuple(spans), segment(text, spans), "text")
    counts = [words(text[a:b]) for a, b in parsed.segments]
    ranges = pack(text, spans, parsed.segments, counts, limit=40, overlap=5)
    chunks = make_chunks("d", parsed, ranges)
    assert [(chunk.anchor, chunk.content.split("\n")[0][:9]) for chunk in chunks] == [
        ("", "tiny."),
        ("One › A", "One"),  # a heading with nothing below it stands with the first of its sections
        ("One › B", "B"),
        ("Two", "Two"),
        ("Two", "It goes o"),
        ("Two › C", "C"),  # not joined to the section before it, however short it is
    ]


def test_a_short_tail_joins_the_chunk_before_it_only_if_it_fits() -> None:
    body, tail = "word " * 50 + ". ", "end"
    text = body + tail
    spans = (Span(0, len(body), None, "A"), Span(len(body), len(text), None, "A"))
    units = segment(text, spans)
    counts = [words(text[a:b]) for a, b in units]
    assert len(pack(text, spans, units, counts, limit=100, overlap=0)) == 1
    assert len(pack(text, spans, units, counts, limit=sum(counts) - 1, overlap=0)) == 2
    other = (spans[0], Span(len(body), len(text), None, "B"))
    assert len(pack(text, other, units, counts, limit=100, overlap=0)) == 2
    hard = (spans[0], Span(len(body), len(text), 2, "A", hard=True))
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


@pytest.mark.parametrize(
    "sentence",
    [
        "See Dr. Smith, e.g. on Fig. 3 and No. 7 of vol. 12 by J. R. R. Tolkien et al. 2019 at 3.5 % etc. and so on.",
        "Vgl. dazu z. B. Abb. 4, d. h. am 3. Mai bzw. im 19. Jahrhundert, usw. und ca. 5 Stück nach Prof. Müller.",
        "Voir M. Dupont et Mme. Curie, p. 12, éd. Gallimard, cf. Zola.",
        "La Sra. García vive en la Av. Central, núm. 5, y EE. UU. p. ej. Tejas.",
        "Il Sig. Rossi, cfr. pag. 7, disse ecc. ecc. ieri.",
        "O Exmo. Sr. Silva, pág. 3, aprox. 5 kg.",
        "Dhr. Jansen kwam o.a. Maandag, bijv. Dinsdag.",
        "Это т. е. Пример на стр. 5, им. Ленина, рис. 2а.",
    ],
)
def test_abbreviations_initials_and_numbers_end_no_sentence(sentence: str) -> None:
    text = f"{sentence} Next one."
    assert [text[a:b] for a, b in segment(text)] == [f"{sentence} ", "Next one."]


def test_ordinary_words_before_a_full_stop_end_a_sentence() -> None:
    for text in (
        "I said no. Then",
        "So do I. Then",
        "In 2019. Then",
        "It costs 3.50. Then",
        "etc. Then",
        "(e.g.) Then",
    ):
        assert [text[a:b] for a, b in segment(text)] == [text.removesuffix("Then"), "Then"]
    lower = "all in small letters. like this. and this."
    assert len(segment(lower)) == 3


@pytest.mark.parametrize(
    "sentences",
    [
        ["هل هذا صحيح؟", "نعم. ", "كل شيء"],
        ["यह पहला वाक्य है।", "यह दूसरा है॥", "तीसरा"],
        ["Սա առաջինն է։ ", "Երկրորդը"],
        ["ነገር ነው።", "ሌላ"],
        ["یہ پہلا جملہ ہے۔ ", "دوسرا"],
        ["ဒါကပထမ။ ", "ဒုတိယ"],
        ["ประโยคแรก ", "ประโยคที่สอง ", "จบ"],
        ["ປະໂຫຍກ ", "ທີສອງ"],
        ["ប្រយោគ។ ", "ទីពីរ ", "បី"],
        ["値は３．５です。", "次。"],
    ],
)
def test_sentences_of_other_scripts(sentences: list[str]) -> None:
    text = "".join(sentences)
    assert [text[a:b] for a, b in segment(text)] == sentences


@pytest.mark.parametrize(
    "cluster", ["e\u0301\u0323", "क्षि", "กำ", "เก็", "👩\u200d👩\u200d👧", "👍🏽", "\u1100\u1161\u11a8", "நி"]
)
def test_no_cut_falls_into_a_letter(cluster: str) -> None:
    text = cluster * 2_000
    units = list(segment(text))
    for _ in range(4):
        units = [piece for unit in units for piece in split_oversized(text, unit)]
    assert len(units) > 60
    assert "".join(text[a:b] for a, b in units) == text
    for start, _ in units:
        assert not unicodedata.category(text[start]).startswith("M")
        assert start == 0 or text[start - 1] not in "\u200dเ\u094d"


def lines(count: int, word: str = "cell") -> str:
    return "".join(f"{word} one. Two. {number}\n" for number in range(count))


def packed(text: str, spans: tuple[Span, ...], limit: int, overlap: int = 0) -> list[str]:
    units = segment(text, spans)
    counts = [words(text[a:b]) for a, b in units]
    return [text[a:b] for a, b in pack(text, spans, units, counts, limit=limit, overlap=overlap)]


def test_a_table_that_fits_is_never_cut() -> None:
    before, table, after = "Some prose stands here. " * 4, lines(5), "More prose. " * 4
    text = before + table + after
    start, end = len(before), len(before + table)
    spans = (Span(0, start), Span(start, end, whole=True), Span(end, len(text)))
    size = words(table)
    chunks = packed(text, spans, size + 3, overlap=size // 2)
    assert [table.strip() in chunk for chunk in chunks].count(True) == 1
    assert not any("Two. 0" in chunk and table.strip() not in chunk for chunk in chunks)
    # The same text as prose is cut.
    assert not any(table.strip() in chunk for chunk in packed(text, (Span(0, len(text)),), size + 3))


def test_a_table_that_does_not_fit_is_cut_between_its_rows() -> None:
    table = lines(40)
    chunks = packed(table, (Span(0, len(table), whole=True),), limit=33)
    assert len(chunks) > 5
    assert [row for chunk in chunks for row in chunk.split("\n")] == table.splitlines()
    assert not any(chunk in table.splitlines() for chunk in chunks[:-1])


def test_code_that_does_not_fit_is_cut_at_empty_lines() -> None:
    code = "".join(f"def name{n}(x):\n    y = x\n    if y:\n        return {n}\n\n" for n in range(10))
    chunks = packed(code, (Span(0, len(code), whole=True),), limit=50)
    assert len(chunks) > 2
    assert all(chunk.startswith("def name") and "return" in chunk.splitlines()[-1] for chunk in chunks)


def test_a_table_is_no_section_of_its_own() -> None:
    text = "Prose here. " * 5 + lines(2) + "Prose there. " * 5
    first, second = text.index("cell"), text.index("Prose there")
    spans = (Span(0, first, 1, "A"), Span(first, second, 1, "A", whole=True), Span(second, len(text), 1, "A"))
    assert packed(text, spans, limit=200) == [text.strip()]


@pytest.mark.parametrize("text", ["x" * 200_000, "汉" * 200_000, "x," * 100_000, "." * 1_000_000])
def test_text_without_a_space_is_still_split(text: str) -> None:
    units = segment(text)
    assert max(b - a for a, b in units) <= MAX_SEGMENT_CHARS + 16
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


def described(title: str, kind: str = "pdf", row: int = 0) -> ParsedDocument:
    return ParsedDocument("", (), (), kind, title=title, row=row)


def test_the_context_is_title_and_headings_without_what_says_nothing() -> None:
    report = described("Annual  Report")
    assert context_of(report, "") == "Annual Report"
    assert context_of(report, "annual report › Risks › Risks › Climate") == "annual report › Risks › Climate".replace(
        "annual report", "Annual Report"
    )
    assert context_of(report, "Risks", "Risks\nThere are some.") == "Annual Report"
    assert context_of(report, "Risks", "Annual report\nText.") == "Annual Report › Risks"
    assert context_of(report, "", "ANNUAL REPORT of 2024\nText.") == ""
    assert context_of(report, "Page 7") == context_of(report, "0:01 – 0:05") == "Annual Report"
    assert context_of(described("table, row 7", "jsonl", row=6), "Row 7") == ""
    assert context_of(described("A paper", "jsonl", row=6), "Row 7") == "A paper"
    assert context_of(described("3276a5b991c49cf5f9a4af0f7d6fce67"), "Risks") == "Risks"
    assert context_of(described(""), "") == ""


def test_the_context_is_bounded() -> None:
    deep = context_of(described("Title"), " › ".join(f"{name} {'long ' * 8}" for name in "ABCDE"))
    assert deep.startswith("Title › ")
    assert "E long" in deep
    assert "A long" not in deep
    assert len(deep) <= MAX_CONTEXT_CHARS
    assert len(context_of(described("word " * 100), "head " * 100)) <= MAX_CONTEXT_CHARS
    assert len(context_of(described("漢字" * 100), "")) <= MAX_CONTEXT_CHARS // 4


def test_contextual_chunks_show_the_same_as_others_and_are_indexed_with_more() -> None:
    text = "Risks\n\nThere are some. And more of them."
    parsed = ParsedDocument(text, (Span(0, len(text), None, "Risks"),), (), "text", title="Report")
    ranges = [(0, 22), (23, len(text))]
    plain, contextual = make_chunks("d", parsed, ranges), make_chunks("d", parsed, ranges, contextual=True)
    assert [chunk.context for chunk in contextual] == ["Report", "Report › Risks"]
    assert [chunk.indexed_text for chunk in contextual] == [
        f"Report\n{text[:22]}",
        "Report › Risks\nAnd more of them.",
    ]
    assert [chunk.indexed_text for chunk in plain] == [chunk.content for chunk in contextual]
    assert [chunk.chunk_id for chunk in plain] == [chunk.chunk_id for chunk in contextual]


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
        assert chunk.metadata == {"external_id": "row-7"}  # what the document says is kept once, in its record
    assert chunks == make_chunks("doc", parsed, [(0, 11), (cut, len(text))])
    assert chunks[0].chunk_id != make_chunks("other", parsed, [(0, 11)])[0].chunk_id
    outside = ParsedDocument("gap text", (Span(4, 8, 3),), (), "text")
    assert make_chunks("doc", outside, [(0, 3)])[0].page_number is None
