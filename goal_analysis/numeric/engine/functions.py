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
    """What the tiled way makes use of, where it is known of a side.

    Args:
        constant: P where it is one number.
        line: (a, b) where the inner function is a·s + b.
        bound: the largest magnitude of the inner function over the similarities of unit vectors.
    """

    constant: float | None = None
    line: tuple[float, float] | None = None
    bound: float = float("inf")


@dataclass(frozen=True)
class Side:
    """One side of a term.

    Args:
        aggregator: A.
        inner: k or h, elementwise; ``by_name``, of what the pair carries besides, and on the side of
            the negatives of the similarity of the own positive and what that carries, where positives are enumerated.
        weight: P, elementwise; of relative similarities besides, where the term has some.
        pool: which pairs are gathered: "own", "all" (positives too), "both ends" or "positives".
        selection: keeps some of these pairs; called with the similarities, the members, and what the other side hands
            over (None for the positives).
        valued: k or h as autograd is to differentiate it, through everything but what is detached.
        hints: for the tiled way.
        by_name: whether autograd differentiates the loss of its term.
    """

    aggregator: Aggregator
    inner: Callable[..., Tensor]
    weight: Callable[..., Tensor]
    pool: str = "own"
    selection: Callable[..., Tensor] | None = None
    valued: Callable[..., Tensor] | None = None
    hints: Any = None
    by_name: bool = False


@dataclass(frozen=True)
class Relative:
    """A mean over other pairs of the batch; zero over none.

    Args:
        contribution: what another pair adds, of (s_p, s_n, other positive, other negative, least positive).
        member: the other pair belongs to the mean where this is at least zero, of the same five.
        of_positives: whether the other pairs are those of the other anchors and their positives; otherwise the anchor's
            other negatives.
        counts: what the mean divides by: "all", "nonzero" or "positive" contributions.
    """

    contribution: Callable[..., Tensor]
    member: Callable[..., Tensor]
    of_positives: bool
    counts: str


@dataclass(frozen=True)
class Term:
    """One summand of an objective.

    Args:
        positives: the side of the positives; None where the term has none.
        negatives: the side of the negatives.
        pull: T⁺(x_p, x_n) = −∂Φ/∂x_p, or what is prescribed instead; None where autograd differentiates the loss.
        push: T⁻(x_p, x_n) = ∂Φ/∂x_n, or what is prescribed instead; None like ``pull``.
        meet: how positives meet negatives; `meetings` of `dense`.
        apart: whether the positives of an anchor meet its negatives one by one.
        ends: whether negatives of the positives are gathered too.
        outer: Φ(x_p, x_n), differentiable; None where the term is no loss. Where the term meets `by_name`, it reads the
            named aggregates, the counts of positives and negatives and what enumerated pairs carry besides.
        relative: what the pair weights read from other pairs of the batch.
        named: the further aggregates that Φ reads.
        whole: what is made of the sum of an anchor's values of Φ; None for the sum.
    """

    positives: Side | None
    negatives: Side | None
    pull: Any
    push: Any
    meet: Callable[..., Any]
    apart: bool = False
    ends: bool = False
    outer: Callable[..., Tensor] | None = None
    relative: tuple[Relative, ...] | None = None
    named: tuple[Side, ...] = ()
    whole: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Functions:
    """An objective as the engine reads it.

    Args:
        terms: the summands.
        rows: whether the rows of the scores are anchors.
        columns: whether the columns are.
        reduction: "sum"; "mean" of a term over the anchors, of both axes, that have what it needs; "mean_each" over
            all values of Φ; "mean_active" over those above zero.
        grouped: what makes one score of the several columns of a class; None for one column a class.
        middle: a similarity in the middle of the range; it stands where there is no pair.
    """

    terms: tuple[Term, ...]
    rows: bool = True
    columns: bool = True
    reduction: str = "mean"
    middle: float = 0.0
    grouped: Aggregator | None = None
