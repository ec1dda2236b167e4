from __future__ import annotations

import contextlib
import mailbox
from email.message import EmailMessage
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from studio.documents.parsers import mail
from studio.errors import FailureCode
from tests.unit.documents.making import check, fault, read, read_one


def message(subject: str, body: str, *, html: bool = False) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "Ann <a@example.org>", "b@example.org", subject
    made["Date"], made["Message-ID"] = "Mon, 06 May 2024 07:08:09 +0000", f"<{len(subject)}@x>"
    made.set_content(body, subtype="html" if html else "plain")
    return made


def test_mail(tmp_path: Path) -> None:
    made = message("Grüße", "Hallo,\nwie geht's?")
    made.add_attachment(b"data", maintype="application", subtype="pdf", filename="plan.pdf")
    path = tmp_path / "a.eml"
    path.write_bytes(made.as_bytes())
    parsed, attachment = read(path)
    check(parsed)
    assert (attachment.text, attachment.external_id) == ("data", "plan.pdf")
    assert parsed.title == "Grüße"
    assert parsed.created == "2024-05-06"
    assert "Subject: Grüße\n\nHallo,\nwie geht's?\n\nAttachments: plan.pdf" in parsed.text
    path.write_bytes(message("Web", "<p>see <b>this</b></p>", html=True).as_bytes())
    assert read_one(path).text.endswith("see this")
    path.write_bytes(b"X-Nothing: 1\n\n")
    assert fault(path).code is FailureCode.NO_TEXT


def test_mailbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mbox"
    with contextlib.closing(mailbox.mbox(path)) as box:
        for subject in ("a", "bb", "ccc"):
            box.add(message(subject, f"body of {subject}"))
    found = read(path)
    assert [(p.row, p.title, p.external_id) for p in found] == [
        (0, "a", "1@x"),
        (1, "bb", "2@x"),
        (2, "ccc", "3@x"),
    ]
    (tmp_path / "b.mbox").write_bytes(b"From x\nA: 1\n\n")
    assert fault(tmp_path / "b.mbox").code is FailureCode.NO_TEXT
    long = message("long", "the text comes first\n" + "x" * 300)
    with contextlib.closing(mailbox.mbox(tmp_path / "c.mbox")) as box:
        box.add(long)
        box.add(message("after", "still read"))
    monkeypatch.setattr(mail, "MAX_MESSAGE_BYTES", 300)
    assert ["the text comes first" in p.text or "still read" in p.text for p in read(tmp_path / "c.mbox")] == [
        True,
        True,
    ]


def test_json_gives_every_value_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"title": "T1", "a": {"b": ["x", 1, null, true]}, "n": {}, "u": "\\u00fc\\nz"}')
    parsed = read_one(path)
    assert parsed.text == "title: T1\na:\nb: x\nb: 1\nb: true\nu: ü\nz"
    assert parsed.title == "T1"
    path.write_text('{"a": 1,\n oops}')
    assert "line 2" in str(fault(path))


def test_notebooks(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(
        '{"metadata": {}, "cells": [{"cell_type": "markdown", "source": ["# Head\\n", "prose"]},'
        '{"cell_type": "code", "source": "x = 1",'
        '"outputs": [{"text": ["out"]}, {"data": {"text/plain": "1"}}, 3]}, 4],'
        '"worksheets": [{"cells": [{"cell_type": "heading", "level": 2, "source": "Old"}]}]}'
    )
    parsed = read_one(path)
    assert parsed.text == "Head\n\nprose\n\nx = 1\n\nout\n\n1\n\nOld"
    assert [(s.anchor, s.whole) for s in parsed.spans] == [
        ("Head", False), ("Head", True), ("Head", False), ("Head › Old", False)
    ]  # fmt: skip
    path.write_text("[]")
    assert fault(path).code is FailureCode.CORRUPT
    path.write_text("{}")
    assert fault(path).code is FailureCode.NO_TEXT


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"_id": ["a", "b", "c"], "text": ["one", None, "three"], "n": [1, 2, 3]})
    pyarrow.parquet.write_table(table, path)
    assert [(p.row, p.external_id, p.text) for p in read(path)] == [
        (0, "a", "one\n\nn: 1"),
        (1, "b", "n: 2"),
        (2, "c", "three\n\nn: 3"),
    ]
    path.write_bytes(b"PAR1 and then nothing")
    assert fault(path).code is FailureCode.CORRUPT
