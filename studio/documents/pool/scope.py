"""Which files a parser process may open, and which files it can therefore be given."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.confinement import Allowed, available
from studio.confinement.places import granted


@dataclass(frozen=True, slots=True)
class Wish:
    """A file to be read, where it really lies, and the folders that its job is about. `program` recognises text."""

    target: str
    roots: tuple[Path, ...]
    program: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What a parser process may read; `places` is None for everything."""

    places: frozenset[str] | None = None
    roots: tuple[Path, ...] = ()
    program: str = ""

    def fits(self, wish: Wish) -> bool:
        """Whether the process can be given a file of this job, and reaches no more than the job is about."""
        if self.places is None:
            return True
        if (self.roots, self.program) != (wish.roots, wish.program):
            return False
        target = Path(wish.target)
        return wish.target in self.places or any(str(folder) in self.places for folder in target.parents)

    def allowed(self, folder: str) -> Allowed | None:
        """What the process is held to, its own folder included; None where it is not confined."""
        if self.places is None:
            return None
        return Allowed(tuple(sorted(self.places)), (folder,), self.program)


UNCONFINED = Scope()


class Scopes:
    """Makes the scopes of a pool's workers. No worker opens a file in the `private` folders, but one to be read."""

    def __init__(self, private: Sequence[Path], *, confined: bool) -> None:
        self._private = tuple(private)
        self._confined = confined

    def wish(self, path: Path, roots: Sequence[Path], program: str | None) -> Wish:
        """What reading a file of a job takes; without `roots`, the job is the file's folder. Blocking."""
        target = os.path.realpath(path)
        return Wish(target, tuple(roots) or (path.parent,), program or "")

    def scope(self, wish: Wish) -> Scope:
        """For a new process. Blocking."""
        if not self._confined or not available():
            return UNCONFINED
        places = frozenset((*granted(wish.roots, self._private), wish.target))
        return Scope(places, wish.roots, wish.program)
