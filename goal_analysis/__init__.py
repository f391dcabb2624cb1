"""Metric-learning losses taken apart at the gradient, checked, recombined, and trained with.

What `__all__` names is public; everything else may change. Nothing is imported before a name is asked for.

>>> import goal_analysis as ga
>>> ga.decompose("vse_pp").field.factors
Factors(triplet=step(margin + s_n - s_p), positive=1, negative=1)
"""

import re
from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the public names, in the order of a user's day, as many a line as fit
    # isort: off
    # fmt: off
    from goal_analysis.api.objectives import objective as objective, loss as loss, losses as losses, weights as weights
    from goal_analysis.api.objectives import decompose as decompose, integrability as integrability
    from goal_analysis.api.objectives import characteristics as characteristics, describe as describe, verify as verify
    from goal_analysis.api.objectives import measure as measure, recombine as recombine, twin as twin, family as family
    from goal_analysis.api.objectives import export as export
    from goal_analysis.api.runs import plot as plot, train as train, load_run as load_run
    from goal_analysis.api.runs import compare as compare, tune as tune, Run as Run
    from goal_analysis.recombination.objective import GradientObjective as GradientObjective
    from goal_analysis.numeric.caching import GradientCache as GradientCache
    from goal_analysis.symbolic.objective import Objective as Objective, Term as Term, Named as Named
    from goal_analysis.symbolic.objective import Anchors as Anchors, Reduction as Reduction
    from goal_analysis.symbolic.language.aggregators import Side as Side, Pool as Pool, Aggregator as Aggregator
    from goal_analysis.symbolic.language.aggregators import EACH as EACH, EACH_MEAN as EACH_MEAN, MAX as MAX
    from goal_analysis.symbolic.language.aggregators import MIN as MIN, MEAN as MEAN, SUM as SUM
    from goal_analysis.symbolic.language.aggregators import LOGSUMEXP as LOGSUMEXP, SOFTMIN as SOFTMIN
    from goal_analysis.symbolic.language.aggregators import soft_max as soft_max, soft_min as soft_min
    from goal_analysis.symbolic.language.aggregators import softmax_mean as softmax_mean
    from goal_analysis.recombination.minings import Mining as Mining
    from goal_analysis.symbolic.language.hyperparameter import Hyperparameter as Hyperparameter
    from goal_analysis.symbolic.weight import TripletWeight as TripletWeight, PairWeights as PairWeights
    from goal_analysis.symbolic.language.similarity import Similarity as Similarity
    from goal_analysis.numeric.similarity import Direction as Direction
    from goal_analysis.symbolic.language.primitives import s_p as s_p, s_n as s_n, x_p as x_p, x_n as x_n, y_p as y_p
    from goal_analysis.symbolic.language.primitives import y_n as y_n, count_p as count_p, count_n as count_n
    from goal_analysis.symbolic.language.primitives import total as total, gap as gap, hinge as hinge, step as step
    from goal_analysis.symbolic.language.primitives import sigmoid as sigmoid, softplus as softplus
    from goal_analysis.symbolic.language.primitives import logsumexp as logsumexp, detach as detach
    from goal_analysis.symbolic.analysis.decomposition import Decomposition as Decomposition
    from goal_analysis.symbolic.analysis.integrability import Integrability as Integrability
    from goal_analysis.recombination.description import Description as Description
    from goal_analysis.numeric.measurement import Measurement as Measurement
    from goal_analysis.numeric.verification import Verification as Verification
    from goal_analysis.numeric.matches import Matches as Matches
    from goal_analysis.symbolic.parsing import FormulaError as FormulaError
    # fmt: on
    # isort: on

_LINES = re.findall(r"^    from (goal_analysis\S+) import (.+)", __loader__.get_source(__name__), re.MULTILINE)
_HOMES = {name: home for home, names in _LINES for name in re.findall(r"(\w+) as", names)}
"""The module of every public name, as the lines above say it to type checkers."""

__all__ = [*_HOMES, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("goal-analysis")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    if isinstance(value, FunctionType):
        value = import_module("goal_analysis.declarations").checked_door(value)
    return globals().setdefault(name, value)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
