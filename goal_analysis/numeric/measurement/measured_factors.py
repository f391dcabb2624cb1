"""T, P⁺ and P⁻ of measured weights, and how far they are from having such factors.

w⁺ = T·P⁺ and w⁻ = T·P⁻ with P⁺ of s_p alone and P⁻ of s_n alone hold if and only if log|w⁺| − log|w⁻| is a
row term plus a column term, and the sign of w⁺/w⁻ a row sign times a column sign. The terms are fitted by
least squares where both weights are there; the root mean square of what is left is the *misfit*, in
logarithms: 0.01 says that no T·P meets the ratio of the weights better than to about 1 %. The factors are
unique up to one constant (where the pairs with both weights hang together). Its convention is
`symbolic.separation`'s as far as numbers can know it: P⁺ = 1 at s_p = 0, as for the shapes 1 and 1 − s_p, or
in the geometric mean if there is no weight at 0; T carries the scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from goal_analysis.numeric.measurement.turning import root_mean_square, usual_noise

VANISHING = 1e-9
"""A weight below this share of the largest is taken for zero."""

ABOVE_NOISE = 100
"""A weight that is not so many times its noise says nothing of a ratio."""


@dataclass(frozen=True, eq=False)
class MeasuredFactors:
    """The best T, P⁺ and P⁻; NaN where a weight vanishes or was not measured.

    Args:
        triplet: T, shape ``(s_p, s_n)``, the geometric mean of w⁺/P⁺ and w⁻/P⁻.
        positive: P⁺, shape ``(s_p,)``.
        negative: P⁻, shape ``(s_n,)``.
        misfit: root mean square of what log|w⁺/w⁻| has beyond a row and a column term; infinite if the signs
            do not factor; NaN if both weights are there but at no point together, or both vanish everywhere.
        rounding: the misfit that the noise of the weights makes on its own.
    """

    triplet: Float[Tensor, "s_p s_n"]
    positive: Float[Tensor, " s_p"]
    negative: Float[Tensor, " s_n"]
    misfit: float
    rounding: float = 0.0


def measured_factors(
    s_p: Float[Tensor, " s_p"],
    w_p: Float[Tensor, "s_p s_n"],
    w_n: Float[Tensor, "s_p s_n"],
    noise: tuple[Float[Tensor, "s_p s_n"], Float[Tensor, "s_p s_n"]] | None = None,
) -> MeasuredFactors:
    """Fit T, P⁺ and P⁻ to weights on a grid.

    Args:
        s_p: the similarities of the rows.
        w_p: w⁺, NaN where there is none.
        w_n: w⁻, likewise.
        noise: the standard deviations of both; weights that do not stand out from them are left out.

    >>> s = torch.linspace(-1, 1, 5, dtype=torch.float64)
    >>> t = torch.exp(s[None, :] - s[:, None])
    >>> found = measured_factors(s, 3 * t * (2 - s)[:, None], 3 * t * (2 + s)[None, :])
    >>> found.positive * 2, found.misfit < 1e-9
    (tensor([3.0000, 2.5000, 2.0000, 1.5000, 1.0000], dtype=torch.float64), True)
    """
    noise_p, noise_n = noise or (torch.zeros_like(w_p), torch.zeros_like(w_n))
    present_p, present_n = _present(w_p, noise_p), _present(w_n, noise_n)
    both = present_p & present_n
    if present_p.any() != present_n.any():
        return _one_sided(w_p, w_n, bool(present_p.any()))
    if not both.any():
        nothing = torch.full_like(w_p, torch.nan)
        return MeasuredFactors(nothing, nothing[:, 0].clone(), nothing[0].clone(), float("nan"))
    sign_p, sign_n = _majority(w_p, both, 1), _majority(w_n, both, 0)
    signs_factor = ((w_p * w_n).sign() == sign_p[:, None] * sign_n[None, :])[both].all()
    ratio = torch.where(both, w_p.abs().log() - w_n.abs().log(), 0.0)
    row, column = _two_way(ratio, both)
    rest = (ratio - row[:, None] - column[None, :])[both]
    shift = row[_reference_row(s_p, both, row)].mean()
    positive = torch.where(both.any(1), sign_p * (row - shift).exp(), torch.nan)
    negative = torch.where(both.any(0), sign_n * (-column - shift).exp(), torch.nan)
    size = (w_p / positive[:, None] * w_n / negative[None, :]).abs().sqrt()
    triplet = torch.where(both, size * (w_p * positive[:, None]).sign(), torch.nan)
    misfit = rest.square().mean().sqrt().item() if signs_factor else float("inf")
    relative = torch.stack([(noise_p / w_p)[both], (noise_n / w_n)[both]])
    return MeasuredFactors(triplet, positive, negative, misfit, 2**0.5 * root_mean_square(relative))


def _one_sided(w_p: Tensor, w_n: Tensor, positive: bool) -> MeasuredFactors:
    """A loss of positives alone, or of negatives alone, has the factors (w, 1, 0) or (w, 0, 1)."""
    of_p, of_n = torch.full_like(w_p[:, 0], positive), torch.full_like(w_n[0], not positive)
    return MeasuredFactors((w_p if positive else w_n).clone(), of_p, of_n, 0.0)


def _present(w: Tensor, noise: Tensor) -> Tensor:
    least = max(VANISHING * w.nan_to_num().abs().max().item(), ABOVE_NOISE * usual_noise(noise))
    return w.isfinite() & (w.abs() > least)


def _majority(w: Tensor, present: Tensor, axis: int) -> Tensor:
    """The sign that most of the weights of a row or column have; plus at a draw."""
    return torch.where(torch.where(present, w, 0.0).sign().sum(axis) < 0, -1.0, 1.0).to(w.dtype)


def _two_way(values: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column terms by least squares over the entries that are present."""
    rows, columns = values.shape
    weight = present.to(values.dtype)
    # The normal equations; their pseudo-inverse also serves rows and columns without any entry.
    normal = torch.zeros(rows + columns, rows + columns, dtype=values.dtype)
    normal[:rows, :rows], normal[rows:, rows:] = torch.diag(weight.sum(1)), torch.diag(weight.sum(0))
    normal[:rows, rows:], normal[rows:, :rows] = weight, weight.T
    right = torch.cat([(values * weight).sum(1), (values * weight).sum(0)])
    terms = torch.linalg.pinv(normal, hermitian=True) @ right
    return terms[:rows], terms[rows:]


def _reference_row(s_p: Tensor, both: Tensor, row: Tensor) -> Tensor:
    """Which rows P⁺ is one in the mean of: that at s_p = 0, or all that are known."""
    known = both.any(1)
    at_zero = known & (s_p.abs() < 1e-9)
    return at_zero if at_zero.any() else known
