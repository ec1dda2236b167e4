"""Pages without text are read by Tesseract where it is installed; nothing depends on it."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from studio.documents import ocr_settings
from studio.documents.ocr_settings import LANGUAGES, SWITCH, ocr_environment
from studio.documents.parsers import ocr, parse_file
from studio.documents.pool import ParserPool
from studio.domain import PageCounts, ParsedDocument, ParseProgress
from studio.errors import DocumentFault, FailureCode
from tests.unit.documents.parsers.scans import scanned_pdf

STAND_IN = """#!{python}
import sys
if "--list-langs" in sys.argv:
    print("List of available languages (3):\\ndeu\\neng\\nosd")
    sys.exit(0)
head = sys.stdin.buffer.read(2)
assert head in (b"P5", b"II"), head
languages = sys.argv[sys.argv.index("-l") + 1]
{behaviour}
"""


@pytest.fixture
def switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "auto")
    monkeypatch.setattr(ocr_settings, "PLACES", {})


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switched_on: None):
    """A program that speaks Tesseract's command line; the test says what it does with a picture."""

    def install(behaviour: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "tesseract"
        program.write_text(STAND_IN.format(python=sys.executable, behaviour=behaviour))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return install


def document(path: Path) -> ParsedDocument:
    (found,) = [event for event in parse_file(path) if isinstance(event, ParsedDocument)]
    return found


def test_only_pages_without_text_are_recognised(tmp_path: Path, stand_in) -> None:
    stand_in("print('read by machine in', languages)")
    path = scanned_pdf(tmp_path / "mixed.pdf", ["A page with text.", None, ""])
    found = document(path)
    assert found.pages == PageCounts(total=3, readable=1, empty=1, failed=0, ocr=1)
    assert found.text == "A page with text.\n\nread by machine in eng"
    assert [span.page for span in found.spans] == [1, 2]


def test_pictures_are_documents_with_a_page_each(tmp_path: Path, stand_in) -> None:
    stand_in("print('first page' + chr(12) + chr(12) + 'third page' + chr(12))")
    path = tmp_path / "scan.tif"
    path.write_bytes(b"II*\0" + bytes(40))
    found = document(path)
    assert (found.kind, found.text, found.title) == ("image", "first page\n\nthird page", "scan")
    assert found.pages == PageCounts(total=3, empty=1, ocr=2)
    assert [span.page for span in found.spans] == [1, 3]


@pytest.mark.parametrize(
    ("head", "code", "words"),
    [
        (b"\x89PNG\r\n\x1a\n", FailureCode.NEEDS_OCR, "Tesseract"),
        (b"RIFF\0\0\0\0WEBPVP8 ", FailureCode.NEEDS_OCR, "Tesseract"),
        (b"\xff\xd8\xff\xe0", FailureCode.NEEDS_OCR, "Tesseract"),
        (b"\0\0\0\x18ftypheic", FailureCode.UNSUPPORTED, "JPEG"),
    ],
)
def test_pictures_without_text_recognition_say_what_helps(
    tmp_path: Path, head: bytes, code: FailureCode, words: str
) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(head + bytes(60))
    with pytest.raises(DocumentFault) as caught:
        document(path)
    assert caught.value.code is code
    assert words in caught.value.full_message


def test_the_languages_are_those_wanted_and_installed(tmp_path: Path, stand_in, monkeypatch) -> None:
    stand_in("print('read in', languages)")
    monkeypatch.setenv(LANGUAGES, "fra+deu+eng")
    assert document(scanned_pdf(tmp_path / "a.pdf", [None])).text == "read in deu+eng"


@pytest.mark.parametrize("behaviour", ["sys.exit(1)", "print()", "print('... ---')", "import os; os.abort()"])
def test_a_failed_recognition_leaves_a_page_empty(tmp_path: Path, stand_in, behaviour: str) -> None:
    stand_in(behaviour)
    found = document(scanned_pdf(tmp_path / "a.pdf", ["Some text.", None]))
    assert (found.pages.empty, found.pages.ocr, found.text) == (1, 0, "Some text.")
    with pytest.raises(DocumentFault, match="no text could be recognised") as caught:
        document(scanned_pdf(tmp_path / "b.pdf", [None, None]))
    assert caught.value.code is FailureCode.NO_TEXT


def test_a_recognition_that_hangs_is_stopped(tmp_path: Path, stand_in, monkeypatch) -> None:
    monkeypatch.setattr(ocr, "PAGE_LIMIT_S", 0.5)
    stand_in("import time; time.sleep(600)")
    assert document(scanned_pdf(tmp_path / "a.pdf", ["Some text.", None])).pages.empty == 1


def test_without_tesseract_a_scan_says_what_it_needs(tmp_path: Path, switched_on: None, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DocumentFault, match="needs OCR") as caught:
        document(scanned_pdf(tmp_path / "a.pdf", [None, None]))
    assert "Tesseract" in caught.value.way_out


def test_installed_meanwhile_it_reads_the_same_file(tmp_path: Path, stand_in, monkeypatch) -> None:
    path = scanned_pdf(tmp_path / "a.pdf", [None])
    with monkeypatch.context() as without, pytest.raises(DocumentFault, match="needs OCR"):
        without.setenv("PATH", str(tmp_path))
        document(path)
    stand_in("print('read by machine')")
    assert document(path).text == "read by machine"


def test_switched_off_nothing_is_called(tmp_path: Path, stand_in, monkeypatch) -> None:
    stand_in("print('never')")
    monkeypatch.setenv(SWITCH, "off")
    assert ocr.recogniser() is None


async def test_the_setting_reaches_the_process_that_reads(tmp_path: Path, stand_in, monkeypatch) -> None:
    stand_in("print('read by machine in', languages)")
    path = scanned_pdf(tmp_path / "a.pdf", [None])
    monkeypatch.delenv(SWITCH)
    for switch, expected in (("auto", ["read by machine in deu"]), ("off", [])):
        pool = ParserPool(1, environment=ocr_environment(switch, "deu"))
        assert pool.recognises_text() == bool(expected)
        texts = []
        try:
            texts = [event.text async for event in pool.parse(path) if isinstance(event, ParsedDocument)]
        except DocumentFault as fault:
            assert (switch, fault.code) == ("off", FailureCode.NEEDS_OCR)
        finally:
            await pool.close()
        assert texts == expected


def test_a_long_pdf_gives_signs_of_life(tmp_path: Path, stand_in) -> None:
    stand_in("import time; time.sleep(.15); print('page')")
    events = list(parse_file(scanned_pdf(tmp_path / "a.pdf", [None] * 4)))
    signs = [event for event in events if isinstance(event, ParseProgress)]
    assert signs and all(0 < sign.done < sign.total == 4 for sign in signs)


def test_the_real_program_reads_a_picture_of_text(tmp_path: Path, switched_on: None) -> None:
    if shutil.which("tesseract") is None:
        pytest.skip("Tesseract is not installed, so what it reads cannot be looked at.")
    found = document(scanned_pdf(tmp_path / "a.pdf", [None], picture_of="Whales sing in the deep sea"))
    assert found.pages.ocr == 1
    assert "Whales" in found.text and "deep sea" in found.text


def test_pages_may_lie_upside_down(tmp_path: Path, stand_in) -> None:
    stand_in("print('orientation is found:', sys.argv[-2:] == ['--psm', '1'])")
    assert document(scanned_pdf(tmp_path / "a.pdf", [None])).text == "orientation is found: True"
