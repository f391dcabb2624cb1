"""Weights as values: what they refuse, and how they compose."""

import pytest
import sympy as sp

from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import s_n, s_p, sigmoid
from goal_analysis.symbolic.weight import PairWeights, TripletWeight, compose
from losses_catalog import pair_weights, triplet_weights

tau = Hyperparameter("tau", 10, positive)
pairs = {weights.name: weights for weights in pair_weights}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: TripletWeight(name="t", expression=tau.symbol * s_n),
            "triplet weight 't': expression: got the symbol tau",
        ),
        (lambda: PairWeights(name="p", positive=s_n, negative=s_n), "pair weights 'p': positive: got the symbol s_n"),
        (lambda: PairWeights(name="p", positive=s_p, negative=s_p), "pair weights 'p': negative: got the symbol s_p"),
        (
            lambda: PairWeights(name="p", positive=sp.Symbol("R_p") * s_p, negative=s_n),
            "pair weights 'p': positive: got the symbol R_p in .* but allowed are s_p",
        ),
    ],
)
def test_stray_symbols_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("triplet_weight", triplet_weights, ids=lambda w: w.name)
@pytest.mark.parametrize("pair", pair_weights, ids=lambda w: w.name)
def test_a_composition_is_the_product(triplet_weight, pair):
    field = compose(triplet_weight, pair)
    assert field.positive == triplet_weight.expression * pair.positive
    assert field.negative == triplet_weight.expression * pair.negative
    assert {h.name for h in field.hyperparameters} == {
        h.name for h in (*triplet_weight.hyperparameters, *pair.hyperparameters)
    }
    assert field.relative == pair.relative


def test_two_meanings_of_one_name_are_refused():
    other = Hyperparameter("tau", 3, positive)
    steep = TripletWeight(name="steep", expression=sigmoid(tau.symbol * (s_n - s_p)), hyperparameters=(tau,))
    powers = PairWeights(name="powers", positive=sp.S.One, negative=other.symbol * s_n, hyperparameters=(other,))
    with pytest.raises(ValueError, match="steep × powers: got two different hyperparameters of one name"):
        compose(steep, powers)
