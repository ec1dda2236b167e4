"""The memory budget and what was granted of it.

Every part of the program that takes much memory asks first. It names a minimum, without which it cannot work, what it
would like to have, and the most it can use. Minimums are kept free for those who hold a grant; what is left is shared
out, first up to what each would like, then up to the most, and anew whenever one comes or goes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType

from studio.errors import InvariantViolated, MemoryRefused
from studio.ways_out import AllowMemory

GIB = 1 << 30

log = logging.getLogger(__name__)


def budget_bytes(ceiling: int, setting_mib: int = 0) -> int:
    """The budget: the setting, or half of `ceiling` and at least 1 GiB where that is 0; never more than `ceiling`.

    `ceiling` is the smaller of the machine's memory and the limit of its control group, in bytes.
    """
    return min(ceiling, setting_mib << 20 if setting_mib else max(GIB, ceiling // 2))


def amount(size: float) -> str:
    """`95 MB`, `1.24 GB`; decimal units, as the window shows them."""
    return f"{size / 1e9:.2f} GB" if size >= 999_500_000 else f"{size / 1e6:.0f} MB"


class Grant:
    """What one component may use, in bytes: `size`, from `minimum` to `maximum`. Released by `release()` or `with`."""

    def __init__(
        self, budget: Budget, component: str, sizes: tuple[int, int, int], resized: Callable[[int], None] | None
    ) -> None:
        self._budget = budget
        self._resized = resized
        self._squeezed = False
        self.component = component
        self.minimum, self.preferred, self.maximum = sizes
        self.size = self.told = self.minimum

    def squeeze(self) -> None:
        """Keep to the minimum until `relax()`; what is given up stays free."""
        self._squeezed = True
        self._budget.share_out()

    def relax(self) -> None:
        """End of `squeeze()`."""
        self._squeezed = False
        self._budget.share_out()

    def release(self) -> None:
        """Give everything back; a second time does nothing."""
        self._budget.release(self)

    def offer(self, size: int) -> None:
        """Set the size, without a word to the component."""
        self.size = self.minimum if self._squeezed else size

    def tell(self) -> None:
        """Tell the component its size if it does not know it yet."""
        if self.size == self.told:
            return
        self.told = self.size
        try:
            if self._resized is not None:
                self._resized(self.size)
        except Exception:  # a fault of one component is not one of those that come and go
            log.exception("“%s” did not take its new size of %s", self.component, amount(self.size))

    def __enter__(self) -> Grant:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Budget:
    """Hands out grants and keeps the sum of their minimums within `total` bytes.

    To be used from one thread. Callbacks run before the call that caused them returns; in one a grant may be asked for
    or released.
    """

    def __init__(self, total: int, ceiling: int) -> None:
        self._total = total
        self._ceiling = ceiling
        self._grants: dict[str, Grant] = {}

    @property
    def total(self) -> int:
        return self._total

    @property
    def ceiling(self) -> int:
        """What the computer or the control group allows at most."""
        return self._ceiling

    @property
    def free(self) -> int:
        """What a new minimum may take. Negative when the budget was made smaller than what is promised."""
        return self._total - sum(grant.minimum for grant in self._grants.values())

    @property
    def grants(self) -> list[Grant]:
        """Everything that was granted, in the order of admission."""
        return list(self._grants.values())

    def admit(
        self,
        component: str,
        *,
        minimum: int,
        preferred: int | None = None,
        maximum: int | None = None,
        resized: Callable[[int], None] | None = None,
        smaller: str = "",
    ) -> Grant:
        """Grant `component` at least `minimum` bytes, of `preferred` and `maximum` what there is room for.

        `component` names it in messages ("the model bge-small"). `resized` is called with the new size in bytes when
        others come and go. `smaller` tells what a person can choose to need less ("Choose a smaller quantisation of
        the model"). Raises MemoryRefused when the minimum finds no room.
        """
        preferred = minimum if preferred is None else preferred
        maximum = preferred if maximum is None else maximum
        if component in self._grants or not 0 <= minimum <= preferred <= maximum:
            raise InvariantViolated(
                f"Memory for “{component}” is held already or asked for in the wrong order: "
                f"{minimum}, {preferred}, {maximum}."
            )
        if minimum > self.free:
            raise MemoryRefused(
                f"“{component}” needs {amount(minimum)} of memory, and {amount(max(0, self.free))} of the budget of "
                f"{amount(self._total)} are free{self._held_by()}.",
                way_out=self._way_out(minimum, smaller),
            )
        grant = self._grants[component] = Grant(self, component, (minimum, preferred, maximum), resized)
        self._divide()
        grant.told = grant.size  # it is told by what is returned
        self._tell()
        return grant

    def release(self, grant: Grant) -> None:
        """Give back what was granted; a second time does nothing."""
        if self._grants.get(grant.component) is grant:
            del self._grants[grant.component]
            self.share_out()

    def resize(self, total: int, ceiling: int) -> None:
        """Set another budget. Grants keep their minimums even where these no longer fit."""
        self._total, self._ceiling = total, ceiling
        self.share_out()

    def share_out(self) -> None:
        """Divide what the minimums leave, and tell every component whose size changed."""
        self._divide()
        self._tell()

    def _divide(self) -> None:
        grants = self.grants
        room = max(0, self.free)
        liked = _parts(room, [grant.preferred - grant.minimum for grant in grants])
        more = _parts(room - sum(liked), [grant.maximum - grant.preferred for grant in grants])
        for grant, first, second in zip(grants, liked, more, strict=True):
            grant.offer(grant.minimum + first + second)

    def _tell(self) -> None:
        # One that is told may release another or start a round of its own.
        for grant in self.grants:
            if self._grants.get(grant.component) is grant:
                grant.tell()

    def _way_out(self, minimum: int, smaller: str) -> str:
        """What a person can do for `minimum` bytes to find room."""
        needed_mib = -(-(self._total - self.free + minimum) // (1 << 20))
        if needed_mib << 20 > self._ceiling:
            larger = f"no budget would do, as the program can have {amount(self._ceiling)} here"
            return f"{smaller or 'Close other knowledge bases'}: {larger}."
        return str(AllowMemory(needed_mib, smaller))

    def _held_by(self) -> str:
        held = sorted(self._grants.values(), key=lambda grant: -grant.minimum)
        names = [f"“{grant.component}” {amount(grant.minimum)}" for grant in held if grant.minimum]
        return f" (held by {', '.join(names)})" if names else ""


def _parts(room: int, wants: list[int]) -> list[int]:
    """Each of `wants` as a whole where all fit, in proportion where they do not."""
    wanted = sum(wants)
    if wanted <= room:
        return wants
    return [room * want // wanted for want in wants]
