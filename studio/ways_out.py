"""Ways out: what a person can do about something, as values that each face puts into words of its own.

The command line words them as what to type (`studio.cli.ways_out`), the window as what to click
(`studio.viewmodels.ways_out`). A way out that reads the same in both is a plain sentence and needs no value.

A way out stands in a text as its mark, which is what `str()` and f-strings give: its kind and its values as JSON
between two noncharacters. So a text keeps it through the catalog, a worker's channel and other texts, and is worded
where it is shown. A mark that was cut off, or that none of these kinds made, is left out of what is shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeAlias, get_args, get_type_hints

_BEGIN, _END = "\ufdd0", "\ufdd1"  # Unicode keeps them for the inside of a program: no text of others has them
_MARK = re.compile(f"( ?){_BEGIN}([^{_BEGIN}{_END}]*)(?:{_END}|$)")


class _Marked:
    """Stands in a text as its mark."""

    __slots__ = ()

    def __str__(self) -> str:
        values: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        return f"{_BEGIN}{json.dumps([type(self).__name__, values])}{_END}"


# ---------------------------------------------------------------- what is stored is damaged


@dataclass(frozen=True, slots=True)
class RunRepair(_Marked):
    """Let doctor mend it. `effect` says what that does, as “reads the documents again”; "" for just: do it."""

    effect: str = ""


@dataclass(frozen=True, slots=True)
class RestoreCatalog(_Marked):
    """Let doctor bring the catalog back. `running`: other programs have it open and have to end first."""

    running: bool = False


@dataclass(frozen=True, slots=True)
class AdoptFiles(_Marked):
    """Let doctor take in the files of a knowledge base that the catalog does not know."""


@dataclass(frozen=True, slots=True)
class FinishDeletion(_Marked):
    """Let a deletion that was interrupted come to its end."""


@dataclass(frozen=True, slots=True)
class PutFileBack(_Marked):
    """Bring the file back that a document was made of, and have it read again."""


@dataclass(frozen=True, slots=True)
class Diagnose(_Marked):
    """See what is wrong with what is stored."""


@dataclass(frozen=True, slots=True)
class SeeWhatIsMissing(_Marked):
    """See why searches are answered by one side only."""


@dataclass(frozen=True, slots=True)
class ExportAnother(_Marked):
    """See what is wrong with a generation, or export another one."""


@dataclass(frozen=True, slots=True)
class CollectGenerations(_Marked):
    """Nothing but an older generation is affected, which is deleted when it is no longer kept."""


@dataclass(frozen=True, slots=True)
class NameAdopted(_Marked):
    """Look at the settings of a knowledge base that was adopted without its name, and name it."""

    kb_id: str


@dataclass(frozen=True, slots=True)
class AnotherDataFolder(_Marked):
    """Keep everything in another folder. `instead` is what can be done besides, as “Free some space,”; `that` completes
    “another folder …”, as “on a file system with file locks”.
    """

    instead: str = ""
    that: str = ""


# ---------------------------------------------------------------- jobs


@dataclass(frozen=True, slots=True)
class GoOn(_Marked):
    """Let an interrupted job go on. `then`: after what was said before this."""

    then: bool = False


@dataclass(frozen=True, slots=True)
class ThenRepair(_Marked):
    """RunRepair once more, after what was said before this."""


@dataclass(frozen=True, slots=True)
class AllowRemovals(_Marked):
    """Remove documents that are kept although their files are gone. `gone`: all are, or the folder itself is."""

    kb: str
    folders: tuple[str, ...]
    gone: bool = False


@dataclass(frozen=True, slots=True)
class PromoteAnyway(_Marked):
    """Change what the gate demands, or promote the generation all the same."""

    number: int


# ---------------------------------------------------------------- models, searching and memory


@dataclass(frozen=True, slots=True)
class InstallModel(_Marked):
    """Install a model. `again`: it is there, and damaged; `check`: it is there, and may be damaged."""

    model: str
    again: bool = False
    check: bool = False


@dataclass(frozen=True, slots=True)
class CopyModel(_Marked):
    """Fetch a model when there is a network, or copy it to this computer."""


@dataclass(frozen=True, slots=True)
class InstallReranker(_Marked):
    """Use a reranker that is `usable` (their names, as text), install one, or use one of LanceDB's (`others`)."""

    usable: str = ""
    others: str = ""


@dataclass(frozen=True, slots=True)
class ChooseReranker(_Marked):
    """Let a reranker, which was taken for an embedding model, order the results."""

    model: str


@dataclass(frozen=True, slots=True)
class SmallerReranker(_Marked):
    """Choose a smaller reranker, or none."""


@dataclass(frozen=True, slots=True)
class FasterModel(_Marked):
    """Choose a smaller embedding model, or give it more threads."""


@dataclass(frozen=True, slots=True)
class Tune(_Marked):
    """Find a better vector index for a knowledge base."""

    kb: str


@dataclass(frozen=True, slots=True)
class AllowMemory(_Marked):
    """Set a memory budget of so many MiB. `instead` says how less would be needed, "" where it would not."""

    mib: int
    instead: str = ""


# ---------------------------------------------------------------- what was named does not exist


class Listing(StrEnum):
    """What can be listed, to see what there is."""

    DOCUMENTS = "documents"
    GENERATIONS = "generations"
    JOBS = "jobs"
    PINS = "pinned queries"
    QUERIES = "saved queries"
    WATCHED = "watched folders"


@dataclass(frozen=True, slots=True)
class See(_Marked):
    """See what there is."""

    what: Listing


@dataclass(frozen=True, slots=True)
class NameDocument(_Marked):
    """Name a document in a way that is understood. `unique`: so that only one is meant."""

    unique: bool = False


@dataclass(frozen=True, slots=True)
class PassageIds(_Marked):
    """See the ids of passages."""


@dataclass(frozen=True, slots=True)
class CreateKb(_Marked):
    """Create the first knowledge base."""


@dataclass(frozen=True, slots=True)
class AnotherFile(_Marked):
    """Write to another file, or allow that one is replaced."""


@dataclass(frozen=True, slots=True)
class JudgedQueries(_Marked):
    """Judge results, or take judged queries from files."""


@dataclass(frozen=True, slots=True)
class BothFiles(_Marked):
    """Give the queries and their judgments."""


WayOut: TypeAlias = (
    RunRepair | RestoreCatalog | AdoptFiles | FinishDeletion | PutFileBack | Diagnose | SeeWhatIsMissing | ExportAnother
    | CollectGenerations | NameAdopted | AnotherDataFolder | GoOn | ThenRepair | AllowRemovals | PromoteAnyway
    | InstallModel | CopyModel | InstallReranker | ChooseReranker | SmallerReranker | FasterModel | Tune | AllowMemory
    | See | NameDocument | PassageIds | CreateKb | AnotherFile | JudgedQueries | BothFiles
)  # fmt: skip
KINDS: tuple[type[WayOut], ...] = get_args(WayOut)
_KINDS = {kind.__name__: kind for kind in KINDS}


# ---------------------------------------------------------------- in a text


def ways_in(text: str) -> list[WayOut]:
    """The ways out that stand in a text."""
    return [way for mark in _MARK.finditer(text) if (way := _way(mark[2])) is not None]


def worded(text: str, words: Callable[[WayOut], str]) -> str:
    """A text with its ways out in words; one without words goes, with the space before it."""

    def put(mark: re.Match[str]) -> str:
        way = _way(mark[2])
        said = words(way) if way is not None else ""
        return f"{mark[1]}{said}" if said else ""

    return _MARK.sub(put, text) if _BEGIN in text else text


def without_ways(text: str) -> str:
    """A text for a log, which is no face of the program."""
    return worded(text, lambda way: "")


def _way(mark: str) -> WayOut | None:
    try:
        name, values = json.loads(mark)
        kind = _KINDS[name]
        typed = {key: _typed(get_type_hints(kind)[key], value) for key, value in values.items()}
        return kind(**typed)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _typed(hint: Any, value: Any) -> Any:
    """A value out of JSON. Raises TypeError or ValueError for one of another type."""
    if hint is Listing:
        return Listing(value)
    if hint == tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise TypeError(hint)
        return tuple(value)
    if type(value) is not hint:
        raise TypeError(hint)
    return value
