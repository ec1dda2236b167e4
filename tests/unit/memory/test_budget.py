from __future__ import annotations

import pytest

from studio.cli.ways_out import typed
from studio.errors import EnvironmentFault, InvariantViolated, MemoryRefused
from studio.memory import GIB, Budget, Grant, amount
from studio.memory.budget import budget_bytes

MB = 1_000_000
MIB = 1 << 20


@pytest.mark.parametrize(
    ("ceiling", "setting_mib", "budget"),
    [
        (8 * GIB, 0, 4 * GIB),
        (3 * GIB, 0, 3 * GIB // 2),
        (3 * GIB // 2, 0, GIB),  # half would be less than a GiB
        (700 * MIB, 0, 700 * MIB),  # never more than is there
        (8 * GIB, 300, 300 * MIB),
        (2 * GIB, 4096, 2 * GIB),
    ],
)
def test_the_rule(ceiling: int, setting_mib: int, budget: int) -> None:
    assert budget_bytes(ceiling, setting_mib) == budget


def test_amounts() -> None:
    assert [amount(size) for size in (0, 95_400_000, 999_600_000, 1_240_000_000)] == [
        "0 MB",
        "95 MB",
        "1.00 GB",
        "1.24 GB",
    ]


def test_what_minimums_leave_is_shared_out() -> None:
    budget = Budget(1000, 2000)
    alone = budget.admit("cache", minimum=100, preferred=300, maximum=900)
    assert alone.size == 900
    # 700 are left of the minimums: 200 + 400 to what each likes best, the last 100 in proportion to 600 and 200.
    other = budget.admit("build", minimum=200, preferred=600, maximum=800)
    assert (alone.size, other.size) == (300 + 75, 600 + 25)
    assert budget.free == 700


def test_what_each_would_like_shrinks_where_there_is_no_room() -> None:
    budget = Budget(1000, 2000)
    first = budget.admit("first", minimum=100, preferred=400)
    second = budget.admit("second", minimum=300, preferred=900)
    assert (first.size, second.size) == (100 + 200, 300 + 400)  # 600 of the 900 that were wished for
    third = budget.admit("third", minimum=600)
    assert (first.size, second.size, third.size) == (100, 300, 600)


def test_components_hear_of_their_new_size() -> None:
    heard: list[tuple[str, int]] = []
    budget = Budget(1000, 2000)
    cache = budget.admit("cache", minimum=100, preferred=800, resized=lambda size: heard.append(("cache", size)))
    assert (cache.size, heard) == (800, [])  # it is told by what is returned
    model = budget.admit("model", minimum=600, preferred=600, resized=lambda size: heard.append(("model", size)))
    assert heard == [("cache", 400)]
    model.release()
    model.release()
    assert heard == [("cache", 400), ("cache", 800)]
    budget.resize(500, 2000)
    assert heard[2:] == [("cache", 500)]
    assert budget.total == 500


def test_a_squeezed_grant_keeps_to_its_minimum_and_nobody_gets_the_rest() -> None:
    budget = Budget(1000, 2000)
    cache = budget.admit("cache", minimum=100, preferred=500)
    other = budget.admit("other", minimum=100, preferred=500, maximum=900)
    cache.squeeze()
    assert (cache.size, other.size) == (100, 500)
    budget.admit("model", minimum=50).release()
    assert (cache.size, other.size) == (100, 500)
    cache.relax()
    assert cache.size == 500


def test_a_refusal_says_what_is_needed_what_is_free_and_who_holds_it() -> None:
    budget = Budget(2000 * MIB, 4000 * MIB)
    budget.admit("application", minimum=200 * MIB)
    budget.admit("model bge-small", minimum=1400 * MIB, preferred=1500 * MIB)
    with pytest.raises(MemoryRefused) as refused:
        budget.admit("model bge-large", minimum=1300 * MIB, smaller="Choose a smaller quantisation of the model")
    assert isinstance(refused.value, EnvironmentFault)
    assert str(refused.value) == (
        "“model bge-large” needs 1.36 GB of memory, and 419 MB of the budget of 2.10 GB are free "
        "(held by “model bge-small” 1.47 GB, “application” 210 MB)."
    )
    assert typed(refused.value.way_out) == (
        "Choose a smaller quantisation of the model, or allow more memory: rag-studio config set memory_budget_mib 2900"
    )
    assert [grant.component for grant in budget.grants] == ["application", "model bge-small"]
    budget.resize(2900 * MIB, 4000 * MIB)  # the way out that was named leads out
    budget.admit("model bge-large", minimum=1300 * MIB)


def test_a_refusal_that_no_budget_can_avoid_says_so() -> None:
    budget = Budget(500 * MB, 1000 * MB)
    with pytest.raises(MemoryRefused) as refused:
        budget.admit("build", minimum=1200 * MB, smaller="Choose a smaller batch")
    assert str(refused.value) == "“build” needs 1.20 GB of memory, and 500 MB of the budget of 500 MB are free."
    assert typed(refused.value.way_out) == (
        "Choose a smaller batch: no budget would do, as the program can have 1.00 GB here."
    )
    with pytest.raises(MemoryRefused) as refused:
        budget.admit("build", minimum=600 * MB)
    assert typed(refused.value.way_out) == "Allow more memory: rag-studio config set memory_budget_mib 573"


def test_a_smaller_budget_keeps_what_was_promised() -> None:
    budget = Budget(1000, 2000)
    grant = budget.admit("model", minimum=600, preferred=800)
    budget.resize(400, 2000)
    assert (grant.size, budget.free) == (600, -200)
    with pytest.raises(MemoryRefused, match="and 0 MB of the budget"):
        budget.admit("cache", minimum=1)
    grant.release()
    assert budget.free == 400


def test_a_grant_ends_with_its_block() -> None:
    budget = Budget(1000, 2000)
    with budget.admit("build", minimum=900):
        assert budget.free == 100
    assert budget.free == 1000


def test_a_component_that_fails_does_not_disturb_the_others(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[int] = []

    def fail(size: int) -> None:
        raise OSError("no")

    budget = Budget(1000, 2000)
    budget.admit("bad", minimum=0, preferred=500, resized=fail)
    budget.admit("good", minimum=0, preferred=500, resized=heard.append)
    budget.admit("model", minimum=500)
    assert heard == [250]
    assert "“bad” did not take its new size" in caplog.text


def test_grants_may_be_released_in_a_callback() -> None:
    heard: list[int] = []
    budget = Budget(1000, 2000)
    held: list[Grant] = []
    budget.admit("a", minimum=0, preferred=400, resized=lambda size: held.pop().release() if held else None)
    held.append(budget.admit("b", minimum=0, preferred=400, resized=heard.append))
    budget.admit("c", minimum=600)
    assert heard == []  # what was released hears nothing more
    assert budget.grants[0].size == 400


@pytest.mark.parametrize("sizes", [(5, 4, 6), (1, 3, 2), (-1, 3, 4)])
def test_senseless_requests_are_bugs(sizes: tuple[int, int, int]) -> None:
    minimum, preferred, maximum = sizes
    with pytest.raises(InvariantViolated):
        Budget(1000, 2000).admit("a", minimum=minimum, preferred=preferred, maximum=maximum)


def test_a_component_asks_once() -> None:
    budget = Budget(1000, 2000)
    budget.admit("a", minimum=1)
    with pytest.raises(InvariantViolated, match="“a”"):
        budget.admit("a", minimum=1)
