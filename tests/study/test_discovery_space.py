"""The space that a discovery searches: what it draws trains, is judged, and is recognised where it comes again."""

import optuna
import pytest
import torch
from goal_analysis.numeric.mining import Softmax
from goal_analysis.recombination.composition import from_toml, to_toml
from optuna.trial import FixedTrial
from torch.nn.functional import normalize

from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.study.discovery.copies import Signature
from goal_analysis.study.discovery.grammar import any_objective
from goal_analysis.symbolic.analysis.recovery import NoTwin
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.weight import PairWeights, TripletWeight
from losses_catalog.weights import constant_pair, constant_triplet, linear_pair, nca_triplet

PLAIN = {
    "positive": "constant",
    "negative": "constant",
    "triplet": "sigmoid",
    "triplet.tau": 12.0,
    "triplet.margin": 0.0,
    "mining": "softmax",
    "mining.positive_scale": 12.0,
    "mining.negative_scale": 12.0,
    "direction": "cosine",
    "captions_per_image": 1,
    "learning_rate": 1e-3,
}


def drawn(count: int) -> list[GradientObjective]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = []
    while len(found) < count:
        try:
            found.append(any_objective(study.ask(), 1e-3).objective)
        except NoTwin:
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
    objective = any_objective(FixedTrial({**plain, "mining": "all", **parameters}), 1e-3).objective
    assert objective.describe().integrable is True  # a twin is the gradient of a loss by its making


def test_infonce_is_in_the_space() -> None:
    found = any_objective(FixedTrial(PLAIN), 1e-3)
    infonce = GradientObjective(nca_triplet, constant_pair, Softmax(12.0, 12.0), settings={"tau": 12})
    x, y = (normalize(torch.randn(8, 4, dtype=torch.float64), dim=1).requires_grad_() for _ in range(2))
    ours = torch.autograd.grad(8 * found.objective(x, y), (x, y))  # the mean over both directions' anchors
    torch.testing.assert_close(ours, torch.autograd.grad(infonce(x, y) / 2, (x, y)))


def test_what_is_drawn_trains_and_is_written_and_read_back() -> None:
    ids = torch.arange(12) // 2
    for objective in drawn(25):
        assert repr(from_toml(to_toml(objective))) == repr(objective)
        x, y = (normalize(torch.randn(12, 4), dim=1).requires_grad_() for _ in range(2))
        objective(x, y, ids).backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert x.grad.any()


def test_several_captions_bring_terms_of_one_kind() -> None:
    several = PLAIN | {"captions_per_image": 5, "text_text": True, "text_text.share": 0.5, "image_image": False}
    assert any_objective(FixedTrial(several), 1e-3).training == {
        "captions_per_image": 5,
        "learning_rate": 1e-3,
        "text_text": 0.5,
    }


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
    one, other = (Signature.of(GradientObjective(nca_triplet, p)) for p in (one, other))
    assert one.same_as(other) is same


def test_softmax_mining_tells_apart_which_weight_reads_aggregates() -> None:
    moved = (
        GradientObjective(TripletWeight(name="t", expression=s_n + 2), constant_pair, mining)
        for mining in (None, Softmax(4.0, 4.0))
    )
    in_pairs = weights(s_n.subs(s_n, 1), s_n)
    for objective in moved:
        other = GradientObjective(constant_triplet, in_pairs, objective.mining)
        assert not Signature.of(objective).same_as(Signature.of(other))
    for mining in (None, Softmax(4.0, 4.0)):
        one, double = (
            GradientObjective(TripletWeight(name="t", expression=k * s_n), linear_pair, mining) for k in (1, 2)
        )
        assert Signature.of(one).same_as(Signature.of(double))
    hardest, soft = (Signature.of(GradientObjective(nca_triplet, linear_pair, m)) for m in (None, Softmax(4.0, 4.0)))
    assert not hardest.same_as(soft)
