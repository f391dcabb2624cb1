"""Objectives compared over seeds: means, paired differences with Student's intervals, and what is within noise."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from goal_analysis.declarations import expect_among
from goal_analysis.numeric.student import FEWEST, LEVEL, adjusted_for, mean_interval, score

COLUMNS = ("objective", "seeds", "mean", "deviation", "difference", "interval")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Objectives over seeds, a row of the table each, the best mean first.

    The columns are ``objective``, ``seeds`` (those with a number), ``mean``, ``deviation`` (of a sample, n − 1), and
    against the baseline over the ``common`` seeds, of ``of`` that either was run with, ``difference``, ``low``,
    ``high`` and the interval's ``level``; what is not known is NaN.
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
    """Compare objectives by a number of their runs, by objective and seed; seeds are paired.

    Intervals are Student's of the paired differences, at the level of `adjusted_for`: one leaves out zero exactly where
    Holm's method calls the difference one. They answer that for the table; together they do not hold their means with
    95 %. Below four common seeds there is none. A seed without a finite number, as of a run that failed, is left out of
    both. No such baseline, and an objective without a run, are ValueErrors.

    >>> a, b = {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}, {0: 5.0, 1: 5.0, 2: 6.0, 3: 8.0}
    >>> compare({"a": a, "b": b}, "a").statements()
    ['b: better than a: +3.5 [+2.6, +4.4]']
    """
    expect_among("baseline", baseline, found)
    for name, by_seed in found.items():
        if not by_seed:
            raise ValueError(f"compare: got no run of {name!r} but expected one at least")
    values = pd.DataFrame(found, dtype=float).replace([np.inf, -np.inf], np.nan).sort_index()
    paired = values.sub(values[baseline], axis=0)
    paired[baseline] = np.nan
    either = {name: len(by_seed.keys() | found[baseline].keys()) for name, by_seed in found.items()}
    columns = {"seeds": values.count(), "mean": values.mean(), "deviation": values.std(), "common": paired.count()}
    table = pd.DataFrame({**columns, "of": either, "difference": paired.mean(), "low": np.nan, "high": np.nan})
    tested = [name for name in found if paired[name].count() >= FEWEST]
    differences = [paired[name].dropna().to_numpy() for name in tested]
    counts = adjusted_for(np.array(list(map(score, differences))), np.array([len(d) - 1 for d in differences], int))
    levels = 1 - (1 - LEVEL) / counts
    table["level"] = pd.Series(levels, tested, dtype=float)
    for name, of, level in zip(tested, differences, levels, strict=True):
        table.loc[name, ["low", "high"]] = mean_interval(of, level)
    table = table.rename_axis("objective").loc[list(found)].reset_index()
    table = table.sort_values("mean", ascending=False, ignore_index=True)
    return Comparison(table, baseline, metric)


def _interval(row: dict) -> str:
    return "–" if np.isnan(row["low"]) else f"[{row['low']:+.1f}, {row['high']:+.1f}]"


def _said(value: float, sign: str = "") -> str:
    return "–" if np.isnan(value) else f"{value:{sign}.1f}"
