"""Weights that have roots at the ends of the similarity's range stay finite where rounding goes beyond it."""

import math

import pytest
import sympy as sp
import torch
from torch import Tensor
from torch.nn.functional import normalize

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.rounding import LEAST, safe_at_the_ends
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.recombine import composed
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p
from goal_analysis.symbolic.language.similarity import COSINE, NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Anchors
from goal_analysis.symbolic.weight import PairWeights
from losses_catalog.weights import constant_triplet, nca_triplet

k = Hyperparameter("k", 1.5)
PAIRS = {
    "root": PairWeights(name="root", positive=(2 - s_p / sp.sqrt(1 - s_p**2)), negative=sp.sqrt(1 + s_n)),
    "power": PairWeights(name="power", positive=(1 - s_p) ** k.symbol, negative=1 + s_n, hyperparameters=(k,)),
    "logarithm": PairWeights(name="logarithm", positive=-sp.log((1 + s_p) / 2), negative=2 - sp.log(1 - s_n)),
}
every_pair = pytest.mark.parametrize("pairs", PAIRS.values(), ids=PAIRS)


def beyond_one() -> tuple[Tensor, Tensor]:
    """Unit vectors of float32, some equal and some opposite, of which some cosines leave [−1, 1]."""
    x = normalize(torch.randn(24, 64, dtype=torch.float32), dim=1)
    y = x * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float32).repeat(8)[:, None]
    y[::4] = x.roll(1, 0)[::4]
    assert (x @ y.T).abs().max() > 1
    return x.requires_grad_(), y.requires_grad_()


@every_pair
@pytest.mark.parametrize("mining", ["hardest", "all", "softmax:5,8"])
def test_gradients_are_finite_beyond_the_range(pairs: PairWeights, mining: str) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        x, y = (e.detach().to(dtype).requires_grad_() for e in beyond_one())
        objective = GradientObjective(composed(nca_triplet, pairs, mining))
        assert all(g.isfinite().all() for g in torch.autograd.grad(objective(x, y), (x, y))), dtype


@every_pair
def test_the_value_is_finite_beyond_the_range(pairs: PairWeights) -> None:
    x, y = beyond_one()
    value = GradientObjective(composed(constant_triplet, pairs)).value(x, y)
    assert value.isfinite()
    assert all(g.isfinite().all() for g in torch.autograd.grad(value, (x, y)))


@every_pair
def test_within_the_range_the_weights_are_as_written(pairs: PairWeights) -> None:
    s = torch.rand(9, 9) * 1.998 - 0.999
    objective = GradientObjective(composed(constant_triplet, pairs, anchors=Anchors.ROWS))
    p = objective.weight_matrix(s, Matches.of_pairs(9)).diag()
    expected = {
        "root": 2 - s.diag() / (1 - s.diag() ** 2).sqrt(),
        "power": (1 - s.diag()) ** 1.5,
        "logarithm": math.log(2) - (1 + s.diag()).log(),
    }[pairs.name]
    torch.testing.assert_close(-9 * p, expected, rtol=1e-9, atol=1e-12)


def test_what_is_no_number_within_the_range_is_refused() -> None:
    pairs = PairWeights(name="half", positive=sp.sqrt(s_p), negative=sp.S.One)
    with pytest.raises(ValueError, match=r"P⁺: got sqrt\(s_p\), which is not real at s_p = -0\.9"):
        GradientObjective(composed(constant_triplet, pairs))


def test_only_what_falls_below_zero_at_an_end_is_kept_above() -> None:
    for e in (
        sp.sqrt(2 - s_p),
        sp.sqrt(s_p),
        1 / (1 - s_p),
        (1 - s_p) ** 2,
        sp.exp(s_n),
        sp.sqrt(1 + (s_p - s_n) ** 2),
    ):
        assert safe_at_the_ends(e, COSINE, ()) == e
    kept = sp.sqrt(hinge(1 - s_p - LEAST) + LEAST)
    assert safe_at_the_ends(3 + sp.sqrt(1 - s_p), COSINE, ()) == 3 + kept
    assert safe_at_the_ends(sp.sqrt(1 - s_p), NEGATIVE_EUCLIDEAN, ()) == sp.sqrt(1 - s_p)
    power = (1 - s_p) ** k.symbol
    assert safe_at_the_ends(power, COSINE, ((k.symbol, sp.Integer(2)),)) == power
    assert safe_at_the_ends(power, COSINE, ((k.symbol, sp.Rational(3, 2)),)) != power


def test_an_anchor_without_triplets_reads_no_weight() -> None:
    pairs = PairWeights(name="poles", positive=1 / s_p, negative=1 / s_n)  # at 0, where its similarities are put
    x = normalize(torch.randn(4, 5), dim=1)
    y = normalize(torch.randn(4, 5), dim=1)
    for mining in ("hardest", "softmax:5,8"):
        sides = [x.clone().requires_grad_(), y.clone().requires_grad_()]
        value = GradientObjective(composed(nca_triplet, pairs, mining))(
            *sides, torch.arange(4), torch.tensor([0, 1, 2, 9])
        )
        found = torch.autograd.grad(value, sides)
        assert all(g.isfinite().all() for g in found)
        assert found[0].abs().max() > 0
