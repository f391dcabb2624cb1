"""Runs the suite with the oldest versions that pyproject.toml promises and with the newest, and writes what ran.

    python benchmarks/environments.py oldest --folder /somewhere/large
    python benchmarks/environments.py newest --folder /somewhere/large --python 3.14
    python benchmarks/environments.py write --folder /somewhere/large

uv (https://docs.astral.sh/uv) resolves and installs; torch from the package index has CUDA's libraries with it, so each
environment takes 6 GB. A run can be interrupted: the next one takes the tests that have not passed yet, or those named.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from pathlib import Path
from typing import TextIO

import pytest

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / "benchmarks" / "results" / "environments.md"
HEADING = "## Versions"
KINDS = ("oldest", "newest")
RAN = "GOAL_ANALYSIS_RAN"
"""The environment variable that says where pytest, with this file as a plug-in, notes the outcome of each test."""


TOGETHER = {"oldest": ["pyarrow<20"], "newest": []}
"""What else the tests need: a pyarrow for numpy 1.26, which the newest ones refuse without declaring it."""


def named(*extras: str) -> list[str]:
    """The packages that extras name, and those of the core, without their versions."""
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = declared["dependencies"] + [line for extra in extras for line in declared["optional-dependencies"][extra]]
    return [re.match(r"[\w.-]+", line)[0] for line in lines if "[" not in line]  # pyright: ignore[reportOptionalSubscript]


def run(*words: str | Path) -> str:
    """The output of a command that has to end well."""
    return subprocess.run([*map(str, words)], check=True, stdout=subprocess.PIPE, text=True).stdout


def install(folder: Path, kind: str, python: str) -> Path:
    """The Python of an environment with the project's dependencies, all extras, and what the tests use."""
    executable = folder / "bin" / "python"
    pins = folder / "pins.txt"
    if not pins.exists():
        run("uv", "venv", "--clear", "--python", python, folder)
        resolution = "lowest-direct" if kind == "oldest" else "highest"
        how = ("--python", executable, "--resolution", resolution, "--no-annotate", "--no-header", "--extra", "all")
        resolved = run("uv", "pip", "compile", PROJECT / "pyproject.toml", *how)
        unfinished = folder / "resolved.txt"
        unfinished.write_text(resolved)
        wanted = (*named("eccv", "tensorboard", "test"), "pip", *TOGETHER[kind])
        run("uv", "pip", "install", "--python", executable, "-r", unfinished, "-c", unfinished, *wanted)
        unfinished.rename(pins)
    run("uv", "pip", "install", "--python", executable, "--no-deps", "--reinstall", "-e", PROJECT)
    return executable


def outcomes(folder: Path) -> dict[str, str]:
    """How each test ended when it ran last, by its name; those that are no more are left out."""
    notes, names = folder / "ran.jsonl", folder / "collected.txt"
    ended = dict(map(json.loads, notes.read_text().splitlines())) if notes.exists() else {}
    known = set(names.read_text().splitlines()) if names.exists() else ended.keys()
    return {name: outcome for name, outcome in ended.items() if name in known}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what ended well before, and put two cases of each test first: an interrupted run has seen all tests."""
    folder = Path(os.environ[RAN]).parent
    ended, cases = outcomes(folder), Counter[str]()
    if config.args == config.getini("testpaths"):
        (folder / "collected.txt").write_text("\n".join(item.nodeid for item in items))
    first, later = [], []
    for item in items:
        test = item.nodeid.partition("[")[0]
        cases[test] += 1
        if item.nodeid not in ended:
            note(config, item.nodeid, "not run")
        if ended.get(item.nodeid) not in ("passed", "skipped", "xfailed"):
            (first if cases[test] <= 2 else later).append(item)
    items[:] = first + later


NOTES = pytest.StashKey[TextIO]()


def pytest_configure(config: pytest.Config) -> None:
    """Open the notes at once: some tests give away the right to."""
    config.stash[NOTES] = Path(os.environ[RAN]).open("a", buffering=1)  # noqa: SIM115


def note(config: pytest.Config, name: str, outcome: str) -> None:
    """Write down an outcome; the last one of a test counts."""
    config.stash[NOTES].write(json.dumps([name, outcome]) + "\n")


def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> None:
    """Note how a test ended; what fails while it is set up or cleared away has failed."""
    if report.when == "call" or not report.passed:
        note(config, report.nodeid, "xfailed" if hasattr(report, "wasxfail") else report.outcome)


def cells(text: str) -> dict[str, dict[str, str]]:
    """What tables say, by column and row."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    head: list[str] = []
    for line in text.splitlines():
        row, *said = [part.strip() for part in line.split("|")[1:-1]] or [""]
        if said and head:
            for column, cell in zip(head, said, strict=True):
                found[column][row] = cell
        else:
            head = said
    return found


def tables(folder: Path, listed: dict[str, dict[str, str]], before: dict[str, dict[str, str]]) -> str:
    """Two tables: the versions, and how many tests of each room ended how; what did not run here is as it was."""
    lines = [HEADING, "", f"| | {' | '.join(listed)} |", f"|---|{'---|' * len(listed)}"]
    for name in ("Python", *named("plots", "train", "study", "eccv", "tensorboard", "test")):
        lines.append(f"| {name} | {' | '.join(having.get(name, '') for having in listed.values())} |")
    lines += ["", "## What ran", "", f"| tests | {' | '.join(KINDS)} |", f"|---|{'---|' * len(KINDS)}"]
    rooms: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for kind in KINDS:
        for name, outcome in outcomes(folder / kind).items():
            parts = Path(name.partition("::")[0]).parts
            for room in ("/".join(parts[:2]) if parts[0] == "tests" else f"{parts[0]}, doctests", "**all**"):
                rooms[room][kind][outcome] += 1
    for room in sorted(rooms, key=lambda room: (room == "**all**", room)):
        ran = {kind: ", ".join(f"{count} {how}" for how, count in rooms[room][kind].most_common()) for kind in KINDS}
        lines.append(f"| {room} | {' | '.join(ran[kind] or before[kind].get(room, '') for kind in KINDS)} |")
    return "\n".join(lines) + "\n"


def write(folder: Path) -> None:
    """Write the tables below the text of the page; an environment that is not in the folder keeps its columns."""
    text, _, written = RESULTS.read_text(encoding="utf-8").partition(HEADING)
    before = cells(written)
    listed = {kind: before[kind] for kind in KINDS}
    for kind in (kind for kind in KINDS if (folder / kind).exists()):
        executable = folder / kind / "bin" / "python"
        frozen = run("uv", "pip", "freeze", "--python", executable).splitlines()
        listed[kind] = dict(line.split("==") for line in frozen if "==" in line)
        listed[kind]["Python"] = run(executable, "-c", "import platform; print(platform.python_version())").strip()
    pinned = (
        line.lower().split("==") for line in (PROJECT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    listed["`make test`"] = {"Python": "3.11", **dict(pinned)}
    RESULTS.write_text(text + tables(folder, listed, before), encoding="utf-8")


def main() -> int:
    """Install and run the tests, or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*KINDS, "write"])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--python", default="3.11")
    parser.add_argument("tests", nargs="*", help="what pytest runs; by default all that has not passed yet")
    given = parser.parse_intermixed_args()
    if given.what == "write":
        write(given.folder)
        return 0
    folder = given.folder.resolve() / given.what
    executable = install(folder, given.what, given.python)
    plugins = ("-p", "no:cacheprovider", "-p", Path(__file__).stem)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(Path(__file__).parent)]),
        RAN: str(folder / "ran.jsonl"),
    }
    words = [
        executable,
        "-m",
        "pytest",
        "-n",
        "0",
        "-W",
        "default",
        "--continue-on-collection-errors",
        *plugins,
        *given.tests,
    ]
    return subprocess.run(words, cwd=PROJECT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
