"""Objectives compared over seeds: means, paired differences with Student's intervals, and what is within noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import pandas as pd

from goal_analysis.numeric.student import FEWEST, LEVEL, adjusted_for, mean_interval, score

COLUMNS = ("objective", "seeds", "mean", "deviation", "difference", "interval")


@dataclass(frozen=True, eq=False)
class Comparison:
    """A comparison of objectives over seeds.

    Args:
        table: a row an objective, the best mean first, with ``objective``, ``seeds`` (those with a number), ``mean``,
            ``deviation`` (of a sample, n − 1), and against the baseline over the ``common`` seeds, of ``of`` that
            either was run with: ``difference``, ``low``, ``high`` and the interval's ``level``. What is not known is
            NaN, as those are in the baseline's own row.
        baseline: the objective that the others are compared with.
        metric: what was measured.
    """

    table: pd.DataFrame
    baseline: str
    metric: str

    def __repr__(self) -> str:
        return f"Comparison({self.metric}; {'; '.join(self.statements()) or f'{self.baseline} alone'})"

    def _repr_markdown_(self) -> str:
        return "\n".join(self.markdown())

    @property
    def caption(self) -> str:
        """What the differences and the intervals of the table are."""
        return (
            f"Differences are to {self.baseline} over the same seeds. Intervals are Student's of the paired "
            "differences, each at the level at which Holm's method tests its row, so that at most 5 % of such tables "
            "call a difference that is not there."
        )

    def cells(self) -> Iterator[tuple[str, ...]]:
        """The `COLUMNS` of every row, as a table prints them."""
        for row in self.table.to_dict("records"):
            own = row["objective"] == self.baseline
            against = ("", "") if own else (_said(row["difference"], "+"), _interval(row))
            yield row["objective"], str(row["seeds"]), _said(row["mean"]), _said(row["deviation"]), *against

    def statements(self) -> list[str]:
        """A sentence an objective: better, worse, within noise of the baseline, or too few seeds to say."""
        rows = self.table.to_dict("records")
        return [f"{row['objective']}: {self._said_of(row)}" for row in rows if row["objective"] != self.baseline]

    def _said_of(self, row: dict) -> str:
        if np.isnan(row["low"]):
            return f"too few seeds to say: {row['common']} in common with {self.baseline}, and {FEWEST} are needed"
        how = "better than" if row["low"] > 0 else "worse than" if row["high"] < 0 else "within noise of"
        missing = f", over {row['common']} of {row['of']} seeds" if row["common"] < row["of"] else ""
        return f"{how} {self.baseline}: {_said(row['difference'], '+')} {_interval(row)}{missing}"

    def markdown(self, chosen: Mapping[str, str] | None = None) -> list[str]:
        """The lines of the table and of the sentences, with what was chosen of every objective if it is given."""
        rows: Iterable[tuple[str, ...]] = (COLUMNS, *self.cells())
        if chosen is not None:
            more = {COLUMNS[0]: (COLUMNS[0], "chosen")} | {name: (f"`{name}`", said) for name, said in chosen.items()}
            rows = ((*more[name], *numbers) for name, *numbers in rows)
        return [*markdown_table(rows), "", *(f"- {one}" for one in self.statements())]


def markdown_table(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a table in Markdown, the first row being its head."""
    for place, row in enumerate(rows):
        yield f"| {' | '.join(map(str, row))} |"
        if not place:
            yield f"| {' | '.join(['---'] * len(row))} |"


def compare(found: Mapping[str, Mapping[int, float]], baseline: str, metric: str = "rsum") -> Comparison:
    """Compare objectives by a number of their runs.

    The interval is Student's of the paired differences, at the level of `adjusted_for`; it leaves out zero exactly
    where Holm's method calls the difference one. So it answers whether there is a difference, for the table as a whole;
    all intervals together do not hold their means with 95 %. Differences that are the same number over all seeds have
    an interval of that number alone. Below four common seeds there is none.

    A number that is not finite is no number, and a run that failed has none: the seed is left out of both, and the
    sentence says of how many. Seeds are paired by their number, so the runs have to be of one study.

    Args:
        found: the number by objective and seed.
        baseline: one of the objectives.
        metric: the number's name.

    Raises:
        ValueError: no such baseline, or an objective without a run.

    >>> a, b = {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}, {0: 5.0, 1: 5.0, 2: 6.0, 3: 8.0}
    >>> compare({"a": a, "b": b}, "a").statements()
    ['b: better than a: +3.5 [+2.6, +4.4]']
    """
    if baseline not in found:
        raise ValueError(f"baseline: got {baseline!r} but expected one of {', '.join(found)}")
    for name, by_seed in found.items():
        if not by_seed:
            raise ValueError(f"compare: got no run of {name!r} but expected one at least")
    known = {name: {s: value for s, value in by_seed.items() if isfinite(value)} for name, by_seed in found.items()}
    seeds = {name: sorted(of.keys() & known[baseline].keys()) if name != baseline else [] for name, of in known.items()}
    paired = {n: np.array([known[n][s] - known[baseline][s] for s in of], dtype=float) for n, of in seeds.items()}
    tested = [name for name, differences in paired.items() if len(differences) >= FEWEST]
    freedom = np.array([len(paired[name]) - 1 for name in tested], dtype=int)
    counts = adjusted_for(np.array([score(paired[name]) for name in tested]), freedom)
    levels = {name: 1 - (1 - LEVEL) / count for name, count in zip(tested, counts, strict=True)}
    rows = []
    for name, differences in paired.items():
        values, level = np.array(list(known[name].values()), dtype=float), levels.get(name, np.nan)
        low, high = mean_interval(differences, level) if name in levels else (np.nan, np.nan)
        rows.append(
            {
                "objective": name,
                "seeds": len(values),
                "mean": values.mean() if len(values) else np.nan,
                "deviation": values.std(ddof=1) if len(values) > 1 else np.nan,
                "common": len(differences),
                "of": len(found[name].keys() | found[baseline].keys()),
                "difference": differences.mean() if len(differences) else np.nan,
                "low": low,
                "high": high,
                "level": level,
            }
        )
    table = pd.DataFrame(rows).sort_values("mean", ascending=False, ignore_index=True)
    return Comparison(table, baseline, metric)


def _interval(row: dict) -> str:
    return "–" if np.isnan(row["low"]) else f"[{row['low']:+.1f}, {row['high']:+.1f}]"


def _said(value: float, sign: str = "") -> str:
    return "–" if np.isnan(value) else f"{value:{sign}.1f}"
