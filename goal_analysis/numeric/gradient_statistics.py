"""What one backward pass does to a score matrix, in a few numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from goal_analysis.numeric.compilation import Compiled, compiled
from goal_analysis.symbolic.analysis.decomposition import Decomposition
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.weight import WeightField

QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True, eq=False)
class Rows:
    """Some anchors of a score matrix: S, W = ∂L/∂S (−w⁺ at positives, w⁻ at negatives) and which pairs are which."""

    scores: Float[Tensor, "anchors candidates"]
    gradient: Float[Tensor, "anchors candidates"]
    positives: Bool[Tensor, "anchors candidates"]
    negatives: Bool[Tensor, "anchors candidates"]


def effective_number(
    weights: Float[Tensor, "anchors candidates"],
) -> Float[Tensor, " anchors"]:
    """exp(−Σ_j q_j·log q_j) with q = weights/Σ weights of every row: how many candidates share it; NaN of no weight.

    >>> effective_number(torch.tensor([[2.0, 2.0, 2.0, 2.0], [0.0, 7.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    tensor([4., 1., nan])
    """
    shares = weights / weights.sum(1, keepdim=True)
    return torch.special.entr(shares).sum(1).exp()


def masked_quantiles(values: Tensor, members: Tensor, levels: Sequence[float]) -> Float[Tensor, " levels"]:
    """Quantiles of the members, between the two nearest values; NaN if there are none."""
    in_order, count = _in_order(values, members)
    place = torch.tensor(levels, dtype=in_order.dtype, device=in_order.device) * (count - 1).clamp(min=0)
    below = place.floor().long()
    above = torch.minimum(below + 1, (count - 1).clamp(min=0))
    quantiles = torch.lerp(in_order[below], in_order[above], place - below)
    return torch.where(count > 0, quantiles, torch.nan)


def _in_order(values: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
    return (_by_numpy if values.device.type == "cpu" else _by_torch)(values, members)


def _by_numpy(values: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
    in_order = torch.from_numpy(np.sort(values[members].numpy()))
    return (in_order if len(in_order) else values.new_zeros(1)), torch.tensor(len(in_order))


def _by_torch(values: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
    return torch.where(members, values, torch.inf).reshape(-1).sort().values, members.sum()


def column_names(levels: Sequence[float], decomposed: bool) -> tuple[str, ...]:
    """The names of what `statistics` returns."""
    spread = ("s_p", "s_n", "w_p", "w_n") + (("T", "P_p", "P_n") if decomposed else ())
    quantiles = tuple(f"{name}_q{100 * level:g}" for name in spread for level in levels)
    return (*quantiles, "active_share", "effective_negatives", "push_share", "pull_share")


def statistics(
    rows: Rows, levels: Sequence[float] = QUANTILES, factors: Compiled | None = None
) -> Float[Tensor, " columns"]:
    """The numbers that `column_names` names, computed in float32 at least.

    - quantiles of s_p and |w⁺| over the positives, of s_n and |w⁻| over the negatives;
    - with ``factors``, of P⁺ over the positives, P⁻ over the negatives, and T over the anchors at their least
      similar positive and most similar negative;
    - active_share: anchors with any weight, of those that have a positive and a negative;
    - effective_negatives: the mean of `effective_number` of |w⁻| over the anchors that push;
    - push_share = Σ|w⁻|/(Σ|w⁺| + Σ|w⁻|), and pull_share = 1 − push_share.
    """
    positives, negatives = rows.positives, rows.negatives
    scores, gradient = (t if t.dtype == torch.float64 else t.float() for t in (rows.scores, rows.gradient))
    size = gradient.abs()
    pulls, pushes = size * positives, size * negatives
    numbers = [
        masked_quantiles(values, members, levels)
        for values, members in (
            (scores, positives),
            (scores, negatives),
            (size, positives),
            (size, negatives),
        )
    ]
    has_both = positives.any(1) & negatives.any(1)
    if factors is not None:
        least = scores.masked_fill(~positives, torch.inf).amin(1).masked_fill(~has_both, 0.0)
        most = scores.masked_fill(~negatives, -torch.inf).amax(1).masked_fill(~has_both, 0.0)
        _, of_p, of_n = factors(scores, scores)
        spreads = ((factors(least, most)[0], has_both), (of_p, positives), (of_n, negatives))
        numbers += [masked_quantiles(values, members, levels) for values, members in spreads]
    push, pull = pushes.sum(), pulls.sum()
    active = ((pulls + pushes).amax(1) > 0) & has_both
    shares = torch.stack(
        [
            active.sum() / has_both.sum(),
            effective_number(pushes).nanmean(),
            push / (push + pull),
            pull / (push + pull),
        ]
    )
    return torch.cat([*numbers, shares])


def factors_of(objective: Decomposition | WeightField, settings: Mapping[str, float]) -> Compiled:
    """T, P⁺ and P⁻ of an objective as functions of s_p and s_n; a ValueError where it has no such factors."""
    field = objective.field if isinstance(objective, Decomposition) else objective
    if field.factors is None or field.relative:
        raise ValueError(
            f"objective: got {field.name}, whose weights have no factors T, P⁺ and P⁻ of one triplet, "
            "but expected one that separates"
        )
    values = field.values(settings)
    factors = (field.factors.triplet, field.factors.positive, field.factors.negative)
    return compiled([f.subs(values) for f in factors], [s_p, s_n])


def scores_gradient(
    gradient: Float[Tensor, "anchors dim"],
    anchors: Float[Tensor, "anchors dim"],
    candidates: Float[Tensor, "candidates dim"],
) -> Float[Tensor, "anchors candidates"]:
    """W of ``gradient`` = ∂L/∂X = W·Y + diag(ρ)·X, unique where Y with any x has linearly independent rows.

    ρ is what the gradient has along each anchor x of X, which does not move a unit vector; Y are the candidates.
    """
    scores = anchors @ candidates.T
    both = torch.cat([gradient @ candidates.T, scores])
    seen, own = torch.linalg.solve(candidates @ candidates.T, both.T).T.chunk(2)
    along = (gradient * anchors).sum(1) - (seen * scores).sum(1)
    along = along / ((anchors * anchors).sum(1) - (own * scores).sum(1))
    return seen - along[:, None] * own
