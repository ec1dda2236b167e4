"""What the program gives up when memory is short, in which order, and how it gets it back.

`ORDER` is the order of sacrifice. Parts of the program register what they do at a step of it. When a level is reached
its steps are taken one after another, and memory is read anew after each: as soon as a reading by itself no longer
reaches the level, no further step is taken. When the level ends, its steps are taken back in reverse order.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from studio.errors import InvariantViolated
from studio.memory.pressure import Level

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """One sacrifice: its name, the level it belongs to, and what it means for people."""

    name: str
    level: Level
    sentence: str


SMALLER_BATCHES = Step(
    "smaller_batches", Level.ELEVATED, "Memory is getting short: indexing goes on in smaller batches."
)
SMALLER_CACHES = Step(
    "smaller_caches", Level.ELEVATED, "Memory is getting short: less is kept in memory for the next search."
)
FLUSH = Step("flush", Level.ELEVATED, "Memory is getting short: what is indexed goes to the disk earlier.")
PAUSE_INGEST = Step("pause_ingest", Level.CRITICAL, "Ingest paused: memory is short. Search still works.")
UNLOAD_IDLE_MODELS = Step(
    "unload_idle_models",
    Level.CRITICAL,
    "Memory is short: models that are not in use are unloaded, and load again when they are needed.",
)
DROP_CACHES = Step(
    "drop_caches", Level.CRITICAL, "Memory is short: nothing is kept for the next search, which may take longer."
)
ORDER = (SMALLER_BATCHES, SMALLER_CACHES, FLUSH, PAUSE_INGEST, UNLOAD_IDLE_MODELS, DROP_CACHES)


@dataclass(frozen=True, slots=True, eq=False)
class Action:
    """What one part of the program does at a step.

    `again` is called instead of `engage` with every later reading that reaches the level: there may be something new to
    give up. Without it one that fails is not tried again before the level has ended. `release` is called then too, as
    something may have been done by half.
    """

    step: Step
    part: str
    engage: Callable[[], Awaitable[None]]
    release: Callable[[], Awaitable[None]]
    again: Callable[[], Awaitable[None]] | None = None


class Sacrifices:
    """Takes the steps and takes them back. To be used on one event loop, one `follow()` at a time."""

    def __init__(self) -> None:
        self._actions: list[Action] = []
        self._engaged: list[Action] = []
        self._failed: set[Action] = set()

    @property
    def engaged(self) -> list[Action]:
        """What is given up now, in the order in which it was; without what failed."""
        return [action for action in self._engaged if action not in self._failed]

    def register(
        self,
        step: Step,
        part: str,
        engage: Callable[[], Awaitable[None]],
        release: Callable[[], Awaitable[None]],
        again: Callable[[], Awaitable[None]] | None = None,
    ) -> Callable[[], None]:
        """Let `part` do something at a step, and `again` with every later reading that is as bad; parts of one step act
        in the order of registration.

        Returns what takes the registration back; after that nothing is called any more, not even `release`.
        """
        if step not in ORDER:
            raise InvariantViolated(f"The step “{step.name}” has no place in the order of sacrifice.")
        action = Action(step, part, engage, release, again)
        self._actions.append(action)
        self._actions.sort(key=lambda action: ORDER.index(action.step))

        def forget() -> None:
            for actions in (self._actions, self._engaged):
                if action in actions:
                    actions.remove(action)
            self._failed.discard(action)

        return forget

    async def follow(self, held: Level, pressing: Level, look: Callable[[], Awaitable[Level]]) -> None:
        """Give up what the reading `pressing` asks for, and take back what is beyond the level `held`.

        `look` reads memory anew and returns the level that reading reaches.
        """
        for action in reversed([action for action in self._engaged if action.step.level > held]):
            if action in self._engaged:
                self._engaged.remove(action)
                self._failed.discard(action)
                await self._release(action)
        for action in list(self._actions):
            if action.step.level > pressing:
                break
            if action in self._actions and (action not in self._engaged or action.again is not None):
                await self._engage(action)
                pressing = await look()

    async def _engage(self, action: Action) -> None:
        first = action not in self._engaged
        if first:
            self._engaged.append(action)  # also when it fails: what is half done is taken back too
        try:
            await (action.engage if first or action.again is None else action.again)()
        except Exception:
            if action not in self._failed:  # one that is done again and again is told once
                log.exception("memory: %s of %s failed", action.step.name, action.part)
            self._failed.add(action)
            return
        self._failed.discard(action)
        if first:
            log.warning("memory: %s of %s engaged: %s", action.step.name, action.part, action.step.sentence)

    async def _release(self, action: Action) -> None:
        try:
            await action.release()
        except Exception:
            log.exception("memory: taking back %s of %s failed", action.step.name, action.part)
            return
        log.info("memory: %s of %s taken back", action.step.name, action.part)
