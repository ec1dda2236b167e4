from __future__ import annotations

import os

import pytest

from studio.errors import InvariantViolated
from studio.memory import APPLICATION, Holding, Kind, ProcessReading
from studio.memory.ledger import Ledger

HERE = os.getpid()
READINGS = {
    HERE: ProcessReading(resident=1000, private=700, mapped=300),
    11: ProcessReading(resident=500, private=100, mapped=400, proportional=350),
    12: ProcessReading(resident=500, private=100, mapped=400, proportional=250),
}


def ledger(**workers: list[int]) -> Ledger:
    return Ledger(lambda: workers, READINGS.get)


def test_processes_by_what_is_their_own_and_what_is_mapped() -> None:
    # Files that both workers map count once: each has its share of them.
    assert ledger(model=[11, 12, 99], parsers=[]).read() == (
        Holding(APPLICATION, 700, 300),
        Holding("model", 200, 250 + 150),
        Holding("parsers"),
    )


def test_what_a_part_holds_is_taken_off_its_process() -> None:
    book = ledger(model=[11])
    book.register("vector caches", lambda: 200)
    book.register("keyword index", lambda: 120, Kind.MAPPED)
    book.register("keyword index", lambda: 30)
    book.register("model file", lambda: 240, Kind.MAPPED, inside="model")
    book.register("page cache", lambda: 5000, Kind.CACHED)
    found = {holding.name: holding for holding in book.read()}
    assert found == {
        APPLICATION: Holding(APPLICATION, 470, 180),
        "model": Holding("model", 100, 10),
        "vector caches": Holding("vector caches", 200),
        "keyword index": Holding("keyword index", 30, 120),
        "model file": Holding("model file", 0, 240),
        "page cache": Holding("page cache", cached=5000),
    }
    assert sum(holding.counted for holding in found.values()) == 1000 + 350


def test_a_part_never_holds_more_than_its_process() -> None:
    book = ledger()
    book.register("vector caches", lambda: 10**12)
    book.register("buffers", lambda: 50, inside="a process that does not run")
    book.register("odd", lambda: -5)
    assert book.read() == (
        Holding(APPLICATION, 0, 300),
        Holding("vector caches", 700),
        Holding("buffers"),
        Holding("odd"),
    )


def test_parts_come_and_go() -> None:
    book = ledger()
    forget = book.register("preview", lambda: 10)
    assert book.read()[1] == Holding("preview", 10)
    forget()
    forget()
    assert book.read() == (Holding(APPLICATION, 700, 300),)


def test_a_part_that_cannot_tell_hides_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    failing = True

    def held() -> int:
        if failing:
            raise OSError("gone")
        return 10

    book = ledger()
    book.register("preview", held)
    book.register("buffers", lambda: 20)
    for _ in range(3):
        assert book.read()[1:] == (Holding("preview"), Holding("buffers", 20))
    assert caplog.text.count("what “preview” holds cannot be read") == 1  # not with every reading
    failing = False
    assert book.read()[1] == Holding("preview", 10)


def test_a_process_is_no_part_of_itself() -> None:
    with pytest.raises(InvariantViolated, match="“application”"):
        ledger().register(APPLICATION, lambda: 1)
