"""torch.autograd.gradcheck on the losses, and what it says of those whose gradient is stopped."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.autograd.gradcheck import GradcheckError

from goal_analysis.numeric.batches import SEVERAL_CAPTIONS
from goal_analysis.numeric.functions import loss_value, weights_of_scores
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import scores
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.analysis.integrability import integrability
from goal_analysis.symbolic.language.aggregators import EACH
from goal_analysis.symbolic.language.primitives import detach, s_n, x_n
from goal_analysis.symbolic.objective import Anchors, Objective, Reduction, Term
from losses_catalog import catalog

WITHOUT_DETACH = [loss for loss in catalog if not loss.detaches]
WITH_DETACH = [loss for loss in catalog if loss.detaches]

JUMPING = {"ranked_list", "selectively_hard_triplet"}
"""Not integrable because the weights jump, which a Jacobian beside the jump does not see."""


def called(loss: Objective) -> str:
    return loss.name


def a_few(loss: Objective) -> Tensor:
    """Scores of six images and texts, some with several positives, and no score on a kink."""
    batch = SEVERAL_CAPTIONS
    return scores(loss.similarity, batch.rows[:6], batch.columns[:6]).detach().requires_grad_()


def few_matches() -> Matches:
    of_all = SEVERAL_CAPTIONS.matches
    return Matches(of_all.positives[:6, :6], of_all.negatives[:6, :6])


def jacobian(loss: Objective) -> Tensor:
    """∂W/∂S by autograd, as a square matrix."""
    s = a_few(loss)
    by_score = torch.autograd.functional.jacobian(lambda s: weights_of_scores(loss, s, few_matches()), s)
    assert isinstance(by_score, Tensor)
    return by_score.reshape(s.numel(), s.numel())


def asymmetry(matrix: Tensor) -> float:
    return float((matrix - matrix.T).abs().max() / matrix.abs().max().clamp(min=1e-12))


@pytest.mark.parametrize("loss", WITHOUT_DETACH, ids=called)
def test_without_a_stopped_gradient_autograd_is_that_of_the_value(loss: Objective) -> None:
    assert gradcheck(lambda s: loss_value(loss, s, few_matches()), a_few(loss))


@pytest.mark.parametrize("loss", WITH_DETACH, ids=called)
def test_with_one_it_is_not(loss: Objective) -> None:
    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        gradcheck(lambda s: loss_value(loss, s, few_matches()), a_few(loss))


def test_the_losses_with_a_stopped_gradient_are_known() -> None:
    assert [loss.name for loss in WITH_DETACH] == ["ranked_list", "hardness_weighted_info_nce", "circle"]


@pytest.mark.parametrize("loss", WITHOUT_DETACH, ids=called)
def test_then_the_jacobian_of_the_weights_is_symmetric(loss: Objective) -> None:
    assert asymmetry(jacobian(loss)) < 1e-12


def test_that_of_the_circle_loss_is_not() -> None:
    circle, undetached = (next(loss for loss in catalog if loss.name == n) for n in ("circle", "circle_undetached"))
    assert asymmetry(jacobian(circle)) > 0.1
    assert asymmetry(jacobian(undetached)) < 1e-12


@pytest.mark.parametrize("loss", catalog, ids=called)
def test_it_is_symmetric_where_the_weights_are_integrable(loss: Objective) -> None:
    verdict = integrability(decompose(loss))
    symmetric = asymmetry(jacobian(loss)) < 1e-12
    if loss.name in JUMPING:
        assert "jump" in verdict.reason
        assert symmetric
    else:
        assert verdict.integrable == symmetric


@pytest.mark.parametrize("loss", WITHOUT_DETACH, ids=called)
def test_the_weight_matrix_is_differentiable_itself(loss: Objective) -> None:
    """Its derivative is the second of the value; asked of one direction, because a whole Jacobian is slow."""
    one_way = replace(loss, anchors=Anchors.ROWS)
    s = a_few(loss)
    along = torch.randn_like(s)
    (first,) = torch.autograd.grad(loss_value(one_way, s, few_matches()), s, create_graph=True)
    second = torch.autograd.grad((first * along).sum(), s)[0] if first.requires_grad else torch.zeros_like(s)
    w = weights_of_scores(one_way, s, few_matches())
    by_w = torch.autograd.grad((w * along).sum(), s)[0] if w.requires_grad else torch.zeros_like(s)
    torch.testing.assert_close(by_w, second, rtol=1e-9, atol=1e-11)


def test_a_detached_similarity_itself_is_detached() -> None:
    """s·sg(s) has the value of s² and the gradient of s."""
    term = Term(outer=x_n, negatives=EACH(detach(s_n) * s_n))
    loss = Objective(name="half", title="Half", terms=(term,), anchors=Anchors.ROWS, reduction=Reduction.SUM)
    s, matches = a_few(loss), few_matches()
    (gradient,) = torch.autograd.grad(loss_value(loss, s, matches), s)
    torch.testing.assert_close(gradient, s.detach() * matches.negatives)
    torch.testing.assert_close(weights_of_scores(loss, s.detach(), matches), gradient)
