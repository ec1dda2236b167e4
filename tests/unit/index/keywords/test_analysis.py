from __future__ import annotations

import random
import unicodedata
from itertools import pairwise

import pytest

from studio.index.keywords import Analyzer
from studio.index.keywords.analysis import LANGUAGES, is_spaceless

ENGLISH = Analyzer("en")


def shown(text: str, query: str, analyzer: Analyzer = ENGLISH) -> list[str]:
    return [text[start:end] for start, end in analyzer.highlights(text, analyzer.terms(query))[0]]


def unaccented(word: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFD", word) if unicodedata.category(char) != "Mn")


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("fr", ["café", "élève", "mangées", "mangé", "naïve", "garçon", "forêts"]),
        ("de", ["Größe", "Häuser", "Übergänge", "schön"]),
        ("es", ["nación", "canción", "niño", "árbol"]),
        ("pt", ["coração", "ações", "avô"]),
        ("sv", ["ångström", "människor"]),
        ("tr", ["şehir", "çocuk", "İstanbul"]),
        ("ru", ["ёлка", "тёмная"]),
        ("el", ["Αθήνα", "θάλασσα"]),
        ("hu", ["könyvek", "szép"]),
        ("en", ["résumé", "naïve"]),
        ("xx", ["café", "žluťoučký"]),
    ],
)
def test_accents_do_not_matter(language: str, words: list[str]) -> None:
    analyzer = Analyzer(language)
    for word in words:
        plain = unaccented(word)
        assert plain != word
        for one, other in ((word, plain), (plain, word), (unicodedata.normalize("NFD", word), plain)):
            assert set(analyzer.terms(one)) & set(analyzer.terms(other)), (one, other)
            assert analyzer.sequence(one) == analyzer.sequence(other)


def test_inflected_words_still_meet_where_stemming_needs_the_accents() -> None:
    assert Analyzer("fr").terms("mangées")[0] == Analyzer("fr").terms("mangé")[0]


@pytest.mark.parametrize(
    ("text", "words", "inner"),
    [
        ("snake_case", ["snake", "case"], ["snake_case"]),
        ("camelCase", ["camelcas"], ["camel", "case"]),
        ("HTTPServerError", ["httpservererror"], ["http", "server", "error"]),
        ("os.path.join", ["os", "path", "join"], ["os.path.join"]),
        ("get_userName", ["get", "usernam"], ["get_username", "user", "name"]),
        ("HTML5Parser", ["html5parser"], ["html5", "parser"]),
        ("größeBerechnen", ["grosseberechnen"], ["grosse", "groess", "gross", "berechnen"]),
        ("kebab-case", ["kebab", "case"], []),
        ("2.5 IL-2 COVID-19", ["2", "5", "il", "2", "covid", "19"], ["covid19", "2.5"]),
        ("C++ C# .NET C++17", ["c", "c", "net", "c", "17"], ["c++", "c#", ".net", "c++"]),
        ("PDFs mRNA iPhone pH ABC", ["pdfs", "mrna", "iphon", "ph", "abc"], []),
        ("One. Two... _three_ a+b #4", ["one", "two", "three", "b", "4"], []),
    ],
)
def test_identifiers_are_words_with_something_inside(text: str, words: list[str], inner: list[str]) -> None:
    found = [term for term, _ in ENGLISH.words(text)]
    if "größe" in text:
        found = found[-1:]
    assert found == [word for word in words if word != "a"]
    assert list(dict.fromkeys(term for term, _ in ENGLISH.inner(text))) == list(dict.fromkeys(inner))


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("اتفاقية", "اتفاقيه"),
        ("کتابخانه", "كتابخانه"),
        ("ملی", "ملي"),
        ("مصطفى", "مصطفي"),
        ("ٱلكتاب", "الكتاب"),
        ("آسان", "اسان"),
        ("۱۴۰۲", "1402"),
        ("١٤٤٥", "1445"),
        ("२०२४", "2024"),
        ("電腦", "电脑"),
        ("圖書館", "图书馆"),
        ("Müller", "Mueller"),
        ("Jørgensen", "Joergensen"),
        ("Håkansson", "Haakansson"),
        ("Ærø", "Aeroe"),
        ("Weißstraße", "Weissstrasse"),
    ],
)
def test_spellings_of_one_word_meet(written: str, asked: str) -> None:
    for one, other in ((written, asked), (asked, written)):
        assert set(ENGLISH.terms(one)) & set(ENGLISH.terms(other))


def test_kinds_of_characters_stay_apart_in_japanese() -> None:
    assert Analyzer("ja").terms("機") != Analyzer("ja").terms("机")


def test_words_of_any_length_are_terms() -> None:
    for word in ("9f86d081" * 8, "acgtgca" * 300):
        assert len(ENGLISH.terms(word)) == 1


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("IBAN DE44 5001 0517 5407 3249 31, thanks", "DE44500105175407324931"),
        ("GB29 NWBK 6016 1331 9268 19 BIC", "GB29NWBK60161331926819"),
        ("AT61 1904 3002 3457 3201 VISA", "AT611904300234573201"),
        ("Call +49 (0)561 778-812 after six", "+49561778812"),
        ("Call +49 (0)561 778-812 after six", "0561 778812"),
        ("0561/77 88 12", "0561-778812"),
        ("0049 561 778812", "+49 561 778 812"),
        ("(212) 555-0199", "212.555.0199"),
        ("1,250,000 dollars", "1250000"),
        ("1.250.000,50 Euro", "1,250,000.50"),
        ("1 250 000", "1'250'000"),
        ("2,75", "2.75"),
        ("part AX-4711/B", "AX4711B"),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", "3f2504e04f8911d39a0c0305e82c3301"),
        ("4012 8888 8888 1881", "4012-8888-8888-1881"),
    ],
)
def test_numbers_meet_whatever_separates_their_groups(written: str, asked: str) -> None:
    def known(text: str) -> set[str]:
        return {term for term, _ in (*ENGLISH.words(text), *ENGLISH.inner(text)) if len(term) > 3}

    def looked_for(text: str) -> set[str]:
        return {term for terms, _ in ENGLISH.wanted(text) for term in terms if len(term) > 3}

    assert known(written) & looked_for(asked)
    assert known(asked) & looked_for(written)


def test_numbers_in_a_row_are_no_number() -> None:
    assert ENGLISH.inner("in 1990 12 men, and 2023, 15 more; 3 of 4") == []


def test_stop_words_in_upper_case_are_names() -> None:
    assert ENGLISH.inner("The IT department") == [("IT", 0)]
    assert ENGLISH.inner("IT IS ALL UPPER CASE") == []
    assert ENGLISH.common("To be, or not to be: IT") == ["to", "be", "or", "not", "it"]


def test_no_phrase_runs_from_one_identifier_into_the_next() -> None:
    places = dict(ENGLISH.inner("readFile openSocket"))
    assert places["file"] - places["read"] == 1
    assert places["open"] - places["file"] > 1


def test_prose_has_exactly_the_terms_of_its_words() -> None:
    chance = random.Random(3)
    pieces = [
        "The",
        "runners'",
        "state-of-the-art",
        "(loops)",
        "5th",
        "don't",
        "“quoted”",
        "–",
        "β-cells",
        "±",
        "x=1",
        "naïve",
    ]
    for _ in range(300):
        text = " ".join(chance.choices(pieces, k=12))
        assert ENGLISH.inner(text) == []
        assert ENGLISH.is_plain(text)
        tokens = ENGLISH._chain.pre_tokenize(text).tokens
        assert ENGLISH.words(text) == [(token.text, token.position) for token in tokens]


def test_a_query_counts_a_word_once() -> None:
    assert list(ENGLISH.wanted("loops loops")) == [(("loop",), 1.0)] * 2
    assert [terms for terms, weight in ENGLISH.wanted("camelCase C++") if weight == 1.0] == [("camelcas",), ("c++",)]
    assert list(Analyzer("fr").wanted("mangées")) == [(("mang", "mange"), 1.0)]


def test_scripts_without_spaces_are_pairs_and_mix_with_words() -> None:
    assert ENGLISH.terms("東京2020 Python入門") == ["东京", "2020", "python", "入门"]
    assert ENGLISH.terms("한국어") == ["한국", "국어"]
    assert ENGLISH.terms("カタカナ") == ENGLISH.terms("ｶﾀｶﾅ")
    for text in ("ภาษาไทย", "ພາສາລາວ", "ភាសាខ្មែរ", "မြန်မာဘာသာ"):
        assert len(ENGLISH.terms(text)) > 3
        assert shown(text, text[2:6])
    assert ENGLISH.characters("北京 and 大") == "北 京 大"
    assert is_spaceless("北") and not is_spaceless("北京") and not is_spaceless("a")


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("Nested LOOPS, looping", "loop", ["LOOPS", "looping"]),
        ("an HTTPServerError here", "server", ["Server"]),
        ("an HTTPServerError here", "httpServerError", ["HTTPServerError"]),
        ("call get_userName()", "user", ["user"]),
        ("call get_userName()", "get_username", ["get_userName"]),
        ("see os.path.join", "join", ["join"]),
        ("cafe\u0301 noir", "cafe", ["cafe\u0301"]),
        ("we ﬁnd it", "find", ["ﬁnd"]),
        ("soft\u00adware", "software", ["soft\u00adware"]),
        ("😀👩‍👩‍👧 loops 😀", "loop", ["loops"]),
        ("مرحبا loop بالعالم", "loop", ["loop"]),
        ("北京大学 in 北京", "京大 大学", ["京大学"]),
        ("a ｶﾞｷﾞ b", "ガギ", ["ｶﾞｷﾞ"]),
        ("C++ and C", "C++", ["C++", "C"]),
    ],
)
def test_highlights_are_exact(text: str, query: str, expected: list[str]) -> None:
    assert shown(text, query) == expected


def test_highlights_of_random_text_are_ordered_and_inside() -> None:
    chance = random.Random(9)
    alphabet = [*"aB_.+#9 -é北😀हि½ßกำ\u200d\ud800\x00", "e\u0301", "ﬁ", "ｶﾞ", "İ"]
    for language in ("en", "tr", "xx"):
        analyzer = Analyzer(language)
        for _ in range(1500):
            text = "".join(chance.choices(alphabet, k=25))
            ranges, found = analyzer.highlights(text, analyzer.terms(text))
            assert found <= set(analyzer.terms(text)) and bool(found) is bool(ranges)
            assert all(0 <= a < b <= len(text) for a, b in ranges)
            assert all(before[1] <= after[0] for before, after in pairwise(ranges))
            places = [place for _, place in analyzer.words(text)]
            assert places == sorted(places)


def test_no_word_goes_beyond_white_space_or_depends_on_it() -> None:
    """So that what a token holds can be remembered: its highlights are the same in every text."""
    chance = random.Random(4)
    spaces = [char for char in map(chr, range(0x3100)) if char.isspace()]
    alphabet = [
        *"aB_.+#9-é北हि½กำ…\u200d\u00ad\ufeff\ud800\x00",
        "e\u0301",
        "ｶﾞ",
        "C++",
        "C#",
        ".NET",
        "os.path",
        "readFile",
    ]
    analyzer = ENGLISH
    for _ in range(2000):
        text = "".join(chance.choices([*alphabet, *chance.choices(spaces, k=12)], k=40))
        units = list(analyzer._pattern.finditer(text))
        assert [unit.group() for unit in units] == [
            unit for token in text.split() for unit in analyzer._pattern.findall(token)
        ]
        terms = set(chance.sample(sorted({*analyzer.terms(text), "c++", "path"}), k=2))
        expected = [
            (unit.start() + start, unit.start() + end)
            for unit in units
            for start, end in analyzer._ranges_in(unit.group(), frozenset(terms))
        ]
        assert analyzer.highlights(text, terms)[0] == expected


def test_long_text_without_a_space_is_split_in_time_in_proportion() -> None:
    for text in (
        "a" * 60_000,
        "a.b" * 20_000,
        "aB" * 30_000,
        "é" * 60_000,
        "a\u0301" * 30_000,
        "北" * 60_000,
        "." * 60_000,
    ):
        ENGLISH.terms(text)
        ENGLISH.is_plain(text)
        ENGLISH.inner(text)


_WORDS = [
    "I",
    "running",
    "Ties",
    "dying",
    "lying",
    "die",
    "aing",
    "aebte",
    "bbe",
    "skies",
    "idly",
    "geoon",
    "Gerontol",
    "generous",
    "geklopt",
    "leri",
    "dinte",
    "dinner",
    "unter",
    "über",
    "Überall",
    "oxen",
    "axes",
    "nationally",
    "possibly",
    "argument",
    "university",
    "prefixes",
    "preexisting",
    "inaccessible",
    "xylophones",
    "yes",
    "zebras",
    "agreed",
]


@pytest.mark.parametrize("language", [*sorted(LANGUAGES), "xx"])
def test_marks_are_the_same_whatever_was_looked_for_before(language: str) -> None:
    """Words that begin otherwise than what is looked for are not analysed, where stemming leaves beginnings alone."""
    chance = random.Random(language)
    words = [*_WORDS, *("".join(chance.choices("aeiounstrlgdyxz", k=chance.randint(1, 8))) for _ in range(300))]
    text = ", ".join(words)
    every = Analyzer(language)
    for word in words:
        terms = set(every.terms(word))
        fresh, found = Analyzer(language).highlights(text, terms)
        assert found == terms
        expected = {token for token in words if terms & set(every.terms(token))}
        assert {text[start:end] for start, end in fresh} == expected


@pytest.mark.parametrize("language", ["en", "fi", "nl"])
def test_names_are_found_behind_whatever_stands_there(language: str) -> None:
    text = "e.g. a. .NET b, (.net) x. ..NET C++/c++ <C#"
    ranges, _ = Analyzer(language).highlights(text, {".net", "c++", "c#"})
    assert [text[start:end] for start, end in ranges] == [".NET", ".net", "C++", "c++", "C#"]


def test_the_words_found_are_told_by_their_terms() -> None:
    text = "The readFile of os.path, loops-looping “Loop”, naïve 北京大学 and C++"
    wanted = {"loop", "path", "file", "naiv", "京大", "c++", "missing", "read_fil"}
    ranges, found = ENGLISH.highlights(text, wanted)
    words = ["File", "path", "loops", "looping", "Loop", "naïve", "京大", "C++"]
    assert [text[start:end] for start, end in ranges] == words
    assert found == wanted - {"missing", "read_fil"}
