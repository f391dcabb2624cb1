"""How long a user waits: fresh processes that derive the catalog, or show one loss, beside a bare import of SymPy.

    python benchmarks/startup.py [--runs 5]

Prints medians with quartiles in seconds, and as multiples of the import that ran just before. Goals: the whole catalog
decomposed and judged in 10 s, one loss shown in 2.5 s, both from a cold start on one core.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import pandas as pd

BARE = [sys.executable, "-c", "import sympy"]
CASES = {
    "derive and judge the catalog": [
        sys.executable,
        "-c",
        "from goal_analysis.cli import app; app(['list', '--json'])",
    ],
    "show circle": [sys.executable, "-c", "from goal_analysis.cli import app; app(['show', 'circle'])"],
}
GOALS = {"derive and judge the catalog": 10.0, "show circle": 2.5}


def seconds(command: list[str]) -> float:
    """The wall time of one fresh process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    rows = []
    for name, command in CASES.items():
        pairs = [(seconds(BARE), seconds(command)) for _ in range(runs)]
        taken = pd.Series([case for _, case in pairs])
        ratio = pd.Series([case / bare for bare, case in pairs])
        rows.append(
            {
                "case": name,
                "goal s": GOALS[name],
                "median s": taken.median(),
                "quartiles s": f"{taken.quantile(0.25):.2f} … {taken.quantile(0.75):.2f}",
                "× import sympy": ratio.median(),
            }
        )
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.2f}".format))


if __name__ == "__main__":
    main()
