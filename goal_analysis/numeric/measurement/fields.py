"""What a field W(x) of measured weights says: how much of it turns, where it jumps, and which factors it has.

W is a gradient if and only if J = ∂W/∂x is symmetric. It turns by ‖(J − Jᵀ)/2‖ / (‖J‖ + ‖W‖), by central differences.
Rounding spoils small steps, truncation large ones and jumps both: it is *believed* where two steps agree to a factor of
two, above the noise. A jump is that of the gradient of a continuous function if and only if it is normal to the
surface: then the crossing, sought again beside itself, stays where it was to second order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize, pad

Points = Float[Tensor, "*points coordinates"]
Weights = Callable[[Points], Points]
"""The gradient of a loss by coordinates, NaN where there is none."""

STEPS = (1e-5, 1e-3, 1e-2)  # of central differences. In float64 the first has rounding and truncation near 1e-10
NOTICEABLE = 1e-4  # misfits, curls and indices above this are more than rounding and finite differences make
NEARBY = 5e-5  # fourth differences of weights this far apart are rounding alone
FAINT = 1e-9  # noise below this share of the largest weight is that of float64, and ignored
SAMPLED = 20  # points at which noise is looked for before it is measured everywhere
CONSTANT = 1e-8  # slopes below this share of the largest weight are rounding: the weights are constant

CLEAR, MOST = 10.0, 0.75
"""What is believed has CLEAR times the standard deviation of the noise, and is MOST of what turns."""

LEAST = 1e-4  # a jump below this share of the largest weight is none
ROUNDED = 1e-7  # share of noise of weights whose jumps are not held against their normal
WIDTH = 1e-10  # to which a crossing is closed in
PARTS = 8  # that a segment is cut into at once
BESIDE, AROUND = 1e-4, 20.0  # δ, and how many of it a crossing may move by
DIRECTIONS = 3
ALONG, ACROSS = 0.004, 0.03  # up to here a jump is normal to its surface, from here on it is not
FAR, HALVINGS = 0.2, 28  # of the points that close in on a jump
VANISHING = 1e-9  # a weight below this share of the largest is taken for zero
ABOVE_NOISE = 100  # a weight that is not so many times its noise says nothing of a ratio
BENT, CLOSED, TESTED = 96, 12, 4  # so many segments are looked into, closed in on, and held against the normal


def largest(weights: Tensor) -> float:
    """The largest |weight|, 0 of none."""
    return weights.nan_to_num().abs().max().item() if weights.numel() else 0.0


def share(part: Tensor, total: Tensor) -> float:
    """‖part‖/‖total‖, at most 1; 0 of nothing."""
    return min(1.0, (part.norm() / total.norm()).item()) if total.any() else 0.0


def root_mean_square(values: Tensor) -> float:
    """Of what is finite, 0 of nothing."""
    known = values[values.isfinite()]
    return known.square().mean().sqrt().item() if known.numel() else 0.0


def usual_noise(deviations: Tensor) -> float:
    """Root mean square without the largest tenth, which kinks may have made; 0 if nothing is finite."""
    known = deviations[deviations.isfinite()].sort().values
    return root_mean_square(known[: max(1, 9 * len(known) // 10)])


def noise_of(weights: Weights, at: Tensor, aside: Tensor, precision: float) -> tuple[Tensor, float]:
    """The standard deviation of each weight's noise, and the usual one; what float64 makes is zero.

    It is |w₋₂ − 4·w₋₁ + 6·w₀ − 4·w₁ + w₂|/√70 of points `NEARBY` apart, at least the rounding of the loss's
    ``precision``.
    """
    signs = torch.tensor([1.0, -4.0, 6.0, -4.0, 1.0], dtype=at.dtype)
    few = torch.linspace(0, len(at) - 1, min(SAMPLED, len(at))).long()
    for some in (few, slice(None)):
        nearby = weights(torch.stack([at[some] + place * NEARBY * aside for place in range(-2, 3)]))
        size, deviations = largest(nearby), torch.tensordot(signs, nearby, 1).abs() / 70**0.5
        deviations = deviations.where(~(deviations <= FAINT * size), 0.0)
        least = precision / 2 * size
        usual = max(least, usual_noise(deviations))
        if usual <= FAINT * size:
            return torch.zeros_like(at), least
    return deviations.clamp(min=least), usual


@dataclass(frozen=True, eq=False)
class Turning:
    """How much a field turns, by the step of the smallest share."""

    share: float
    believed: float  # the share on which steps agree
    field: Float[Tensor, "points coordinates coordinates"]  # (J − Jᵀ)/2, 0 where it was not measured


def turning(weights: Weights, at: Points, moved: Bool[Tensor, " all"], noise: float) -> Turning:
    """How much weights turn by the coordinates that are ``moved``, at small steps first until a share is negligible."""
    best, believed, before = Turning(math.inf, 0.0, at.new_zeros(0, 0, 0)), 0.0, None
    moves = torch.eye(at.shape[-1], dtype=at.dtype)[moved]
    for step in STEPS:
        around = weights(torch.stack([at[:, None] + step * moves, at[:, None] - step * moves]))[..., moved]
        slopes = (around[0] - around[1]) / (2 * step)
        slopes[slopes.abs() < CONSTANT * largest(around)] = 0
        known = slopes.isfinite().all(2).all(1)
        if not known.any():
            break
        slopes = slopes.where(known[:, None, None], 0.0)
        size = (slopes.norm() + around[0, known, 0].norm()).item()
        turned = (slopes.mT - slopes) / 2
        share = turned.norm().item() / size if size else 0.0
        if share < best.share:
            best = Turning(share, 0.0, turned)
        if share < NOTICEABLE:
            break
        now = step, turned, size, share
        believed = max(believed, _agreement(before, now, noise)) if before else 0.0
        before = now
    return Turning(best.share, min(believed, best.share), best.field)


def _agreement(one: tuple, other: tuple, noise: float) -> float:
    steps, turned, sizes, shares = zip(one, other, strict=True)
    small, large = torch.stack(turned).abs().aminmax(dim=0)
    alike = (turned[0] * turned[1] > 0) & (2 * small >= large)
    for step, part in zip(steps, turned, strict=True):
        alike &= part.abs() > CLEAR * noise / step
    share = (small * alike).norm().item() / max(sizes)
    return share if share >= MOST * max(shares) else 0.0


@dataclass(frozen=True, eq=False)
class Jump:
    """Weights that jump by ``change`` at ``point``, found ``along`` a direction."""

    point: Float[Tensor, " coordinates"]
    change: Float[Tensor, " coordinates"]
    along: Float[Tensor, " coordinates"]
    tangential: float  # the part along the surface, NaN if unknown

    def closing_in(self) -> Float[Tensor, "points coordinates"]:
        """Points on both sides of it, every one half as far as the one before."""
        distances = FAR * 2.0 ** -torch.arange(HALVINGS, dtype=self.point.dtype)
        return self.point + torch.cat([distances, -distances])[:, None] * self.along


def jumps(
    weights: Weights,
    lines: Float[Tensor, "lines points coordinates"],
    known: Float[Tensor, "lines points coordinates"],
    noise: float,
) -> list[Jump]:
    """The jumps found along lines, at whose points the weights are known; below 20 times their noise nothing is one."""
    size, change = largest(known), known.diff(dim=1)
    least = max(LEAST * size, 20 * noise)
    # The segments are looked into whose weights change by more than those beside them.
    beside = pad(change.nan_to_num().mT, (1, 1), mode="replicate").mT
    bent = (change - (beside[:, 2:] + beside[:, :-2]) / 2).norm(dim=2).where(change.norm(dim=2) > least, 0.0)
    rows, places = torch.unravel_index(bent.flatten().argsort(descending=True, stable=True)[:BENT], bent.shape)
    some = bent[rows, places] > 0
    (a, b), (low, high) = ([x[rows, places + end][some] for end in (0, 1)] for x in (lines, known))
    half = weights((a + b) / 2)
    uneven = ((half - low).norm(dim=1) - (high - half).norm(dim=1)).abs().nan_to_num()
    order = uneven.argsort(descending=True, stable=True)[:CLOSED]
    order = order[uneven[order] > least / 2]
    a, b = a[order], b[order]
    still, points, changes = _closed_in(weights, a, b, least)
    points, changes, along = (x[still] for x in (points, changes, normalize(b - a)))
    leans, count = torch.full_like(points[:, 0], math.nan), len(points)
    tested = sorted({round(i * (count - 1) / (TESTED - 1)) for i in range(TESTED)})
    if count and noise / size <= ROUNDED:  # the crossing itself is only known to the rounding of the loss
        leans[tested] = _tangential(weights, points[tested], changes[tested], along[tested], least)
    return [Jump(*jump) for jump in zip(points, changes, along, leans.tolist(), strict=True)]


def _closed_in(weights: Weights, a: Tensor, b: Tensor, least: float) -> tuple[Tensor, Tensor, Tensor]:
    """Whether weights jump by more than ``least`` between two points, where they do, and by what."""
    jumping, of_a, of_b = torch.ones(len(a), dtype=torch.bool), *weights(torch.stack([a, b]))
    parts = torch.linspace(0, 1, PARTS + 1, dtype=a.dtype)[1:-1, None, None]
    while jumping.any() and (b - a)[jumping].norm(dim=1).max() > WIDTH:
        between = a + parts * (b - a)
        found = torch.full_like(between, torch.nan)
        found[:, jumping] = weights(between[:, jumping])
        at, of = torch.cat([a[None], between, b[None]]), torch.cat([of_a[None], found, of_b[None]])
        changed = of.diff(dim=0).norm(dim=2).nan_to_num(-1.0)
        most, lines = changed.argmax(0), torch.arange(len(a))
        (a, b), (of_a, of_b) = ((x[most, lines], x[most + 1, lines]) for x in (at, of))
        jumping = jumping & (changed.amax(0) > least)
    return jumping, (a + b) / 2, of_b - of_a


def _tangential(weights: Weights, points: Tensor, changes: Tensor, along: Tensor, least: float) -> Tensor:
    """How far each surface leans from the normal of its jump, as a sine; NaN where it is not found again beside."""
    normals, (count, width) = normalize(changes), points.shape
    generator = torch.Generator().manual_seed(0)
    beside = torch.randn(DIRECTIONS, width, generator=generator, dtype=points.dtype)
    across = normalize(beside - (normals @ beside.T)[..., None] * normals[:, None], dim=2)
    moved, reach = points[:, None] + BESIDE * across, AROUND * BESIDE * along[:, None]
    low, high = ((moved + end * reach).flatten(0, 1) for end in (-1, 1))
    again, crossings, found = _closed_in(weights, low, high, least)
    again, crossings, found = (x.view(count, DIRECTIONS, *x.shape[1:]) for x in (again, crossings, found))
    again &= (found - changes[:, None]).norm(dim=2) <= 0.1 * changes.norm(dim=1, keepdim=True)
    leans = ((crossings - moved) * along[:, None]).sum(2).abs() / BESIDE
    leans = leans * (normals * along).sum(1, keepdim=True).abs().clamp(min=0.05) * (width - 1) ** 0.5
    return leans.masked_fill(~again, -math.inf).amax(1).where(again.any(1), math.nan)


@dataclass(frozen=True, eq=False)
class MeasuredFactors:
    """The best T of shape ``(s_p, s_n)``, P⁺ and P⁻; NaN where a weight vanishes or was not measured.

    ``misfit`` is the root mean square of what log|w⁺/w⁻| has beyond a row and a column term: infinite if the signs do
    not factor, NaN if nowhere both weights are there.
    """

    triplet: Float[Tensor, "s_p s_n"]
    positive: Float[Tensor, " s_p"]
    negative: Float[Tensor, " s_n"]
    misfit: float
    rounding: float = 0.0  # the misfit that the noise of the weights makes alone


def fit_factors(
    s_p: Float[Tensor, " s_p"], weights: Float[Tensor, "2 s_p s_n"], noise: Float[Tensor, "2 s_p s_n"]
) -> MeasuredFactors:
    """Fit T, P⁺ and P⁻ to w⁺ and w⁻ on a grid, NaN where there are none; weights within their noise are left out."""
    least = [max(VANISHING * largest(weights), ABOVE_NOISE * usual_noise(of_side)) for of_side in noise]
    present = weights.isfinite() & (weights.abs() > weights.new_tensor(least)[:, None, None])
    (w_p, w_n), both, one_sided = weights, present.all(0), present.flatten(1).any(1)
    if one_sided.sum() == 1:  # of positives alone, or of negatives alone: (w, 1, 0) or (w, 0, 1)
        positive, negative = one_sided.to(w_p.dtype)
        triplet = weights[one_sided][0].clone()
        return MeasuredFactors(triplet, positive.expand(len(w_p)), negative.expand(w_n.shape[1]), 0.0)
    if not both.any():
        nothing = torch.full_like(w_p, torch.nan)
        return MeasuredFactors(nothing, nothing[:, 0].clone(), nothing[0].clone(), math.nan)
    signs = weights.where(both, 0.0).sign()
    # The sign that most of the weights of a row or column have; plus at a draw.
    sign_p, sign_n = (torch.where(total < 0, -1.0, 1.0).to(w_p.dtype) for total in (signs[0].sum(1), signs[1].sum(0)))
    signs_factor = (signs.prod(0) == sign_p[:, None] * sign_n)[both].all()
    ratio = (w_p.abs().log() - w_n.abs().log())[both]
    design = torch.cat([torch.eye(n, dtype=w_p.dtype)[k] for n, k in zip(w_p.shape, both.nonzero().T, strict=True)], 1)
    # The normal equations; their pseudo-inverse also serves rows and columns without any entry.
    terms = torch.linalg.pinv(design.T @ design, hermitian=True) @ (design.T @ ratio)
    row, column = terms.split(w_p.shape)
    known = both.any(1)
    at_zero = known & (s_p.abs() < 1e-9)
    shift = row[at_zero if at_zero.any() else known].mean()
    positive = torch.where(known, sign_p * (row - shift).exp(), torch.nan)
    negative = torch.where(both.any(0), sign_n * (-column - shift).exp(), torch.nan)
    size = (w_p / positive[:, None] * w_n / negative).abs().sqrt()
    triplet = torch.where(both, size * (w_p * positive[:, None]).sign(), torch.nan)
    misfit = (ratio - design @ terms).square().mean().sqrt().item() if signs_factor else math.inf
    return MeasuredFactors(triplet, positive, negative, misfit, 2**0.5 * root_mean_square((noise / weights)[:, both]))
