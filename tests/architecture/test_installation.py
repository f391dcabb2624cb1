"""What a core installation does, also without POSIX; what a command says whose extra is missing; what make sets up."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import goal_analysis.cli
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
    said[words] = [code, err.getvalue()]
print(json.dumps(said))
"""

WITH_CORE_ALONE = ("list --library lightly", "show circle", "verify vse_pp", "compose nca/linear")
WITH_CORE_ALONE += ("export nca/linear -o own.py",)
WITH_EXTRAS = {"plot circle -o pictures": "plots", "discover --data scenes": "study", "study --data scenes": "study"}
WITH_EXTRAS |= {"demo -o pages": "study"}


def extras(project: Path) -> dict[str, list[str]]:
    return tomllib.loads((project / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def modules_of(requirements: list[str]) -> set[str]:
    names = [line.partition(">")[0] for line in requirements if "[" not in line]
    return {MODULES.get(name, name) for name in names}


def results(blocked: set[str], commands: list[str], where: Path) -> dict[str, list]:
    words = [sys.executable, "-W", "ignore", "-c", SCRIPT.format(blocked=sorted(blocked), commands=commands)]
    done = subprocess.run(words, cwd=where, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_core_needs_no_extra_and_nothing_of_posix(project: Path, tmp_path: Path) -> None:
    """Nor has a command begun that cannot come to its end."""
    of_extras = set().union(*(modules_of(extras(project)[name]) for name in ("plots", "train", "study")))
    said = results(of_extras | {"fcntl", "resource"}, [*WITH_CORE_ALONE, *WITH_EXTRAS], tmp_path)
    assert {words: said[words][0] for words in WITH_CORE_ALONE} == dict.fromkeys(WITH_CORE_ALONE, 0)
    for words, extra in WITH_EXTRAS.items():
        code, error = said[words]
        assert code == 2
        assert re.search(rf"got no (\S+) but expected \1>=.*: pip install 'goal-analysis\[{extra}\]'$", error.strip())
    assert not (tmp_path / "pages").exists()


def test_a_package_older_than_its_extra_asks_for_is_named_with_its_version(tmp_path: Path) -> None:
    """What a command needs is not in the old one, a module of it or one name."""
    for package, version in (("matplotlib", "3.5.1"), ("optuna", "3.6.0")):
        (tmp_path / f"{package}.py").touch()
        (tmp_path / f"{package}-{version}.dist-info").mkdir()
        said = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
        (tmp_path / f"{package}-{version}.dist-info" / "METADATA").write_text(said)
    of_commands = results(set(), [*WITH_CORE_ALONE[:2], *WITH_EXTRAS], tmp_path)
    assert [of_commands[words][0] for words in WITH_CORE_ALONE[:2]] == [0, 0]
    expected = {
        "plot circle -o pictures": "got matplotlib 3.5.1 but expected matplotlib>=3.8,<4: ",
        "discover --data scenes": "got optuna 3.6.0 but expected optuna>=4.0,<6: ",
    }
    for words, said in expected.items():
        code, error = of_commands[words]
        assert code == 2
        assert said in error


def would(where: Path, *words: str) -> tuple[int, str]:
    """What make, in a folder, would do, or why not."""
    given = ["make", "--no-print-directory", "-n", *words]
    done = subprocess.run(given, cwd=where, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def source(project: Path, tmp_path: Path) -> Path:
    """What make reads, in a folder with a space in its name."""
    folder = tmp_path / "a copy"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(project / name, folder)
    return folder


def interpreter(path: Path, version: str = "") -> Path:
    """An executable that is this Python, or says that it is of another version."""
    patch = f"import sys; sys.version_info = ({version}); " if version else ""
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{patch}$2"\n')
    path.chmod(0o755)
    return path


OTHERS = {"Python 3.9": "3, 9, 18", "Python 2.7": "2, 7, 18", "no Python": None}


@pytest.mark.parametrize("named", OTHERS)
def test_make_says_which_python_it_needs(source: Path, tmp_path: Path, named: str) -> None:
    version = OTHERS[named]
    python = interpreter(tmp_path / "python", version) if version else tmp_path / "absent"
    code, said = would(source, "demo", f"PYTHON={python}")
    assert code == 2
    assert f"got PYTHON={python}, which is {named}, but expected one of 3.11 or later" in " ".join(said.split())


def test_make_installs_once_and_anew_where_the_folder_moved_or_python_is_another(source: Path, tmp_path: Path) -> None:
    python, other = interpreter(tmp_path / "python"), interpreter(tmp_path / "other", "3, 99, 0")

    def installed() -> None:
        scripts = source / ".venv" / "bin"
        scripts.mkdir(parents=True, exist_ok=True)
        shutil.copy(python, scripts / "python")
        (scripts / "pip").write_text(f"#!{scripts}/python\n")
        (source / ".venv" / ".has-core").touch()

    installed()
    for words in ((), (f"PYTHON={python}",)):
        code, said = would(source, "demo", *words)
        assert (code, said.split()) == (0, [".venv/bin/goal-analyze", "demo", "-o", "demo"])
    assert "Making .venv with" in would(source, "demo", f"PYTHON={other}")[1]
    installed()
    moved = source.rename(tmp_path / "moved")
    assert "Making .venv with" in would(moved, "demo", f"PYTHON={python}")[1]


def test_make_works_from_another_folder(source: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code, said = would(elsewhere, "test", "-f", str(source / "Makefile"), f"PYTHON={sys.executable}")
    assert code == 0
    assert f"--constraint '{source}/constraints.txt' --editable '{source}[test]'" in said
    assert f"cd '{source}' && OMP_NUM_THREADS=1 '{elsewhere}/.venv/bin/python' -m pytest" in said


def missing_for(module: str) -> set[str]:
    """The package that is not there to import a module; nothing where all are."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as problem:
        return {str(problem.name).partition(".")[0]}
    return set()


def test_a_module_that_cannot_be_imported_lacks_an_extra(project: Path) -> None:
    of_extras = set().union(*map(modules_of, extras(project).values()))
    for module in pkgutil.walk_packages(goal_analysis.__path__, "goal_analysis."):
        assert module.name.endswith("__main__") or missing_for(module.name) <= of_extras, module.name
    assert missing_for("goal_analysis.nothing") == {"goal_analysis"}


def test_a_click_that_typer_does_not_know_is_named(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """As typer 0.12 beside click 8.5 has it."""

    def app() -> None:
        raise TypeError("Secondary flag is not valid for non-boolean flag.")

    monkeypatch.setattr(goal_analysis.cli, "app", app)
    with pytest.raises(SystemExit, match="2"):
        goal_analysis.cli.main()
    assert re.search(r"got typer .* \(Secondary flag .*\) but expected click<8\.2", capsys.readouterr().err)


@pytest.mark.parametrize("short", ["-h", "--version"])
def test_every_level_answers_short_questions(short: str) -> None:
    said = RUN.invoke(app, [short])
    assert said.exit_code == 0
    assert ("Commands:" if short == "-h" else f"goal-analysis {goal_analysis.__version__}") in said.output
    assert RUN.invoke(app, ["show", "-h"]).exit_code == 0
