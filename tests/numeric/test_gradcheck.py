"""torch.autograd.gradcheck on the losses, and what it says of those whose gradient is stopped."""

from dataclasses import replace

import pytest
import torch
from kinds_of_losses import carrying, covering
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

STOPPED = ["ranked_list", "hardness_weighted_info_nce", "dual_temperature", "flat_nce", "circle", "s_face"]
"""Those whose value has another derivative; the count of a mean over active values is constant where it has one."""

every_kind = pytest.mark.parametrize("loss", covering(catalog), ids=lambda loss: loss.name)


def a_few(loss: Objective) -> Tensor:
    """Scores of six images and texts, some with several positives, and no score on a kink."""
    batch = SEVERAL_CAPTIONS
    return scores(loss.similarity, batch.rows[:6], batch.columns[:6]).detach().requires_grad_()


def few_matches(loss: Objective) -> Matches:
    of_all = SEVERAL_CAPTIONS.matches
    return carrying(loss, Matches(of_all.positives[:6, :6], of_all.negatives[:6, :6]))


def jacobian(loss: Objective) -> Tensor:
    """∂W/∂S as a square matrix; in three directions, by differences, where autograd itself makes the weights."""
    s = a_few(loss)

    def weights(s: Tensor) -> Tensor:
        return weights_of_scores(loss, s, few_matches(loss))

    if differentiable(loss):
        by_score = torch.autograd.functional.jacobian(weights, s)
        assert isinstance(by_score, Tensor)
    else:
        along = torch.randn(3, *s.shape)
        moved = [weights(s.detach() + STEP * one) - weights(s.detach() - STEP * one) for one in along]
        return along.flatten(1) @ torch.stack(moved).flatten(1).T / (2 * STEP)
    return by_score.reshape(s.numel(), s.numel())


STEP = 1e-5


def differentiable(loss: Objective) -> bool:
    return all(term.plain for term in loss.terms)


def is_symmetric(loss: Objective) -> bool:
    matrix = jacobian(loss)
    asymmetry = (matrix - matrix.T).abs().max() / matrix.abs().max().clamp(min=1e-12)
    return bool(asymmetry < (1e-12 if differentiable(loss) else 1e-4))


@every_kind
def test_without_a_stopped_gradient_autograd_is_that_of_the_value(loss: Objective) -> None:
    if loss.name not in STOPPED:
        assert gradcheck(lambda s: loss_value(loss, s, few_matches(loss)), a_few(loss))


@pytest.mark.parametrize("name", STOPPED)
def test_with_one_it_is_not(name: str) -> None:
    loss = next(loss for loss in catalog if loss.name == name)
    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        gradcheck(lambda s: loss_value(loss, s, few_matches(loss)), a_few(loss))


def test_the_losses_with_a_stopped_gradient_are_known() -> None:
    stopping = [loss.name for loss in catalog if loss.detaches and loss.reduction is not Reduction.MEAN_ACTIVE]
    assert stopping == STOPPED


def test_that_of_the_circle_loss_is_not() -> None:
    circle, undetached = (next(loss for loss in catalog if loss.name == n) for n in ("circle", "circle_undetached"))
    assert not is_symmetric(circle)
    assert is_symmetric(undetached)


@every_kind
def test_it_is_symmetric_where_the_weights_are_integrable(loss: Objective) -> None:
    verdict = integrability(decompose(loss))
    jumps = "the weights jump" in verdict.reason  # which a Jacobian beside the jump does not see
    assert is_symmetric(loss) == (verdict.integrable or jumps), verdict.reason


@every_kind
def test_the_weight_matrix_is_differentiable_itself(loss: Objective) -> None:
    """Its derivative is the second of the value; asked of one direction, because a whole Jacobian is slow."""
    if loss.detaches or not differentiable(loss) or loss.grouped is not None:  # that of centres is made by autograd
        return
    one_way = replace(loss, anchors=Anchors.ROWS)
    s = a_few(loss)
    along = torch.randn_like(s)
    (first,) = torch.autograd.grad(loss_value(one_way, s, few_matches(loss)), s, create_graph=True)
    second = torch.autograd.grad((first * along).sum(), s)[0] if first.requires_grad else torch.zeros_like(s)
    w = weights_of_scores(one_way, s, few_matches(loss))
    by_w = torch.autograd.grad((w * along).sum(), s)[0] if w.requires_grad else torch.zeros_like(s)
    torch.testing.assert_close(by_w, second, rtol=1e-9, atol=1e-11)


def test_a_detached_similarity_itself_is_detached() -> None:
    """s·sg(s) has the value of s² and the gradient of s."""
    term = Term(outer=x_n, negatives=EACH(detach(s_n) * s_n))
    loss = Objective(name="half", title="Half", terms=(term,), anchors=Anchors.ROWS, reduction=Reduction.SUM)
    s, matches = a_few(loss), few_matches(loss)
    (gradient,) = torch.autograd.grad(loss_value(loss, s, matches), s)
    torch.testing.assert_close(gradient, s.detach() * matches.negatives)
    torch.testing.assert_close(weights_of_scores(loss, s.detach(), matches), gradient)
