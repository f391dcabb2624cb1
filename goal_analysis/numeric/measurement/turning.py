"""How much of a field of weights turns, from central differences that may be spoilt by noise and kinks.

Rounding spoils differences over a small step, truncation those over a large one, and a jump of the weights
between the two points adds its height over the step. All three change with the step; what a field truly turns
by does not. So differences are taken at several `STEPS`:

- the *share* is the smallest over the steps of ‖turning part‖ over the size that the caller gives, which
  holds all slopes and the weights themselves. A field whose share is negligible at any step is a gradient.
- what is *believed* is that part on which two successive steps agree to a factor of two, and which both lift
  above the noise. A field of which a noticeable share is believed to turn is no gradient.

Between the two nothing is decided.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

STEPS = (1e-5, 1e-3, 1e-2)
"""Of central differences. In float64 the first has rounding and truncation near 1e-10."""

NOTICEABLE = 1e-4
"""Misfits, curls and indices above this are more than rounding and finite differences make."""

NEARBY = 5e-5
"""Of weights this far apart from each other, fourth differences are rounding alone."""

FAINT = 1e-9
"""Noise below this share of the largest weight is that of float64, and ignored."""

CLEAR, MOST = 10.0, 0.75
"""What is to be believed has CLEAR times the standard deviation of the noise, and is MOST of what turns."""


@dataclass(frozen=True, eq=False)
class Field:
    """The turning part of a field, by differences over one step.

    Args:
        step: of the differences.
        turning: of any shape, the same at all steps; 0 where it was not measured.
        size: the norm of all slopes and of the weights.
    """

    step: float
    turning: Tensor
    size: float


@dataclass(frozen=True, eq=False)
class Turning:
    """What the fields at several steps say together.

    Args:
        share: the smallest share of the turning part.
        believed: the share of that part of it on which steps agree.
        field: the turning part itself, at the step with the smallest share.
    """

    share: float
    believed: float
    field: Tensor


def turning(fields: Iterable[Field], noise: float = 0.0) -> Turning:
    """Weigh the fields, those of small steps first; no more are taken once a share is negligible.

    Args:
        fields: at successive steps.
        noise: the standard deviation of one weight.

    >>> c = torch.tensor([0.3, -0.4])
    >>> true, jump = ([Field(h, by(h), 1.0) for h in (1e-3, 1e-2)] for by in (lambda h: c, lambda h: c / h))
    >>> turning(true).believed, turning(jump).believed
    (0.5, 0.0)
    """
    best, believed, before = Turning(float("inf"), 0.0, torch.zeros(0)), 0.0, None
    for field in fields:
        share = field.turning.norm().item() / field.size if field.size > 0 else 0.0
        if share < best.share:
            best = Turning(share, 0.0, field.turning)
        if share < NOTICEABLE:
            break
        if before is not None:
            believed = max(believed, _agreed(before, field, noise))
        before = field
    return Turning(best.share, min(believed, best.share), best.field)


def _agreed(one: Field, other: Field, noise: float) -> float:
    """The share of what two steps agree on."""
    sizes = torch.stack([one.turning.abs(), other.turning.abs()])
    clear = (one.turning.abs() > CLEAR * noise / one.step) & (other.turning.abs() > CLEAR * noise / other.step)
    alike = (one.turning * other.turning > 0) & (2 * sizes.amin(0) >= sizes.amax(0)) & clear
    agreed = (sizes.amin(0) * alike).norm().item()
    whole = max(one.turning.norm().item() / one.size, other.turning.norm().item() / other.size)
    share = agreed / max(one.size, other.size)
    return share if share >= MOST * whole else 0.0


def scatter(nearby: Tensor) -> Tensor:
    """|w₋₂ − 4·w₋₁ + 6·w₀ − 4·w₁ + w₂|/√70, one standard deviation of the noise of each weight; NaN stays.

    Zero where it is below what float64 makes.

    Args:
        nearby: shape ``(5, …)``, the weights at five points in a row, `NEARBY` apart.

    >>> scatter(torch.tensor([[1.0], [1.0], [1.1], [1.0], [1.0]]))
    tensor([0.0717])
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
    return root_mean_square(known[: max(1, 9 * len(known) // 10)])


def root_mean_square(values: Tensor) -> float:
    """Over what is finite; 0 if nothing is."""
    known = values[values.isfinite()]
    return known.square().mean().sqrt().item() if known.numel() else 0.0
