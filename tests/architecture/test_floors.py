"""Imports between the floors of the house, and proof that the linter would see a wrong one."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGES = ("goal_analysis", "losses_catalog")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Hold the packages in `folder` to the contracts of its pyproject.toml."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=folder,
        # The folder's own packages, whatever else is installed; and no line broken in the middle.
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def broken_contracts(report: str) -> dict[str, str]:
    """The names of the contracts that the report calls broken, and what it says of each."""
    said = re.sub(r"\x1b\[[\d;]*m", "", report)  # older linters colour it in any case
    names = re.findall(r"^(.*) BROKEN$", said, re.MULTILINE)
    parts = re.split(rf"^({'|'.join(map(re.escape, names))})\n-+$", said, flags=re.MULTILINE) if names else []
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module")
def copied(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Copies the packages and their contracts, free to be spoilt."""

    def copy() -> Path:
        folder = tmp_path_factory.mktemp("copy")
        for package in PACKAGES:
            shutil.copytree(project / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(project / "pyproject.toml", folder)
        return folder

    return copy


def spoil(folder: Path, module: str, statement: str) -> None:
    """Append a statement to a package's `__init__`; a package that is absent comes into being."""
    file = folder.joinpath(*module.split("."), "__init__.py")
    file.parent.mkdir(exist_ok=True)
    with file.open("a", encoding="utf-8") as source:
        source.write(f"\n{statement}\n")


def test_the_floors_hold(project: Path) -> None:
    result = lint_imports(project)
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_unspoilt_copy_passes(copied: Callable[[], Path]) -> None:
    result = lint_imports(copied())
    assert result.returncode == 0, result.stdout + result.stderr


FLOORS = "Imports run downwards, and every module of goal_analysis stands on a floor"
CATALOG = "The catalog of losses stands on goal_analysis.symbolic alone"
READERS = "Only the doors and the command line read the catalog; everything else is handed losses"
ROOMS = "Typesetting stands above the values that it writes, and parsing reads above all of them"
SYMPY = "The symbolic floor and the catalog know SymPy alone"
SURFACE = "Importing goal_analysis loads nothing of it"


FORBIDDEN = (
    ("goal_analysis.symbolic", "torch", SYMPY),
    ("goal_analysis.symbolic", "losses_catalog", CATALOG),
    ("goal_analysis.symbolic", "losses_catalog", READERS),
    ("goal_analysis.numeric", "goal_analysis.cli", FLOORS),
    ("goal_analysis.numeric", "losses_catalog", READERS),
    ("goal_analysis.study", "losses_catalog", READERS),
    ("goal_analysis.recombination", "goal_analysis.cli", FLOORS),
    ("goal_analysis", "torch", SURFACE),
    ("goal_analysis", "sympy", SURFACE),
    ("goal_analysis.study", "goal_analysis.api", FLOORS),
    ("goal_analysis.vse", "goal_analysis.pictures", FLOORS),
    ("goal_analysis.pictures", "goal_analysis.vse", FLOORS),
    ("goal_analysis.symbolic.language", "goal_analysis.symbolic.typesetting", ROOMS),
    ("losses_catalog", "torch", SYMPY),
    ("losses_catalog", "goal_analysis.cli", CATALOG),
)


@pytest.fixture(scope="module")
def broken(copied: Callable[[], Path]) -> dict[str, str]:
    """What the linter says of a copy with every forbidden import, by contract."""
    folder = copied()
    for module, imported in dict.fromkeys((module, imported) for module, imported, _ in FORBIDDEN):
        spoil(folder, module, f"import {imported}")
    result = lint_imports(folder)
    assert result.returncode == 1, result.stdout + result.stderr
    return broken_contracts(result.stdout)


@pytest.mark.parametrize(("module", "imported", "contract"), FORBIDDEN)
def test_a_forbidden_import_is_named(broken: dict[str, str], module: str, imported: str, contract: str) -> None:
    assert f"{module} -> {imported} " in broken[contract]


def test_a_module_on_no_floor_is_named(copied: Callable[[], Path]) -> None:
    folder = copied()
    spoil(folder, "goal_analysis.cellar", "")
    result = lint_imports(folder)
    assert result.returncode == 1
    assert "cellar" in result.stdout


HEAVY = {"jinja2", "latex2mathml", "matplotlib", "numpy", "pandas", "plotly", "seaborn", "sympy", "torch"}
COMMAND = "import sys; sys.argv = ['goal-analyze', {}]; from goal_analysis.cli import app; app(standalone_mode=False)"


@pytest.mark.parametrize(
    ("program", "loaded"),
    [
        ("import goal_analysis", ""),
        ("import goal_analysis as ga; dir(ga)", ""),
        ("import goal_analysis as ga; ga.loss('circle')", "sympy"),
        ("import goal_analysis.symbolic.parsing.declaration", "sympy"),
        ("from losses_catalog import catalog, table; table.catalog_table(catalog[:2])", "sympy"),
        (COMMAND.format("'list', '--library', 'lightly'"), "sympy"),
        (COMMAND.format("'show', 'circle'"), "numpy sympy"),
        ("import torch", "numpy torch"),  # so the check sees what is loaded
    ],
)
def test_what_is_loaded_when_it_is_run(program: str, loaded: str) -> None:
    command = [sys.executable, "-c", f"{program}; import sys; print(*sorted({HEAVY} & set(sys.modules)))"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == loaded
