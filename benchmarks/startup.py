"""What a command costs before it computes: CPU seconds of fresh processes, beside bare imports of SymPy and torch.

    python benchmarks/startup.py [--runs 5]

Prints the least and the median of the runs, in turn with each other, and the goal. Where an answer was kept from the
call before, that is `warm`; `cold` has none.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile

import pandas as pd

CALL = (sys.executable, "-m", "goal_analysis")
CASES: dict[str, tuple[tuple[str, ...], float | None]] = {
    "import sympy": ((sys.executable, "-c", "import sympy"), None),
    "import torch": ((sys.executable, "-c", "import torch"), None),
    "--help": ((*CALL, "--help"), 0.6),
    "a misspelt objective": ((*CALL, "show", "circel"), 0.6),
    "a misspelt pair of weights": ((*CALL, "compose", "nca/linaer"), 0.6),
    "a misspelt preset": ((*CALL, "train", "--preset", "bag_of_wrods"), 0.6),
    "another format": ((*CALL, "plot", "circle", "--format", "bmp"), 0.6),
    "no such run": ((*CALL, "evaluate", "nowhere"), 0.6),
    "show circle": ((*CALL, "show", "circle"), 0.8),
    "list": ((*CALL, "list"), 1.2),
    "compose nca/linear": ((*CALL, "compose", "nca/linear"), 2.2),
    "export nca/linear": ((*CALL, "export", "nca/linear", "-o", "-"), 2.2),
}
DERIVING = ("show circle", "list", "compose nca/linear", "export nca/linear")


def cpu_seconds(command: tuple[str, ...], cache: str) -> float:
    """User and system time of one fresh process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, env={**os.environ, "GOAL_ANALYSIS_CACHE": cache}, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    taken: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in DERIVING:
            cpu_seconds(CASES[name][0], cache)
        for _ in range(runs):
            for name, (command, _) in CASES.items():
                for state, folder in (("cold", "off"), ("warm", cache)) if name in DERIVING else (("", "off"),):
                    taken.setdefault((name, state), []).append(cpu_seconds(command, folder))
    rows = [(name, state, min(t), pd.Series(t).median(), CASES[name][1]) for (name, state), t in taken.items()]
    frame = pd.DataFrame(rows, columns=["case", "kept answers", "least s", "median s", "goal s"])
    print(frame.to_string(index=False, float_format="{:.2f}".format, na_rep=""))


if __name__ == "__main__":
    main()
