"""The tables of several studies side by side: every data set, and differences to several baselines.

    python benchmarks/known.py STUDY [STUDY ...] -o benchmarks/results/known.md

The studies compared the same objectives. Intervals are those of `compare`: each table of one data set and one baseline
is held to 5 % by itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from goal_analysis.numeric.student import FEWEST
from goal_analysis.study.comparison import Comparison, compare, markdown_table
from goal_analysis.study.driver import best_rsum
from goal_analysis.vse.folder.run_folder import read_run

BASELINES = (
    "info_nce(tau=12)",
    "vse_pp",
    "hardness_weighted_info_nce(scale=9, strength=5, anchors=both)",
    "benchmarks/twins.py:hardness_twin(scale=9, strength=5)",
)
Runs = dict[str, dict[int, float]]
"""The best dev RSUM by objective and seed."""


def runs(study: Path) -> tuple[dict[str, Runs], dict[str, str]]:
    """The runs of a study's comparisons by data set, and what was chosen of every objective."""
    found: dict[str, Runs] = {}
    chosen: dict[str, str] = {}
    for result in sorted(study.glob("comparison/*/*/seed-*/result.json")):
        record = read_run(result.parent)
        name, training = record.experiment.name, record.experiment.training
        of = found.setdefault(result.parts[-4], {}).setdefault(name, {})
        if record.experiment.seed in of:
            raise ValueError(f"{result}: got another run of {name!r} with its seed but expected one")
        of[record.experiment.seed] = best_rsum(result.parent)
        line = record.experiment.objective.replace("\n", " ")  # a declaration in TOML has several
        chosen[name] = f"`{line.strip()}`, {training.learning_rate:.4g}"
    return found, chosen


def cell(compared: Comparison, name: str) -> str:
    """The mean of an objective; its difference and interval; bold where that says better."""
    row = compared.table.set_index("objective").loc[name]
    if name == compared.baseline:
        return f"{row['mean']:.1f}"
    said = f"{row['mean']:.1f}, {row['difference']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"
    return f"**{said}**" if row["low"] > 0 else said


def text(studies: Sequence[Path]) -> Iterator[str]:
    """The tables."""
    found: dict[str, Runs] = {}
    chosen: dict[str, str] = {}
    for study in studies:
        of, chosen = runs(study)
        found |= of
        yield from (f"## What was chosen in `{study.name}`", "")
        yield from markdown_table([("objective", "chosen, learning rate"), *sorted(chosen.items())])
        yield ""
    short = [data for data, of in found.items() if min(map(len, of.values())) < FEWEST or len(of) < len(chosen)]
    if short:
        yield from (f"Left out, for not all have {FEWEST} seeds there: {', '.join(short)}.", "")
    found = {data: of for data, of in found.items() if data not in short}
    for baseline in BASELINES:
        compared: Mapping[str, Comparison] = {data: compare(of, baseline) for data, of in found.items()}
        names = list(dict.fromkeys(name for of in compared.values() for name in of.table["objective"]))
        yield from (f"## Differences to `{baseline}`", "")
        yield from markdown_table(
            [
                ("objective", *compared),
                *((f"`{name}`", *(cell(of, name) for of in compared.values())) for name in names),
            ]
        )
        yield ""
        for data, of in compared.items():
            rows = of.table[of.table["objective"] != baseline].to_dict("records")
            short = [row for row in rows if row["common"] < row["of"]]
            yield from (f"- {data}: {row['objective']}: over {row['common']} of {row['of']} seeds" for row in short)
        yield ""


def main() -> None:
    """Print the tables, or write them behind what stands before the first of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", type=Path, metavar="STUDY")
    parser.add_argument("-o", "--output", type=Path, help="a page; what stands before its first ## is kept")
    given = parser.parse_args()
    tables = "\n".join(text(given.studies))
    if given.output is None:
        print(tables)
        return
    head = given.output.read_text("utf-8").split("\n## ")[0] if given.output.exists() else "# Known objectives\n"
    given.output.write_text(f"{head.rstrip()}\n\n{tables.rstrip()}\n", "utf-8")


if __name__ == "__main__":
    main()
