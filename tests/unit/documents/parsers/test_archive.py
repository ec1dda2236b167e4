from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from studio.documents.frames import MemberBegins, Resume
from studio.documents.kinds import TABULAR_KINDS, file_kind
from studio.documents.parsers import archive as archives
from studio.documents.parsers import containers, parse_file, passwords, plain
from studio.domain import ParsedDocument, ParseProgress, ParserEvent, PartFailure
from studio.errors import DocumentFault, FailureCode
from tests.unit.documents.making import archive, check, docx, paragraph, pdf, protected


def contents(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Texts by key and codes of failures by part."""
    events = list(parse_file(path))
    documents = [event for event in events if isinstance(event, ParsedDocument)]
    assert [parsed.row for parsed in documents] == list(range(len(documents)))
    for parsed in documents:
        check(parsed)
    texts = {parsed.external_id: parsed.text for parsed in documents}
    assert len(texts) == len(documents)
    return texts, {event.part: event.error for event in events if isinstance(event, PartFailure)}


def refusal(path: Path) -> DocumentFault:
    with pytest.raises(DocumentFault) as caught:
        list(parse_file(path))
    return caught.value


def tar(path: Path, members: Mapping[str, str | bytes | tarfile.TarInfo], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as target:  # type: ignore[call-overload]
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                target.addfile(content)
                continue
            body = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(body)
            target.addfile(info, io.BytesIO(body))
    return path


def special(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.devmajor, info.devminor = kind, "/etc/passwd", 1, 5
    return info


# ---------------------------------------------------------------- as a folder


def test_every_file_in_a_zip_is_a_document_like_one_on_disk(tmp_path: Path) -> None:
    word = docx(tmp_path / "w.docx", paragraph("Heading", "Heading1") + paragraph("Word text"))
    path = archive(
        tmp_path / "a.zip",
        {
            "notes.md": "# Größe\n\nFirst.",
            "deep/er/paper.pdf": pdf([["Page one"], ["Page two"]]),
            "w.docx": word.read_bytes(),
            "plain.txt": "no heading",
        },
    )
    documents = {event.external_id: event for event in parse_file(path) if isinstance(event, ParsedDocument)}
    assert {key: parsed.kind for key, parsed in documents.items()} == {
        "notes.md": "markdown", "deep/er/paper.pdf": "pdf", "w.docx": "docx", "plain.txt": "text"
    }  # fmt: skip
    assert [parsed.row for parsed in documents.values()] == [0, 1, 2, 3]
    assert documents["w.docx"].title == "A Title"
    assert documents["w.docx"].author == "Ann"
    assert documents["deep/er/paper.pdf"].pages.total == 2
    assert [(span.page, span.anchor, span.hard) for span in documents["deep/er/paper.pdf"].spans] == [
        (1, "deep/er/paper.pdf", True),
        (2, "deep/er/paper.pdf", True),
    ]
    assert [span.anchor for span in documents["notes.md"].spans] == ["notes.md › Größe"]
    assert documents["plain.txt"].title == "plain"
    assert file_kind(path) == "archive"
    assert "archive" in TABULAR_KINDS


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz"])
def test_tar_archives_of_every_compression(tmp_path: Path, name: str) -> None:
    mode = {"r": "w", "z": "w:gz", "2": "w:bz2"}.get(name[-1], "w:gz" if name.endswith("tgz") else "w:xz")
    members = {f"d/{i}.txt": f"text {i}:" + "x" * i * 512 for i in range(12)}  # ends on and off block boundaries
    texts, failures = contents(tar(tmp_path / name, members, mode))
    assert texts == members
    assert failures == {}


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_a_compressed_file_holds_one_file(tmp_path: Path, suffix: str, compress: object) -> None:
    path = tmp_path / f"rows.csv.{suffix}"
    path.write_bytes(compress(b"id,text\na,hello world\nb,second row\n,third row\n"))  # type: ignore[operator]
    texts, _ = contents(path)
    assert texts == {
        "rows.csv#a": "hello world\n\nid: a",
        "rows.csv#b": "second row\n\nid: b",
        "rows.csv#2": "third row",
    }


def test_archives_in_archives_are_opened_to_a_depth(tmp_path: Path) -> None:
    path = archive(tmp_path / "0.zip", {"t.txt": "level 0"})
    for level in range(1, 4):
        path = archive(tmp_path / f"{level}.zip", {"t.txt": f"level {level}", "in.zip": path.read_bytes()})
    texts, failures = contents(path)
    assert texts == {"t.txt": "level 3", "in.zip/t.txt": "level 2", "in.zip/in.zip/t.txt": "level 1"}
    assert failures == {"in.zip/in.zip/in.zip": "too_large"}


def test_hidden_and_system_files_are_left_out(tmp_path: Path) -> None:
    members = {"__MACOSX/._a.txt": "x", ".git/config.txt": "x", "d/.hidden.txt": "x", "Thumbs.db": "x", "a.txt": "text"}
    assert contents(archive(tmp_path / "a.zip", members)) == ({"a.txt": "text"}, {})
    assert contents(tar(tmp_path / "a.tar", members)) == ({"a.txt": "text"}, {})


def test_names_are_labels_and_links_and_devices_are_never_touched(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    kinds = {
        "s": tarfile.SYMTYPE,
        "h": tarfile.LNKTYPE,
        "c": tarfile.CHRTYPE,
        "b": tarfile.BLKTYPE,
        "f": tarfile.FIFOTYPE,
    }
    members: dict[str, str | tarfile.TarInfo] = {
        str(outside): "absolute",
        "../../up.txt": "upwards",
        **{name: special(f"{name}.txt", kind) for name, kind in kinds.items()},
        'odd/a<b>:"c"|?*.txt': "odd name",
        "CON.txt": "device name",
        "n" * 200 + ".txt": "long name",
    }
    texts, failures = contents(tar(tmp_path / "a.tar", members))
    assert list(texts.values()) == ["absolute", "upwards", "odd name", "device name", "long name"]
    assert list(texts)[1] == "up.txt"
    assert failures == {}
    assert not outside.exists()
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as target:
        link = zipfile.ZipInfo("link.txt")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        target.writestr(link, "/etc/passwd")
        target.writestr("..\\win\\a.txt", "back")
    assert contents(path) == ({"win/a.txt": "back"}, {})


def test_names_in_utf8_that_are_not_declared_as_such(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"gr__e.txt": "text"})
    path.write_bytes(path.read_bytes().replace(b"gr__e", "gr\u00f6e".encode()))
    assert contents(path) == ({"gr\u00f6e.txt": "text"}, {})
    assert contents(tar(tmp_path / "b.tar", {os.fsdecode(b"\xff.txt"): "text"})) == ({"\ufffd.txt": "text"}, {})


def test_files_that_are_zip_archives_inside_keep_their_kind(tmp_path: Path) -> None:
    word = docx(tmp_path / "w.docx", paragraph("Word text"))
    renamed = tmp_path / "w.zip"
    renamed.write_bytes(word.read_bytes())
    assert [event.kind for event in parse_file(renamed) if isinstance(event, ParsedDocument)] == ["docx"]
    other = tmp_path / "library.jar"
    other.write_bytes(archive(tmp_path / "a.zip", {"a.txt": "text"}).read_bytes())
    assert refusal(other).code is FailureCode.UNSUPPORTED


# ---------------------------------------------------------------- what cannot be read


def test_a_member_that_cannot_be_read_costs_only_itself(tmp_path: Path) -> None:
    table = b'{"text":"good row"}\nnot json\n'
    path = archive(
        tmp_path / "a.zip",
        {"bad.pdf": b"%PDF-1.4\nnothing", "t.jsonl": table, "e.txt": "", "p.png": b"\x89PNG\0\0", "ok.txt": "fine"},
    )
    texts, failures = contents(path)
    assert texts == {"t.jsonl#0": "good row", "ok.txt": "fine"}
    assert failures == {"bad.pdf": "corrupt", "t.jsonl": "corrupt", "e.txt": "empty", "p.png": "unsupported"}


def test_a_damaged_member_of_a_zip(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"a.txt": "first " * 100, "b.txt": "second"})
    data = bytearray(path.read_bytes())
    data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert contents(path) == ({"b.txt": "second"}, {"a.txt": "corrupt"})
    data = bytearray(archive(path, {"a.txt": "first", "b.txt": "second"}).read_bytes())
    data[8:10] = struct.pack("<H", 9)  # a method that the library does not know
    directory = data.index(b"PK\1\2")
    data[directory + 10 : directory + 12] = struct.pack("<H", 9)
    path.write_bytes(data)
    assert contents(path) == ({"b.txt": "second"}, {"a.txt": "unsupported"})


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_tar_archive_that_breaks_off_says_so(tmp_path: Path, compress: object) -> None:
    whole = tar(tmp_path / "w.tar", {f"{i}.txt": os.urandom(400).hex() for i in range(6)}).read_bytes()
    path = tmp_path / ("a.tar" if compress is bytes else "a.tar.gz")
    packed = compress(whole)  # type: ignore[operator]
    path.write_bytes(packed[: int(len(packed) * 0.55)] if compress is not bytes else whole[: 1536 * 3 + 700])
    texts, failures = contents(path)
    assert "0.txt" in texts
    assert archives.REST in failures
    path.write_bytes(compress(whole[: 1536 * 2] + b"X" * 512 + whole[1536 * 2 + 512 :]))  # type: ignore[operator]
    texts, failures = contents(path)
    assert list(texts) == ["0.txt", "1.txt"]
    assert failures == {archives.REST: "corrupt"}


def test_what_is_no_archive_or_an_empty_one(tmp_path: Path) -> None:
    for name, content, code in [
        ("a.zip", os.urandom(3000).replace(b"\0", b"\1") + b"\0", FailureCode.CORRUPT),
        ("a.tar", b"\0" * 10240, FailureCode.EMPTY),
        ("b.zip", archive(tmp_path / "x.zip", {}).read_bytes(), FailureCode.EMPTY),
        ("c.zip", archive(tmp_path / "x.zip", {"a.txt": "x" * 999}).read_bytes()[:60], FailureCode.CORRUPT),
        ("a.gz", b"\x1f\x8b\x08\0garbage", FailureCode.CORRUPT),
        ("a.xz", b"\xfd7zXZ\0garbage", FailureCode.CORRUPT),
        ("7.zip", b"7z\xbc\xaf\x27\x1c\0\0", FailureCode.UNSUPPORTED),
    ]:
        (tmp_path / name).write_bytes(content)
        assert refusal(tmp_path / name).code is code, name
    (tmp_path / "e.txt.gz").write_bytes(gzip.compress(b""))
    assert contents(tmp_path / "e.txt.gz") == ({}, {"e.txt": "empty"})


def test_thousands_of_photos_are_not_reported_one_by_one(tmp_path: Path) -> None:
    members = {f"{i}.png": b"\x89PNG\0\0" for i in range(120)} | {f"{i}.pdf": b"%PDF-1.4\nx" for i in range(70)}
    _, failures = contents(archive(tmp_path / "a.zip", {**members, "a.txt": "text"}))
    assert Counter(failures.values()) == {"unsupported": 51, "corrupt": 70}
    (last,) = [event for event in parse_file(tmp_path / "a.zip") if getattr(event, "part", "").startswith("…")]
    assert isinstance(last, PartFailure)
    assert last.reason == "70 more files in this archive are of kinds that cannot be read."


# ---------------------------------------------------------------- limits


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    zeros = b"a" * (20 << 20)
    path = archive(tmp_path / "a.zip", {"1.txt": "one", "bomb.txt": zeros, "2.txt": "two"})
    assert contents(path) == ({"1.txt": "one", "2.txt": "two"}, {"bomb.txt": "too_large"})
    assert refusal(_written(tmp_path / "b.txt.gz", gzip.compress(zeros))).code is FailureCode.TOO_LARGE
    texts, failures = contents(tar(tmp_path / "c.tar.gz", {"1.txt": "one", "b.txt": zeros, "2.txt": "two"}, "w:gz"))
    assert texts == {"1.txt": "one"}
    assert failures == {archives.REST: "too_large"}


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_limits_on_members_and_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "a.zip", {f"{i}.txt": f"text {i} " * 50 for i in range(9)})
    monkeypatch.setattr(archives, "MAX_MEMBERS", 4)
    texts, failures = contents(path)
    assert list(texts) == ["0.txt", "1.txt", "2.txt", "3.txt"]
    assert failures == {archives.REST: "too_large"}
    monkeypatch.setattr(archives, "MAX_MEMBERS", 100)
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 1000)
    texts, failures = contents(path)
    assert list(texts) == ["0.txt", "1.txt"]
    assert failures == {archives.REST: "too_large"}
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 300)
    assert set(contents(path)[1].values()) == {"too_large"}
    monkeypatch.setattr(containers, "MAX_HEADERS", 5)
    texts, failures = contents(tar(tmp_path / "b.tar", {f"{i}.txt": special(f"{i}.txt", b"2") for i in range(3)} | {
        f"t{i}.txt": "t" for i in range(9)
    }))  # fmt: skip
    assert list(texts) == ["t0.txt", "t1.txt"]
    assert failures == {archives.REST: "too_large"}


def test_nothing_stays_on_disk_and_one_member_is_there_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "a.zip", {f"{i}.txt": "text" for i in range(5)})
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(unpacked))
    for event in parse_file(path):
        assert len([file for file in unpacked.rglob("*") if file.is_file()]) == isinstance(event, ParsedDocument) or (
            isinstance(event, ParseProgress)
        )
    assert list(unpacked.iterdir()) == []


def test_no_room_to_unpack_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "a.zip", {"a.txt": "text"})

    class Full(io.RawIOBase):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, mode="r", *a, **k: Full() if mode == "wb" else real(self, mode, *a, **k)
    )
    (failure,) = [event for event in parse_file(path) if isinstance(event, PartFailure)]
    assert "No space left" in failure.reason


def test_parts_of_a_long_text_keep_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(plain, "PART_CHARS", 800)
    path = archive(tmp_path / "a.zip", {"long.log": "a line of a log\n" * 100, "b.txt": "short"})
    keys = [event.external_id for event in parse_file(path) if isinstance(event, ParsedDocument)]
    assert keys == ["long.log#part 1", "long.log#part 2", "b.txt"]


# ---------------------------------------------------------------- passwords


def test_a_protected_zip_opens_with_one_of_the_passwords(tmp_path: Path) -> None:
    path = protected(tmp_path / "a.zip", {"a.txt": b"secret text", "b.txt": b"more of it"}, "größe".encode())
    asked = refusal(path)
    assert asked.code is FailureCode.ENCRYPTED
    assert "password" in asked.way_out
    with passwords.given(["wrong", "größe"]):
        assert contents(path) == ({"a.txt": "secret text", "b.txt": "more of it"}, {})
    with passwords.given([f"wrong {i}" for i in range(300)]):  # the check byte alone lets one of 256 pass
        wrong = refusal(path)
    assert wrong.code is FailureCode.ENCRYPTED
    assert "none of the given passwords opens it" in str(wrong)
    with passwords.given(["größe"]):
        pass
    assert passwords.current() == ()


def test_protected_members_among_others(tmp_path: Path) -> None:
    inner = protected(tmp_path / "in.zip", {"a.txt": b"secret text"}, b"key")
    path = archive(tmp_path / "a.zip", {"in.zip": inner.read_bytes(), "b.txt": "open"})
    assert contents(path) == ({"b.txt": "open"}, {"in.zip": "encrypted"})
    with passwords.given(["key"]):
        assert contents(path)[0] == {"in.zip/a.txt": "secret text", "b.txt": "open"}


def test_aes_is_named_as_what_cannot_be_opened(tmp_path: Path) -> None:
    data = protected(tmp_path / "a.zip", {"a.txt": b"secret text"}, b"key").read_bytes()
    path = _written(tmp_path / "a.zip", data.replace(b"\x14\0\1\0\0\0", b"\x14\0\1\0\x63\0"))
    with passwords.given(["key"]):
        refused = refusal(path)
    assert refused.code is FailureCode.UNSUPPORTED
    assert "AES" in str(refused)


# ---------------------------------------------------------------- going on


def test_reading_goes_on_from_any_member(tmp_path: Path) -> None:
    inner = archive(tmp_path / "i.zip", {"x.txt": "x", "y.txt": "y", "z.txt": "z"})
    path = archive(
        tmp_path / "a.zip",
        {"1.txt": "one", "t.csv": "id,text\na,row one\nb,row two\n", "i.zip": inner.read_bytes(), "2.txt": "two"},
    )
    whole = list(parse_file(path))
    begins = [(at, event) for at, event in enumerate(whole) if isinstance(event, MemberBegins)]
    assert [event.part for _, event in begins] == [
        "1.txt", "t.csv", "i.zip", "i.zip/x.txt", "i.zip/y.txt", "i.zip/z.txt", "2.txt"
    ]  # fmt: skip
    assert [(event.done, event.total) for _, event in begins] == [
        (0, 4), (1, 4), (2, 4), (2, 4), (2, 4), (2, 4), (3, 4)
    ]  # fmt: skip
    for at, event in begins:
        with archives.resuming(event.resume):
            assert list(_documents(parse_file(path))) == list(_documents(iter(whole[at:])))
        after = event.resume.after(5)
        with archives.resuming(after):
            rest = [parsed.external_id for parsed in _documents(parse_file(path))]
        later = whole[at + 1 :]
        skipped = next((i for i, e in enumerate(later) if _is_past(e, event)), len(later))
        assert rest == [parsed.external_id for parsed in _documents(iter(later[skipped:]))]


def _is_past(event: ParserEvent, member: MemberBegins) -> bool:
    return isinstance(event, MemberBegins) and not event.part.startswith(f"{member.part}/")


def _documents(events: Iterator[ParserEvent]) -> Iterator[ParsedDocument]:
    return (event for event in events if isinstance(event, ParsedDocument))


def test_what_was_counted_before_is_counted_on(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {f"{i}.png": b"\x89PNG\0\0" for i in range(5)})
    with archives.resuming(Resume((2,), 0, {"unsupported": 40})):
        failures = [event for event in parse_file(path) if isinstance(event, PartFailure)]
    assert [failure.reason for failure in failures] == [
        "43 more files in this archive are of kinds that cannot be read."
    ]


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("cp932", ["見積.txt", "橋の図面.txt"]),
        ("cp932", ["見積.txt"]),
        ("gb18030", ["年度报告.txt", "合同文件.txt"]),
        ("cp950", ["合約書.txt", "報價單.txt"]),
        ("cp949", ["계약서.txt", "견적서.txt"]),
        ("cp866", ["Отчёт за год.txt", "Смета.txt"]),
        ("cp1251", ["Отчёт за год.txt", "Смета.txt"]),
        ("cp850", ["Übersicht Gebäude.txt", "Prüfung.txt"]),
        ("cp852", ["Życie łąka źródło.txt"]),
    ],
)
def test_names_in_the_encoding_of_another_system(tmp_path: Path, encoding: str, names: list[str]) -> None:
    raw = {f"{number:02}".ljust(len(name.encode(encoding)), "_"): name for number, name in enumerate(names)}
    path = archive(tmp_path / "a.zip", dict.fromkeys(raw, "text"))
    data = path.read_bytes()
    for placeholder, name in raw.items():
        data = data.replace(placeholder.encode(), name.encode(encoding))
    path.write_bytes(data)
    assert list(contents(path)[0]) == names


def test_a_name_is_what_the_field_for_it_says_if_that_is_about_it(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as target:
        for written, about in (("m__t.txt", b"m__t.txt"), ("other.txt", b"renamed.txt")):
            told = b"\1" + struct.pack("<L", zlib.crc32(about)) + "μέτρα.txt".encode()
            info = zipfile.ZipInfo(written)
            info.extra = b"UT\0\0" + struct.pack("<HH", 0x7075, len(told)) + told
            target.writestr(info, "text")
    assert list(contents(path)[0]) == ["μέτρα.txt", "other.txt"]


def test_a_method_of_packing_that_is_not_read_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"a.txt": "text", "b.txt": "text"})
    data = path.read_bytes()
    for at in (data.index(b"PK\3\4") + 8, data.index(b"PK\1\2") + 10):
        data = data[:at] + b"\6\0" + data[at + 2 :]
    path.write_bytes(data)
    failure = next(event for event in parse_file(path) if isinstance(event, PartFailure))
    assert failure.part == "a.txt"
    assert "a method that is not read (Implode)" in failure.reason
