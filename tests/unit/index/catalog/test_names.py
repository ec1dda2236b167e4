from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest

from studio.index.catalog import Names, Renaming, names_after

Files = Mapping[str, str]


def after(*states: Files) -> Names:
    """The names of the last of these states of a folder, each built on the one before."""
    names = Names()
    for number, (before, now) in enumerate(pairwise(states), start=2):
        names = names_after(names, before, now, number)
    return names


@pytest.mark.parametrize(
    ("states", "moved"),
    [
        pytest.param([{"a": "X"}, {"b": "X"}], {"b": ("a",)}, id="renamed"),
        pytest.param([{"a": "X"}, {"a": "Y"}], {}, id="edited"),
        pytest.param([{"a": "X"}, {"b": "X"}, {"b": "Y"}, {"c": "Y"}], {"c": ("a",)}, id="renamed, edited, renamed"),
        pytest.param([{"a": "X"}, {"b": "X"}, {"a": "X"}], {}, id="there and back"),
        pytest.param([{"a": "X", "b": "Y"}, {"a": "Y", "b": "X"}], {"a": ("b",), "b": ("a",)}, id="swapped"),
        pytest.param(
            [{"d/a": "X", "d/b": "X"}, {"e/a": "X", "e/b": "X"}], {"e/a": ("d/a",), "e/b": ("d/b",)}, id="folder"
        ),
        pytest.param([{"a": "X"}, {"a": "X", "b": "X"}], {}, id="copied"),
        pytest.param([{"a": "X"}, {"a": "Y", "b": "X"}], {}, id="copied and edited"),
        pytest.param([{"a": "X", "b": "Y"}, {"a": "Z", "b": "X", "c": "Y"}], {}, id="a log rotated"),
        pytest.param([{"a": "X", "b": "X"}, {"b": "X"}], {"b": ("b", "a")}, id="the copy stays"),
        pytest.param([{"a": "X", "b": "Y"}, {"b": "X"}], {"b": ("a",)}, id="moved over another"),
        pytest.param([{"a": "X"}, {"b": "X"}, {"b": "X", "a": "N"}], {"b": ("a",), "a": ("a\n3",)}, id="a new one"),
        pytest.param([{"a": "X"}, {"b": "X"}, {}, {"b": "X"}], {"b": ("a",)}, id="away for a time"),
        pytest.param([{"a": ""}, {"b": ""}], {}, id="unreadable"),
    ],
)
def test_a_file_keeps_its_key_wherever_it_goes(states: list[Files], moved: Mapping[str, tuple[str, ...]]) -> None:
    assert after(*states).moved == moved


def test_a_name_means_what_it_means_in_the_active_generation() -> None:
    first: Files = {"d/a.md": "X", "d/b.md": "Y"}
    swapped = after(first, {"d/a.md": "Y", "d/b.md": "X"})
    back_then = Renaming(Names(), swapped)
    assert back_then.whole("d/a.md") == ("d/b.md",)
    assert Renaming(swapped, swapped).names("d/b.md") == ("d/b.md", "a.md", "a")
    renamed = after(first, {"d/new.md": "X", "d/b.md": "Y"})
    assert Renaming(renamed, renamed).names("d/new.md") == ("d/new.md", "d/a.md", "a.md", "a", "new.md", "new")
    assert Renaming(renamed, Names()).whole("d/new.md") == ("d/a.md",)
    assert renamed.shown("d/a.md") == "d/new.md"
    assert renamed.stored("d/new.md") == "d/a.md"
