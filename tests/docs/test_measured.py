"""What pages say was measured stands in the committed tables."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "benchmarks" / "results" / "objectives-cpu.md").read_text("utf-8")
CASES = {
    "hardest constant × linear": "hardest constant × linear",
    "softmax-mined nca × linear": "soft nca × linear",
    "open_clip's cross-entropy formula": "open_clip cross-entropy",
    "VSE++ loss by autograd": "VSE++ max-violation",
    "pytorch-metric-learning, triplet with batch-hard mining": "PML triplet + batch-hard",
}


def measured(case: str) -> tuple[str, str]:
    """Median and extra memory over N² at N = 8192, D = 1024, float32."""
    row = re.search(rf"^\| float32 \| 8192 \| 1024 \| {re.escape(case)} \|(.*)\|$", TABLE, re.MULTILINE)
    assert row is not None
    cells = [cell.strip() for cell in row[1].split("|")]
    return cells[2], cells[5]


@pytest.mark.parametrize("page", ["README.md", "docs/findings.md"])
def test_times_and_memory_are_those_of_the_table(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for said, case in CASES.items():
        assert "| {} | {} | {} |".format(said, *measured(case)) in text


def test_another_row_is_another_number() -> None:
    assert measured("soft nca × constant") != measured("soft nca × linear")
