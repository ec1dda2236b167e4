"""What a restarted program shows of a knowledge base, and what an interrupted command may have made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from studio.bootstrap import Services, open_services
from studio.domain import GenerationState, SearchMode, SearchRequest
from studio.index.generations import READABLE

KB = "Notes"
KEEP_ARCHIVED = 3

Texts = frozenset[str]


class Failed(Exception):
    """Something that must hold does not."""


@dataclass(frozen=True, slots=True)
class State:
    """What a restarted program shows."""

    active: int
    states: dict[int, GenerationState]
    texts: dict[int, Texts]
    copies: dict[str, Texts]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A command, and what it may change.

    `target` is what a new generation (or a copy) consists of, `may_become` the generation that it may make active (0:
    the new one), `keep` how many archived generations outlive it at least.
    """

    command: tuple[str | Path, ...]
    target: Texts | None = None
    may_become: int | None = None
    keep: int = KEEP_ARCHIVED
    happened: Callable[[State, State], bool] = lambda before, after: after.active != before.active


async def observe(data_dir: Path) -> State:
    """Open everything anew and look at it. Raises Failed where the doctor objects."""
    async with open_services(data_dir) as services:
        wrong = [check for check in await services.doctor.check() if not check.ok]
        if wrong:
            raise Failed(f"the doctor objects: {wrong}")
        items = await services.maintenance.generations(KB)
        active = [item.number for item in items if item.state is GenerationState.ACTIVE]
        kb = await services.library.get(KB)
        if active != [kb.active_generation]:
            raise Failed(f"active are {active}, the catalog says {kb.active_generation}")
        return State(
            active[0],
            {item.number: item.state for item in items},
            {item.number: await _texts(services, KB, item.number) for item in items if item.state in READABLE},
            {
                other.name: await _texts(services, other.name, None)
                for other in await services.library.list()
                if other.name != KB and other.active_generation is not None
            },
        )


async def _texts(services: Services, kb: str, generation: int | None) -> Texts:
    """What a search finds and the documents' stored texts, which must be the same. Raises Failed."""
    request = SearchRequest((kb,), "whales", mode=SearchMode.KEYWORD, limit=100, generation=generation)
    response = await services.search.search(request)
    number = response.generations[kb]
    found = frozenset(result.content for result in response.results)
    stored = set()
    for record in await services.library.documents(kb, number):
        stored.add((await services.search.document_text(kb, number, record.document_id)).text)
    if found != stored or len(response.results) != len(found):
        raise Failed(f"generation {number} of {kb} finds {sorted(found)} and stores {sorted(stored)}")
    return found


def check(before: State, after: State, attempt: Attempt) -> None:
    """Raise Failed unless `after` is what was there before, or what the command makes of it."""
    new = after.texts.keys() - before.texts.keys()
    for number, texts in after.texts.items():
        expected = attempt.target if number in new else before.texts[number]
        if texts != expected:
            raise Failed(f"generation {number} has {sorted(texts)} and not {sorted(expected or ())}")
    allowed = {before.active} | ({attempt.may_become} if attempt.may_become else set())
    if attempt.may_become == 0:
        allowed |= new
    if after.active not in allowed:
        raise Failed(f"generation {after.active} is active and not one of {sorted(allowed)}")
    lost = _kept(before, after.active, attempt.keep) - after.texts.keys()
    if lost:
        raise Failed(f"generations {sorted(lost)} are gone")
    for name, texts in after.copies.items():
        if texts != attempt.target:
            raise Failed(f"{name} has {sorted(texts)} and not {sorted(attempt.target or ())}")


def _kept(before: State, active: int, keep: int) -> set[int]:
    """What no policy may take once `active` is the active generation."""
    waiting = {n for n in before.texts if before.states[n] is GenerationState.READY and n > active}
    rest = sorted(before.texts.keys() - waiting - {active}, reverse=True)
    return waiting | set(rest[:keep]) | ({active} & before.texts.keys())
