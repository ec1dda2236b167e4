from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from studio.documents.parsers import markdown
from studio.documents.parsers.front_matter import MAX_CHARS, split


def fields(block: str, rule: str = "---") -> dict[str, str]:
    found, rest = split(f"{rule}\n{block}\n{rule}\nrest")
    assert rest == "rest"
    return found


def test_values_are_the_texts_that_a_person_wrote() -> None:
    assert fields("Version: 1.10\nDate: 2024-01-02\ndraft: no\nnumber: 012\nat: 12:30:45\nday: 2024-13-45\nno: x") == {
        "version": "1.10", "date": "2024-01-02", "draft": "no", "number": "012", "at": "12:30:45", "day": "2024-13-45",
        "no": "x",
    }  # fmt: skip
    assert fields("a: ~\nb: null\nc:\nd: ''") == dict.fromkeys("abcd", "")


def test_yaml_s_ways_to_write_a_text_are_read() -> None:
    block = "a: 'it''s: so'\nb: \"tab\\tand \\u00e9\"\nc: >-\n  one\n  two\nd: |\n  one\n  two\ne: one\n  two"
    assert fields(block) == {
        "a": "it's: so", "b": "tab\tand é", "c": "one two", "d": "one\ntwo", "e": "one two",
    }  # fmt: skip
    assert fields("a: b # said aside\n# and here\nc: &name d\ne: *name") == {"a": "b", "c": "d", "e": "d"}


def test_lists_people_and_links_become_one_text() -> None:
    found = fields("a: [x, 'y z']\nb:\n- x\n-\n  name: Ann\n  mail: m\nc: {name: Bo, at: home}\nd: [[Note]]\ne: {x: y}")
    assert found == {"a": "x, y z", "b": "x, Ann", "c": "Bo", "d": "Note", "e": ""}


def test_a_byte_of_windows_at_the_end_of_each_line_changes_nothing() -> None:
    assert split("---\r\ntitle: T\r\ntags:\r\n- a\r\n- b\r\n---\r\nrest") == ({"title": "T", "tags": "a, b"}, "rest")
    assert split('+++\r\ntitle = "T"\r\n+++\r\nrest') == ({"title": "T"}, "rest")


def test_an_entry_that_is_no_yaml_costs_itself() -> None:
    found = fields("title: One: two\nkey: [a, b\nauthor: Ann\nwhen: @noon\ntag: !!python/object:os.system x\nend: e")
    assert found == {
        "title": "One: two", "key": "[a, b", "author": "Ann", "when": "@noon", "tag": "x", "end": "e",
    }  # fmt: skip


def test_no_tag_builds_anything() -> None:
    assert fields("a: !!python/name:os.system\nb: !!binary aGk=\nc: !!int x\nd: !own y\ne: !!timestamp z") == {
        "a": "", "b": "aGk=", "c": "x", "d": "y", "e": "z",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["Some prose.\nAnd more.", "- a\n- list", "1 [ 2", "\t\x00", "? [a]\n: b"])
def test_text_between_two_rules_is_text(text: str) -> None:
    source = f"---\n{text}\n---\nrest"
    assert split(source) == ({}, source)


def test_empty_front_matter_goes() -> None:
    assert split("---\n---\nrest") == split("---\n\n---\nrest") == split("---\n# later\n---\nrest") == ({}, "rest")


def test_what_does_not_end_or_is_long_is_text() -> None:
    for source in ("---\ntitle: T\nrest", f"---\na: {'x' * MAX_CHARS}\n---\nrest", "text\n---\na: b\n---\n", "---", ""):
        assert split(source) == ({}, source)


LAUGHS = "a: &a [x, x]\n" + "".join(f"{c}: &{c} [{', '.join([f'*{b}'] * 9)}]\n" for b, c in pairwise("abcdefghi"))
HOSTILE = {
    "aliases of aliases": LAUGHS,
    "merges of merges": LAUGHS.replace("[", "{<<: [").replace("]", "]}"),
    "itself": "a: &a [*a]\nb: &b {name: *b}",
    "lists in lists": "a: " + "[" * (MAX_CHARS - 10),
    "maps in maps": "a: " + "{a: " * (MAX_CHARS // 4 - 10),
    "items in items": "- " * (MAX_CHARS // 2 - 10),
    "keys of keys": "? " * (MAX_CHARS // 2 - 10),
    "indented": "".join(" " * depth + "a:\n" for depth in range(200)),
    "commas": "a: {" + "a," * (MAX_CHARS // 2 - 10),
    "unknown alias": "a: *b\nc: d",
    "two documents": "a: b\n--- \nc: d",
    "directive": "%YAML 9.9\na: b",
    "no key": ": a\n: b",
    "many": "".join(f"k{number}: v\n" for number in range(3000)),
    "half a character": 'a: "\\ud800"\nb: c',
    "a line end of Unicode": "a: b\u2028c: d\x85e: f",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_front_matter_ends_and_fails_no_file(what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_bytes(f"---\n{HOSTILE[what]}\n---\nThe text.".encode("utf-8", "surrogatepass"))
    (document,) = markdown.parse(path)
    assert document.text.endswith("The text.")
    assert sum(map(len, document.metadata.values())) < 20_000


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ('Title = "T"\nday = 2024-05-06\nf = 1.10\non = true\n[more]\nx = 1', {"day": "2024-05-06", "f": "1.10"}),
        ("at = 2024-05-06T07:08:09Z\nn = 7", {"at": "2024-05-06 07:08:09+00:00", "n": "7"}),
        ('a = ["x", "y"]\n[[authors]]\nname = "Ann"\n[[authors]]\nname = "Bo"', {"a": "x, y", "authors": "Ann, Bo"}),
    ],
)
def test_toml(block: str, expected: dict[str, str]) -> None:
    assert fields(block, "+++").items() >= expected.items()


@pytest.mark.parametrize("block", ["a = ", "a = " + "[" * 5000, "a = " + "9" * 5000, "a = 2024-13-45", "prose"])
def test_toml_that_is_none_is_text(block: str) -> None:
    source = f"+++\n{block}\n+++\nrest"
    assert split(source) == ({}, source)
