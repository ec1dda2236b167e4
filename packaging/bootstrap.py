#!/usr/bin/env python3
"""Set RAG Studio up in this checkout, then run or test it.

    python3 packaging/bootstrap.py setup | run | test | lint   [--verbose] [arguments for the command]

It needs nothing but Python. Every step is skipped when its result is already there. Nothing is ever
asked. What the steps print goes to `.venv/setup.log`, or to the terminal with --verbose.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import system_packages as system
from setup_commands import Runner, SetupFailed, child_environment, say, works

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOG = VENV / "setup.log"
STAMPS = VENV / "setup.json"
CONSTRAINTS = ROOT / "packaging" / "constraints.txt"
SUPPORTED = ((3, 13), (3, 12), (3, 11))
MODEL = "all-MiniLM-L6-v2"
LLAMA = "llama-cpp-python"
TEST_MODELS_VARIABLE = "RAG_STUDIO_TEST_MODELS"
TEST_DATA = VENV / "test-data"
"""The data directory whose model the tests use: those of the person who runs them are none of their business."""
NEEDED_DISK_BYTES = 4 * 10**9
SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile", "--max-worker-restart", "0")
"""Two files of tests at a time, which takes half as long: most wait for processes that they kill. `-n 0` behind it
undoes that. A process of tests that crashes is not replaced, which xdist would do for ever, but ends the run.
"""
TESTS_LIMIT_S = 80 * 60.0
"""All tests take less than half as long on two cores that have nothing else to do."""


# ---------------------------------------------------------------- Python and its environment


def python_version(executable: str) -> tuple[int, int] | None:
    """(major, minor) of an interpreter, None if it does not run."""
    question = "import sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run([executable, "-c", question], capture_output=True, timeout=60, check=True).stdout
        major, minor = answer.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def choose_python(running: tuple[int, int], running_path: str, candidates: Sequence[str]) -> str:
    """The interpreter to build the environment with: this one if it is supported, else the newest that is.

    Raises SetupFailed when there is none.
    """
    if running in SUPPORTED:
        return running_path
    found = {python_version(path): path for path in candidates}
    for version in SUPPORTED:
        if version in found:
            return found[version]
    raise SetupFailed(
        f"RAG Studio needs Python 3.11, 3.12 or 3.13, and this is Python {running[0]}.{running[1]}. Install one of "
        "them (from your system's packages or python.org) and run: python3.12 packaging/bootstrap.py run"
    )


def find_pythons() -> list[str]:
    """Interpreters of supported versions on this machine."""
    found = [shutil.which(f"python{major}.{minor}") for major, minor in SUPPORTED]
    launcher = shutil.which("py")
    if launcher:
        for major, minor in SUPPORTED:
            asked = subprocess.run(
                [launcher, f"-{major}.{minor}", "-c", "import sys; print(sys.executable)"],
                capture_output=True,
                text=True,
                check=False,
            )
            found.append(asked.stdout.strip() or None)
    return [path for path in found if path]


def in_venv(program: str) -> str:
    """A program of the environment."""
    return str(VENV / ("Scripts" if os.name == "nt" else "bin") / (program + (".exe" if os.name == "nt" else "")))


def make_environment(runner: Runner) -> None:
    """Create `.venv`, unless a working one is there."""
    if python_version(in_venv("python")) in SUPPORTED and works([in_venv("python"), "-m", "pip", "--version"]):
        return
    base = getattr(sys, "_base_executable", None) or sys.executable
    python = choose_python(sys.version_info[:2], base, find_pythons())
    if shutil.disk_usage(ROOT).free < NEEDED_DISK_BYTES:
        raise SetupFailed(f"{ROOT} has less than {NEEDED_DISK_BYTES // 10**9} GB free. Free some space and try again.")
    say("Creating the Python environment in .venv")
    if VENV.exists():
        shutil.rmtree(VENV)
    maker = environment_maker(python)
    if not maker:
        major, minor = python_version(python) or SUPPORTED[0]
        package = f"python{major}.{minor}-venv"
        install_system_packages(runner, [package])
        maker = environment_maker(python)
        if not maker:
            line = system.install_line([package], system.installed_manager(), root=system.is_root())
            raise SetupFailed(f"{python} cannot create environments. Type this, then run the command again: {line}")
    runner.step([*maker, str(VENV)], "The Python environment could not be created.")


def environment_maker(python: str) -> list[str]:
    """The command that creates an environment with pip in it; empty if this Python has none."""
    if works([python, "-c", "import venv, ensurepip"]):
        return [python, "-m", "venv"]
    if works([python, "-m", "virtualenv", "--version"]):
        return [python, "-m", "virtualenv"]
    return []


# ---------------------------------------------------------------- packages


def digest(paths: Sequence[Path], *words: str) -> str:
    """Identifies what a step depends on: the contents of files and some words."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.read_bytes() if path.exists() else b"-")
        total.update(b"\0")
    for word in words:
        total.update(word.encode() + b"\0")
    return total.hexdigest()


def read_stamps() -> dict[str, Any]:
    """What earlier runs have finished."""
    try:
        stamps = json.loads(STAMPS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def packages_current(stamps: dict[str, Any], wanted: str, extras: Sequence[str]) -> bool:
    """Whether the recorded installation has this digest and at least these extras."""
    recorded = stamps.get("packages")
    if not isinstance(recorded, dict) or recorded.get("digest") != wanted:
        return False
    return set(extras) <= set(recorded.get("extras", ()))


def install_packages(runner: Runner, extras: Sequence[str]) -> None:
    """Install the program, editable, with its pinned dependencies."""
    stamps = read_stamps()
    version = python_version(in_venv("python")) or (0, 0)
    wanted = digest([ROOT / "pyproject.toml", CONSTRAINTS, Path(__file__)], f"{version}", str(ROOT))
    if packages_current(stamps, wanted, extras) and Path(in_venv("rag-studio")).exists():
        return
    everything = sorted({*extras, *(stamps.get("packages") or {}).get("extras", ())})
    pip = [in_venv("python"), "-m", "pip", "install", "-c", str(CONSTRAINTS)]
    if not has_pinned(LLAMA):
        build_llama(runner, pip)
    say("Installing the other Python packages (up to 500 MB to download the first time)")
    target = str(ROOT) + (f"[{','.join(everything)}]" if everything else "")
    runner.step([*pip, "-e", target], "The Python packages could not be installed.", heartbeat="still installing")
    write_stamps({**read_stamps(), "packages": {"digest": wanted, "extras": everything}})


def pin(name: str, constraints: str) -> str:
    """The exact version that constraints give a package under any spelling of its name; "" if none."""
    spelling = "[-_.]+".join(re.split("[-_.]+", name))
    found = re.search(rf"^{spelling}==([^\s;]+)", constraints, re.MULTILINE | re.IGNORECASE)
    return found.group(1) if found else ""


def has_pinned(name: str) -> bool:
    """Whether the environment has the pinned version of a package."""
    version = pin(name, CONSTRAINTS.read_text(encoding="utf-8"))
    question = f"import sys, importlib.metadata as m; sys.exit(m.version({name!r}) != {version!r})"
    return works([in_venv("python"), "-c", question])


def build_llama(runner: Runner, pip: Sequence[str]) -> None:
    """Install llama-cpp-python, which is compiled from source unless pip has built it before."""
    flags = f"{os.environ.get('CMAKE_ARGS', '')} -DLLAVA_BUILD=OFF".strip()
    compiler = have_compiler() or install_system_packages(runner, ["c++"])
    say("Installing llama.cpp, which runs the embedding model; building it takes about 4 minutes")
    only_ready_made = [] if compiler else ["--only-binary", LLAMA]
    try:
        runner.step(
            [*pip, *only_ready_made, LLAMA],
            "llama.cpp could not be built.",
            heartbeat="building llama.cpp, this takes about 4 minutes",
            environment={"CMAKE_ARGS": flags},
        )
    except SetupFailed:
        if compiler:
            raise
        raise SetupFailed(f"llama.cpp needs a C++ compiler. {compiler_advice()}") from None


def have_compiler() -> bool:
    """Whether a C++ compiler is there. macOS has a stub that opens a dialog, so it is asked otherwise."""
    if sys.platform == "darwin":
        return works(["xcode-select", "-p"])
    if os.name == "nt":
        installer = Path(os.environ.get("ProgramFiles(x86)", "C:/Program Files (x86)"))  # noqa: SIM112
        finder = installer / "Microsoft Visual Studio" / "Installer" / "vswhere.exe"
        return shutil.which("cl") is not None or finder.exists()
    return any(shutil.which(name) for name in (os.environ.get("CXX") or "c++", "g++", "clang++"))


def compiler_advice() -> str:
    """How to get a C++ compiler here."""
    if sys.platform == "darwin":
        return "Type this, then run the command again: xcode-select --install"
    if os.name == "nt":
        return 'Install "Build Tools for Visual Studio" with the C++ workload, then run the command again.'
    manager = system.installed_manager()
    names = system.package_names(["c++"], manager) if manager else ["g++"]
    return f"Type this, then run the command again: {system.install_line(names, manager, root=system.is_root())}"


def write_stamps(stamps: dict[str, Any]) -> None:
    """Record what is finished, in one step."""
    fresh = STAMPS.with_suffix(".new")
    fresh.write_text(json.dumps(stamps, indent=1), encoding="utf-8")
    fresh.replace(STAMPS)


# ---------------------------------------------------------------- the system's libraries


def install_system_packages(runner: Runner, needed: Sequence[str]) -> bool:
    """Install packages where that is possible without asking: Debian or Ubuntu, as root."""
    manager = system.installed_manager()
    if manager is None or manager.program != "apt-get" or not system.is_root():
        return False
    names = system.package_names(needed, manager)
    say(f"Installing system packages: {' '.join(names)}")
    patient = ["-o", "DPkg::Lock::Timeout=300"]
    runner.quiet(["apt-get", *patient, "update"])  # an outdated list may still do
    code, _ = runner.quiet(["apt-get", *patient, *manager.install.split()[1:], *names], heartbeat="still installing")
    return code == 0


def missing_for_qt() -> list[str]:
    """Shared libraries the installed Qt wants and the system lacks."""
    ldd = shutil.which("ldd")
    if not ldd:
        return []
    where = [in_venv("python"), "-c", "import sysconfig; print(sysconfig.get_path('platlib'))"]
    site_packages = Path(subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip())
    files = [str(path) for path in system.qt_files(site_packages)]
    output = subprocess.run([ldd, *files], capture_output=True, text=True, check=False).stdout
    return system.missing_libraries(output)


def prepare_desktop(runner: Runner, tools: Sequence[str]) -> None:
    """Make sure that windows can be drawn, and that the named tools are there. Linux only.

    Raises SetupFailed when Qt does not start; anything else that is missing is only reported.
    """
    if not sys.platform.startswith("linux"):
        return

    def missing() -> list[str]:
        return missing_for_qt() + [tool for tool in tools if not shutil.which(tool)]

    needed = missing()
    installable = [item for item in needed if item in system.PACKAGES]
    if installable and install_system_packages(runner, installable):
        needed = missing()
    if needed:
        manager = system.installed_manager()
        names = system.package_names(needed, manager) if manager else needed
        say(f"Missing on this system: {', '.join(needed)}. To add them, type:")
        say(f"    {system.install_line(names, manager, root=system.is_root())}")
    if not can_draw("offscreen"):
        raise SetupFailed("Qt cannot start because system libraries are missing. Install the packages named above.")


def can_draw(platform: str = "") -> bool:
    """Whether Qt starts, on the screen or on the named Qt platform. A dead DISPLAY aborts the process."""
    code = "from PySide6.QtWidgets import QApplication; QApplication([])"
    return works([in_venv("python"), "-c", code], {"QT_QPA_PLATFORM": platform} if platform else None)


# ---------------------------------------------------------------- commands


def install_model(runner: Runner, *, required: bool, data: Path | None = None) -> None:
    """Install the default embedding model into the person's own data directory, or `data`.

    Without it, search works by keywords only.
    """
    where = [] if data is None else ["--data-dir", str(data)]
    command = [in_venv("rag-studio"), *where, "model", "install", MODEL]
    try:
        runner.step(
            command, f"The embedding model {MODEL} could not be installed.", heartbeat="still fetching the model"
        )
    except SetupFailed as error:
        if required:
            raise
        say(f"{error}\nGoing on without it: search works by keywords until the model is there.")


def has_display() -> bool:
    """Whether a window can be opened."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) and can_draw()


def call(command: Sequence[str]) -> int:
    """Run a command in the foreground; its exit code."""
    return subprocess.call(list(command), cwd=ROOT, env=child_environment())


def run_tests(arguments: Sequence[str], limit_s: float = TESTS_LIMIT_S) -> int:
    """Run the tests; their exit code, and 1 when all of them together take longer than `limit_s` seconds.

    A selection has no limit: a debugger may wait in it.
    """
    command = [in_venv("python"), "-m", "pytest", *SIDE_BY_SIDE, *arguments]
    environment = child_environment({TEST_MODELS_VARIABLE: str(TEST_DATA)})
    try:
        return subprocess.call(command, cwd=ROOT, env=environment, timeout=None if arguments else limit_s)
    except subprocess.TimeoutExpired:
        say(f"The tests did not end within {limit_s / 60:.0f} minutes and were stopped.")
        return 1


def run(arguments: Sequence[str]) -> int:
    """The main job: the window with the sample knowledge base, or pictures of it without a display."""
    if has_display():
        say("Opening RAG Studio")
        return call([in_venv("rag-studio"), "--sample", *arguments])
    say("No display here: indexing and searching the sample documents, and drawing the window into pictures")
    output = ROOT / "demo-output"
    code = call([in_venv("rag-studio"), "demo", "--output", str(output), *arguments])
    if code == 0:
        say("\n".join(["The window, drawn:", *(f"    {path}" for path in sorted(output.glob("*.png")))]))
    return code


def lint() -> int:
    """Style, types, layering: the first failure's exit code, 0 if all is well."""
    python = in_venv("python")
    for command in ([python, "-m", "ruff", "check", "."], [python, "-m", "mypy"], [in_venv("lint-imports")]):
        say(f"$ {' '.join([Path(command[0]).name, *command[1:]])}")
        code = call(command)
        if code:
            return code
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Set up, then do what was asked; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("setup", "run", "test", "lint"))
    parser.add_argument("--verbose", action="store_true", help="show everything the steps print")
    asked, passed_on = parser.parse_known_args(arguments)
    runner = Runner(ROOT, LOG, verbose=asked.verbose)
    developing = asked.command in ("test", "lint")
    try:
        make_environment(runner)
        install_packages(runner, ["test"] if developing else [])
        if asked.command == "lint":
            return lint()
        prepare_desktop(runner, ["Xvfb", "xdotool"] if asked.command == "test" else [])
        testing = asked.command == "test"
        install_model(runner, required=asked.command != "run", data=TEST_DATA if testing else None)
        if asked.command == "setup":
            say(f"Ready. The program is {in_venv('rag-studio')}")
            return 0
        if asked.command == "run":
            return run(passed_on)
        return lint() or run_tests(passed_on)
    except SetupFailed as error:
        say(f"{error}")
        return 1
    except OSError as error:
        say(f"Setting up failed: {error}. Check that {ROOT} can be written to and try again.")
        return 1
    except KeyboardInterrupt:
        say("Stopped.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
