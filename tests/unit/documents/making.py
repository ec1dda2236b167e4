"""Makes the documents that the tests read: small, by hand, no files in the repository."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.documents.parsers import parse_file
from studio.domain import ParsedDocument
from studio.errors import DocumentFault

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def pdf(
    pages: Sequence[Sequence[str]],
    *,
    bookmarks: Sequence[tuple[str, int]] = (),
    info: Mapping[str, str] | None = None,
    trailer: str = "",
) -> bytes:
    """A PDF with one line of Helvetica per string; `bookmarks` are (title, page index)."""
    objects: list[bytes] = []

    def add(body: str | bytes) -> int:
        objects.append(body.encode("latin-1") if isinstance(body, str) else body)
        return len(objects)

    def reserve() -> int:
        return add("null")

    catalog, tree, font = reserve(), reserve(), add("<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
    kids = []
    for lines in pages:
        shown = " ".join(f"({line}) Tj T*" for line in lines)
        content = f"BT /F1 12 Tf 14 TL 50 750 Td {shown} ET"
        stream = add(f"<</Length {len(content)}>>\nstream\n{content}\nendstream")
        kids.append(
            add(
                f"<</Type/Page/Parent {tree} 0 R/MediaBox[0 0 600 800]/Contents {stream} 0 R"
                f"/Resources<</Font<</F1 {font} 0 R>>>>>>"
            )
        )
    outlines = ""
    if bookmarks:
        root = reserve()
        items = [reserve() for _ in bookmarks]
        for i, (title, page) in enumerate(bookmarks):
            following = f"/Next {items[i + 1]} 0 R" if i + 1 < len(items) else ""
            before = f"/Prev {items[i - 1]} 0 R" if i else ""
            objects[items[i] - 1] = (
                f"<</Title({title})/Parent {root} 0 R/Dest[{kids[page]} 0 R /Fit]{following}{before}>>".encode()
            )
        objects[root - 1] = f"<</First {items[0]} 0 R/Last {items[-1]} 0 R/Count {len(items)}>>".encode()
        outlines = f"/Outlines {root} 0 R"
    objects[catalog - 1] = f"<</Type/Catalog/Pages {tree} 0 R{outlines}>>".encode()
    listed = " ".join(f"{kid} 0 R" for kid in kids)
    objects[tree - 1] = f"<</Type/Pages/Kids[{listed}]/Count {len(kids)}>>".encode()
    if info:
        number = add("<<" + "".join(f"/{key}({value})" for key, value in info.items()) + ">>")
        trailer += f"/Info {number} 0 R"
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += f"trailer\n<</Size {len(objects) + 1}/Root {catalog} 0 R{trailer}>>\nstartxref\n{start}\n%%EOF".encode()
    return bytes(out)


def archive(path: Path, members: Mapping[str, str | bytes]) -> Path:
    """A ZIP file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return path


Storage = Mapping[str, "bytes | Storage"]


def container(path: Path, root: Storage) -> Path:
    """A container of the old Office formats. Streams are filled up with zeros to 4 kB, the least that lies in sectors
    of its own."""
    entries: list[list[Any]] = []  # name, type, right sibling, child, first sector, size
    sectors: list[bytes] = []
    chains: list[int] = []

    def add(name: str, content: bytes | Storage, sort: int) -> int:
        number = len(entries)
        entries.append([name, sort, -1, -1, -2, 0])
        if isinstance(content, bytes):
            content = content.ljust(4096, b"\0")
            blocks = [content[at : at + 512].ljust(512, b"\0") for at in range(0, len(content), 512)]
            entries[number][4:] = [len(sectors), len(content)]
            chains.extend([*range(len(sectors) + 1, len(sectors) + len(blocks)), -2])
            sectors.extend(blocks)
            return number
        before = -1
        for key, inner in content.items():
            child = add(key, inner, 2 if isinstance(inner, bytes) else 1)
            entries[number if before < 0 else before][3 if before < 0 else 2] = child
            before = child
        return number

    add("Root Entry", root, 5)
    directory = b"".join(
        (name.encode("utf-16-le") + b"\0\0").ljust(64, b"\0")
        + struct.pack("<HBBiii36xiII", 2 * len(name) + 2, sort, 1, -1, right, child, first, size, 0)
        for name, sort, right, child, first, size in entries
    )
    listed = len(sectors)
    blocks = [directory[at : at + 512].ljust(512, b"\0") for at in range(0, len(directory), 512)]
    chains.extend([*range(listed + 1, listed + len(blocks)), -2])
    sectors.extend(blocks)
    table = len(sectors)
    chains.append(-3)
    assert len(chains) <= 128
    sectors.append(struct.pack("<128i", *chains, *[-1] * (128 - len(chains))))
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack("<HHHHH6xIIiIIiIiI", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, listed, 0, 4096, -2, 0, -2, 0)
    path.write_bytes(head + struct.pack("<109i", table, *[-1] * 108) + b"".join(sectors))
    return path


def relations(items: Iterable[tuple[str, str, str]]) -> str:
    """An OOXML relations part from (id, kind, target)."""
    listed = "".join(f'<Relationship Id="{i}" Type="{RELATION}/{kind}" Target="{t}"/>' for i, kind, t in items)
    return (
        f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{listed}</Relationships>'
    )


def paragraph(text: str, style: str = "", extra: str = "") -> str:
    """A Word paragraph."""
    pstyle = f'<w:pStyle w:val="{style}"/>' if style else ""
    return f"<w:p><w:pPr>{pstyle}{extra}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def docx(path: Path, body: str, **parts: str) -> Path:
    """A Word document; `parts` are members below word/ by name without .xml, related by that name."""
    members: dict[str, str | bytes] = {
        "[Content_Types].xml": "<Types/>",
        "_rels/.rels": relations(
            [("r1", "officeDocument", "word/document.xml"), ("r2", "core-properties", "docProps/core.xml")]
        ),
        "docProps/core.xml": "<c xmlns:d='u'><d:title>A Title</d:title><d:creator>Ann</d:creator>"
        "<d:created>2024-05-06T07:08:09Z</d:created></c>",
        "word/document.xml": f"<w:document {W}><w:body>{body}</w:body></w:document>",
        "word/_rels/document.xml.rels": relations([(name, name, f"{name}.xml") for name in parts]),
    }
    members.update({f"word/{name}.xml": content for name, content in parts.items()})
    return archive(path, members)


def read(path: Path) -> list[ParsedDocument]:
    """Every document of a file, parsed in this process."""
    return list(parse_file(path))


def read_one(path: Path) -> ParsedDocument:
    """The only document of a file; its offsets are checked on the way."""
    (parsed,) = read(path)
    check(parsed)
    return parsed


def check(parsed: ParsedDocument) -> None:
    """What holds for every parsed document."""
    text = parsed.text
    assert text.strip()
    assert [a for a, _ in parsed.segments[1:]] == [b for _, b in parsed.segments[:-1]]
    assert parsed.segments[0][0] == 0
    assert parsed.segments[-1][1] == len(text)
    assert parsed.spans[0].start == 0
    assert parsed.spans[-1].end == len(text)
    assert all(a.end == b.start for a, b in zip(parsed.spans, parsed.spans[1:], strict=False))
    assert all(span.start < span.end for span in parsed.spans)
    assert not any(c in text for c in "\x00\r\ufffe\ufeff\x0c")
    text.encode()  # no lone surrogates


def places(parsed: ParsedDocument) -> list[tuple[str, str]]:
    """Anchor and text of every span."""
    return [(span.anchor, parsed.text[span.start : span.end].strip()) for span in parsed.spans]


def fault(path: Path) -> DocumentFault:
    """The fault that reading a file raises, with a message that a person can read."""
    try:
        read(path)
    except DocumentFault as error:
        message = str(error)
        assert message.endswith((".", "OCR."))
        assert "Error" not in message
        assert "Traceback" not in message
        return error
    raise AssertionError(f"{path.name} was read without a fault")


def protected(path: Path, members: Mapping[str, bytes], password: bytes) -> Path:
    """A ZIP file in the old encryption (APPNOTE 6.1), members stored."""
    table = [_crc_row(i) for i in range(256)]
    out, directory = bytearray(), bytearray()
    for name, content in members.items():
        keys = [0x12345678, 0x23456789, 0x34567890]

        def update(byte: int, keys: list[int] = keys) -> None:
            keys[0] = (keys[0] >> 8) ^ table[(keys[0] ^ byte) & 0xFF]
            keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
            keys[2] = (keys[2] >> 8) ^ table[(keys[2] ^ (keys[1] >> 24)) & 0xFF]

        for byte in password:
            update(byte)
        crc = zlib.crc32(content)
        cipher = bytearray()
        for byte in bytes(11) + bytes([crc >> 24]) + content:
            mask = keys[2] | 2
            cipher.append(byte ^ ((mask * (mask ^ 1)) >> 8) & 0xFF)
            update(byte)
        fields = struct.pack("<HHHHHIIIHH", 20, 1, 0, 0, 33, crc, len(cipher), len(content), len(name), 0)
        directory += b"PK\1\2\x14\0" + fields + struct.pack("<HHHII", 0, 0, 0, 0, len(out)) + name.encode()
        out += b"PK\3\4" + fields + name.encode() + cipher
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(out), 0)
    path.write_bytes(bytes(out) + bytes(directory) + b"PK\5\6" + end)
    return path


def _crc_row(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
    return value
