"""Objectives whose weights are known in closed form, at their extremes, and a batch."""

import pytest
import torch
from sympy import Integer

from goal_analysis.numeric.matches import Matches
from goal_analysis.pictures.batch import pairs_frame
from goal_analysis.pictures.canvas import panels
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.language.primitives import s_n, s_p, sigmoid, step
from goal_analysis.symbolic.weight import Factors, WeightField, compose
from losses_catalog import catalog, pair_weights, triplet_weights

CATALOG = {loss.name: loss for loss in catalog}


@pytest.fixture(scope="session")
def taken_apart():
    """Losses of the catalog, decomposed once."""
    found = {}

    def of(name):
        if name not in found:
            found[name] = decompose(CATALOG[name])
        return found[name]

    return of


@pytest.fixture(scope="session")
def composed():
    """The weights of a triplet weight with pair weights, such as of ``"circular/sigmoid"``."""

    def of(text):
        parts = zip((triplet_weights, pair_weights), text.split("/"), strict=True)
        return compose(*(next(w for w in weights if w.name == name) for weights, name in parts))

    return of


@pytest.fixture
def ax():
    return panels()[1][0, 0]


@pytest.fixture
def nca_linear():
    t = sigmoid(10 * (s_n - s_p))
    return WeightField(name="nca / linear", positive=t * (1 - s_p), negative=t * s_n, factors=Factors(t, 1 - s_p, s_n))


@pytest.fixture
def hinge():
    t = step(s_n - s_p)
    return WeightField(name="hinge", positive=t, negative=t, factors=Factors(t, Integer(1), Integer(1)))


@pytest.fixture
def pairs():
    """Forty anchors, the last without any weight."""
    generator = torch.Generator().manual_seed(0)
    scores = 0.3 * torch.randn(40, 40, generator=generator, dtype=torch.float64).clamp(-3, 3)
    weights = torch.softmax(8 * scores, 1) - torch.eye(40, dtype=torch.float64)
    weights[-1] = 0
    return pairs_frame(scores, weights, Matches.of_pairs(40))
