"""A folder of files in many formats, made of sentences of the sample library; the same for the same seed."""

from __future__ import annotations

import csv
import html
import io
import json
import random
import textwrap
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from studio.paths import resources_dir

Sections = Sequence[tuple[str, Sequence[str]]]
"""(heading, paragraphs) pairs."""


def sentences() -> list[str]:
    """Sentences of the sample library."""
    text = " ".join(path.read_text("utf-8") for path in sorted((resources_dir() / "samples").glob("*.md")))
    return [" ".join(part.split()) for part in text.replace("#", " ").split(". ") if len(part) > 30]


def write_files(folder: Path, count: int, seed: int = 1) -> Path:
    """Write `count` files into the folder and some of below it. Returns the folder."""
    rng, pool = random.Random(seed), sentences()
    kinds = list(_WRITERS.items())
    for number in range(count):
        sections = [
            (f"Part {part} of note {number}", [". ".join(rng.sample(pool, 4)) + "." for _ in range(rng.randint(1, 3))])
            for part in range(1, rng.randint(2, 4))
        ]
        suffix, write = kinds[number % len(kinds)]
        place = folder / f"topic {number % 7}" / f"note {number:04}{suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(write(sections))
    return folder


def _text(sections: Sections) -> bytes:
    return "\n\n".join([line for title, parts in sections for line in (title, *parts)]).encode()


def _markdown(sections: Sections) -> bytes:
    return "\n\n".join([line for title, parts in sections for line in (f"## {title}", *parts)]).encode()


def _html(sections: Sections) -> bytes:
    body = "".join(
        f"<h2>{html.escape(title)}</h2>" + "".join(f"<p>{html.escape(part)}</p>" for part in parts)
        for title, parts in sections
    )
    return f"<!doctype html><title>{html.escape(sections[0][0])}</title><body>{body}</body>".encode()


def _csv(sections: Sections) -> bytes:
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["id", "title", "text"])
    table.writerows([n, title, part] for n, (title, parts) in enumerate(sections) for part in parts)
    return out.getvalue().encode()


def _notebook(sections: Sections) -> bytes:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": [f"# {title}\n", "\n", *parts]} for title, parts in sections
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def _mail(sections: Sections) -> bytes:
    head = (
        f"From: ann@example.org\nTo: bob@example.org\nSubject: {sections[0][0]}\nDate: Mon, 02 Nov 2026 10:00:00 +0000"
    )
    return f"{head}\nContent-Type: text/plain; charset=utf-8\n\n".encode() + _text(sections)


def _docx(sections: Sections) -> bytes:
    def paragraph(text: str, style: str = "") -> str:
        properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
        return f'<w:p>{properties}<w:r><w:t xml:space="preserve">{html.escape(text)}</w:t></w:r></w:p>'

    body = "".join(
        paragraph(title, "Heading1") + "".join(paragraph(part) for part in parts) for title, parts in sections
    )
    namespace = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    types = "http://schemas.openxmlformats.org/package/2006/content-types"
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            zipfile.ZipInfo("[Content_Types].xml"),
            f'<Types xmlns="{types}"><Default Extension="rels" ContentType="application/xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{main}"/></Types>',
        )
        archive.writestr(
            zipfile.ZipInfo("_rels/.rels"),
            f'<Relationships xmlns="{relations}"><Relationship Id="r1" Type="{office}" Target="word/document.xml"/>'
            "</Relationships>",
        )
        archive.writestr(
            zipfile.ZipInfo("word/document.xml"),
            f'<w:document xmlns:w="{namespace}"><w:body>{body}</w:body></w:document>',
        )
    return out.getvalue()


def _pdf(sections: Sections) -> bytes:
    """One page a section, in Helvetica."""
    pages = [_page(title, parts) for title, parts in sections]
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for n, stream in enumerate(pages):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * n} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    return out + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)


def _page(title: str, parts: Sequence[str]) -> bytes:
    lines = [title, ""] + [line for part in parts for line in (*textwrap.wrap(part, 90), "")]
    shown = "".join(f"({_escaped(line)}) Tj T*\n" for line in lines)
    return f"BT /F1 10 Tf 14 TL 50 790 Td\n{shown}ET".encode("latin-1")


def _escaped(line: str) -> str:
    text = line.encode("ascii", "replace").decode()
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


_WRITERS: dict[str, Callable[[Sections], bytes]] = {
    ".md": _markdown, ".txt": _text, ".html": _html, ".pdf": _pdf, ".docx": _docx, ".eml": _mail, ".ipynb": _notebook,
    ".csv": _csv,
}  # fmt: skip
