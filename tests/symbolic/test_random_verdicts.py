"""A sample of the law of verdicts: random objectives against the work of their weights along closed paths."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import verdict_cases as cases
import verdict_paths as paths
import verdict_weights as weights
import verdicts

import goal_analysis as ga

SEED = 5
KINDS = (
    "mask",
    "hinge",
    "condition",
    "power",
    "detach",
    "aggregate",
    "prescribed",
    "selection",
    "similarity",
    "direction",
    "catalog",
)


every_kind = pytest.mark.parametrize("kind", KINDS)


def says(integrable: bool):
    return lambda case: SimpleNamespace(integrable=integrable, reason="sabotage", witness=None)


@every_kind
def test_no_verdict_is_wrong(kind: str) -> None:
    judged = verdicts.judge(kind, SEED, 0)
    assert judged.outcome in ("yes", "no", "open", "open, rightly"), judged


@every_kind
def test_the_oracle_has_the_weights_of_the_engine(kind: str) -> None:
    tested = 0
    for place in range(5):
        case = cases.case(kind, SEED, place)
        if case.formulas is None:
            continue
        keywords = {name: value for name, value in case.keywords.items() if name != "_"}
        given = ga.objective(case.given, **keywords).objective
        alone = ga.objective(replace(given, anchors=ga.Anchors.ROWS, reduction=ga.Reduction.SUM))
        s = np.random.default_rng(place).uniform(case.formulas.low, case.formulas.high, (5, 30))
        positives = torch.tensor([True, True, False, False, False]).expand(30, -1)
        expected = alone.weight_matrix(torch.tensor(s.T.copy()), ga.Matches(positives, ~positives)).numpy().T
        got = weights.weights(case.formulas, s[:2], s[2:])[0].sum(0)
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max(), err_msg=str(case))
        tested += 1
    assert tested >= 2


def test_the_mean_of_a_term_is_over_the_anchors_that_have_a_pair_in_it() -> None:
    case = cases.case("catalog", 0, 225)
    assert case.given == "lmnn@semi_hard"
    assert case.formulas.mean
    s = np.random.default_rng(0).uniform(case.formulas.low, case.formulas.high, (9, 30))
    own = torch.eye(3, dtype=torch.bool).repeat_interleave(3, 1)
    first = torch.tensor([True, False, False]).repeat(3)
    objective = ga.objective(case.given, **case.keywords)
    matches = ga.Matches(own & first, own & ~first)
    expected = [objective.weight_matrix(torch.from_numpy(point.copy()).expand(3, -1), matches).sum(0) for point in s.T]
    got = paths.on_scores(case.formulas, 1, 2, 3)(s)
    np.testing.assert_allclose(got.T, torch.stack(expected).numpy(), atol=1e-12)
    assert np.unique((got != 0).sum(0)).size > 1  # of some points a triplet is selected, of some none


def test_who_says_yes_to_all_is_caught() -> None:
    found = [
        verdicts.judge(kind, SEED, place, says(True)) for kind in ("mask", "aggregate", "detach") for place in range(4)
    ]
    assert sum(judged.outcome == "wrong yes" for judged in found) > 5


@pytest.mark.parametrize("kind", ["hinge", "condition"])
def test_who_says_no_to_all_is_caught(kind: str) -> None:
    found = [verdicts.judge(kind, SEED, place, says(False)) for place in range(2)]
    assert all("no witness" in judged.doubts for judged in found)
    assert sum(judged.outcome == "wrong no" for judged in found) >= (2 if kind == "hinge" else 1)


@pytest.mark.parametrize(
    ("text", "keywords", "gradient"),
    [
        ("(s_n - s_p) if abs(s_n) > 0.5 else 0", {}, False),
        ("(s_n - s_p)*step(1 - sqrt(2 - 2*s_n))", {}, False),
        ("step(s_n**3)*s_p", {}, False),
        ("(s_n - s_p)*step(s_n - 0.999)", {}, False),
        ("s_p*step(s_n*s_p - 0.9)", {}, False),
        ("(s_n - s_p)*step(s_n - 1.001)", {}, True),
        ("s_n**2*step(s_n - 1/3)", {}, True),
        ("(s_n - s_p)*step(s_n - s_p - 0.4) + 3", {}, True),
        ("(s_n**2 - 0.25)*s_p if s_n > 0.5 else 0", {}, True),
        ("detach(s_n)*s_p", {}, False),
        ("detach(s_n)*s_n", {}, True),
    ],
)
def test_the_oracle_finds_the_work_that_is_done(text: str, keywords: dict, gradient: bool) -> None:
    truth = verdicts.Truth(cases.of_formula("mask", text, **keywords), np.random.default_rng(0))
    truth.search(40)
    assert (truth.path is None) is gradient, truth.path


def test_the_rule_is_exact_on_smooth_fields_and_closes_in_on_jumps() -> None:
    square = np.array([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]])
    rotation = paths.work(lambda p: np.stack([-p[1], p[0]]), square)
    assert rotation.done == pytest.approx([2.0], abs=1e-12)
    third = paths.work(lambda p: np.stack([0 * p[0], (p[0] > 1 / 3) * p[1]]), square)
    assert third.done == pytest.approx([0.5], abs=1e-9)
    jump = paths.work(lambda p: np.stack([1.0 * (p[1] > 1 / 3) * p[0], 0 * p[1]]), square + 0.1)
    assert jump.done == pytest.approx([-(1.1**2 - 0.1**2) / 2], abs=1e-7)
    assert jump.proves.all()
    kinked = paths.work(lambda p: np.stack([np.sign(p[0] + p[1] - 0.7)] * 2), square)
    assert not kinked.proves.any()
    assert np.abs(kinked.closed_in.sum(1) - 0.7).max() < 1e-3
