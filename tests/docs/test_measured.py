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


RETRIEVED = {
    "`nca:tau=12/sigmoid@softmax:12`": "nca(tau=12)/sigmoid@softmax:12",
    "`constant/linear@softmax:12`": "constant/linear@softmax:12",
    "`nca:tau=12/linear@softmax:12`": "nca(tau=12)/linear@softmax:12",
    "`nca:tau=12/constant@softmax:12`, which is `info_nce:tau=12`": "nca(tau=12)/constant@softmax:12",
    "`constant/linear`": "constant/linear",
    "`constant/sigmoid`": "constant/sigmoid",
    "`constant/constant`": "constant/constant",
    "`nca/constant`": "nca/constant",
    "`hinge/constant`, which is `vse_pp`": "hinge/constant",
}
"""What a row of the page says, and the objective of the table. What is typed is read as that."""


def retrieved(objective: str) -> list[str]:
    """Mean with deviation, and difference with interval, of `bag_of_words`' RSUM: of pooled features, of regions."""
    whole = (ROOT / "benchmarks" / "results" / "retrieval.md").read_text("utf-8")
    text = whole[: whole.index("## One seed, fifteen epochs")]  # behind it are those of other models
    found = []
    for row in re.findall(rf"^\| `{re.escape(objective)}` \|(.*)\|$", text, re.MULTILINE):
        mean, deviation, difference, interval = (cell.strip() for cell in row.split("|")[2:])
        found += [f"{mean} ± {deviation}", f"{difference} {interval}".strip()]
    assert len(found) == 4
    return found


def test_retrieval_is_that_of_the_table() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for said, objective in RETRIEVED.items():
        typed, *same = re.findall("`([^`]*)`", said)
        pooled, to_pooled, regions, to_regions = retrieved(objective)
        cells = (said, regions, to_regions, pooled, to_pooled)
        assert f"| {' | '.join(cells)} |".replace("|  |", "| |") in text
        assert ga.objective(typed).objective == ga.objective(objective).objective
        for name in same:
            assert ga.integrability(name).integrable == ga.integrability(typed).integrable
    assert retrieved("hinge/constant")[0] != retrieved("constant/linear")[0]


def test_times_and_memory_are_those_of_the_table() -> None:
    text = (ROOT / "docs" / "findings.md").read_text("utf-8")
    for said, case in CASES.items():
        assert "| {} | {} | {} |".format(said, *measured(case)) in text


def test_differences_of_the_notebook_are_those_of_the_table() -> None:
    table = (ROOT / "benchmarks" / "results" / "known.md").read_text("utf-8").partition("## Differences to")[2]
    cells = json.loads((ROOT / "notebooks" / "8-stopped-gradients.ipynb").read_text("utf-8"))["cells"]
    cell = next(text for one in cells if (text := "".join(one["source"])).startswith("differences = {"))
    said = re.findall(r'^    "(.*)": \((.*)\),$', cell, re.MULTILINE)
    assert len(said) == 5
    for objective, numbers in said:
        row = next(row for row in table.splitlines() if f"{objective}` |" in row)
        mean, low, high = numbers.split(", ")
        assert row.endswith(f"| {mean} | [{low}, {high}] |")


def test_another_row_is_another_number() -> None:
    assert measured("soft nca × constant") != measured("soft nca × linear")
