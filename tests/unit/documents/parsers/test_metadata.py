"""What documents of every format say about themselves, as people filter by it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from studio.documents.parsers.base import MAX_METADATA, MAX_METADATA_CHARS, kept_metadata, scalar_text
from tests.unit.documents.making import archive, docx, pdf, read, read_one, relations

SOURCES = {
    "a.md": (
        "---\ntitle: T\nauthor: Ann\nlicense: MIT\nkeywords: [one, 'two words']\ndate: 2024-05-06\nlayout: post\n"
        "draft: true\naudience:\n  - all\n  - me\nempty:\n---\ntext",
        {"keywords": "one, two words", "date": "2024-05-06", "layout": "post", "draft": "true", "audience": "all, me",
         "tags": "one, two words"},
    ),
    "a.rst": (
        "Title\n=====\n\n:Author: Ann\n:Date: 2024-05-06\n:Tags: one, two\n:Status: draft\n\ntext",
        {"date": "2024-05-06", "tags": "one, two", "status": "draft"},
    ),
    "a.adoc": (
        "= Title\nAnn Lee\nv1, 2024-05-06\n:keywords: one, two\n:toc:\n:series: Guides\n\ntext",
        {"revdate": "2024-05-06", "keywords": "one, two", "series": "Guides"},
    ),
    "a.org": (
        "#+TITLE: T\n#+DATE: <2024-05-06>\n#+FILETAGS: :one:two:\n#+KEYWORDS: three\n#+STARTUP: overview\n\ntext",
        {"date": "<2024-05-06>", "keywords": "three", "tags": "one, two"},
    ),
    "a.html": (
        '<meta name="keywords" content="one, two"><meta property="og:description" content="About\n it."><p>text',
        {"tags": "one, two", "description": "About it."},
    ),
    "a.eml": (
        "From: Ann <a@x.org>\nTo: bo@x.org\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n"
        "Date: Mon, 6 May 2024 10:00:00 +0200\n\ntext",
        {"from": "Ann <a@x.org>", "to": "bo@x.org", "subject": "Grüße", "date": "2024-05-06"},
    ),
    "a.json": ('{"title": "T", "tags": ["one", "two"], "text": "words"}', {"tags": "one, two"}),
    "a.ipynb": (
        '{"metadata": {"course": "ML", "tags": ["one"], "nested": {"a": 1}, "kernelspec": {"language": "julia"}},'
        '"cells": [{"cell_type": "markdown", "source": "text"}]}',
        {"course": "ML", "tags": "one", "language": "julia"},
    ),
    "a.jsonl": (
        '{"_id": "1", "title": "T", "text": "words", "year": 2020, "score": 0.5, "ok": true, "tags": ["one", 2], '
        '"nested": {"a": 1}, "deep": [[1]], "none": null, "long": "' + "x" * 501 + '", "empty": ""}',
        {"year": "2020", "score": "0.5", "ok": "true", "tags": "one, 2"},
    ),
    "a.csv": ("id,text,lang, year \n1,words,en,2020\n", {"id": "1", "lang": "en", "year": "2020"}),
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_what_sources_say_about_themselves(tmp_path: Path, name: str) -> None:
    source, expected = SOURCES[name]
    (tmp_path / name).write_text(source, "utf-8")
    assert read_one(tmp_path / name).metadata == expected


def test_what_packages_say_about_themselves(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf([["text"]], info={"Keywords": "one; two", "Subject": "Of it", "Creator": "x"}))
    assert read_one(tmp_path / "a.pdf").metadata == {"keywords": "one; two", "subject": "Of it"}
    word = docx(tmp_path / "a.docx", "<w:p><w:r><w:t>text</w:t></w:r></w:p>")
    assert read_one(word).metadata == {}
    core = (
        "<c xmlns:d='u'><d:title>A Title</d:title><d:subject>Of it</d:subject><keywords>one, two</keywords>"
        "<category>Reports</category></c>"
    )
    own = '<p><property name="Department"><lpwstr>Sales</lpwstr></property></p>'
    parts = [("r1", "officeDocument", "word/document.xml"), ("r2", "core-properties", "core.xml")]
    archive(
        tmp_path / "b.docx",
        {
            "[Content_Types].xml": "<Types/>",
            "_rels/.rels": relations([*parts, ("r3", "custom-properties", "own.xml")]),
            "core.xml": core,
            "own.xml": own,
            "word/document.xml": (
                "<w:document xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'><w:body>"
                "<w:p><w:r><w:t>text</w:t></w:r></w:p></w:body></w:document>"
            ),
        },
    )
    assert read_one(tmp_path / "b.docx").metadata == {
        "department": "Sales", "keywords": "one, two", "subject": "Of it", "category": "Reports",
    }  # fmt: skip


def test_repeated_subjects_and_keywords_are_all_kept(tmp_path: Path) -> None:
    archive(
        tmp_path / "a.epub",
        {
            "mimetype": "application/epub+zip",
            "book.opf": "<p xmlns:d='d'><d:title>T</d:title><d:subject>Whales</d:subject><d:subject>Sea</d:subject>"
            "<d:language>en</d:language><item id='i' href='a.xhtml' media-type='application/xhtml+xml'/>"
            "<itemref idref='i'/></p>",
            "a.xhtml": "<p>text</p>",
        },
    )
    assert read_one(tmp_path / "a.epub").metadata == {"subject": "Whales, Sea", "language": "en"}
    archive(
        tmp_path / "a.odt",
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": "<o xmlns:text='t'><text:p>text</text:p></o>",
            "meta.xml": "<m xmlns:m='m'><m:keyword>one</m:keyword><m:keyword>two</m:keyword>"
            "<m:user-defined m:name='Shelf'>B 7</m:user-defined></m>",
        },
    )
    assert read_one(tmp_path / "a.odt").metadata == {"shelf": "B 7", "keywords": "one, two"}


def test_columns_of_a_parquet_row(tmp_path: Path) -> None:
    table = pa.table({"text": ["words"], "year": [2020], "tags": [["a", "b"]], "vector": [[0.5] * 100], "raw": [b"x"]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet")[0].metadata == {"year": "2020", "tags": "a, b"}


def test_metadata_is_bounded(tmp_path: Path) -> None:
    row = {"text": "words", **{f"field {n}": f"value {n}" for n in range(100)}}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert read_one(tmp_path / "a.jsonl").metadata == {f"field {n}": f"value {n}" for n in range(MAX_METADATA)}
    kept = kept_metadata({"a\n b": "x\0\n y", "": "x", "c": " ", "n" * 10**6: "v" * 10**6})
    assert kept == {"a b": "x y", "n" * MAX_METADATA_CHARS: "v" * MAX_METADATA_CHARS}
    assert [scalar_text(value) for value in (float("nan"), None, b"x", {"a": 1}, [1, None, "x"], [[1]], True)] == [
        "", "", "", "", "1, x", "", "true",
    ]  # fmt: skip
