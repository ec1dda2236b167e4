from __future__ import annotations

import struct
from pathlib import Path

import pytest

from studio.documents import file_kind
from studio.documents.parsers import msg
from studio.documents.parsers.encodings import decode, is_binary
from studio.errors import FailureCode
from tests.unit.documents.making import fault, read, read_one

PYTHON = '''# SPDX-License-Identifier: MIT
"""A module about the class of things."""

__author__ = "Ann"
LIMIT = 3


@decorated
class Packer:
    """Packs."""

    def region(self, first: int) -> int:
        {body}
        return first

    def end(self) -> None:
        {body}


def helper(value):
    return value
'''.replace("{body}", "\n        ".join(f"step_{i}(first, second, third)" for i in range(20)))


def test_code_is_located_by_lines_and_names(tmp_path: Path) -> None:
    path = tmp_path / "packer.py"
    path.write_text(PYTHON)
    parsed = read_one(path)
    assert parsed.text == PYTHON
    assert (parsed.kind, parsed.title, parsed.author, parsed.licence) == ("code", "packer.py", "Ann", "MIT")
    lines = PYTHON.split("\n")
    assert [span.anchor for span in parsed.spans] == [
        "Packer · lines 1–10",
        "Packer.region · lines 12–33",
        "Packer.end, helper · lines 35–59",
    ]
    assert all(span.whole for span in parsed.spans)
    for span in parsed.spans:
        inside = parsed.text[span.start : span.end].strip("\n").split("\n")
        numbers = span.anchor.rpartition(" ")[2].split("–")
        first, last = int(numbers[0]), int(numbers[-1])
        assert (lines[first - 1], lines[last - 1]) == (inside[0], inside[-1])


@pytest.mark.parametrize(
    ("name", "content", "anchor"),
    [
        ("a.go", "package main\n\nfunc (s *Server) Run(port int) error {\n\treturn nil\n}\n", "main, Run · lines 1–5"),
        ("a.rs", "pub fn parse<T>(input: &str) -> T {\n    todo!()\n}\n", "parse · lines 1–3"),
        ("a.c", "static int add(int a, int b)\n{\n    if (a)\n        return b;\n}\n", "add · lines 1–5"),
        ("a.ts", "export const load = async (id: string) => {\n  return id\n}\n", "load · lines 1–3"),
        ("a.java", "public class Box {\n    int size() {\n        return 1;\n    }\n}\n", "Box, Box.size · lines 1–5"),
        ("a.sql", "CREATE TABLE IF NOT EXISTS people (\n  id int\n);\n", "people · lines 1–3"),
        ("a.toml", "[tool.ruff]\nline-length = 120\n", "tool.ruff · lines 1–2"),
        ("a.yaml", "one: 1\ntwo: 2\n", "lines 1–2"),
        ("a.js", "x()", "line 1"),
        ("Makefile", "all:\n\techo\n", "lines 1–2"),
    ],
)  # fmt: skip
def test_definitions_of_many_languages(tmp_path: Path, name: str, content: str, anchor: str) -> None:
    (tmp_path / name).write_text(content)
    parsed = read_one(tmp_path / name)
    assert (parsed.kind, parsed.text, parsed.title) == ("code", content, name)
    assert [span.anchor for span in parsed.spans] == [anchor]


def test_line_numbers_are_those_of_an_editor(tmp_path: Path) -> None:
    path = tmp_path / "a.c"
    path.write_bytes(b"int a;\r\n\x0c\r\n" + b"int b; /* \xe2\x80\xa8 */\r\n" * 60)
    parsed = read_one(path)
    assert parsed.spans[-1].anchor.endswith("–62")
    (tmp_path / "run").write_text("#!/usr/bin/env python3\nprint(1)\n")
    assert (file_kind(tmp_path / "run"), read_one(tmp_path / "run").kind) == ("other", "code")


SAVED_PAGE = b"""From: <Saved>
Snapshot-Content-Location: https://example.org/page
Subject: =?utf-8?Q?P=C3=A4ge?=
Date: Mon, 6 May 2024 10:00:00 -0000
MIME-Version: 1.0
Content-Type: multipart/related; type="text/html"; boundary="----B"

------B
Content-Type: text/html
Content-Transfer-Encoding: quoted-printable

<html><head><meta charset=3D"utf-8"></head><body><h1>H=C3=A4ad</h1><p>Text</p></body></html>
------B
Content-Type: image/png
Content-Transfer-Encoding: base64

iVBO
------B--
"""


def test_saved_web_pages(tmp_path: Path) -> None:
    path = tmp_path / "a.mhtml"
    path.write_bytes(SAVED_PAGE)
    parsed = read_one(path)
    assert (parsed.kind, parsed.title, parsed.text, parsed.created) == ("mhtml", "Päge", "Häad\n\nText", "2024-05-06")
    assert parsed.metadata == {"source": "https://example.org/page"}
    assert parsed.spans[0].anchor == "Häad"
    path.write_bytes(SAVED_PAGE.replace(b'boundary="----B"', b'boundary="----C"'))
    assert "Text" in read_one(path).text
    path.write_bytes(b"Subject: x\nContent-Type: image/png\n\nabc")
    assert fault(path).code is FailureCode.NO_TEXT
    path.write_bytes(b"<html><p>a bare page")
    assert read_one(path).kind == "html"


def ole(streams: dict[str, bytes]) -> bytes:
    """A compound file ([MS-CFB]) whose streams all lie in whole 512-byte sectors; "a/b" puts b into storage a."""
    end, free = 0xFFFFFFFE, 0xFFFFFFFF
    paths = (name.split("/")[:depth] for name in streams for depth in range(1, name.count("/") + 2))
    names = list(dict.fromkeys(map("/".join, paths)))
    sectors: list[bytes] = []
    fat: list[int] = []

    def store(data: bytes) -> int:
        first = len(sectors)
        pieces = [data[at : at + 512].ljust(512, b"\0") for at in range(0, len(data), 512)]
        sectors.extend(pieces)
        fat.extend([*range(first + 1, first + len(pieces)), end])
        return first

    def entry(name: str, kind: int, right: int, child: int, start: int, size: int) -> bytes:
        raw = (name + "\0").encode("utf-16-le")
        return (
            raw.ljust(64, b"\0")
            + struct.pack("<HBBIII", len(raw), kind, 1, free, right, child)
            + bytes(36)
            + struct.pack("<IQ", start, size)
        )

    def sibling(name: str) -> int:
        folder = name.rpartition("/")[0]
        return next(
            (i + 1 for i in range(names.index(name) + 1, len(names)) if names[i].rpartition("/")[0] == folder), free
        )

    entries = [entry("Root Entry", 5, free, 1, end, 0)]
    for name in names:
        inside = next((i + 1 for i, other in enumerate(names) if other.rpartition("/")[0] == name), free)
        padded = streams[name].ljust(4096, b"\0") if name in streams else b""
        start = store(padded) if padded else 0
        entries.append(entry(name.rpartition("/")[2], 2 if padded else 1, sibling(name), inside, start, len(padded)))
    directory = store(b"".join(entries))
    table = len(sectors)
    fat.append(0xFFFFFFFD)
    sectors.append(struct.pack("<128I", *(fat + [free] * (128 - len(fat)))))
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    header += struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIII", 0, 1, directory, 0, 4096, end, 0, end, 0)
    header += struct.pack("<109I", table, *[free] * 108)
    return header + b"".join(sectors)


def outlook(strings: dict[str, bytes], **numbers: int) -> bytes:
    """An Outlook message: `strings` by "tag" + "type" in hexadecimal digits, `numbers` by p + tag."""
    sent = struct.pack("<HHIQ", 0x40, 0x39, 6, 133595092890000000)
    listed = b"".join(struct.pack("<HHII4x", 3, int(tag[1:], 16), 6, value) for tag, value in numbers.items())
    streams = {"__properties_version1.0": bytes(32) + sent + listed}
    return ole(streams | {("__substg1.0_" if "/" not in name else "") + name: data for name, data in strings.items()})


def test_outlook_messages(tmp_path: Path) -> None:
    path = tmp_path / "a.msg"
    wide = {
        "0037001F": "Grüße",
        "0C1A001F": "Ann",
        "0C1F001F": "ann@example.org",
        "0E04001F": "Bob; Cid",
        "1000001F": "Hallo",
    }
    attachment = {"__attach_version1.0_#00000000/__substg1.0_3707001F": "plan.pdf".encode("utf-16-le")}
    path.write_bytes(outlook({name: text.encode("utf-16-le") for name, text in wide.items()} | attachment))
    parsed = read_one(path)
    assert parsed.text == (
        "From: Ann <ann@example.org>\nTo: Bob, Cid\nDate: 2024-05-06\nSubject: Grüße\n\nHallo\n\nAttachments: plan.pdf"
    )
    assert (parsed.kind, parsed.title, parsed.author) == ("msg", "Grüße", "Ann <ann@example.org>")
    assert parsed.created == "2024-05-06"


def test_outlook_messages_in_code_pages_html_and_rtf(tmp_path: Path) -> None:
    path = tmp_path / "a.msg"
    path.write_bytes(outlook({"0037001E": "中文測試".encode("big5"), "10130102": b"<p>see <b>this</b></p>"}, p3FFD=950))
    assert read_one(path).text.endswith("Subject: 中文測試\n\nsee this")
    body = "知識庫軟體可以檢索文件。人人生而自由，在尊嚴和權利上一律平等。" * 3
    path.write_bytes(outlook({"0037001E": "中文測試".encode("big5"), "1000001E": body.encode("big5")}))
    assert read_one(path).title == "中文測試"
    packed = bytes.fromhex(  # the example of [MS-OXRTFCP] 4.1.1
        "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
    )
    assert msg.unpacked_rtf(packed) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
    assert msg.unpacked_rtf(packed[:30]).startswith(b"{\\rtf1")
    plain = b"{\\rtf1\\ansi Rich \\b text}"
    raw = struct.pack("<II4sI", len(plain) + 12, len(plain), b"MELA", 0) + plain
    path.write_bytes(outlook({"0037001F": "s".encode("utf-16-le"), "10090102": raw}))
    assert read_one(path).text.endswith("Rich text")


def test_damaged_outlook_messages(tmp_path: Path) -> None:
    path = tmp_path / "a.msg"
    sound = outlook({"0037001F": "Grüße".encode("utf-16-le")})
    for size in range(600, len(sound), 500):
        path.write_bytes(sound[:size])
        try:
            read_one(path)
        except Exception:
            assert fault(path).code in (FailureCode.CORRUPT, FailureCode.NO_TEXT, FailureCode.UNSUPPORTED)


def test_mail_is_lenient(tmp_path: Path) -> None:
    path = tmp_path / "a.eml"
    path.write_bytes(
        "Subject: =?big5?B?pKSk5Q==?= ok\nFrom: Ünï <a@b>\nDate: never\n".encode()
        + b"Content-Type: text/plain; charset=iso-2022-jp\n\n"
        + "日本語のメール".encode("iso2022_jp")
    )
    parsed = read_one(path)
    assert (parsed.title, parsed.author, parsed.created) == ("中文 ok", "Ünï <a@b>", "")
    assert parsed.text.endswith("日本語のメール")
    path.write_bytes(b"Subject: nested\n" + b"Content-Type: message/rfc822\n\n" * 3000 + b"deep")
    assert fault(path).code is FailureCode.TOO_LARGE
    box = tmp_path / "a.mbox"
    box.write_bytes(
        b"From x\nSubject: one\n\nbody\n\nFrom x\n" + path.read_bytes() + b"\n\nFrom x\nSubject: two\n\nbody\n"
    )
    found = []
    with pytest.raises(Exception, match=r"1 message is .* message 2.* the other 2 were read"):
        found.extend(read(box))


def test_json_values_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}\n{"a": NaN}\n')
    assert read_one(path).text == "a: 1\na: NaN"
    path.write_text('{"title": "T", "author": ["Ann", "Bob"], "license": "MIT", "date": "2024-05-06"}')
    parsed = read_one(path)
    assert (parsed.author, parsed.licence, parsed.created) == ("Ann, Bob", "MIT", "2024-05-06")
    path.write_text("[" * 100_000)
    assert fault(path).code is FailureCode.TOO_LARGE
    path.write_text("9" * 5000)
    assert "digits" in str(fault(path))


def test_rows_keep_every_cell_that_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("question,answer\nWho wrote the old book?,It was written long ago by somebody called Ann.\n")
    assert read_one(path).text == (
        "question: Who wrote the old book?\nanswer: It was written long ago by somebody called Ann."
    )
    path.write_text(",".join(f"c{i}" for i in range(50_000)) + "\n" + ",".join("v" * 50_000) + "\n")
    assert len(read_one(path).metadata) == 32
    (tmp_path / "a.tsv").write_text('name\theight\nplank\t6"\n"loose\t2\nbeam\t7\n')
    assert [p.text for p in read(tmp_path / "a.tsv")] == [
        'name: plank\nheight: 6"', 'name: "loose\nheight: 2', "name: beam\nheight: 7"
    ]  # fmt: skip
    (tmp_path / "b.tsv").write_text('name\tnote\nplank\t"two\nlines"\nx\t"y"\n')
    assert len(read(tmp_path / "b.tsv")) == 2


CHINESE = "人人生而自由，在尊严和权利上一律平等。\n他们赋有理性和良心，并应以兄弟关系的精神相对待。"
KOREAN = "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.\n인간은 이성과 양심을 부여받았다."
HEBREW = "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.\nכולם חוננו בתבונה ובמצפון."
POLISH = "Zażółć gęślą jaźń. Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw."


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *((CHINESE, name) for name in ("gb18030", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")),
        *((KOREAN, name) for name in ("euc_kr", "utf-16-le", "utf-16-be", "utf-32-le")),
        (HEBREW, "cp1255"),
        (POLISH, "cp1250"),
        (POLISH, "iso8859_2"),
        ("Plain English text.", "utf-32-le"),
        ("Plain English text.", "utf-32-be"),
        ("日本語のメール、こんにちは。", "iso2022_jp"),
    ],
)
def test_encodings_without_a_mark(text: str, encoding: str) -> None:
    raw = text.encode(encoding)
    assert not is_binary(raw)
    assert decode(raw) == text
    assert is_binary(bytes(range(256)) * 8)
    assert decode(b"caf\xe9 x", "punycode") == "café x"
