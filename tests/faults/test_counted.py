"""The page on faults counts them: in all, and for every row that names its test."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in row.strip("|").split("|")] for row in PAGE.splitlines() if re.match(r"\|.*\d \|", row)
]


def test_the_sum_is_that_of_the_rows() -> None:
    (total,) = re.findall(r"(\d+) in all", PAGE)
    assert int(total) == sum(int(row[2]) for row in ROWS)
    assert len(ROWS) >= 40
    assert all((ROOT / "tests" / name).exists() for row in ROWS for name in re.findall(r"`([\w/]+\.py)", row[-1]))


def test_a_row_that_names_its_test_has_as_many_faults_as_that_has_cases(request: pytest.FixtureRequest) -> None:
    """Of the tests that are collected here, which are all or some."""
    collected = [item.nodeid.partition("[")[0].removeprefix("tests/") for item in request.session.items]
    named = {name: int(row[2]) for row in ROWS for name in re.findall(r"`([\w/.]+::\w+)`", row[-1])}
    assert len(named) >= 10
    for name, number in named.items():
        assert collected.count(name) in (0, number), name
