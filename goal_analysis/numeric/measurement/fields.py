"""What fields of measured weights say: how much of a field turns, and which factors it has.

**Turning.** Rounding spoils differences over a small step, truncation those over a large one, and a jump adds its
height over the step; what a field truly turns by does not change with the step. So several `STEPS` are taken. The
*share* is the smallest ‖turning part‖ over the size that the caller gives; a field whose share is negligible at any
step is a gradient. *Believed* is that part on which two successive steps agree to a factor of two, above the noise; a
field of which a noticeable share is believed to turn is no gradient. Between the two nothing is decided.

**Factors.** w⁺ = T·P⁺ and w⁻ = T·P⁻ with P⁺ of s_p alone and P⁻ of s_n alone hold if and only if log|w⁺| − log|w⁻| is a
row term plus a column term, and the sign of w⁺/w⁻ is a row sign times a column sign. The *misfit* is the root mean
square of what least squares leaves: at 0.01 no T·P meets the ratio better than to about 1 %. The factors are unique up
to one constant: P⁺ = 1 at s_p = 0, or in the geometric mean if there is no weight at 0, and T carries the scale.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

STEPS = (1e-5, 1e-3, 1e-2)  # of central differences. In float64 the first has rounding and truncation near 1e-10
NOTICEABLE = 1e-4  # misfits, curls and indices above this are more than rounding and finite differences make
NEARBY = 5e-5  # fourth differences of weights this far apart are rounding alone
FAINT = 1e-9  # noise below this share of the largest weight is that of float64, and ignored

CLEAR, MOST = 10.0, 0.75
"""What is believed has CLEAR times the standard deviation of the noise, and is MOST of what turns."""

VANISHING = 1e-9  # a weight below this share of the largest is taken for zero
ABOVE_NOISE = 100  # a weight that is not so many times its noise says nothing of a ratio


@dataclass(frozen=True, eq=False)
class Field:
    """The turning part of a field by differences over one step, 0 where it was not measured, and its size: the norm of
    all slopes and of the weights.
    """

    step: float
    turning: Tensor
    size: float


@dataclass(frozen=True, eq=False)
class Turning:
    """The smallest share of the turning part over the steps with that part, and the share on which steps agree."""

    share: float
    believed: float
    field: Tensor


def turning(fields: Iterable[Field], noise: float = 0.0) -> Turning:
    """Weigh the fields, those of small steps first; no more are taken once a share is negligible."""
    best, believed, before = Turning(float("inf"), 0.0, torch.zeros(0)), 0.0, None
    for field in fields:
        share = field.turning.norm().item() / field.size if field.size > 0 else 0.0
        if share < best.share:
            best = Turning(share, 0.0, field.turning)
        if share < NOTICEABLE:
            break
        if before is not None:
            believed = max(believed, _agreement(before, field, noise))
        before = field
    return Turning(best.share, min(believed, best.share), best.field)


def _agreement(one: Field, other: Field, noise: float) -> float:
    sizes = torch.stack([one.turning.abs(), other.turning.abs()])
    clear = (one.turning.abs() > CLEAR * noise / one.step) & (other.turning.abs() > CLEAR * noise / other.step)
    alike = (one.turning * other.turning > 0) & (2 * sizes.amin(0) >= sizes.amax(0)) & clear
    most = max(one.turning.norm().item() / one.size, other.turning.norm().item() / other.size)
    share = (sizes.amin(0) * alike).norm().item() / max(one.size, other.size)
    return share if share >= MOST * most else 0.0


def scatter(nearby: Tensor) -> Tensor:
    """One standard deviation of the noise of each weight, |w₋₂ − 4·w₋₁ + 6·w₀ − 4·w₁ + w₂|/√70, from the weights at
    five points in a row, `NEARBY` apart; NaN stays, and what float64 makes is zero.
    """
    signs = torch.tensor([1.0, -4.0, 6.0, -4.0, 1.0], dtype=nearby.dtype)
    deviation = torch.tensordot(signs, nearby, 1).abs() / 70**0.5
    return deviation.where(~(deviation <= FAINT * largest(nearby)), 0.0)


def largest(weights: Tensor) -> float:
    """The largest |weight|, 0 of none."""
    return weights.nan_to_num().abs().max().item() if weights.numel() else 0.0


def usual_noise(deviations: Tensor) -> float:
    """Root mean square without the largest tenth, which kinks may have made; 0 if nothing is finite."""
    known = deviations[deviations.isfinite()].sort().values
    return _root_mean_square(known[: max(1, 9 * len(known) // 10)])


def _root_mean_square(values: Tensor) -> float:
    known = values[values.isfinite()]
    return known.square().mean().sqrt().item() if known.numel() else 0.0


@dataclass(frozen=True, eq=False)
class MeasuredFactors:
    """The best T of shape ``(s_p, s_n)``, P⁺ and P⁻; NaN where a weight vanishes or was not measured.

    ``misfit`` is the root mean square of what log|w⁺/w⁻| has beyond a row and a column term: infinite if the signs do
    not factor, NaN if nowhere both weights are there. ``rounding`` is the misfit that the noise of the weights makes
    alone.
    """

    triplet: Float[Tensor, "s_p s_n"]
    positive: Float[Tensor, " s_p"]
    negative: Float[Tensor, " s_n"]
    misfit: float
    rounding: float = 0.0


def fit_factors(
    s_p: Float[Tensor, " s_p"],
    w_p: Float[Tensor, "s_p s_n"],
    w_n: Float[Tensor, "s_p s_n"],
    noise: tuple[Float[Tensor, "s_p s_n"], Float[Tensor, "s_p s_n"]] | None = None,
) -> MeasuredFactors:
    """Fit T, P⁺ and P⁻ to weights on a grid, NaN where there are none; weights within their noise are left out."""
    noise_p, noise_n = noise or (torch.zeros_like(w_p), torch.zeros_like(w_n))
    size = max(largest(w_p), largest(w_n))
    present_p, present_n = _present(w_p, noise_p, size), _present(w_n, noise_n, size)
    both = present_p & present_n
    if present_p.any() != present_n.any():  # of positives alone, or of negatives alone: (w, 1, 0) or (w, 0, 1)
        positive = bool(present_p.any())
        ones = torch.full_like(w_p[:, 0], positive), torch.full_like(w_n[0], not positive)
        return MeasuredFactors((w_p if positive else w_n).clone(), *ones, 0.0)
    if not both.any():
        nothing = torch.full_like(w_p, torch.nan)
        return MeasuredFactors(nothing, nothing[:, 0].clone(), nothing[0].clone(), float("nan"))
    sign_p, sign_n = _majority(w_p, both, 1), _majority(w_n, both, 0)
    signs_factor = ((w_p * w_n).sign() == sign_p[:, None] * sign_n[None, :])[both].all()
    ratio = torch.where(both, w_p.abs().log() - w_n.abs().log(), 0.0)
    row, column = _row_and_column_terms(ratio, both)
    rest = (ratio - row[:, None] - column[None, :])[both]
    known = both.any(1)
    at_zero = known & (s_p.abs() < 1e-9)
    shift = row[at_zero if at_zero.any() else known].mean()
    positive = torch.where(known, sign_p * (row - shift).exp(), torch.nan)
    negative = torch.where(both.any(0), sign_n * (-column - shift).exp(), torch.nan)
    size = (w_p / positive[:, None] * w_n / negative[None, :]).abs().sqrt()
    triplet = torch.where(both, size * (w_p * positive[:, None]).sign(), torch.nan)
    misfit = rest.square().mean().sqrt().item() if signs_factor else float("inf")
    relative = torch.stack([(noise_p / w_p)[both], (noise_n / w_n)[both]])
    return MeasuredFactors(triplet, positive, negative, misfit, 2**0.5 * _root_mean_square(relative))


def _present(w: Tensor, noise: Tensor, size: float) -> Tensor:
    least = max(VANISHING * size, ABOVE_NOISE * usual_noise(noise))
    return w.isfinite() & (w.abs() > least)


def _majority(w: Tensor, present: Tensor, axis: int) -> Tensor:
    """The sign that most of the weights of a row or column have; plus at a draw."""
    return torch.where(torch.where(present, w, 0.0).sign().sum(axis) < 0, -1.0, 1.0).to(w.dtype)


def _row_and_column_terms(values: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares over the entries that are present."""
    weight = present.to(values.dtype)
    # The normal equations; their pseudo-inverse also serves rows and columns without any entry.
    upper = torch.cat([torch.diag(weight.sum(1)), weight], 1)
    lower = torch.cat([weight.T, torch.diag(weight.sum(0))], 1)
    right = torch.cat([(values * weight).sum(1), (values * weight).sum(0)])
    terms = torch.linalg.pinv(torch.cat([upper, lower]), hermitian=True) @ right
    return terms[: len(values)], terms[len(values) :]
