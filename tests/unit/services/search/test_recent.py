"""Values that are kept while they are among the last used."""

from __future__ import annotations

from studio.services.search.recent import Recent


def test_the_one_used_longest_ago_goes() -> None:
    recent = Recent[str, int](2)
    recent.keep("a", 1)
    recent.keep("b", 2)
    assert recent.get("a") == 1
    recent.keep("c", 3)
    assert [recent.get(key) for key in "abc"] == [1, None, 3]
    recent.clear()
    assert recent.get("a") is None
