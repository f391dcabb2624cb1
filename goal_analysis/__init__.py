"""Metric-learning losses taken apart at the gradient, checked, and put together anew.

This is the symbolic surface; importing it loads SymPy and nothing larger.

>>> loss = loss_from_mapping("nca", {"formula": "softplus(tau*(s_n - s_p))/tau", "hyperparameters": {"tau": 10}})
>>> decompose(loss).field.factors.triplet
sigmoid(tau*(s_n - s_p))
"""

from goal_analysis.symbolic.algebra.identity import Undecided
from goal_analysis.symbolic.characteristics import Characteristics, characteristics
from goal_analysis.symbolic.decomposition import Decomposition, decompose
from goal_analysis.symbolic.hyperparameter import Hyperparameter
from goal_analysis.symbolic.integrability import Integrability, integrability
from goal_analysis.symbolic.loss import SymbolicLoss, Term
from goal_analysis.symbolic.parsing import FormulaError, parse
from goal_analysis.symbolic.parsing.declaration import loss_from_mapping, losses_from_mapping
from goal_analysis.symbolic.twins import tangent_twin, twin
from goal_analysis.symbolic.typesetting import latex, plain
from goal_analysis.symbolic.weight import PairWeights, TripletWeight, WeightField, compose

__all__ = [
    "Characteristics",
    "Decomposition",
    "FormulaError",
    "Hyperparameter",
    "Integrability",
    "PairWeights",
    "SymbolicLoss",
    "Term",
    "TripletWeight",
    "Undecided",
    "WeightField",
    "characteristics",
    "compose",
    "decompose",
    "integrability",
    "latex",
    "loss_from_mapping",
    "losses_from_mapping",
    "parse",
    "plain",
    "tangent_twin",
    "twin",
]
