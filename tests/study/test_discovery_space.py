"""The space that a discovery searches: what it draws trains, is judged, and is recognised where it comes again."""

from dataclasses import replace

import optuna
import pytest
import torch
from optuna.trial import FixedTrial
from torch.nn.functional import normalize

from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.recombine import composed
from goal_analysis.recombination.text import from_toml, to_toml
from goal_analysis.recombination.verdict import verdict
from goal_analysis.study.copies import Signature
from goal_analysis.study.discovery import any_objective, first_trials, losses_of_retrieval
from goal_analysis.study.scales import training_scales
from goal_analysis.symbolic.analysis.recovery import NoTwin
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.weight import PairWeights, TripletWeight
from goal_analysis.vse.loop.experiment import TrainingOptions
from losses_catalog import catalog
from losses_catalog.circle import circle_loss
from losses_catalog.info_nce import info_nce_loss
from losses_catalog.vse_pp import vse_pp_loss
from losses_catalog.weights import constant_pair, constant_triplet, linear_pair, nca_triplet

TRAINING = TrainingOptions()
LOSSES = losses_of_retrieval(catalog)
OWN = {s.name: s.own for s in training_scales(TRAINING)}
PLAIN = {
    **OWN,
    "weights": "drawn",
    "positive": "constant",
    "negative": "constant",
    "triplet": "sigmoid",
    "triplet.tau": 12.0,
    "triplet.margin": 0.0,
    "mining": "softmax",
    "mining.positive_scale": 12.0,
    "mining.negative_scale": 12.0,
    "direction": "cosine",
}


def space(trial) -> Objective:
    return any_objective(LOSSES)(trial, TRAINING)[0]


def drawn(count: int) -> list[Objective]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = []
    while len(found) < count:
        try:
            found.append(space(study.ask()))
        except (NoTwin, ValueError):
            continue
    return found


LONG = {  # factored as polynomials, their exponentials have degrees of thousands
    "of the negatives": {
        **{"positive": "sigmoid", "positive.slope": 8.881507589998309, "positive.centre": 0.11560304926539744},
        **{"negative": "power", "negative.power": 9, "triplet": "twin", "triplet.tau": 17.038286349530434},
    },
    "of the positives": {
        **{"positive": "exponential", "positive.rate": 0.08725572661222358},
        **{"negative": "sigmoid", "negative.slope": 1.4529927249423746, "negative.centre": -0.026398946585663885},
        **{"triplet": "twin", "triplet.tau": 31.720581168732664},
    },
}


@pytest.mark.parametrize("parameters", LONG.values(), ids=LONG)
def test_constants_of_many_digits_do_not_keep_the_verdict(parameters: dict) -> None:
    plain = {
        name: value for name, value in PLAIN.items() if name.split(".")[0] not in ("positive", "negative", "triplet")
    }
    objective = space(FixedTrial({**plain, "mining": "all", **parameters}))
    assert verdict(objective).integrable is True  # a twin is the gradient of a loss by its making


def test_infonce_is_in_the_space() -> None:
    found = space(FixedTrial(PLAIN))
    infonce = info_nce_loss.with_settings({"tau": 12})
    x, y = (normalize(torch.randn(8, 4, dtype=torch.float64), dim=1).requires_grad_() for _ in range(2))
    ours = torch.autograd.grad(12 * GradientObjective(found)(x, y), (x, y))  # a loss over its scale trains alike
    torch.testing.assert_close(ours, torch.autograd.grad(GradientObjective(infonce)(x, y), (x, y)))


def test_what_is_drawn_trains_and_is_written_and_read_back() -> None:
    ids = torch.arange(12) // 2
    for objective in drawn(25):
        read = from_toml(to_toml(objective))
        assert to_toml(read) == to_toml(objective)
        assert Signature.of(read).same_as(Signature.of(objective))
        x, y = (normalize(torch.randn(12, 4), dim=1).requires_grad_() for _ in range(2))
        GradientObjective(objective)(x, y, ids).backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert x.grad.any()


def test_hardness_weighted_infonce_is_in_the_space_of_drawn_weights() -> None:
    apart = {"triplet": "apart", "triplet.bias": 0.0, "mining.positive_scale": 9.0, "mining.negative_scale": 14.0}
    loss = LOSSES["hardness_weighted_info_nce"].with_settings({"scale": 9, "strength": 5})
    x, y = (normalize(torch.randn(8, 4, dtype=torch.float64), dim=1).requires_grad_() for _ in range(2))
    ours = torch.autograd.grad(9 * GradientObjective(space(FixedTrial(PLAIN | apart)))(x, y), (x, y))
    torch.testing.assert_close(ours, torch.autograd.grad(GradientObjective(loss)(x, y), (x, y)))


def test_the_space_begins_with_every_loss_that_trains_at_its_own_values() -> None:
    found = [space(FixedTrial(parameters)) for parameters in first_trials(LOSSES, TRAINING)]
    assert found[-len(LOSSES) :] == list(LOSSES.values())
    assert {"dcl", "siglip", "multi_similarity", "circle", "sup_con", "vse_pp", "info_nce"} <= LOSSES.keys()
    assert not LOSSES.keys() & {"arc_face", "proxy_nca", "proxy_anchor"}, "those have class proxies"


def test_how_it_is_trained_is_drawn_as_of_a_baseline() -> None:
    values = OWN | {"training.captions_per_image": 5, "training.text_text": 0.5, "training.image_image": 0.0}
    trained = any_objective(LOSSES)(FixedTrial(PLAIN | values), TRAINING)[1]
    assert trained == replace(TRAINING, captions_per_image=5, text_text=0.5)


def weights(positive, negative) -> PairWeights:
    return PairWeights(name="p", positive=positive, negative=negative)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (weights(1 - s_p, s_n), weights(3 - 3 * s_p, 3 * s_n), True),
        (weights((1 - s_p) / 2, (1 + s_n) / 2), weights(1 - s_p, 1 + s_n), True),
        (weights(1 - s_p, s_n), weights(3 - 3 * s_p, 2 * s_n), False),
        (weights(1 - s_p, s_n), weights(s_p - 1, -s_n), False),  # the opposite
        (weights(1 - s_p, s_n), weights(1 - s_p, s_n + 1e-6), False),
    ],
)
def test_copies_are_equal_up_to_a_factor(one: PairWeights, other: PairWeights, same: bool) -> None:
    one, other = (Signature.of(composed(nca_triplet, p)) for p in (one, other))
    assert one.same_as(other) is same


@pytest.mark.parametrize("mining", ["hardest", "softmax:4"])
def test_a_triplet_weight_of_the_negative_is_no_pair_weight(mining: str) -> None:
    one = composed(TripletWeight(name="t", expression=s_n + 2), constant_pair, mining)
    other = composed(constant_triplet, weights(s_n.subs(s_n, 1), s_n), mining)
    assert not Signature.of(one).same_as(Signature.of(other))
    once, twice = (composed(TripletWeight(name="t", expression=k * s_n), linear_pair, mining) for k in (1, 2))
    assert Signature.of(once).same_as(Signature.of(twice))


def test_margins_that_differ_a_little_are_no_copies() -> None:
    of = [Signature.of(vse_pp_loss.with_settings({"margin": margin})) for margin in (0.2, 0.2001, 0.2)]
    assert not of[0].same_as(of[1])
    assert of[0].same_as(of[2])


def test_minings_tell_objectives_apart() -> None:
    hardest, soft = (Signature.of(composed(nca_triplet, linear_pair, mining)) for mining in ("hardest", "softmax:4"))
    assert not hardest.same_as(soft)


def test_losses_are_copies_of_themselves_at_the_same_numbers_alone() -> None:
    circle, other, twice = circle_loss, circle_loss.with_settings({"gamma": 80}), circle_loss.with_settings({"m": 0.25})
    assert Signature.of(circle).same_as(Signature.of(twice))
    assert not Signature.of(circle).same_as(Signature.of(other))
    (term,) = circle.terms
    tripled = replace(circle, terms=(replace(term, outer=3 * term.outer),))
    assert Signature.of(circle).same_as(Signature.of(tripled))
