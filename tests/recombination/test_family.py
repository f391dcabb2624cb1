"""Laws that every objective of the family obeys, and what its filters find."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import permutations

import pytest
import sympy as sp
import torch
from goal_analysis.numeric.mining import Hardest, SemiHard, Softmax, TopK
from goal_analysis.recombination.composition import Parts, compact, from_toml, parse_objective, parts_of, to_toml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from goal_analysis.numeric.matches import Matches
from goal_analysis.recombination.description import SIGNS
from goal_analysis.recombination.family import MININGS, LeftOut, Member, combinations, family
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.objective import Anchors
from goal_analysis.symbolic.proof.evaluation import FLOAT, program
from losses_catalog import catalog, pair_weights, triplet_weights

minings = pytest.mark.parametrize("mining", MININGS, ids=lambda mining: mining.name)
OWN = Parts(triplet_weights, pair_weights)


@lru_cache
def parts() -> Parts:
    return parts_of(triplet_weights, pair_weights, map(decompose, catalog))


@lru_cache
def everything() -> tuple[Member | LeftOut, ...]:
    return tuple(combinations(parts()))


def members(mining: object = None) -> list[Member]:
    found = [member for member in everything() if isinstance(member, Member)]
    return [member for member in found if mining is None or member.objective.mining == mining]


def quarter(mining: object, law: int) -> list[Member]:
    """A quarter of the members with a mining, another one for every law: every two parts of the family meet in it."""
    triplets, pairs = (list(dict.fromkeys(member.parts[i] for member in members())) for i in (0, 1))
    turned = MININGS.index(mining) + law
    return [m for m in members(mining) if (triplets.index(m.parts[0]) + pairs.index(m.parts[1]) + turned) % 4 == 0]


def batch(seed: int = 0, n: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, noise = (torch.randn(n, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    return normalize(x, dim=1), normalize(x + noise, dim=1)


def gradients(objective: GradientObjective, x: Tensor, y: Tensor, *ids: Tensor, upstream: float = 1) -> list[Tensor]:
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    return list(torch.autograd.grad(upstream * objective(x, y, *ids), (x, y)))


def near(got: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float = 1e-9) -> bool:
    """Equal up to a share of the largest number."""
    return all(
        bool(((a - b).abs() <= tolerance * (1 + b.abs().max())).all()) for a, b in zip(got, expected, strict=True)
    )


# --- what it is made of ---------------------------------------------------------------------------


def test_one_product_makes_hundreds_of_objectives_under_names_of_their_own() -> None:
    names = [member.name for member in members()]
    assert len(names) == len(set(names)) >= 700
    assert len(members(Hardest())) >= 200


def test_the_published_grid_is_in_it() -> None:
    found = {member.name: member.objective for member in members(Hardest())}
    for t in triplet_weights:
        for p in pair_weights:
            objective = found[f"{t.name}/{p.name}"]
            assert (objective.triplet_weight, objective.pair_weights) == (t, p)


def constant_ratio(formulas: tuple, values: dict, others: tuple, hyperparameters: tuple) -> bool:
    """Whether formulas are others times one number, under some values of the others' hyperparameters among these."""
    points = [{s_p: p, s_n: n} for p, n in ((0.31, 0.13), (0.62, 0.55), (-0.2, 0.4), (0.05, -0.7))]
    for given_values in permutations(values.values(), len(hyperparameters)):
        theirs = dict(zip((h.symbol for h in hyperparameters), given_values, strict=True))
        pairs = [
            (float(f.subs(values).subs(at)), float(o.subs(theirs).subs(at)))
            for at in points
            for f, o in zip(formulas, others, strict=True)
        ]
        ratios = {round(f / o, 9) for f, o in pairs if o != 0}
        if len(ratios) == 1 and all((f == 0) == (o == 0) for f, o in pairs):
            return True
    return False


def test_every_loss_that_separates_is_in_it_up_to_a_factor() -> None:
    for loss in catalog:
        field = decompose(loss).field
        if field.factors is not None and len(values := field.values()) < 6:
            f = field.factors
            assert any(
                constant_ratio((f.triplet,), values, (t.expression,), t.hyperparameters)
                for t in parts().triplet_weights
            ), loss.name
            assert any(
                constant_ratio((f.positive, f.negative), values, (p.positive, p.negative), p.hyperparameters)
                for p in parts().pair_weights
                if not p.relative
            ), loss.name
    one = constant_ratio((sp.sqrt(s_n + 2),), {}, (triplet_weights[0].expression,), ())
    assert not one, "a weight that is another is taken for the same"


def test_what_is_left_out_says_why() -> None:
    reasons = {one.name: one.reason for one in everything() if isinstance(one, LeftOut)}
    assert "not real" in reasons["arc_face/constant@softmax:12"]
    assert "no triplets to compare" in reasons["nca/relative_linear@softmax:12"]
    assert "itself" in reasons["nca_twin/constant@hardest"]
    assert "no potential" in reasons["hinge_twin/relative_linear@top_k:5"]
    assert len(reasons) + len(members()) == (len(parts().triplet_weights) + 2) * len(parts().pair_weights) * 4


def test_equal_weights_are_not_repeated() -> None:
    names = {t.name for t in parts().triplet_weights}
    assert {"circle_loss", "unified", "lifted_structure"} <= names
    assert names.isdisjoint({"triplet", "vse_pp", "info_nce", "cos_face", "circle_undetached"})
    assert "multi_similarity" not in {p.name for p in parts().pair_weights}


def test_hyperparameters_of_one_name_are_told_apart() -> None:
    objective = parse_objective("hinge(margin=0.3)/contrastive(margin=0.9)", parts())
    values = {symbol.name: float(value) for symbol, value in objective.field.values(objective.settings).items()}
    assert values == {"margin": 0.3, "margin_pair": 0.9}
    assert objective.field.positive.free_symbols == {s_p, s_n, sp.Symbol("margin", nonnegative=True)}


# --- laws -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", range(4))
def test_every_law_meets_every_two_parts(law: int) -> None:
    met = [(*member.parts, mining.name) for mining in MININGS for member in quarter(mining, law)]
    everyone = [(*member.parts, mining.name) for mining in MININGS for member in members(mining)]
    assert 4 * len(met) < 1.2 * len(everyone)
    for one, other in ((0, 2), (1, 2)):
        assert {(m[one], m[other]) for m in met} == {(m[one], m[other]) for m in everyone}
    assert len({m[:2] for m in met}) >= 0.9 * len({m[:2] for m in everyone})  # beside softmax some are left out


@minings
def test_the_gradient_of_embeddings_is_that_of_the_weight_matrix(mining: object) -> None:
    (x, y), ids = batch(), torch.tensor([0, 1, 1, 2, 3, 4, 5])
    x[5], y[6] = y[5], -x[6]  # cosines of 1 and −1, or, by rounding, a little beyond
    for member in quarter(mining, 0):
        w = member.objective.weight_matrix(x @ y.T, Matches.of_image_ids(ids))
        got = gradients(member.objective, x, y, ids)
        assert all(bool(g.isfinite().all()) for g in got), member.name
        assert near(got, (w @ y, w.T @ x)), member.name


@minings
def test_gradients_are_linear_in_the_upstream_gradient(mining: object) -> None:
    x, y = batch(1)
    for member in quarter(mining, 1):
        once, thrice = gradients(member.objective, x, y), gradients(member.objective, x, y, upstream=-3)
        assert near(thrice, [-3 * g for g in once], 1e-14), member.name


@minings
def test_swapping_images_and_texts_swaps_the_gradients(mining: object) -> None:
    x, y = batch(2)
    for member in quarter(mining, 2):
        assert near(gradients(member.objective, y, x)[::-1], gradients(member.objective, x, y)), member.name


@minings
def test_permuting_the_batch_permutes_the_gradients(mining: object) -> None:
    (x, y), order = batch(3), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    for member in quarter(mining, 3):
        permuted = gradients(member.objective, x[order], y[order])
        assert near(permuted, [g[order] for g in gradients(member.objective, x, y)]), member.name


def test_an_objective_of_one_side_breaks_the_swap() -> None:
    x, y = batch(2)
    one_sided = GradientObjective(triplet_weights[2], pair_weights[1], anchors=Anchors.ROWS)
    assert not near(gradients(one_sided, y, x)[::-1], gradients(one_sided, x, y))


def test_a_gradient_off_by_a_thousandth_is_seen() -> None:
    x, y = batch()
    got = gradients(members()[0].objective, x, y)
    assert not near([1.001 * g for g in got], got)


# --- Python loops ---------------------------------------------------------------------------------


def numbers_of(objective: GradientObjective) -> tuple[Callable[..., float], ...]:
    """T, P⁺ and P⁻ as functions of Python's floats."""
    values = objective.field.values(objective.settings)
    t = program([objective.triplet_weight.expression.subs(values)], (s_p, s_n))
    pull = program([objective.pair_weights.positive.subs(values)], (s_p,))
    push = program([objective.pair_weights.negative.subs(values)], (s_n,))
    return tuple(lambda *at, compiled=compiled: compiled.run(FLOAT, *at)[0] for compiled in (t, pull, push))


def by_loops(objective: GradientObjective, s: list[list[float]]) -> Tensor:
    """W of one direction, anchor by anchor, triplet by triplet; pair i is the positive of anchor i."""
    t, pull, push = numbers_of(objective)
    w, mining = [[0.0] * len(s) for _ in s], objective.mining
    for i, row in enumerate(s):
        negatives = sorted((j for j in range(len(row)) if j != i), key=lambda j: -row[j])
        match mining:
            case Hardest():
                weights = {negatives[0]: 1.0}
            case TopK():
                weights = dict.fromkeys(negatives[: mining.k], 1 / min(mining.k, len(negatives)))
            case SemiHard():
                weights = {j: 1.0 for j in negatives if 0 < row[i] - row[j] <= mining.margin}
            case Softmax():
                total = sum(math.exp(mining.negative_scale * row[j]) for j in negatives)
                soft = t(row[i], math.log(total) / mining.negative_scale)
                w[i][i] -= soft * pull(row[i])
                for j in negatives:
                    w[i][j] += soft * math.exp(mining.negative_scale * row[j]) / total * push(row[j])
                weights = {}
        for j, weight in weights.items():
            w[i][i] -= weight * t(row[i], row[j]) * pull(row[i])
            w[i][j] += weight * t(row[i], row[j]) * push(row[j])
    return torch.tensor(w)


@minings
def test_python_loops_agree(mining: object) -> None:
    x, y = batch(4)
    s = x @ y.T
    for member in members(mining):
        if not member.objective.pair_weights.relative:
            w = by_loops(member.objective, s.tolist()) + by_loops(member.objective, s.T.tolist()).T
            got = member.objective.weight_matrix(s, Matches.of_pairs(len(s)))
            assert near([got], [w], 1e-12), member.name


def test_loops_of_another_mining_do_not_agree() -> None:
    x, y = batch(4)
    one = parse_objective("nca/linear@top_k:2", OWN)
    w = by_loops(one, (x @ y.T).tolist()) + by_loops(one, (y @ x.T).tolist()).T
    other = parse_objective("nca/linear@top_k:3", OWN)
    assert not near([other.weight_matrix(x @ y.T, Matches.of_pairs(len(x)))], [w], 1e-3)


# --- what they are --------------------------------------------------------------------------------


@pytest.mark.parametrize("share", range(4))
def test_every_member_on_the_hardest_negatives_is_described(share: int) -> None:
    for member in members(Hardest())[share::4]:
        found = member.description
        assert found.integrable in (True, False), member.name
        assert found.sign in SIGNS
        assert found.reason
        assert "twin" not in member.name or found.integrable, member.name


@given(st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_members_are_described_and_read_back(data: st.DataObject) -> None:
    member = data.draw(st.sampled_from(members()))
    assert member.description.integrable is member.verdict.integrable
    read = parse_objective(member.name, parts())
    assert compact(read) == member.name
    x, y = batch(data.draw(st.integers(0, 99)))
    w = member.objective.weight_matrix(x @ y.T, Matches.of_pairs(len(x)))
    for other in (read, from_toml(to_toml(member.objective, parts()), parts())):
        assert torch.equal(other.weight_matrix(x @ y.T, Matches.of_pairs(len(x))), w), member.name


def test_integrable_members_of_the_published_grid() -> None:
    found = family(OWN, [Hardest()], [], integrable=True)
    names = {member.name for member in found}
    assert names >= {"constant/constant", "nca/constant", "constant/linear", "circle/linear"}
    none = {member.name for member in family(OWN, [Hardest()], [], integrable=False)}
    assert {"nca/linear", "circle/constant", "nca/sigmoid", "constant/relative_linear"} <= none


def test_filters_by_sign_and_by_part() -> None:
    mixed = [member.name for member in family(OWN, [Hardest()], [], sign="mixed", using=["nca", "circle"])]
    assert "nca/linear" in mixed
    assert "nca/constant" not in mixed
    assert all(name.split("/")[0] in ("nca", "circle") for name in mixed)
    assert next(m.name for m in family(OWN, [TopK(2)], ["nca"], using=["nca_twin"])) == "nca_twin/linear@top_k:2"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"sign": "good"}, "sign: got 'good' but expected one of pulls and pushes"),
        ({"using": ["linaer"]}, "part: got 'linaer' but expected one of linear"),
        ({"twinned": ["nca_twin"]}, "triplet weight: got 'nca_twin' but expected one of circle, constant, hinge, nca"),
    ],
)
def test_what_is_not_known_is_refused(arguments: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        list(family(OWN, **arguments))
