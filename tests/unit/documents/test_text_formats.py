from __future__ import annotations

import json
from pathlib import Path

import pytest
from making import check, fault, read, read_one

from studio.documents.parsers import base, plain, tabular
from studio.documents.parsers.encodings import decode, is_binary
from studio.errors import FailureCode

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
        "a.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
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
        "Intro with a link and bold code.\n\nMethods\n\n- one\n- two\n1. nested\n\nSetext\n\na | b\n1 | 2\n\n"
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
    assert (parsed.title, parsed.author, parsed.licence, parsed.text) == ("The Title", author, licence, "text")
    assert parsed.metadata.get("tags", "") == tags


def test_markdown_front_matter_as_toml(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text('+++\ntitle = "The Title"\ndate = 2024-05-06\ntags = ["a", "b"]\n+++\ntext\n')
    parsed = read_one(tmp_path / "a.md")
    assert (parsed.title, parsed.created) == ("The Title", "2024-05-06")
    assert parsed.metadata == {"date": "2024-05-06", "tags": "a, b"}


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
        {"_id": "d3", "title": "", "abstract": "The longest string of this row wins where none is named", "x": "y"},
        {"_id": "d4", "question": "Who?", "answer": "Me"},
        {"_id": "d5", "tags": ["a"]},
        {"_id": "d6", "text": None, "url": "left out"},
        "a bare string",
    ]
    path.write_text("\ufeff" + "\n\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    found = read(path)
    for parsed in found:
        check(parsed)
    assert [(p.external_id, p.title, p.text, p.row) for p in found] == [
        ("d1", "A title", "A title\n\nThe text.", 0),
        ("7", "corpus, row 2", "Only content", 1),
        ("d3", "corpus, row 3", "The longest string of this row wins where none is named", 2),
        ("d4", "corpus, row 4", "question: Who?\nanswer: Me", 3),
        ("d5", "corpus, row 5", 'tags: ["a"]', 4),
        ("", "corpus, row 7", "a bare string", 6),
    ]
    assert found[0].metadata == {"year": "2020"}
    assert found[1].metadata == {"note": "kept"}
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
        ("1", "Ein; Titel", "Ein; Titel\n\nZeile eins\nZeile zwei ü"),
        ("2", "a, row 2", "kurz"),
    ]
    assert found[1].metadata == {"column 4": "extra"}


def test_tsv_without_column_names(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("1\tfirst cell, with a comma\n2\tsecond\n")
    assert [p.text for p in read(path)] == [
        "column 1: 1\ncolumn 2: first cell, with a comma",
        "column 1: 2\ncolumn 2: second",
    ]
    path.write_text("id\ttext\n")
    assert fault(path).code is FailureCode.NO_TEXT


def test_csv_in_utf16_and_with_an_unclosed_quote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,n\ngrüße,1\n".encode("utf-16"))
    assert [p.text for p in read(path)] == ["grüße"]
    monkeypatch.setattr(tabular, "MAX_LINE_CHARS", 100)
    path.write_text('text\n"' + "x\n" * 200)
    assert fault(path).code is FailureCode.CORRUPT


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
