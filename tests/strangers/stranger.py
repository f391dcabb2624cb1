"""What a user brings: a loss, weights, an aggregator, a selection, a direction and a similarity, in one file."""

from dataclasses import dataclass, replace
from typing import ClassVar

import sympy as sp
import torch
from torch import Tensor

from goal_analysis.numeric.engine.aggregators import Aggregator as OnTensors
from goal_analysis.numeric.similarity import Direction
from goal_analysis.recombination.minings import Mining
from goal_analysis.recombination.recombine import composed
from goal_analysis.symbolic.language.aggregators import EACH, MIN, Aggregator
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, positive
from goal_analysis.symbolic.language.primitives import gap, s_n, s_p, sigmoid, softplus
from goal_analysis.symbolic.language.similarity import Similarity
from goal_analysis.symbolic.objective import Objective, Term
from goal_analysis.symbolic.weight import PairWeights, TripletWeight

steepness = Hyperparameter("steepness", 8, positive, "of the sigmoid")


def halved_sum(values: Tensor, members: Tensor) -> Tensor:
    return values.masked_fill(~members, 0).sum(-1) / 2


def halves(values: Tensor, members: Tensor) -> Tensor:
    return members.to(values.dtype) / 2


HALF = Aggregator("half", lambda xs: sp.Add(*xs) / 2, "½ each", tensors=OnTensors("half", halved_sum, halves))
"""An aggregator: half the sum."""


@dataclass(frozen=True)
class NotTooHard:
    """A selection: negatives below the positive; it does not say how it depends on the scores."""

    room: float = 0.0
    name: ClassVar[str] = "not_too_hard"

    def __call__(self, s: Tensor, members: Tensor, other: Tensor | None = None) -> Tensor:
        return members & (s < other - self.room)


def towards(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return weights @ y, torch.zeros_like(y)


def shifted_dot(x: Tensor, y: Tensor) -> Tensor:
    return x @ y.T - 0.1


ONE_SIDED = Direction("one_sided", "of x: y; of y: 0", towards)
SHIFTED = Similarity("shifted", "a·b − 0.1", sp.Rational(-11, 10), sp.Rational(9, 10), tensors=shifted_dot)

soft = TripletWeight(name="soft", expression=sigmoid(steepness.symbol * (s_n - s_p)), hyperparameters=(steepness,))
squared = PairWeights(name="squared", positive=(1 - s_p) ** 2, negative=s_n**2)

loss = Objective(
    name="strange",
    title="A loss of a stranger's",
    terms=(Term(outer=softplus(steepness.symbol * gap), positives=EACH(s_p), negatives=HALF(s_n)),),
    hyperparameters=(steepness,),
)
weights = composed(soft, squared)
aggregated = composed(soft, squared, Mining(MIN, HALF), "aggregated/strange")
selected = composed(soft, squared, Mining(EACH, EACH, NotTooHard(0.05)), "selected/strange")
directed = replace(weights, direction=ONE_SIDED)
measured = replace(loss, similarity=SHIFTED)
