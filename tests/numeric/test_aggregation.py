"""Aggregators of tensors against those of the symbolic floor."""

import pytest
import sympy as sp
import torch
from goal_analysis.numeric.aggregation import MASKED, masked

from goal_analysis.numeric.formula import formula
from goal_analysis.symbolic.language.aggregators import AGGREGATORS, EACH, MAX, MIN, Aggregator, softmax_active

TEMPERATURE = sp.Rational(7, 2)
EVERY = (*AGGREGATORS, softmax_active(TEMPERATURE))
MEMBERS = 4
PLACES = sp.symbols(f"x:{MEMBERS}", real=True)

every_aggregator = pytest.mark.parametrize("aggregator", EVERY, ids=lambda a: a.name)


def parameters(aggregator: Aggregator) -> tuple[float, ...]:
    return tuple(map(float, aggregator.parameters))


def by_formula(aggregator: Aggregator, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The value and the mining weights of complete sets."""
    columns = values.unbind(-1)
    value = formula(aggregator.combine(PLACES), PLACES)(*columns)
    weights = [formula(weight, PLACES)(*columns) for weight in aggregator.weights(PLACES)]
    return value, torch.stack(weights, -1)


def among_others(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same sets with two more values in each that are no members, and not finite."""
    wider = torch.stack([values[:, 0], values.new_full((len(values),), torch.nan), values[:, 1], values[:, 2]], -1)
    wider = torch.cat([wider, values.new_full((len(values), 1), torch.inf), values[:, 3:]], -1)
    return wider, torch.tensor([True, False, True, True, False, True]).expand(wider.shape)


def test_every_aggregator_has_an_entry() -> None:
    assert set(MASKED) == {aggregator.name for aggregator in EVERY}


@every_aggregator
def test_it_is_that_of_the_formula(aggregator: Aggregator) -> None:
    values = torch.randn(50, MEMBERS)
    expected_value, expected_weights = by_formula(aggregator, values)
    wider, members = among_others(values)
    value = masked(aggregator).value(wider, members, *parameters(aggregator))
    weights = masked(aggregator).weights(wider, members, *parameters(aggregator))
    torch.testing.assert_close(value, expected_value, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(weights[members].view(-1, MEMBERS), expected_weights, rtol=1e-13, atol=1e-14)
    assert (weights[~members] == 0).all()


@every_aggregator
def test_that_of_the_formula_times_1_001_is_another(aggregator: Aggregator) -> None:
    values = 1 + torch.rand(50, MEMBERS)
    _, expected = by_formula(aggregator, values)
    weights = masked(aggregator).weights(values, torch.ones_like(values, dtype=torch.bool), *parameters(aggregator))
    with pytest.raises(AssertionError, match="not close"):
        torch.testing.assert_close(1.001 * weights, expected, rtol=1e-13, atol=1e-14)


@every_aggregator
def test_the_weights_are_the_gradient(aggregator: Aggregator) -> None:
    values = torch.randn(50, MEMBERS).requires_grad_()
    members = torch.rand(50, MEMBERS) < 0.6
    value = masked(aggregator).value(values, members, *parameters(aggregator))
    (gradient,) = torch.autograd.grad(value.sum(), values)
    weights = masked(aggregator).weights(values.detach(), members, *parameters(aggregator))
    torch.testing.assert_close(weights, gradient, rtol=1e-13, atol=1e-14)


@every_aggregator
@pytest.mark.parametrize("tie", [[0.5, 0.5, -1.0, -2.0], [-0.5, -0.5, 2.0, 1.0], [0.0, 0.0, 1.0, -1.0]])
def test_ties_and_kinks_follow_autograd_and_the_formula(aggregator: Aggregator, tie: list[float]) -> None:
    values = torch.tensor([tie], requires_grad=True)
    members = torch.ones_like(values, dtype=torch.bool)
    value = masked(aggregator).value(values, members, *parameters(aggregator))
    (gradient,) = torch.autograd.grad(value.sum(), values)
    weights = masked(aggregator).weights(values.detach(), members, *parameters(aggregator))
    _, expected = by_formula(aggregator, values.detach())
    torch.testing.assert_close(weights, gradient)
    torch.testing.assert_close(weights, expected)


@pytest.mark.parametrize("aggregator", [MAX, MIN], ids=lambda a: a.name)
def test_a_tie_of_three_is_split_evenly(aggregator: Aggregator) -> None:
    values = torch.ones(1, 3, requires_grad=True)
    members = torch.ones_like(values, dtype=torch.bool)
    torch.testing.assert_close(masked(aggregator).weights(values, members), torch.full((1, 3), 1 / 3))
    (gradient,) = torch.autograd.grad(masked(aggregator).value(values, members).sum(), values)
    torch.testing.assert_close(gradient, torch.full((1, 3), 1 / 3))


@every_aggregator
def test_an_empty_set_is_zero_with_a_zero_gradient(aggregator: Aggregator) -> None:
    values = torch.randn(2, MEMBERS).requires_grad_()
    members = torch.tensor([[True] * MEMBERS, [False] * MEMBERS])
    value = masked(aggregator).value(values, members, *parameters(aggregator))
    (gradient,) = torch.autograd.grad(value.sum(), values)
    weights = masked(aggregator).weights(values.detach(), members, *parameters(aggregator))
    assert value[1] == 0
    assert (gradient[1] == 0).all()
    assert (weights[1] == 0).all()
    assert gradient.isfinite().all()


@every_aggregator
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_large_values_stay_finite(aggregator: Aggregator, size: float) -> None:
    values = (size + torch.randn(20, MEMBERS)).float().requires_grad_()
    members = torch.ones_like(values, dtype=torch.bool)
    value = masked(aggregator).value(values, members, *parameters(aggregator))
    (gradient,) = torch.autograd.grad(value.sum(), values)
    weights = masked(aggregator).weights(values.detach(), members, *parameters(aggregator))
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    # Autograd's logsumexp subtracts two rounded numbers of this size, of which a float32 has three decimals.
    torch.testing.assert_close(weights, gradient, rtol=1e-5, atol=2e-3)


def test_an_unknown_aggregator_is_named() -> None:
    median = Aggregator("median", EACH.combine, "one-hot in the middle")
    with pytest.raises(ValueError, match="got 'median' but expected one of max, min, logsumexp"):
        masked(median)
