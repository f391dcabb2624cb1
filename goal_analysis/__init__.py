"""Metric-learning losses taken apart at the gradient, checked, and put together anew.

This is the symbolic surface; importing it loads SymPy and nothing larger.

>>> loss = loss_from_mapping("nca", {"formula": "softplus(tau*(s_n - s_p))/tau", "hyperparameters": {"tau": 10}})
>>> decompose(loss).field.factors.triplet
sigmoid(tau*(s_n - s_p))
"""

from importlib import import_module
from typing import TYPE_CHECKING

from goal_analysis.symbolic.analysis.decomposition import Decomposition, decompose
from goal_analysis.symbolic.analysis.integrability import Integrability, integrability
from goal_analysis.symbolic.analysis.recovery import tangent_twin, twin
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter
from goal_analysis.symbolic.objective import SymbolicLoss, Term
from goal_analysis.symbolic.parsing import FormulaError, parse
from goal_analysis.symbolic.parsing.declaration import loss_from_mapping, losses_from_mapping
from goal_analysis.symbolic.proof.identity import Undecided
from goal_analysis.symbolic.typesetting import latex, plain
from goal_analysis.symbolic.weight import PairWeights, TripletWeight, WeightField, compose

if TYPE_CHECKING:
    from goal_analysis.numeric.characteristics import Characteristics, characteristics

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


def __getattr__(name: str) -> object:
    if name not in ("Characteristics", "characteristics"):
        raise AttributeError(f"module 'goal_analysis' has no attribute {name!r}")
    return getattr(import_module("goal_analysis.numeric.characteristics"), name)  # which loads NumPy
