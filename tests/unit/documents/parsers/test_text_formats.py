from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.documents.parsers import base, plain, tabular
from studio.documents.parsers.encodings import decode, is_binary
from studio.errors import FailureCode
from tests.unit.documents.making import check, fault, read, read_one

FRENCH = "Le café était fermé à cause des travaux. Où êtes-vous allés après ?\n"
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 5
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 5


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "utf-8"),
        (FRENCH, "utf-8-sig"),
        (FRENCH, "utf-16"),
        (FRENCH, "utf-16-le"),
        (FRENCH, "utf-16-be"),
        (FRENCH, "utf-32"),
        (FRENCH, "cp1252"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "utf-8"),
    ],
)
def test_plain_text_in_many_encodings(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    parsed = read_one(path)
    assert parsed.text == text
    assert (parsed.kind, parsed.title) == ("text", "a")


def test_stray_bytes_in_utf8_are_read_as_western() -> None:
    assert decode("première ".encode() * 5 + "été".encode("cp1252")) == "première " * 5 + "été"
    assert decode(b"caf\xe9", "no-such-encoding") == "café"
    assert decode("日本".encode("shift_jis"), "shift_jis") == "日本"


def test_control_characters_and_line_ends_are_cleaned(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes("one\r\ntwo\rthree\x0cfour\x1b[0m soft\u00adhyphen \ufeffend\u2028x".encode())
    assert read_one(path).text == "one\ntwo\nthree\nfour[0m softhyphen end\nx"


def test_lone_surrogates_become_replacement_characters() -> None:
    assert base.clean("a\ud800b\udfffc😀") == "a\ufffdb\ufffdc😀"


def test_binary_under_a_text_name_is_refused(tmp_path: Path) -> None:
    for name, content in {
        "a.txt": b"MZ\x90\0\x03\0\0\0\x04",
        "a.mp4": b"\0\0\0\x20ftypisom\0\0\0\0",
        "a.xyz": bytes(range(256)) * 4,
        "a.csv": b"\x01\x02\x03\x04\x05\x06" * 20,
    }.items():
        (tmp_path / name).write_bytes(content)
        assert fault(tmp_path / name).code is FailureCode.UNSUPPORTED, name
    assert not is_binary("Grüße\n".encode("utf-16"))


def test_empty_and_blank_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    (tmp_path / "b.txt").write_text(" \n\t\n")
    assert fault(tmp_path / "a.txt").code is FailureCode.EMPTY
    assert fault(tmp_path / "b.txt").code is FailureCode.NO_TEXT


def test_limits_on_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("x" * 1000)
    (tmp_path / "a.md").write_text("word " * 300)
    (tmp_path / "a.jsonl").write_text('{"text": "' + "x" * 1000 + '"}')
    monkeypatch.setattr(base, "MAX_TEXT_CHARS", 500)
    monkeypatch.setattr(tabular, "MAX_LINE_CHARS", 500)
    for name in ("a.txt", "a.md", "a.jsonl"):
        assert fault(tmp_path / name).code is FailureCode.TOO_LARGE, name
    monkeypatch.setattr(base, "MAX_FILE_BYTES", 500)
    assert "too large for one document" in str(fault(tmp_path / "a.txt"))


@pytest.mark.parametrize(
    ("name", "content", "title"),
    [("README", "no extension", "README"), ("plain.pdf", "no PDF at all, just text", "plain"), ("a.log", "x", "a")],
)
def test_titles_of_plain_text(tmp_path: Path, name: str, content: str, title: str) -> None:
    (tmp_path / name).write_text(content)
    parsed = read_one(tmp_path / name)
    assert (parsed.kind, parsed.title, parsed.text) == ("text", title, content)


MARKDOWN = """---
title: "Front Title"
author: Ann
date: 2024-01-02
license: CC-BY-4.0
---
Intro with a [link](http://example.org/path) and **bold** `code`.

# Methods

- one
- two
  1. nested

Setext
------

| a | b |
|---|---|
| 1 | 2 |

```python
x = 1

y = 2
```

<!-- a secret --><p>html <b>block</b></p>

![a picture](x.png) line<br>break
hard\\
break
"""


def test_markdown_loses_its_markup_and_keeps_its_structure(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(MARKDOWN)
    parsed = read_one(path)
    assert (parsed.title, parsed.author, parsed.created, parsed.licence) == (
        "Front Title",
        "Ann",
        "2024-01-02",
        "CC-BY-4.0",
    )
    assert parsed.text == (
        "author: Ann\ndate: 2024-01-02\nlicense: CC-BY-4.0\n\n"
        "Intro with a link (http://example.org/path) and bold code.\n\n"
        "Methods\n\n- one\n- two\n1. nested\n\nSetext\n\na | b\n1 | 2\n\n"
        "x = 1\n\ny = 2\n\nhtml block\n\na picture line\nbreak\nhard\nbreak"
    )
    assert [(span.anchor, parsed.text[span.start : span.end].strip()) for span in parsed.spans if span.whole] == [
        ("Methods › Setext", "a | b\n1 | 2"),
        ("Methods › Setext", "x = 1\n\ny = 2"),
    ]
    assert [span.anchor for span in parsed.spans if not span.whole] == ["", "Methods", *["Methods › Setext"] * 2]


@pytest.mark.parametrize(
    ("front", "author", "tags", "licence"),
    [
        ("author: 'Ann Lee'\ntags: [one, \"two words\"]\nlicence: MIT", "Ann Lee", "one, two words", "MIT"),
        ("authors:\n  - Ann\n  - Bo\nkeywords:\n- x\n- y", "Ann, Bo", "x, y", ""),
        ("authors:\n- name: Ann Lee\n  email: a@example.org\n- name: Bo", "Ann Lee, Bo", "", ""),
        ("author:\n  name: Ann\n  url: https://example.org\nrights: >\n  Free to\n  use", "Ann", "", "Free to use"),
        ("# a comment\nauthor: Ann: the first\nempty:", "Ann: the first", "", ""),
    ],
)
def test_markdown_front_matter(tmp_path: Path, front: str, author: str, tags: str, licence: str) -> None:
    (tmp_path / "a.md").write_text(f"---\ntitle: The Title\n{front}\n---\ntext\n")
    parsed = read_one(tmp_path / "a.md")
    assert (parsed.title, parsed.author, parsed.licence) == ("The Title", author, licence)
    assert parsed.text.rpartition("\n\n")[2] == "text"
    assert parsed.metadata.get("tags", "") == tags


def test_markdown_front_matter_as_toml(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text('+++\ntitle = "The Title"\ndate = 2024-05-06\ntags = ["a", "b"]\n+++\ntext\n')
    parsed = read_one(tmp_path / "a.md")
    assert (parsed.title, parsed.created) == ("The Title", "2024-05-06")
    assert parsed.metadata == {"date": "2024-05-06", "tags": "a, b"}


def test_what_front_matter_says_is_found_and_is_a_note_by_itself(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("---\ntitle: Plan\naliases: [Wiring, Stromlaufplan]\ncustomer: Brandvold\n---\n")
    parsed = read_one(tmp_path / "a.md")
    assert (parsed.title, parsed.text) == ("Plan", "aliases: Wiring, Stromlaufplan\ncustomer: Brandvold")
    (tmp_path / "a.md").write_text("---\ntitle: Only a title\n---\n")
    assert read_one(tmp_path / "a.md").text == "Only a title"


def test_markup_within_markdown_is_read_as_a_page(tmp_path: Path) -> None:
    rows = "<tr><td>Gasket</td><td>R&amp;D</td></tr>\n<tr><td>45 Nm</td><td>Rotor</td></tr>"
    (tmp_path / "a.md").write_text(f"# Pump\n\n<table>\n{rows}\n</table>\n<script>var no</script>\n\nEnd.\n")
    assert read_one(tmp_path / "a.md").text == "Pump\n\nGasket | R&D\n45 Nm | Rotor\n\nEnd."
    (tmp_path / "a.md").write_text("See [the form](files/form-27b.pdf), [it](#below) and <me@example.org>.\n")
    assert read_one(tmp_path / "a.md").text == "See the form (files/form-27b.pdf), it and me@example.org."


def test_what_stands_above_the_line_in_a_page_tears_no_word_apart(tmp_path: Path) -> None:
    for markup, text in {
        "Mortality<sup>12</sup> fell, relapse<sup>a</sup> too; 10<sup>6</sup> cells on 5 m<sup>2</sup>.": (
            "Mortality 12 fell, relapse a too; 10⁶ cells on 5 m²."
        ),
        "<ruby>東<rp>（</rp><rt>とう</rt><rp>）</rp>京<rt>きょう</rt></ruby>の<ruby>図書館</ruby>へ": (
            "東京の図書館へ (とう きょう)"
        ),
        "The plan.<img src=a.png alt='A house with a conservatory'>": "The plan. A house with a conservatory",
        "<a href='/f/form-27b.pdf?x=1'>Form</a> <a href='/f/form-27b.pdf'>Form</a> <a href='next.html'>on</a>": (
            "Form Form (form-27b.pdf) on"
        ),
        "<div class='x cookie-banner'>We use cookies.</div><p>Tides</p>": "Tides",
    }.items():
        (tmp_path / "a.html").write_text(f"<html><meta charset=utf-8><body><p>{markup}</p></body></html>", "utf-8")
        assert read_one(tmp_path / "a.html").text == text


def test_outputs_of_a_notebook_are_read_as_they_are_shown(tmp_path: Path) -> None:
    outputs = [
        {
            "output_type": "error",
            "ename": "ValueError",
            "evalue": "column glacier_id missing",
            "traceback": ["\u001b[31m"],
        },
        {"output_type": "display_data", "data": {"text/html": "<table><tr><td>moraine</td><td>44</td></tr></table>"}},
        {"output_type": "display_data", "data": {"text/markdown": "**drumlin** found"}},
        {"output_type": "execute_result", "data": {"text/plain": "<Table 0x1>", "text/html": "<b>esker</b>"}},
        {"output_type": "stream", "text": ["\u001b[1mkame\u001b[0m\n"]},
    ]
    cell = {"cell_type": "code", "source": "show()", "outputs": outputs}
    (tmp_path / "a.ipynb").write_text(json.dumps({"nbformat": 4, "cells": [cell]}))
    assert read_one(tmp_path / "a.ipynb").text.split("\n\n") == [
        "show()", "ValueError: column glacier_id missing", "moraine | 44", "**drumlin** found", "esker", "kame",
    ]  # fmt: skip


LETTERS = {
    "pl": (
        "Umowa najmu lokalu w Łodzi. Najemca zobowiązuje się płacić do piątego dnia.",
        "cp1250 iso8859_2 cp852",
    ),
    "cs": ("Smlouva o nájmu bytu v Třebíči. Nájemce je povinen platit vždy do pátého dne.", "cp1250 iso8859_2 cp852"),
    "hu": ("A győri Kossuth utcai lakásra vonatkozik. A bérlő köteles fizetni a fűtést.", "cp1250 iso8859_2 cp852"),
    "ro": ("Chiriaşul plăteşte căldura în fiecare lună. Ţara, maşină, înţeles.", "cp1250 iso8859_2 cp852"),
    "tr": (
        "İstanbul'da ısıtma giderleri kiracıya aittir. Şubat ayında ödeme güçlüğü.",
        "cp1254 iso8859_9 cp857",
    ),
    "lt": ("Šilumos sąskaitą nuomininkas apmoka kiekvieną mėnesį. Žemė, ąžuolas.", "cp1257 iso8859_13 cp775"),
    "lv": ("Īrnieks maksā par apkuri katru mēnesi. Ķēniņš, šķērslis, ņēma.", "cp1257 cp775"),
    "de": ("Die Prüfung der Heizung übernimmt der Vermieter. Größe, ärgerlich.", "cp1252 cp850 mac_roman"),
    "fr": ("L'été, le locataire paie à l'échéance. Où ça ? Forêt, hôtel, naïve.", "cp1252 cp850 mac_roman"),
    "sv": ("Hyresgästen betalar värmen. Åker, ö, kött.", "cp1252 cp850"),
}


@pytest.mark.parametrize(
    ("language", "encoding"), [(name, one) for name, (_, all_) in LETTERS.items() for one in all_.split()]
)
def test_letters_tell_the_encoding(tmp_path: Path, language: str, encoding: str) -> None:
    text = LETTERS[language][0]
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    assert read_one(tmp_path / "a.txt").text == text


def test_markdown_title_comes_from_the_first_heading(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("## *Second* level\n\ntext\n\n# First\n\nmore\n")
    parsed = read_one(tmp_path / "a.md")
    assert parsed.title == "Second level"
    assert [span.anchor for span in parsed.spans] == ["Second level", "First"]


def test_jsonl_rows(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    lines = [
        {"_id": "d1", "title": "A title", "text": "The text.", "year": 2020},
        {"id": 7, "content": "Only content", "note": "kept"},
        {"_id": "d3", "title": "", "abstract": "The longest string of this row is one of several", "x": "y"},
        {"_id": "d4", "question": "Who?", "answer": "Me"},
        {"_id": "d5", "tags": ["a"]},
        {"_id": "d6", "text": None, "url": "not left out"},
        "a bare string",
    ]
    path.write_text("\ufeff" + "\n\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    found = read(path)
    for parsed in found:
        check(parsed)
    assert [(p.external_id, p.title, p.text, p.row) for p in found] == [
        ("d1", "A title", "A title\n\nThe text.\n\nyear: 2020", 0),
        ("7", "corpus, row 2", "Only content\n\nid: 7\nnote: kept", 1),
        ("d3", "corpus, row 3", "abstract: The longest string of this row is one of several\nx: y", 2),
        ("d4", "corpus, row 4", "question: Who?\nanswer: Me", 3),
        ("d5", "corpus, row 5", 'tags: ["a"]', 4),
        ("d6", "corpus, row 6", "not left out", 5),
        ("", "corpus, row 7", "a bare string", 6),
    ]
    assert found[0].metadata == {"year": "2020"}
    assert found[1].metadata == {"id": "7", "note": "kept"}
    assert found[0].spans[0].anchor == "Row 1"


def test_jsonl_faults(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("[1]\n" * 1000)
    assert fault(path).code is FailureCode.CORRUPT
    path.write_text('{"n": null}\n')
    assert fault(path).code is FailureCode.NO_TEXT
    path.write_text('{"text": ' + "[" * 100_000 + "\n")
    assert fault(path).code is FailureCode.CORRUPT


def test_csv_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('id;Title;Text\n1;"Ein; Titel";"Zeile eins\nZeile zwei ü"\n\n2;;kurz;extra\n'.encode("cp1252"))
    found = read(path)
    assert [(p.external_id, p.title, p.text) for p in found] == [
        ("1", "Ein; Titel", "Ein; Titel\n\nZeile eins\nZeile zwei ü\n\nid: 1"),
        ("2", "a, row 2", "kurz\n\nid: 2\ncolumn 4: extra"),
    ]
    assert found[1].metadata == {"id": "2", "column 4": "extra"}


def test_tsv_without_column_names(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("1\tfirst cell, with a comma\n2\tsecond\n")
    assert [p.text for p in read(path)] == [
        "column 1: 1\ncolumn 2: first cell, with a comma",
        "column 1: 2\ncolumn 2: second",
    ]
    path.write_text("id\ttext\n")
    assert fault(path).code is FailureCode.NO_TEXT


def test_csv_in_utf16(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,n\ngrüße,1\n".encode("utf-16"))
    assert [p.text for p in read(path)] == ["grüße\n\nn: 1"]


@pytest.mark.parametrize("longest", [100, 1 << 20])
def test_a_quotation_mark_that_is_never_closed_costs_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest: int
) -> None:
    monkeypatch.setattr(tabular, "MAX_RECORD_CHARS", longest)
    path = tmp_path / "a.csv"
    rows = [f"part {n},place {n}" for n in range(60)]
    path.write_text("\n".join(["name,place", *rows[:30], '"open,here', *rows[30:], '"a, b","c\nd"']))
    found = [p.text for p in read(path)]
    assert found[29:32] == [
        "name: part 29\nplace: place 29",
        "name: open\nplace: here",
        "name: part 30\nplace: place 30",
    ]
    assert found[-1] == "name: a, b\nplace: c\nd"
    assert len(found) == 62


def test_a_quotation_mark_that_the_next_quoted_cell_closes_costs_its_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b,c\n1,2,3\n"4,5,6\n7,8,9\n"x",y,z\n')
    assert [p.text for p in read(path)] == [
        "a: 1\nb: 2\nc: 3",
        "a: 4\nb: 5\nc: 6",
        "a: 7\nb: 8\nc: 9",
        "a: x\nb: y\nc: z",
    ]


def test_every_cell_is_told_whatever_its_column_is_called(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    note = "The printer on the second floor stops after every tenth page and shows a paper jam"
    path.write_text(f'Ticket,Customer,title,id,Description\nTK-8,Wiltgen,Jam,PX44,"{note}"\n')
    parsed = read_one(path)
    assert parsed.text == f"Jam\n\nTicket: TK-8\nCustomer: Wiltgen\nid: PX44\nDescription: {note}"
    assert (parsed.title, parsed.external_id) == ("Jam", "PX44")


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ("sep=;\nKunde;Ort\nA;Fulda\n", ["Kunde: A\nOrt: Fulda"]),
        ('"sep=|"\na|b\n1,5|2\n', ["a: 1,5\nb: 2"]),
        (
            'name;note\n"Ann, Bob, Eve";"x, y"\nC;"z, w, v"\n',
            ["name: Ann, Bob, Eve\nnote: x, y", "name: C\nnote: z, w, v"],
        ),
        (
            "Account;;;\nMade on 1 March;;;\n;;;\nDate;To;For;Sum\n2 Feb;Works;Part;-84,00\n",
            ["Account\nMade on 1 March", "Date: 2 Feb\nTo: Works\nFor: Part\nSum: -84,00"],
        ),
    ],
)
def test_tables_of_other_programs(tmp_path: Path, source: str, texts: list[str]) -> None:
    path = tmp_path / "a.csv"
    path.write_text(source)
    assert [p.text for p in read(path)] == texts


def test_html_is_read_as_a_reader_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text(
        """<!doctype html><html><head><meta charset="utf-8"><title>The  Title</title>
        <meta name="author" content="Ann"><meta name="date" content="2024-02-03">
        <link rel="license" href="https://example.org/by"><style>p{}</style></head>
        <body><nav>Menu</nav><div role="navigation">Crumbs</div><script>var x = "no";</script>
        <h1>Top <em>head</em></h1><p>First   para
        continues.<br>New line</p><p hidden>no</p><p style="display: none">no</p>
        <ul><li>one</li><li><p>two</p></li></ul><h2>Sub</h2><pre>  a
    b</pre><table><tr><th>h1</th><th>h2</th></tr><tr><td>1</td><td>2</td></tr></table>
        loose text <div>block</div> tail</body></html>"""
    )
    parsed = read_one(path)
    assert parsed.text == (
        "Top head\n\nFirst para continues.\nNew line\n- one\n- two\n\nSub\n\n  a\n    b\n\nh1 | h2\n1 | 2\n\n"
        "loose text\n\nblock\n\ntail"
    )
    assert (parsed.title, parsed.author, parsed.created) == ("The Title", "Ann", "2024-02-03")
    assert parsed.licence == "https://example.org/by"
    assert [span.anchor for span in parsed.spans if not span.whole] == ["Top head", *["Top head › Sub"] * 2]
    assert [(span.anchor, parsed.text[span.start : span.end]) for span in parsed.spans if span.whole] == [
        ("Top head › Sub", "  a\n    b\n\n"),
        ("Top head › Sub", "h1 | h2\n1 | 2\n\n"),
    ]


def test_preformatted_lines_in_blocks_and_tables_side_by_side_in_html(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    table = "<table><tr><td>1<td>2<tr><td>3<td><pre>x = 1</pre></table>"
    path.write_text(f"<p>before<pre><div>def f():</div><div>  pass</div></pre>{table}{table}after")
    parsed = read_one(path)
    assert [(parsed.text[span.start : span.end].strip(), span.whole) for span in parsed.spans] == [
        ("before", False),
        ("def f():\n  pass", True),
        ("1 | 2\n3 | x = 1", True),
        ("1 | 2\n3 | x = 1", True),
        ("after", False),
    ]


def test_what_html_says_about_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text(
        """<meta property="og:title" content="Open Title"><meta name="citation_author" content="Lee, Ann">
        <meta name="citation_author" content="Ray, Bo"><meta property="article:published_time" content="2024-02-03">
        <meta name="keywords" content=" one,  two "><meta name="dcterms.license" content="CC0">
        <meta name="author" content=""><meta name="description" content="In a few words."><p>text"""
    )
    parsed = read_one(path)
    assert (parsed.title, parsed.author, parsed.created) == ("Open Title", "Lee, Ann, Ray, Bo", "2024-02-03")
    assert parsed.licence == "CC0"
    assert parsed.metadata == {"tags": "one, two", "description": "In a few words."}
    path.write_text('<meta property="article:author" content="https://example.org/ann"><p>text')
    assert (read_one(path).author, read_one(path).metadata) == ("", {})


def test_html_prefers_the_main_part_unless_it_is_the_smaller_one(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("<body><div>Side</div><main><p>A long main part of the page</p></main></body>")
    assert read_one(path).text == "A long main part of the page"
    path.write_text("<body><p>A long part outside of it all</p><main>x</main></body>")
    assert read_one(path).text == "A long part outside of it all\n\nx"


def test_layout_tables_become_paragraphs(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text(f"<table><tr><td>side</td><td><h1>Head</h1><p>{'word ' * 100}</p><p>two</p></td></tr></table>")
    assert read_one(path).text == f"side\n\nHead\n\n{('word ' * 100).strip()}\n\ntwo"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('<html><meta charset="shift_jis"><p>日本語'.encode("shift_jis"), "日本語"),
        ("<html><p>Ünï".encode("utf-16"), "Ünï"),
        (b'<?xml version="1.0" encoding="iso-8859-1"?><html><body><p>\xe9t\xe9</p></body></html>', "été"),
        (b"<html><body>&lt;tag&gt; &amp; &#x1F600;", "<tag> & 😀"),
    ],
)
def test_html_encodings(tmp_path: Path, content: bytes, text: str) -> None:
    for name in ("a.html", "renamed.pdf", "renamed.txt"):
        (tmp_path / name).write_bytes(content)
        parsed = read_one(tmp_path / name)
        assert (parsed.kind, parsed.text) == ("html", text)


def test_deep_html_is_no_trouble_for_the_walker(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<b>" * 5000 + "deep")
    assert read_one(tmp_path / "a.html").text == "deep"


def test_many_comments_before_something_else_do_not_stall_detection(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("<!---->" * 1000 + "no HTML")
    assert read_one(tmp_path / "a.txt").kind == "text"
    (tmp_path / "a.txt").write_text('<?xml version="1.0"?> <!-- a --> <!-- b -->\n<HTML><body>yes')
    assert read_one(tmp_path / "a.txt").kind == "html"


def test_html_without_text(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<html><body><script>x</script></body></html>")
    assert fault(tmp_path / "a.html").code is FailureCode.NO_TEXT


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("Microsoft Word - Real Title", "Real Title"),
        ("report.docx", "Heading"),
        ("Untitled", "Heading"),
        ("  A   good one ", "A good one"),
        (None, "Heading"),
        ("---", "Heading"),
        ("(anonymous)", "Heading"),
        ("(unspecified)", "Heading"),
        ("Document1", "Heading"),
        ("PowerPoint-Präsentation", "Heading"),
        ("file:///home/a/b", "Heading"),
        ("Mappe 1 of the estate", "Mappe 1 of the estate"),
    ],
)
def test_title_choice(declared: str | None, expected: str) -> None:
    assert base.choose_title(declared, "Heading", Path("file.pdf")) == expected
    assert base.choose_title("", "", Path("file.pdf")) == "file"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252", "shift_jis"])
def test_a_long_text_is_read_in_parts(tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(plain, "PART_CHARS", 400)
    line = JAPANESE[:33] if encoding == "shift_jis" else FRENCH.strip()
    text = "SPDX-License-Identifier: MIT\r\n" + "".join(f"{line} {n}\r\n" for n in range(60))
    path = tmp_path / "long.log"
    path.write_bytes(text.encode(encoding))
    parts = read(path)
    assert "".join(part.text for part in parts) == text.replace("\r\n", "\n")
    assert all(part.text.endswith("\n") and len(part.text) <= 400 for part in parts)
    assert [(part.external_id, part.row, part.title) for part in parts[:2]] == [
        ("part 1", 0, "long (part 1)"), ("part 2", 1, "long (part 2)"),
    ]  # fmt: skip
    assert {part.licence for part in parts} == {"MIT"}
    for part in parts:
        check(part)


def test_a_long_text_without_lines_or_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(plain, "PART_CHARS", 400)
    path = tmp_path / "a.txt"
    path.write_text("word " * 300 + " \n" * 400 + "end")
    assert "".join(part.text for part in read(path)).split() == ["word"] * 300 + ["end"]
    path.write_text("- " * 1000)
    assert fault(path).code is FailureCode.NO_TEXT
    monkeypatch.setattr(base, "MAX_FILE_BYTES", 1500)
    assert fault(path).code is FailureCode.TOO_LARGE


def test_long_tables_of_markdown_and_html_name_their_columns_in_every_passage(tmp_path: Path) -> None:
    rows = [(f"Article {number:03}", f"Shelf mark {number}", "oak") for number in range(60)]
    lines = ["| Name | Place | Wood |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    (tmp_path / "a.md").write_text("# List\n\n" + "\n".join(lines))
    cells = "".join(f"<tr><td>{'</td><td>'.join(row)}</td></tr>" for row in rows)
    page = f"<h1>List</h1><table><tr><th>Name</th><th>Place</th><th>Wood</th></tr>{cells}</table><p>End</p>"
    (tmp_path / "a.html").write_text(page)
    for name in ("a.md", "a.html"):
        parsed = read_one(tmp_path / name)
        check(parsed)
        parts = [parsed.text[span.start : span.end] for span in parsed.spans if span.whole]
        assert len(parts) > 2
        assert all(part.startswith("Name | Place | Wood\nArticle") and len(part) < 1000 for part in parts)
        told = [line for part in parts for line in part.split("\n") if line.startswith("Article")]
        assert told == [" | ".join(row) for row in rows]


def test_a_page_of_small_tables_or_without_names_of_columns_says_nothing_twice(tmp_path: Path) -> None:
    row = "<tr><td>some words of a row</td><td>and more of them</td></tr>"
    (tmp_path / "a.html").write_text(f"<table><tr><th>A</th><th>B</th></tr>{row}</table><table>{row * 60}</table>")
    assert read_one(tmp_path / "a.html").text.count("A | B") == 1


def test_rtf_of_openoffice_and_bytes_of_pictures(tmp_path: Path) -> None:
    body = (
        r"{\rtf1\ansi{\stylesheet{\s1\cf0{\*\hyphen2\hyphlead2}\snext1 Default;}{\*\cs7 Teletype;}}"
        r"\pard\s1{\*\hyphen2\hyphlead2}\ql{\f2\i0\*\cs7\cf0 The quick brown fox}"
        r"{\pict\bin ffd8}{\*\shppict{\pict\wmetafile8\bin6 }{\b0}}}{\*\hidden gone} jumps \\*over\par}"
    )
    (tmp_path / "a.rtf").write_text(body)
    assert read_one(tmp_path / "a.rtf").text == "The quick brown fox jumps \\*over"
