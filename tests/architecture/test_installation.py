"""What a core installation does, what a command says whose extra is missing, and systems without POSIX's modules."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import goal_analysis
from goal_analysis.cli import app

RUN = CliRunner()

MODULES = {"pillow": "PIL", "lightning-fabric": "lightning_fabric"}
"""What distributions are imported as, where that is another name."""

SCRIPT = """
import contextlib, importlib.abc, io, json, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
from goal_analysis.cli import main

said = {{}}
for words in {commands}:
    out, err = io.StringIO(), io.StringIO()
    sys.argv, code = ["goal-analyze", *words.split()], 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
    said[words] = code
print(json.dumps(said))
"""

WITH_CORE_ALONE = ("list", "show circle", "verify vse_pp", "compose nca/linear", "export nca/linear -o own.py")
WITH_EXTRAS = {"plot circle -o pictures": "plots", "report run": "study", "study --data scenes": "study"}


def extras(project: Path) -> dict[str, list[str]]:
    return tomllib.loads((project / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def modules_of(requirements: list[str]) -> set[str]:
    names = [line.partition(">")[0] for line in requirements if "[" not in line]
    return {MODULES.get(name, name) for name in names}


def results(blocked: set[str], commands: list[str], where: Path) -> dict[str, object]:
    words = [sys.executable, "-W", "ignore", "-c", SCRIPT.format(blocked=sorted(blocked), commands=commands)]
    done = subprocess.run(words, cwd=where, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_core_needs_no_extra_and_nothing_of_posix(project: Path, tmp_path: Path) -> None:
    of_extras = set().union(*(modules_of(extras(project)[name]) for name in ("plots", "train", "study")))
    said = results(of_extras | {"fcntl", "resource"}, [*WITH_CORE_ALONE, *WITH_EXTRAS], tmp_path)
    assert {words: said[words] for words in WITH_CORE_ALONE} == dict.fromkeys(WITH_CORE_ALONE, 0)
    for words, extra in WITH_EXTRAS.items():
        assert str(said[words]).endswith(f"expected it for this command: pip install 'goal-analysis[{extra}]'")


@pytest.mark.parametrize("short", ["-h", "--version"])
def test_every_level_answers_short_questions(short: str) -> None:
    said = RUN.invoke(app, [short])
    assert said.exit_code == 0
    assert ("Commands:" if short == "-h" else f"goal-analysis {goal_analysis.__version__}") in said.output
    assert RUN.invoke(app, ["show", "-h"]).exit_code == 0
