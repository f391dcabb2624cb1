"""Objectives in numbers: the weights of one triplet on grids of similarities, and where their kinks lie.

Samples are moved off the middle of their cells by less than a millionth of the range, s_p and s_n differently, so that
none lies on a kink such as s_n = s_p, where a step counts as ½.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import sympy as sp
from jaxtyping import Float64

from goal_analysis.numeric.compilation import compiled
from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.symbolic.analysis.decomposition import Decomposition
from goal_analysis.symbolic.analysis.kinks import in_steps_alone, kinks_of
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import Similarity
from goal_analysis.symbolic.weight import WeightField

Objective = Decomposition | WeightField
Settings = Mapping[str, float | int] | None

OFF = (1e-7, 3e-7)
"""By which shares of the range samples of s_p and of s_n are moved."""

LABELS = {"T": "T", "P_p": "P^+", "P_n": "P^-", "w_p": "w^+", "w_n": "w^-"}
"""The weights by the names of their columns, in LaTeX."""


def field_of(objective: Objective) -> WeightField:
    """The weights of one triplet."""
    return objective.field if isinstance(objective, Decomposition) else objective


def span_of(similarity: Similarity) -> tuple[float, float]:
    """The ends of the range of a similarity on unit vectors."""
    return float(similarity.opposite), float(similarity.identical)


def weights_of(objective: Objective, settings: Settings = None) -> dict[str, sp.Expr]:
    """``w_p`` and ``w_n``, with ``T``, ``P_p`` and ``P_n`` where they exist, as expressions of s_p and s_n alone.

    Relative similarities are zero, as for a triplet without others around it.

    Args:
        objective: a decomposed loss, or any field of weights.
        settings: hyperparameters that differ from their defaults.

    Raises:
        ValueError: an unknown hyperparameter, or a value outside its domain.
    """
    field = field_of(objective)
    found = {"w_p": field.positive, "w_n": field.negative}
    if field.factors is not None:
        factors = (field.factors.triplet, field.factors.positive, field.factors.negative)
        found |= dict(zip(("T", "P_p", "P_n"), factors, strict=True))
    return {name: numeric(objective, weight, settings) for name, weight in found.items()}


def numeric(objective: Objective, expression: sp.Expr, settings: Settings = None) -> sp.Expr:
    """An expression of this objective's symbols with numbers for all but the similarities of the triplet."""
    field = field_of(objective)
    values = dict.fromkeys((r.symbol for r in field.relative), sp.S.Zero) | field.values(settings)
    return expression.subs(values)


def weight_of(objective: Objective, weight: str, settings: Settings = None) -> sp.Expr:
    """The weight of this name, with numbers for all but s_p and s_n.

    Raises:
        ValueError: no such name, or one of the factors of an objective that has none.
    """
    if weight not in LABELS:
        raise ValueError(f"weight: got {weight!r} but expected one of {', '.join(LABELS)}")
    found = weights_of(objective, settings)
    if weight not in found:
        raise ValueError(
            f"{field_of(objective).name}: got weights that do not separate, which have no {weight}, "
            f"but expected one of {', '.join(found)}"
        )
    return found[weight]


def centres(span: tuple[float, float], count: int, off: float = 0.0) -> Float64[np.ndarray, " count"]:
    """The middles of so many equal cells, moved by this share of the span."""
    low, high = span
    return low + (high - low) * ((np.arange(count) + 0.5) / count + off)


def grid(similarity: Similarity, count: int) -> pd.DataFrame:
    """``s_p`` and ``s_n`` at the middles of ``count`` × ``count`` cells, s_p running first."""
    span = span_of(similarity)
    of_p, of_n = np.meshgrid(centres(span, count, OFF[0]), centres(span, count, OFF[1]))
    return pd.DataFrame({"s_p": of_p.ravel(), "s_n": of_n.ravel()})


def kinks(expressions: Sequence[sp.Expr]) -> list[sp.Expr]:
    """What changes sign where one of these expressions of s_p and s_n has a kink or a jump."""
    return kinks_of([in_steps_alone(e) for e in expressions], (s_p, s_n))


def with_columns(at: pd.DataFrame, columns: Mapping[str, sp.Expr]) -> pd.DataFrame:
    """The frame with these expressions of its ``s_p`` and ``s_n``; NaN where they are no finite real numbers."""
    found = compiled(list(columns.values()), (s_p, s_n), NUMPY)(at["s_p"].to_numpy(), at["s_n"].to_numpy())
    values = {name: np.where(np.isfinite(x), x, np.nan) for name, x in zip(columns, found, strict=True)}
    return at.assign(**values)


def kink_columns(expressions: Sequence[sp.Expr]) -> dict[str, sp.Expr]:
    """Columns ``kink_0``, ``kink_1`` …, each zero along one kink of the expressions."""
    return {f"kink_{i}": kink for i, kink in enumerate(kinks(expressions))}


def matrix(frame: pd.DataFrame, column: str) -> Float64[np.ndarray, "s_n s_p"]:
    """A column of a `grid` as a matrix, a row an s_n."""
    return frame[column].to_numpy().reshape(frame["s_n"].nunique(), frame["s_p"].nunique())


def regions(frame: pd.DataFrame) -> Float64[np.ndarray, "s_n s_p"]:
    """A number for every side of the kinks of a `grid`, so that what is drawn of one does not reach another."""
    names = [name for name in frame if str(name).startswith("kink_")]
    total = np.zeros((frame["s_n"].nunique(), frame["s_p"].nunique()))
    for i, name in enumerate(names):
        total += 2.0**i * (matrix(frame, str(name)) > 0)
    return total
