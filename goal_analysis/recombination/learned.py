"""Hyperparameters that training moves: scalars beside the embeddings, with the gradient of the objective's loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from goal_analysis.numeric.engine.dense import loss
from goal_analysis.numeric.engine.surrogate import Prescribed
from goal_analysis.numeric.functions import functions_with
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.rounding import safe_loss
from goal_analysis.recombination.verdict import loss_of
from goal_analysis.symbolic.objective import Objective


class Learned(nn.Module):
    """The learned hyperparameters of an objective as parameters: ``log_tau`` of a tau that is always positive, else b.

    They are kept within their domains and below what they may at most become. Their gradient is ∂L/∂tau, times the
    upstream gradient: of the declared loss, with its gradients stopped where it says so, or of the loss that prescribed
    weights are the gradient of.

    Args:
        objective: one with ``learned`` names.

    Raises:
        ValueError: prescribed weights that are the gradient of no loss, or of none that reads the hyperparameter.
    """

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        bare = all(side.selection is None for term in objective.terms for side in term.sides)
        of = objective if objective.is_loss and bare else loss_of(objective)
        if of is None or of.learned != objective.learned:
            raise ValueError(
                f"{objective.owner}: learned: got {', '.join(objective.learned)} but expected none: no loss is known "
                "that reads it and has these weights, and nothing else says how it is to move"
            )
        self.most, self.loss, self.ranks = objective.most_learned, safe_loss(of), 1
        for h in self.most:
            value = math.log(h.default) if h.symbol.is_positive else float(h.default)
            name = f"log_{h.name}" if h.symbol.is_positive else h.name
            self.register_parameter(name, nn.Parameter(torch.tensor(value)))

    def numbers(self, parameters: Sequence[Tensor] | None = None) -> tuple[Tensor, ...]:
        """The hyperparameters as they are now, or of parameters in their place; one out of bounds is moved there."""
        found = []
        for x, (h, high) in zip(parameters or self.parameters(), self.most.items(), strict=True):
            low = float(h.domain.start)
            if h.symbol.is_positive:
                low, high = math.log(low) if low else -math.inf, math.log(high)
            if not low <= float(x.detach()) <= high:
                x.data.clamp_(low, high)
            found.append(x.exp() if h.symbol.is_positive else x)
        return tuple(found)

    @property
    def values(self) -> dict[str, float]:
        """The hyperparameters as they are now, by name."""
        with torch.no_grad():
            return {h.name: float(number) for h, number in zip(self.most, self.numbers(), strict=True)}

    def surrogate(self, scores: Float[Tensor, "rows columns"], matches: Matches, ranks: int = 1) -> Float[Tensor, ""]:
        """Zero, whose gradient by every parameter is that of the loss of a batch, over how many ranks add it up."""
        leaves = [x.detach().clone().requires_grad_() for x in self.parameters()]
        with torch.enable_grad():
            value = loss(functions_with(self.loss, self.numbers(leaves)), scores.detach(), *matches.tables)
        gradients = torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)
        result = scores.new_zeros(())
        for x, g in zip(self.parameters(), gradients, strict=True):
            result = result + Prescribed.apply(x, None, g / ranks, None, torch.zeros_like(x))
        return result
