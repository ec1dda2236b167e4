"""The memory ledger and its settings on the command line."""

from __future__ import annotations

from tests.helpers.command import Program


def test_the_ledger_adds_up(program: Program) -> None:
    found = program.ok("memory")
    assert set(found) == {
        "level", "used_bytes", "budget_bytes", "ceiling_bytes", "sentence", "reason", "parts",
    }  # fmt: skip
    assert found["level"] in ("normal", "elevated", "critical")
    assert (found["level"] == "normal") is (found["reason"] == "")
    parts = {part["name"]: part for part in found["parts"]}
    assert parts["application"]["private_bytes"] > 20_000_000, "Python alone takes as much"
    counted = sum(part["private_bytes"] + part["mapped_bytes"] for part in parts.values())
    assert found["used_bytes"] == counted
    assert found["budget_bytes"] == max(min(1 << 30, found["ceiling_bytes"]), found["ceiling_bytes"] // 2)


def test_the_budget_is_the_one_that_was_set(program: Program) -> None:
    assert program.ok("config", "get", "model_idle_minutes") == {"model_idle_minutes": 15}
    program.ok("config", "set", "memory_budget_mib", "700")
    assert program.ok("memory")["budget_bytes"] == 700 << 20
    text = program.run("memory").out
    assert "of the budget of 734.0 MB are in use." in text.splitlines()[0]
    assert any(line.startswith("Program ") for line in text.splitlines())


def test_the_idle_time_is_a_number_of_minutes(program: Program) -> None:
    assert "a whole number from 0" in program.run("config", "set", "model_idle_minutes", "-1").err
    assert program.ok("config", "set", "model_idle_minutes", "0") == {"model_idle_minutes": 0}
