"""Runs in numbers: logs, and means over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from goal_analysis.numeric.student import mean_interval


@dataclass(frozen=True)
class Records:
    """The log of one run; each of its records has a ``kind`` and a ``step``."""

    objective: str
    seed: int
    records: Sequence[Mapping[str, Any]]


def log_frame(runs: Sequence[Records], kind: str) -> pd.DataFrame:
    """Finite numbers: ``objective``, ``seed``, ``step``, ``epoch`` (NaN in a probe), ``quantity``, ``value``."""
    rows = [
        (run.objective, run.seed, record["step"], float(record.get("epoch", np.nan)), name, float(value))
        for run in runs
        for record in run.records
        if record["kind"] == kind
        for name, value in record.items()
        if name not in ("step", "epoch") and isinstance(value, int | float) and not isinstance(value, bool)
    ]
    columns = ["objective", "seed", "step", "epoch", "quantity", "value"]
    return pd.DataFrame([row for row in rows if np.isfinite(row[-1])], columns=columns)


def over_seeds(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The mean of ``value`` over seeds and its interval: ``by``, ``seeds``, ``mean``, ``low`` and ``high``."""
    values = frame.groupby(list(by), sort=False, dropna=False)["value"]
    found = values.agg(seeds="count", mean="mean").reset_index()
    found[["low", "high"]] = [mean_interval(of_key.dropna().to_numpy()) for _, of_key in values]
    return found
