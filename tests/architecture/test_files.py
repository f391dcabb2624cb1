"""Names and lengths of source files, and proof that a bad one is found.

A name such as `utils` says nothing of what is inside. A long file may stay long if its docstring gives the
reason in a sentence with the words "This file is long because".
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = ("goal_analysis", "losses_catalog", "tests", "benchmarks")
EMPTY_NAMES = {"base", "common", "core", "helper", "helpers", "util", "utils"}
LINES = 200
EXCUSE = "This file is long because"


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


def long_files(root: Path) -> list[str]:
    """Files of more than `LINES` lines that give no reason in their docstring."""
    found = []
    for file in source_files(root):
        text = file.read_text(encoding="utf-8")
        length = len(text.splitlines())
        if length > LINES and EXCUSE not in " ".join((ast.get_docstring(ast.parse(text)) or "").split()):
            found.append(f"{file.relative_to(root)}: {length} lines")
    return found


def test_every_name_says_something(project: Path) -> None:
    assert empty_names(project) == []


def test_files_are_short_or_say_why_not(project: Path) -> None:
    assert long_files(project) == []


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
    assert long_files(tree) == []


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


@pytest.mark.parametrize(
    ("docstring", "found"),
    [
        ("Mining.", ["goal_analysis/numeric/mining.py: 202 lines"]),
        ("Mining.\n\nThis file is long\nbecause it is a table.", []),
    ],
)
def test_a_long_file_is_found_unless_it_says_why(tree: Path, docstring: str, found: list[str]) -> None:
    text = f'"""{docstring}"""\n\n' + "x = 0\n" * LINES
    (tree / "goal_analysis" / "numeric" / "mining.py").write_text(text, encoding="utf-8")
    assert long_files(tree) == found


def test_the_longest_allowed_file_passes(tree: Path) -> None:
    text = "x = 0\n" * LINES
    (tree / "goal_analysis" / "numeric" / "mining.py").write_text(text, encoding="utf-8")
    assert long_files(tree) == []
