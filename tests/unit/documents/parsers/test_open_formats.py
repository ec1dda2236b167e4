"""What stands beside the text of OpenDocument files and books is found too; a damaged part costs only itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.errors import DocumentFault, FailureCode
from tests.unit.documents.making import archive, check, fault, places, read, read_one

ODF = 'xmlns:text="t" xmlns:table="b" xmlns:draw="d" xmlns:presentation="p" xmlns:dc="c" xmlns:office="o"'


def opendocument(path: Path, kind: str, body: str, **more: str) -> Path:
    members = {
        "mimetype": f"application/vnd.oasis.opendocument.{kind}",
        "content.xml": f"<o {ODF}>{body}</o>",
        "meta.xml": f"<m {ODF} xmlns:meta='m'><dc:title>A Title</dc:title>"
        "<meta:initial-creator>Ann</meta:initial-creator><dc:creator>Bob</dc:creator><meta:creation-date>2024-05-06T07:08:09</meta:creation-date>"
        '<meta:user-defined meta:name="Licence">CC0</meta:user-defined></m>',
    }
    return archive(path, {**members, **{f"{name}.xml": content for name, content in more.items()}})


def test_notes_comments_and_headers_of_a_text(tmp_path: Path) -> None:
    note = "<text:note><text:note-citation>1</text:note-citation><text:p>A note</text:p></text:note>"
    comment = "<dc:creator>Bob</dc:creator><dc:date>2024</dc:date><text:p>Really?</text:p>"
    body = f"<text:p>One{note} two<office:annotation>{comment}</office:annotation>"
    body += " <text:date>3 May</text:date></text:p>"
    styles = "<s xmlns:text='t' xmlns:style='s'><text:p>default</text:p><style:header><text:p>Letterhead</text:p>"
    styles += "<text:p>7</text:p></style:header></s>"
    parsed = read_one(opendocument(tmp_path / "a.odt", "text", body, styles=styles))
    assert places(parsed) == [
        ("", "One two 3 May"),
        ("Notes", "A note"),
        ("Comments", "Really?"),
        ("Headers and footers", "Letterhead"),
    ]
    assert (parsed.title, parsed.author, parsed.created, parsed.licence) == ("A Title", "Ann", "2024-05-06", "CC0")
    failure, parsed = read(opendocument(tmp_path / "b.odt", "text", body, styles="<s>"))
    assert (failure.part, parsed.text.partition("\n")[0]) == ("styles.xml", "One two 3 May")


def test_tables_and_notes_of_slides(tmp_path: Path) -> None:
    cells = "".join(map("<table:table-cell><text:p>{}</text:p></table:table-cell>".format, "xy"))
    notes = "<draw:frame presentation:class='notes'><text:p>say</text:p></draw:frame>"
    first = f"<table:table-row>{cells}</table:table-row><presentation:notes>{notes}</presentation:notes>"
    body = f"<draw:page>{first}</draw:page><draw:page><text:p>b</text:p></draw:page>"
    parsed = read_one(opendocument(tmp_path / "a.odp", "presentation", body))
    assert parsed.text == "x | y\nNotes:\nsay\n\nb"
    assert [(span.page, span.whole) for span in parsed.spans] == [(1, True), (1, False), (2, False)]


def book(path: Path, chapters: dict[str, str | bytes], items: str, **more: str) -> Path:
    spine = "".join(f'<itemref idref="{name}"/>' for name in chapters)
    manifest = "".join(f'<item id="{n}" href="{n}.xhtml" media-type="application/xhtml+xml"/>' for n in chapters)
    return archive(
        path,
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<c><rootfile full-path="OPS/book.opf"/></c>',
            "OPS/book.opf": f"<p>{items}{manifest}{spine}</p>",
            **{f"OPS/{name}.xhtml": content for name, content in chapters.items()},
            **more,
        },
    )


def test_chapters_without_headings_are_named_by_the_table_of_contents(tmp_path: Path) -> None:
    chapters: dict[str, str | bytes] = {"a": "<p>first</p>", "b": "<h1>Own</h1><p>second</p>"}
    nav = '<item id="n" href="nav.xhtml" properties="nav"/>'
    links = '<html><nav><a href="a.xhtml">The <i>Start</i></a><a href="b.xhtml#x">B</a></nav></html>'
    parsed = read_one(book(tmp_path / "a.epub", chapters, nav, **{"OPS/nav.xhtml": links}))
    assert places(parsed) == [("The Start", "first"), ("Own", "Own\n\nsecond")]
    table = '<item id="n" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'
    entries = "<ncx><navPoint><navLabel><text>Older</text></navLabel><content src='a.xhtml'/></navPoint></ncx>"
    parsed = read_one(book(tmp_path / "b.epub", chapters, table, **{"OPS/toc.ncx": entries}))
    assert places(parsed)[0] == ("Older", "first")


def test_a_missing_chapter_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    gone = '<item id="z" href="gone.xhtml" media-type="application/xhtml+xml"/><itemref idref="z"/>'
    failure, parsed = read(book(tmp_path / "a.epub", {"a": "<p>first</p>"}, gone))
    assert (failure.part, parsed.text) == ("OPS/gone.xhtml", "first")
    check(parsed)
    with pytest.raises(DocumentFault) as refused:
        read(book(tmp_path / "b.epub", {}, gone))
    assert refused.value.code is FailureCode.CORRUPT


def test_copy_protection_is_told_from_a_password(tmp_path: Path) -> None:
    locked = {"META-INF/encryption.xml": '<e><CipherReference URI="OPS/a.xhtml"/></e>'}
    refused = fault(book(tmp_path / "a.epub", {"a": "<p>first</p>"}, "", **locked))
    assert refused.code is FailureCode.ENCRYPTED
    assert "copy protection" in str(refused)
