"""The rules of `.ragignore` files and of globs. Each case follows the documented behaviour of gitignore."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from studio.services.scan import IgnoreRules, read_rules
from studio.services.scan.ignore import MAX_RULES_BYTES, Globs


def ignored(rules: str, path: str) -> bool | None:
    """What one file of rules says of a path; a trailing slash makes it a folder."""
    below = path.removesuffix("/")
    return IgnoreRules(rules).decide(below, below.rpartition("/")[2], is_folder=path.endswith("/"))


@pytest.mark.parametrize(
    ("rule", "matched", "others"),
    [
        ("notes", ["notes", "a/notes", "a/b/notes/"], ["notes.txt", "mynotes"]),
        ("*.txt", ["a.txt", "deep/down/b.txt", ".txt"], ["a.txt.gz", "txt"]),
        ("/top.txt", ["top.txt"], ["a/top.txt"]),
        ("a/b.txt", ["a/b.txt"], ["x/a/b.txt", "b.txt"]),
        ("build/", ["build/", "a/build/"], ["build", "a/build"]),
        ("a/*", ["a/x", "a/y.txt"], ["a/x/y", "a"]),
        ("**/foo", ["foo", "a/foo", "a/b/foo"], ["a/foox"]),
        ("**/foo/bar", ["foo/bar", "x/foo/bar"], ["foo/x/bar"]),
        ("abc/**", ["abc/x", "abc/x/y"], ["abc", "x/abc/y"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb", "x/a/b"]),
        ("a/**/c*/**/z", ["a/c/z", "a/x/cc/y/z", "a/b/x/c/c/z"], ["a/z", "a/x/z"]),
        ("a**b", ["ab", "axxb"], ["a/b"]),
        ("x**/y", ["xa/y", "x/y"], ["x/a/y"]),
        ("fo?", ["foo", "fo1"], ["fo", "fooo"]),
        ("f[aeiou]o", ["fao", "foo"], ["fxo", "fo"]),
        ("f[!a-m]o", ["fzo", "f-o"], ["fao", "fmo"]),
        ("f[^a]o", ["fbo"], ["fao"]),
        ("x[]a]", ["x]", "xa"], ["xb"]),
        ("x[a-]", ["x-", "xa"], ["xb"]),
        ("v[[:digit:]].txt", ["v1.txt"], ["va.txt"]),
        ("a[/]b", [], ["a/b"]),
        ("*a*b*c", ["abc", "xaxbxc", "aabbcc"], ["acb", "abcx"]),
        (r"\#here", ["#here"], ["here"]),
        (r"\!here", ["!here"], ["here"]),
        (r"star\*", ["star*"], ["starx"]),
        ("trail  ", ["trail"], ["trail  "]),
        (r"trail\ ", ["trail "], ["trail"]),
        ("tab\t", ["tab\t"], ["tab"]),
        ("two words", ["two words"], ["two"]),
        ("# comment", [], ["# comment", "comment"]),
        ("", [], ["x"]),
        ("   ", [], ["   "]),
        ("/", [], ["x", "a/b"]),
        ("bad\\", [], ["bad", "bad\\"]),
        ("open[", [], ["open["]),
        ("x[[:nonsense:]]", [], ["xa"]),
        ("a//b", [], ["a/b"]),
        ("über.txt", ["über.txt", "u\u0308ber.txt"], ["uber.txt"]),
    ],
)  # fmt: skip
def test_patterns(rule: str, matched: list[str], others: list[str]) -> None:
    assert [path for path in matched if not ignored(rule, path)] == []
    assert [path for path in others if ignored(rule, path) is not None] == []


def test_the_last_rule_that_matches_decides() -> None:
    rules = "*.log\n!keep.log\nkeep.log/\n"
    assert ignored(rules, "a.log") is True
    assert ignored(rules, "keep.log") is False
    assert ignored(rules, "keep.log/") is True
    assert ignored("!a.log\n*.log", "a.log") is True
    assert ignored("*.log", "a.txt") is None


def test_files_of_rules_are_read_as_they_come(tmp_path: Path) -> None:
    assert read_rules(str(tmp_path)) is None
    file = tmp_path / ".ragignore"
    file.write_bytes(b"\xef\xbb\xbf*.log\r\nb\xe9ta\r\n")
    rules = read_rules(str(tmp_path))
    assert rules is not None
    assert rules.decide("a.log", "a.log", is_folder=False)
    assert rules.decide("b\udce9ta", "b\udce9ta", is_folder=False)
    file.write_text("# nothing but a comment\n\n")
    assert read_rules(str(tmp_path)) is None
    file.write_bytes(b"x" * (MAX_RULES_BYTES + 1))
    with pytest.raises(OSError, match="larger than"):
        read_rules(str(tmp_path))
    file.unlink()
    file.mkdir()
    assert read_rules(str(tmp_path)) is None
    file.rmdir()
    os.mkfifo(file)
    assert read_rules(str(tmp_path)) is None, "and does not wait for somebody to write to it"


def test_no_pattern_takes_long() -> None:
    """A matcher that tries every way to place the stars would not end within the age of the universe."""
    assert ignored("*a" * 60 + "b", "a" * 250) is None
    assert ignored("/**/a" * 100 + "/b", "/".join("a" * 1500)) is None


def test_globs_match_names_paths_and_what_lies_below() -> None:
    assert not Globs(())
    plain = Globs(["*.md", "drafts", "old/*.txt"])
    assert plain
    assert [
        path
        for path in ("a.md", "x/a.md", "drafts/a", "drafts/x/a", "old/a.txt", "old/x/a.txt")
        if not _in(plain, path)
    ] == []
    assert [path for path in ("a.txt", "drafty/a", "x/old/a.txt") if _in(plain, path)] == []
    deep = Globs(["docs/**/*.pdf", "**/private"])
    assert [
        path for path in ("docs/a.pdf", "docs/x/y/a.pdf", "private", "x/private", "private/x/a") if not _in(deep, path)
    ] == []
    assert [path for path in ("a.pdf", "x/docs/a.pdf", "privates") if _in(deep, path)] == []
    assert _in(Globs(["drafts/"]), "drafts/a.txt")
    assert _in(Globs(["drafts"]), "x/drafts"), "a bare name at any depth"


def test_a_glob_that_can_match_nothing_lets_nothing_in() -> None:
    assert Globs(["**["])
    assert not _in(Globs(["**["]), "**[")


def _in(globs: Globs, path: str) -> bool:
    return globs.match(path, path.rpartition("/")[2])
