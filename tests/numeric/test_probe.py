"""The probe sees the gradient that the formulas say, changes nothing, and keeps nothing alive."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from goal_analysis.api.objectives import objective as door
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.probe import GradientProbe
from goal_analysis.recombination.processes import AcrossProcesses
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, softplus
from goal_analysis.symbolic.objective import Objective, Term


def info_nce(scores: Tensor, scale: float = 10.0) -> Tensor:
    return cross_entropy(scale * scores, torch.arange(len(scores)))


def random_scores(n: int = 12) -> Tensor:
    return (torch.rand(n, n) * 2 - 1).requires_grad_()


def only_row(probe: GradientProbe) -> pd.Series:
    frame = probe.frame()
    assert len(frame) == 1
    return frame.iloc[0]


def test_the_numbers_are_those_of_a_loop() -> None:
    scores = random_scores()
    with GradientProbe(every=1, anchors=None, quantiles=(0.0, 0.5, 1.0)) as probe:
        probe.watch(scores, Matches.of_pairs(12))
        info_nce(scores).backward()
    row, w = only_row(probe), scores.grad
    pull = [-w[i, i].item() for i in range(12)]
    push = [[w[i, j].item() for j in range(12) if j != i] for i in range(12)]
    entropies = [-sum(v / sum(ws) * torch.tensor(v / sum(ws)).log().item() for v in ws) for ws in push]
    assert row.w_p_q0 == pytest.approx(min(pull))
    assert row.w_p_q100 == pytest.approx(max(pull))
    assert row.w_n_q50 == pytest.approx(pd.Series([v for ws in push for v in ws]).median())
    assert row.effective_negatives == pytest.approx(torch.tensor(entropies).exp().mean().item())
    assert row.push_share == pytest.approx(sum(map(sum, push)) / (sum(map(sum, push)) + sum(pull)))
    assert row.push_share + row.pull_share == pytest.approx(1)
    assert row.active_share == 1
    assert row.s_p_q50 == pytest.approx(scores.detach().diagonal().quantile(0.5).item())


def test_the_active_share_is_that_of_anchors_with_weight() -> None:
    scores = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.3, 0.25], [0.0, 0.7, 0.5]], requires_grad=True)
    with GradientProbe(every=1) as probe:
        probe.watch(scores, Matches.of_pairs(3))
        torch.relu(scores - scores.diagonal()[:, None] + 0.08).mul(1 - torch.eye(3)).sum().backward()
    row = only_row(probe)
    assert row.active_share == pytest.approx(2 / 3)
    assert row.effective_negatives == pytest.approx(1)


def test_several_backward_passes_make_one_row() -> None:
    batches = [random_scores() for _ in range(3)]
    with GradientProbe(every=1) as together, GradientProbe(every=1) as apart:
        for scores in batches:
            together.watch(scores, Matches.of_pairs(12), step=5)
            apart.watch(scores, Matches.of_pairs(12))
            info_nce(scores).backward()
    row = only_row(together)
    assert (row.step, row.backwards) == (5, 3)
    assert list(apart.frame().step) == [0, 1, 2]
    assert row.w_n_q90 == pytest.approx(apart.frame().w_n_q90.mean())


def test_two_backward_passes_through_the_same_scores_count_twice() -> None:
    scores = random_scores()
    with GradientProbe(every=1) as probe:
        probe.watch(scores, Matches.of_pairs(12))
        loss = info_nce(scores)
        loss.backward(retain_graph=True)
        loss.backward()
    assert only_row(probe).backwards == 2


def test_sampling_of_steps_and_of_anchors() -> None:
    scores = random_scores()
    with GradientProbe(every=3, anchors=4, quantiles=(0.0, 1 / 3, 2 / 3, 1.0)) as probe:
        for _ in range(7):
            probe.watch(scores, Matches.of_pairs(12))
            info_nce(scores).backward()
    frame = probe.frame()
    assert list(frame.step) == [0, 3, 6]
    # The quantiles of four anchors are their own numbers.
    looked_at = [tuple(row) for row in frame.filter(like="s_p_q").round(9).to_numpy()]
    diagonal = set(scores.detach().diagonal().numpy().round(9))
    assert all(len(set(row)) == 4 and set(row) <= diagonal for row in looked_at)
    assert len(set(looked_at)) > 1, "other anchors every time"


def test_the_factors_of_a_decomposition_are_followed() -> None:
    term = Term(outer=softplus(5 * gap), positives=EACH(s_p), negatives=EACH(s_n**2))
    squared = Objective(name="squared", title="Squared", terms=(term,))
    scores = random_scores(4)
    with GradientProbe(every=1, objective=decompose(squared), quantiles=(1.0,)) as probe:
        probe.watch(scores, Matches.of_pairs(4))
        scores.sum().backward()
    row, s = only_row(probe), scores.detach()
    off = s[~torch.eye(4, dtype=torch.bool)]
    hardest = s.masked_fill(torch.eye(4, dtype=torch.bool), -1).amax(1)
    factors = decompose(squared).field.factors
    assert row.P_n_q100 / row.P_p_q100 == pytest.approx(2 * off.max().item())
    expected = torch.sigmoid(5 * (hardest**2 - s.diagonal())).max().item()
    assert row.T_q100 == pytest.approx(expected * float(factors.triplet.subs({s_p: 0, s_n: 0}) / 0.5))


@pytest.mark.parametrize("text", ["nca/linear", "circle", "info_nce(tau=9, learned=tau<=100)"])
def test_an_objective_is_followed_wherever_it_is_called(text: str) -> None:
    """Its numbers are those of the gradient of its scores; evaluation is no step."""
    objective = door(text, anchors="both")
    x, y = (normalize(torch.randn(9, 5), dim=1).requires_grad_() for _ in range(2))
    ids = torch.arange(9) % 7
    scores = (x @ y.T).detach().requires_grad_()
    with GradientProbe(every=1, anchors=None) as watching, GradientProbe(every=1, anchors=None) as probe:
        watching.watch(scores, Matches.of_image_ids(ids))
        objective.from_scores(scores, Matches.of_image_ids(ids)).backward()
        probe.follow(AcrossProcesses(objective))
        with torch.no_grad():
            objective(x, y, ids)
        objective(x, y, ids)
        assert probe.take() == pytest.approx(watching.take())
        assert probe.take() == {}
        probe.at = 8
        objective(x, text_embeddings=y, image_ids=ids)
        objective(x, y)
    assert probe.take() == pytest.approx(probe.frame().iloc[-1].to_dict())
    assert list(probe.frame().backwards) == [1, 2]
    assert list(probe.frame().step) == [0, 8]
    objective(x, y)
    assert len(probe.frame()) == 2, "nothing is followed outside of the block"


def test_the_table_is_written_whole(tmp_path: Path) -> None:
    path, scores = tmp_path / "probe.csv", random_scores()
    with GradientProbe(every=1, path=path) as probe:
        probe.watch(scores, Matches.of_pairs(12))
        info_nce(scores).backward()
    pd.testing.assert_frame_equal(pd.read_csv(path), probe.frame())
    assert list(tmp_path.iterdir()) == [path]
    probe.write(f"{tmp_path}/probe.jsonl")
    pd.testing.assert_frame_equal(pd.read_json(tmp_path / "probe.jsonl", lines=True), probe.frame(), check_dtype=False)


def test_half_precision_is_read_in_single() -> None:
    scores = random_scores().detach().bfloat16().requires_grad_()
    with GradientProbe(every=1) as probe:
        probe.watch(scores, Matches.of_pairs(12))
        info_nce(scores).backward()
    assert not only_row(probe).isna().any()


def test_after_the_block_hooks_are_silent() -> None:
    scores = random_scores()
    warned = pytest.warns(UserWarning, match="watched 1 score matrices but no gradient reached them")
    with warned, GradientProbe(every=1) as probe:
        probe.watch(scores, Matches.of_pairs(12))
    info_nce(scores).backward()
    assert probe.frame().empty


def test_what_cannot_be_watched_is_named() -> None:
    scores, pairs = random_scores(), Matches.of_pairs(12)
    probe = GradientProbe()
    with probe:
        with pytest.raises(ValueError, match="scores without a gradient"):
            probe.watch(scores.detach(), pairs)
        with pytest.raises(ValueError, match=r"got scores of shape \(12, 12\) but expected \(3, 3\)"):
            probe.watch(scores, Matches.of_pairs(3))
    with pytest.raises(RuntimeError, match="after its with block"):
        probe.watch(scores, pairs)
    for name, given in (("every", 0), ("every", "10"), ("anchors", True), ("anchors", 2.5)):
        with pytest.raises(ValueError, match=f"{name}: got .* but expected a whole number from 1"):
            GradientProbe(**{name: given})
    with pytest.raises(ValueError, match="quantiles: got"):
        GradientProbe(quantiles=(2.0,))
