"""What the engine is told of an objective: callables, aggregators and which axes are anchors.

x_p = A⁺[k(s_p)],   x_n = A⁻[h(s_n)],   W_ap = −T⁺(x_p, x_n)·q_p·P⁺(s_p),   W_an = T⁻(x_p, x_n)·q_n·P⁻(s_n),   q = ∂A
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from goal_analysis.numeric.engine.aggregators import Aggregator


@dataclass(frozen=True)
class Hints:
    """What the tiled way makes use of, where it is known of a side."""

    constant: float | None = None  # P where it is one number
    line: tuple[float, float] | None = None  # (a, b) where the inner function is a·s + b
    bound: float = float("inf")  # the largest magnitude of the inner function between unit vectors


@dataclass(frozen=True)
class Side:
    """One side of a term.

    The inner function reads, ``by_name``, what the pair carries too and, of negatives that meet enumerated positives,
    the similarity of the own positive and what that carries. A selection is called with the similarities, the members,
    and what the other side hands over (None for the positives).
    """

    aggregator: Aggregator  # A
    inner: Callable[..., Tensor]  # k or h, elementwise
    weight: Callable[..., Tensor]  # P, elementwise; of relative similarities besides, where there are some
    pool: str = "own"  # gathered: "own", "all" (positives too), "both ends" or "positives"
    selection: Callable[..., Tensor] | None = None  # keeps some of the pool
    valued: Callable[..., Tensor] | None = None  # the inner function through all but what is detached
    hints: Any = None
    by_name: bool = False  # whether autograd differentiates the loss of its term


@dataclass(frozen=True)
class Relative:
    """A mean over other pairs of the batch; zero over none.

    Both functions are of (s_p, s_n, other positive, other negative, least positive).
    """

    contribution: Callable[..., Tensor]  # what another pair adds
    member: Callable[..., Tensor]  # the other pair belongs to the mean where this is at least zero
    of_positives: bool  # over the other anchors' positives; otherwise the anchor's other negatives
    counts: str  # what the mean divides by: "all", "nonzero" or "positive" contributions


@dataclass(frozen=True, eq=False)  # what is known of one is kept by its identity
class Term:
    """One summand of an objective.

    Where autograd differentiates the loss ``pull`` and ``push`` are None, and Φ reads the named aggregates, the counts
    of positives and negatives and what enumerated pairs carry besides.
    """

    positives: Side | None  # None where the term has none
    negatives: Side | None  # likewise
    pull: Any  # T⁺(x_p, x_n) = −∂Φ/∂x_p, or what is prescribed
    push: Any  # T⁻(x_p, x_n) = ∂Φ/∂x_n, likewise
    meet: Callable[..., Any]  # how positives meet negatives: `meetings` of `dense`
    apart: bool = False  # whether positives meet negatives one by one
    ends: bool = False  # whether negatives of the positives are gathered too
    outer: Callable[..., Tensor] | None = None  # Φ(x_p, x_n), differentiable; None where the term is no loss
    relative: tuple[Relative, ...] | None = None  # what the pair weights read from other pairs
    named: tuple[Side, ...] = ()  # the further aggregates that Φ reads
    whole: Callable[[Tensor], Tensor] | None = None  # made of the sum of an anchor's Φ; None for the sum


@dataclass(frozen=True, eq=False)
class Functions:
    """An objective as the engine reads it.

    The reduction is "sum", or a "mean" of a term over the anchors, of both axes, that have what it needs, "mean_each"
    over all values of Φ, or "mean_active" over those above zero.
    """

    terms: tuple[Term, ...]
    rows: bool = True
    columns: bool = True
    reduction: str = "mean"
    middle: float = 0.0
    grouped: Aggregator | None = None
