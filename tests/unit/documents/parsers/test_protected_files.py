"""Files under a password open with the right one, and say what is wrong otherwise."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from studio.documents.parsers import office_crypto, passwords
from studio.documents.pool import ParserPool
from studio.domain import ParsedDocument
from studio.errors import DocumentFault, FailureCode
from tests.helpers.locked import locked_office, locked_pdf
from tests.unit.documents.making import docx, fault, paragraph, read_one


def protected(path: Path) -> Path:
    if path.suffix == ".pdf":
        return locked_pdf(path, "Kept secret", "right", "owner")
    return locked_office(docx(path, paragraph("Kept secret")), "right")


@pytest.mark.parametrize(("name", "what"), [("a.pdf", "PDF"), ("a.docx", "Word")])
def test_a_password_opens_a_file(tmp_path: Path, name: str, what: str) -> None:
    path = protected(tmp_path / name)
    refused = fault(path)
    assert (refused.code, str(refused)) == (
        FailureCode.ENCRYPTED,
        f"This {what} file is protected by a password.",
    )
    assert refused.way_out == "Enter its password to index it.", "each front end has its own way to do that"
    with passwords.given(["wrong", "worse"]):
        refused = fault(path)
        assert refused.code is FailureCode.ENCRYPTED
        assert "none of the given passwords opens it" in str(refused)
    with passwords.given(["wrong", "right"]):
        found = read_one(path)
        assert (found.text, found.kind) == ("Kept secret", name.partition(".")[2])


def test_the_owners_password_opens_a_pdf_too(tmp_path: Path) -> None:
    with passwords.given(["owner"]):
        assert read_one(protected(tmp_path / "a.pdf")).text == "Kept secret"


def test_what_is_protected_only_against_changes_opens_without_asking(tmp_path: Path) -> None:
    assert read_one(locked_pdf(tmp_path / "a.pdf", "For all", "", "owner")).text == "For all"
    path = locked_office(docx(tmp_path / "a.docx", paragraph("For all")), office_crypto.DEFAULT_PASSWORD)
    assert read_one(path).text == "For all"


def test_the_plain_content_stays_off_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = protected(tmp_path / "a.docx")
    empty = tmp_path / "temporary"
    empty.mkdir(mode=0o500)
    monkeypatch.setattr(tempfile, "tempdir", str(empty))
    monkeypatch.setattr(tempfile, "mkdtemp", None)
    monkeypatch.setattr(tempfile, "mkstemp", None)
    with passwords.given(["right"]):
        assert read_one(path).text == "Kept secret"


def test_what_is_protected_must_be_a_document(tmp_path: Path) -> None:
    path = docx(tmp_path / "a.docx", "<w:p><w:r>")
    with passwords.given(["right"]):
        assert fault(locked_office(path, "right")).code is FailureCode.CORRUPT


def test_damaged_protection_is_no_crash(tmp_path: Path) -> None:
    whole = protected(tmp_path / "a.docx").read_bytes()
    path = tmp_path / "b.docx"
    at = whole.index("EncryptionInfo".encode("utf-16-le"))
    path.write_bytes(whole[:at] + bytes(200) + whole[at + 200 :])
    with passwords.given(["right"]):
        assert fault(path).code is FailureCode.ENCRYPTED


async def test_passwords_reach_the_process_that_reads(tmp_path: Path) -> None:
    path = protected(tmp_path / "a.docx")
    pool = ParserPool(1)
    try:
        events = [event async for event in pool.parse(path, passwords=["wrong", "right"])]
        assert [event.text for event in events if isinstance(event, ParsedDocument)] == ["Kept secret"]
        with pytest.raises(DocumentFault) as refused:
            [event async for event in pool.parse(path)]
        assert refused.value.code is FailureCode.ENCRYPTED
    finally:
        await pool.close()
