"""Whether an early epoch predicts the end: over the trials of studies that were not ended early.

    python benchmarks/rungs.py STUDY [STUDY ...]

For every epoch Spearman's rank correlation of the RSUM there with the best of the trial, with an interval by Fisher's
transformation, whose error is 1.03/√(n − 3) ("Tests for rank correlation coefficients. I", Fieller, Hartley and
Pearson, Biometrika 44, 1957).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import pandas as pd

from goal_analysis.vse.folder.run_folder import RESULT, read_log


def trials(study: Path) -> pd.DataFrame:
    """A row a trial that came to an end, a column an epoch."""
    logs = [read_log(result.parent) for result in sorted((study / "tuning").rglob(RESULT))]
    return pd.DataFrame([{r["epoch"]: r["rsum"] for r in log if r["kind"] == "epoch"} for log in logs])


def interval(correlation: float, count: int) -> tuple[float, float]:
    """The ends of the 95 % interval."""
    around, error = math.atanh(min(correlation, 1 - 1e-9)), 1.96 * 1.03 / math.sqrt(count - 3)
    return math.tanh(around - error), math.tanh(around + error)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", type=Path, metavar="STUDY")
    given = parser.parse_args()
    print("| study | epoch | rank correlation with the best | interval | trials |")
    print("|---|---|---|---|---|")
    for study in given.studies:
        found = trials(study)
        best = found.max(axis=1)
        for epoch in found.columns[:-1]:
            both = pd.DataFrame({"rung": found[epoch], "end": best}).dropna().rank()
            correlation = float(both["rung"].corr(both["end"]))
            said = "–" if len(both) < 4 else "[{:+.2f}, {:+.2f}]".format(*interval(correlation, len(both)))
            print(f"| {study.name} | {epoch} | {correlation:.2f} | {said} | {len(both)} |")


if __name__ == "__main__":
    main()
