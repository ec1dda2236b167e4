"""The question that is asked before a model is loaded: is there room for it?"""

from __future__ import annotations

from typing import Protocol


class Admission(Protocol):
    """The owner of the memory budget, as models see it."""

    async def admit(self, component: str, needed_bytes: int, smaller: str) -> None:
        """Reserve memory for a component, named as in “the model bge-small”; what it held before is replaced.

        `smaller` tells what a person can choose to need less, as the beginning of a sentence. Raises an
        EnvironmentFault with the numbers and the way out when there is no room; then nothing is reserved.
        """

    def release(self, component: str) -> None:
        """The component is gone. Idempotent; one that was never admitted is ignored."""


class Unlimited:
    """There is always room."""

    async def admit(self, component: str, needed_bytes: int, smaller: str) -> None:
        """Do nothing."""

    def release(self, component: str) -> None:
        """Do nothing."""
