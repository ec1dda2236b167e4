from __future__ import annotations

import getpass
import io
import sys
from pathlib import Path

import pytest

from studio.cli.arguments import build_parser
from studio.cli.passwords import SEEN, given_passwords
from studio.errors import InvalidRequest, NotFound


async def given(*arguments: str | Path) -> list[str]:
    return await given_passwords(build_parser().parse_args(["ingest", "kb", "x", *map(str, arguments)]))


async def test_a_password_on_the_command_line_is_taken_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert await given("--password", "melon") == ["melon"]
    assert capsys.readouterr() == ("", f"{SEEN}\n")
    assert "melon" not in SEEN


async def test_passwords_come_from_files_the_standard_input_and_the_person_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "secret"
    file.write_bytes("\ufeffone\r\n\r\n two \r\n".encode())
    monkeypatch.setattr(sys, "stdin", io.StringIO("three\n"))
    monkeypatch.setattr(getpass, "getpass", lambda prompt, stream: "four")
    found = await given("--password-file", file, "--password-file", "-", "--ask-password")
    assert found == ["one", " two ", "three", "four"]
    assert capsys.readouterr() == ("", "")


async def test_a_file_without_a_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file"):
        await given("--password-file", tmp_path / "none")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(InvalidRequest, match="holds no password"):
        await given("--password-file", tmp_path / "empty")
    (tmp_path / "odd").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(InvalidRequest, match="UTF-8"):
        await given("--password-file", tmp_path / "odd")
