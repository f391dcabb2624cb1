"""Whether measured weights have factors, and whether they are a gradient; some do, some do not."""

import torch
from torch import Tensor

from goal_analysis.numeric.measurement import measure
from goal_analysis.numeric.measurement.fields import MeasuredFactors, fit_factors


def factors_of(s: Tensor, w_p: Tensor, w_n: Tensor) -> MeasuredFactors:
    weights = torch.stack([w_p, w_n])
    return fit_factors(s, weights, torch.zeros_like(weights))


def stopped_objective(scores: Tensor) -> Tensor:
    """nca × linear: the surrogate ⟨stop_gradient(W), S⟩ of weights that are no gradient."""
    diagonal = scores.diagonal()[:, None]
    triplet = torch.sigmoid(10 * (scores - diagonal)) * ~torch.eye(len(scores), dtype=torch.bool)
    return ((triplet * scores).detach() * scores - (triplet * (1 - diagonal)).detach() * diagonal).sum()


def test_an_objective_that_is_no_gradient_is_called_so() -> None:
    found = measure(stopped_objective, points=9)
    assert found.separable
    assert not found.integrable
    assert found.on_plane.share > 0.1
    assert found.on_batches.share > 0.01
    torch.testing.assert_close(found.factors.positive, 1 - found.s_p)
    torch.testing.assert_close(
        found.factors.negative, found.s_n.where(found.s_n.abs() > 1e-9, torch.nan), equal_nan=True
    )


def test_rounding_of_constant_weights_is_no_curl() -> None:
    found = measure(lambda anchors, positives, negatives: (anchors * (negatives - positives)).sum(), points=5)
    assert found.integrable
    assert found.on_batches.share == 0


def test_weights_without_factors_are_called_so() -> None:
    def entangled(scores: Tensor) -> Tensor:
        p, n = scores.diagonal().mean(), (scores.sum() - scores.trace()) / (len(scores) * (len(scores) - 1))
        return torch.exp(n * p) - 3 * p + 2 * n

    found = measure(entangled, points=9)
    assert not found.separable
    assert found.factors.misfit > 0.01
    assert found.integrable


def test_a_part_in_a_thousand_is_a_misfit() -> None:
    s = torch.linspace(-0.9, 0.9, 7)
    w_p, w_n = (torch.exp(s[None] - s[:, None]) * (2 + k * s[:, None]) for k in (1, 0))
    assert factors_of(s, w_p, w_n).misfit < 1e-12
    w_n[2, 3] *= 1.001
    assert 1e-5 < factors_of(s, w_p, w_n).misfit < 1e-3


def test_signs_have_to_factor_too() -> None:
    s = torch.linspace(-0.9, 0.9, 6)
    w_p, w_n = torch.ones(6, 6), s[None].expand(6, 6).clone()
    attracting = factors_of(s, w_p, w_n)
    assert attracting.misfit < 1e-12
    torch.testing.assert_close(attracting.negative, s)
    w_n[2, 3] *= -1
    assert factors_of(s, w_p, w_n).misfit == float("inf")


def test_a_one_sided_loss_has_trivial_factors() -> None:
    found = measure(lambda scores: -torch.exp(scores.diagonal()).sum(), points=3)
    assert found.separable
    assert found.factors.negative.eq(0).all()
