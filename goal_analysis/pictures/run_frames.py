"""Runs in numbers: logs, and means over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from goal_analysis.numeric.student import mean_interval


@dataclass(frozen=True)
class Records:
    """The log of one run; each of its records has a ``kind`` and a ``step``."""

    objective: str
    seed: int
    records: Sequence[Mapping[str, Any]]


def log_frame(runs: Sequence[Records], kind: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The numbers of the records of one kind in several runs' logs, one a row: ``objective``, ``seed``, ``step``,
    ``epoch`` (NaN in a probe), ``quantity``, ``value``.

    A column that no record has is a ValueError.

    >>> run = Records("nca / constant", 0, [{"kind": "epoch", "step": 9, "epoch": 1, "rsum": 250.0}])
    >>> log_frame([run], "epoch")
            objective  seed  step  epoch quantity  value
    0  nca / constant     0     9    1.0     rsum  250.0
    """
    rows = []
    for run in runs:
        for record in (r for r in run.records if r["kind"] == kind):
            numbers = {k: v for k, v in record.items() if isinstance(v, int | float) and not isinstance(v, bool)}
            head = {"objective": run.objective, "seed": run.seed, "step": record["step"]}
            head["epoch"] = float(record.get("epoch", np.nan))
            rows += [
                head | {"quantity": name, "value": float(value)}
                for name, value in numbers.items()
                if name not in ("step", "epoch")
            ]
    names = ["objective", "seed", "step", "epoch", "quantity", "value"]
    frame = pd.DataFrame(rows, columns=names)
    for column in columns or ():
        if column not in set(frame["quantity"]):
            known = ", ".join(sorted(set(frame["quantity"]))) or "none: there is no such record"
            raise ValueError(f"log: got the column {column!r} of {kind} records but expected one of {known}")
    return frame if columns is None else frame[frame["quantity"].isin(columns)].reset_index(drop=True)


def interval_of(values: ArrayLike) -> tuple[float, float]:
    """Student's 95 % interval of the mean over seeds; NaN for fewer than four values."""
    return mean_interval(np.asarray(values, dtype=float))


def over_seeds(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The mean of ``value`` over seeds with its interval: the columns of ``by``, ``seeds``, ``mean``, ``low``,
    ``high``.
    """
    rows = []
    for key, group in frame.groupby(list(by), sort=False, dropna=False):
        values = group["value"].dropna().to_numpy(dtype=float)
        mean = values.mean() if len(values) else np.nan
        rows.append((*key, len(values), mean, *interval_of(values)))
    return pd.DataFrame(rows, columns=[*by, "seeds", "mean", "low", "high"])
