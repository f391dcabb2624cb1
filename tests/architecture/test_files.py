"""Names of source files, proof that one that says nothing is found, and what modules import."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = ("goal_analysis", "losses_catalog", "tests", "benchmarks")
EMPTY_NAMES = {"base", "common", "core", "helper", "helpers", "util", "utils"}


def source_files(root: Path) -> Iterator[Path]:
    """Every Python file of the project's own, the absent folders left out."""
    for folder in SOURCES:
        yield from sorted((root / folder).rglob("*.py"))


def empty_names(root: Path) -> list[str]:
    """Modules and packages called by one of the names that say nothing, or ending in one (`plot_utils`)."""
    return [
        str(file.relative_to(root))
        for file in source_files(root)
        if any(part.strip("_").split("_")[-1] in EMPTY_NAMES for part in file.relative_to(root).with_suffix("").parts)
    ]


def test_every_name_says_something(project: Path) -> None:
    assert empty_names(project) == []


def test_the_project_has_sources(project: Path) -> None:
    folders = {file.relative_to(project).parts[0] for file in source_files(project)}
    assert {"goal_analysis", "losses_catalog", "tests"} <= folders


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A made-up project with a short file, and nothing wrong."""
    file = tmp_path / "goal_analysis" / "numeric" / "mining.py"
    file.parent.mkdir(parents=True)
    file.write_text('"""Mining."""\n', encoding="utf-8")
    return tmp_path


def test_a_made_up_project_passes(tree: Path) -> None:
    assert empty_names(tree) == []


@pytest.mark.parametrize(
    "name",
    [
        "goal_analysis/utils.py",
        "goal_analysis/numeric/_common.py",
        "goal_analysis/plot_helpers.py",
        "goal_analysis/core/mining.py",
        "losses_catalog/base.py",
    ],
)
def test_an_empty_name_is_found(tree: Path, name: str) -> None:
    file = tree / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('"""Things."""\n', encoding="utf-8")
    assert empty_names(tree) == [name]


@pytest.mark.parametrize("name", ["database.py", "encore.py", "based_on.py"])
def test_a_name_that_only_contains_one_is_not(tree: Path, name: str) -> None:
    (tree / "goal_analysis" / name).write_text('"""Things."""\n', encoding="utf-8")
    assert empty_names(tree) == []


POSIX_ALONE = {"fcntl", "grp", "pwd", "resource", "termios"}


def test_no_module_needs_a_posix_system_to_be_imported(project: Path) -> None:
    """Inside of functions, where something else can be done without them, they may be imported."""
    found = [
        f"{file.relative_to(project)}:{node.lineno}"
        for file in source_files(project)
        if file.relative_to(project).parts[0] in ("goal_analysis", "losses_catalog")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        if name in POSIX_ALONE
    ]
    assert found == []
