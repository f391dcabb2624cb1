"""Where measured weights jump, and whether a gradient may jump so.

Between two points whose weights differ much, bisection tells a jump from a slope: over ever smaller distances the
change of a jump stays. A field of weights that jumps by Δ across a surface is the gradient of a continuous function
there if and only if Δ is normal to the surface. So the crossing is sought again beside itself, moved by δ along
directions τ with τ·Δ = 0: along a normal jump the crossing stays where it was to second order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Weights = Callable[[Float[Tensor, "points coordinates"]], Float[Tensor, "points coordinates"]]
"""The gradient of a loss by coordinates, NaN where there is none."""

LEAST = 1e-4  # a jump below this share of the largest weight is none
WIDTH = 1e-10  # to which a crossing is bisected
BESIDE, AROUND = 1e-4, 20.0  # δ, and how many of it a crossing may move by
DIRECTIONS = 3
ALONG, ACROSS = 0.004, 0.03  # up to here a jump is normal to its surface, from here on it is not
FAR, HALVINGS = 0.2, 28  # of the points that close in on a jump
MOST = 12  # so many candidates are bisected


@dataclass(frozen=True, eq=False)
class Jump:
    """Weights that jump by ``change`` at ``point``, found ``along`` a direction; ``tangential`` is the part of it along
    the surface, NaN if unknown.
    """

    point: Float[Tensor, " coordinates"]
    change: Float[Tensor, " coordinates"]
    along: Float[Tensor, " coordinates"]
    tangential: float

    def closing_in(self) -> Float[Tensor, "points coordinates"]:
        """Points on both sides of it, every one half as far as the one before."""
        distances = FAR * 2.0 ** -torch.arange(HALVINGS, dtype=self.point.dtype)
        return self.point + torch.cat([distances, -distances])[:, None] * self.along


def jumps(weights: Weights, starts: Tensor, ends: Tensor, size: float, noise: float, tested: int) -> list[Jump]:
    """The jumps found between starts and ends; of ``tested`` the direction is tested.

    Args:
        weights: the gradient by coordinates.
        starts: shape ``(pairs, coordinates)``, where bisection starts.
        ends: likewise, where it ends.
        size: the largest weight.
        noise: a standard deviation of the weights; below 20 of it nothing is a jump.
        tested: how many directions are worked out.
    """
    least = max(LEAST * size, 20 * noise)
    corners, place = torch.unique(torch.cat([starts, ends]), dim=0, return_inverse=True)
    low, high = weights(corners)[place].chunk(2)
    changing = (high - low).norm(dim=1) > least
    starts, ends, low, high = starts[changing], ends[changing], low[changing], high[changing]
    half = weights((starts + ends) / 2)
    uneven = ((half - low).norm(dim=1) - (high - half).norm(dim=1)).abs().nan_to_num()
    order = uneven.argsort(descending=True, stable=True)[:MOST]
    order = order[uneven[order] > least / 2]
    starts, ends = starts[order], ends[order]
    still, points, changes = _bisected(weights, starts, ends, least)
    found = list(zip(points[still], changes[still], _units(ends - starts)[still], strict=True))
    spread = {round(i * (len(found) - 1) / max(tested - 1, 1)) for i in range(tested)}
    return [
        Jump(*jump, _tangential(weights, *jump, least, noise / size) if i in spread else math.nan)
        for i, jump in enumerate(found)
    ]


def _units(directions: Tensor) -> Tensor:
    return torch.nn.functional.normalize(directions, dim=-1)


def _bisected(weights: Weights, a: Tensor, b: Tensor, least: float) -> tuple[Tensor, Tensor, Tensor]:
    """What still jumps over a distance of `WIDTH`, where, and by how much."""
    low, high = weights(a), weights(b)
    alive = torch.ones(len(a), dtype=torch.bool)
    while alive.any() and (b - a)[alive].norm(dim=1).max() > WIDTH:
        middle = (a + b) / 2
        half = torch.full_like(low, torch.nan)
        half[alive] = weights(middle[alive])
        left = (half - low).norm(dim=1) >= (high - half).norm(dim=1)
        a, low = torch.where(left[:, None], a, middle), torch.where(left[:, None], low, half)
        b, high = torch.where(left[:, None], middle, b), torch.where(left[:, None], half, high)
        alive = alive & ((high - low).norm(dim=1) > least)
    return alive, (a + b) / 2, high - low


def _tangential(weights: Weights, point: Tensor, change: Tensor, along: Tensor, least: float, rounding: float) -> float:
    """How far the surface leans from the normal of the jump, as a sine; NaN where it is not found again beside."""
    normal = _units(change)
    if rounding > 1e-7:  # the crossing itself is only known to the rounding of the loss
        return math.nan
    generator = torch.Generator().manual_seed(0)
    beside = torch.randn(DIRECTIONS, len(point), generator=generator, dtype=point.dtype)
    moved = point + BESIDE * _units(beside - (beside @ normal)[:, None] * normal)
    reach = AROUND * BESIDE * along
    again, crossings, changes = _bisected(weights, moved - reach, moved + reach, least)
    again &= (changes - change).norm(dim=1) <= 0.1 * change.norm()
    leans = ((crossings - moved)[again] @ along).abs() / BESIDE * max((normal @ along).abs().item(), 0.05)
    return leans.max().item() * (len(point) - 1) ** 0.5 if len(leans) else math.nan
