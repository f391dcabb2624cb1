"""What pages say was measured stands in the committed tables."""

import json
import re
from pathlib import Path

import goal_analysis as ga

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


SAID = ("Flickr8k, EfficientNet-Lite2", "Flickr8k, MobileNetV2", "UCM, aerial photographs")
DATA = ("flickr8k_lite2_precomp", "flickr8k_precomp", "ucm_precomp")
"""What columns of README's table are called, and the data behind them."""


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def known(baseline: str = "info_nce(tau=12)") -> dict[str, dict[str, str]]:
    """The cells of a table of known objectives, by objective and data."""
    text = (ROOT / "benchmarks" / "results" / "known.md").read_text("utf-8")
    part = text.partition(f"## Differences to `{baseline}`\n")[2].partition("\n## ")[0]
    head, _, *rows = [cells_of(line) for line in part.splitlines() if line.startswith("|")]
    return {row[0].strip("`"): dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def test_retrieval_is_that_of_the_table() -> None:
    part = (ROOT / "README.md").read_text("utf-8").partition("## Does another objective win?")[2].partition("\n## ")[0]
    head, _, *rows = [cells_of(line) for line in part.splitlines() if line.startswith("|")]
    assert head[1:] == list(SAID)
    table = known()
    by_value = {name: ga.objective(name).objective for name in table if ".py:" not in name and ".toml" not in name}
    assert len(rows) > 8
    for typed, *cells in (row for row in rows if ".toml" not in row[0]):
        name = next(name for name, value in by_value.items() if value == ga.objective(typed.strip("`")).objective)
        assert cells == [table[name][data] for data in DATA]
    assert table["vse_pp"] != table["constant/linear"]


def test_times_and_memory_are_those_of_the_table() -> None:
    text = (ROOT / "docs" / "findings.md").read_text("utf-8")
    for said, case in CASES.items():
        assert "| {} | {} | {} |".format(said, *measured(case)) in text


def test_differences_of_the_notebook_are_those_of_the_table() -> None:
    cells = json.loads((ROOT / "notebooks" / "8-stopped-gradients.ipynb").read_text("utf-8"))["cells"]
    cell = next(text for one in cells if (text := "".join(one["source"])).startswith("differences = {"))
    said = re.findall(r'^    "(.*)": \((.*)\),$', cell, re.MULTILINE)
    assert len(said) == 5
    for objective, numbers in said:
        row = next(row for name, row in known().items() if name.endswith(objective))
        mean, low, high = numbers.split(", ")
        assert row[DATA[0]].strip("*").endswith(f", {mean} [{low}, {high}]")


def test_another_row_is_another_number() -> None:
    assert measured("soft nca × constant") != measured("soft nca × linear")
