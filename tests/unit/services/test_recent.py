"""Values that are kept while they are among the last used."""

from __future__ import annotations

import sys
import threading

from studio.services.recent import Recent


def test_the_one_used_longest_ago_goes() -> None:
    recent = Recent[str, int](2)
    recent.keep("a", 1)
    recent.keep("b", 2)
    assert recent.get("a") == 1
    recent.keep("c", 3)
    assert [recent.get(key) for key in "abc"] == [1, None, 3]
    recent.clear()
    assert recent.get("a") is None


def test_threads_can_share_it() -> None:
    recent = Recent[int, int](1)
    errors: list[Exception] = []

    def use(seed: int) -> None:
        try:
            for step in range(20_000):
                key = (seed * 31 + step * 7) % 9
                assert recent.get(key) in (None, key)
                recent.keep(key, key)
        except Exception as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert errors == []
