#!/usr/bin/env python3
"""Write `constraints.txt` from the environment the tests have passed in.

    .venv/bin/python packaging/freeze_constraints.py

Only what `rag-studio[test]` needs, directly or through other packages, is pinned; whatever else the
environment holds is left out. Qt is the exception: its version depends on Python's (see pyproject.toml).
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TARGET = Path(__file__).resolve().parent / "constraints.txt"
ROOT_PACKAGE = "rag-studio"
QT_PACKAGES = {
    "pyside6-essentials": ("6.11.3", "6.12.0"),
    "pyside6-addons": ("6.11.3", None),
    "pyside6-pdf": (None, "6.12.0.140"),
    "shiboken6": ("6.11.3", "6.12.0"),
}
"""The versions for Python below 3.12 and from 3.12 on."""

HEADER = """\
# The exact versions RAG Studio was tested with. Written by packaging/freeze_constraints.py.
"""


def closure(root: str, extras: set[str]) -> dict[str, str]:
    """Installed name and version of everything a package with these extras needs here, without itself."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(root, extra) for extra in ("", *sorted(extras))]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            sys.exit(f"{name} is needed but not installed; run `make test` first.")
        found[name] = installed.version
        for line in installed.requires or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                key = str(canonicalize_name(needed.name))
                waiting += [(key, wanted) for wanted in ("", *needed.extras)]
    del found[root]
    return found


def constraint_lines(versions: dict[str, str]) -> list[str]:
    """One pin a line, sorted; Qt's with the marker of the Python versions it is for."""
    pins = {name: [f"{name}=={version}"] for name, version in versions.items() if name not in QT_PACKAGES}
    for name, (below, above) in QT_PACKAGES.items():
        pins[name] = [f"{name}=={below}; python_version < '3.12'"] if below else []
        pins[name] += [f"{name}=={above}; python_version >= '3.12'"] if above else []
    return [line for name in sorted(pins) for line in pins[name]]


def main() -> None:
    """Write the file."""
    lines = constraint_lines(closure(ROOT_PACKAGE, {"test"}))
    TARGET.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{TARGET}: {len(lines)} pins")


if __name__ == "__main__":
    main()
