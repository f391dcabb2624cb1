"""Metric-learning losses taken apart at the gradient, checked, put together anew, and trained with.

What `__all__` names is public; everything else may change. Nothing is imported before a name is asked for.

>>> import goal_analysis as ga
>>> ga.decompose("vse_pp").field.factors
Factors(triplet=step(margin + s_n - s_p), positive=1, negative=1)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_NAMES = {
    "goal_analysis.api.objectives": (
        "objective loss losses weights decompose integrability characteristics describe verify measure "
        "recombine twin family export"
    ),
    "goal_analysis.api.runs": "plot train load_run compare tune Run",
    "goal_analysis.recombination.objective": "GradientObjective",
    "goal_analysis.numeric.caching": "GradientCache",
    "goal_analysis.symbolic.objective": "Objective Term Named Anchors Reduction",
    "goal_analysis.symbolic.language.aggregators": (
        "Side Pool Aggregator EACH EACH_MEAN MAX MIN MEAN SUM LOGSUMEXP SOFTMIN soft_max soft_min softmax_mean"
    ),
    "goal_analysis.recombination.minings": "Mining",
    "goal_analysis.symbolic.language.hyperparameter": "Hyperparameter",
    "goal_analysis.symbolic.weight": "TripletWeight PairWeights",
    "goal_analysis.symbolic.language.similarity": "Similarity",
    "goal_analysis.numeric.similarity": "Direction",
    "goal_analysis.symbolic.language.primitives": (
        "s_p s_n x_p x_n y_p y_n count_p count_n total gap hinge step sigmoid softplus logsumexp detach"
    ),
    "goal_analysis.symbolic.analysis.decomposition": "Decomposition",
    "goal_analysis.symbolic.analysis.integrability": "Integrability",
    "goal_analysis.recombination.description": "Description",
    "goal_analysis.numeric.measurement": "Measurement",
    "goal_analysis.numeric.verification": "Verification",
    "goal_analysis.numeric.matches": "Matches",
    "goal_analysis.symbolic.parsing": "FormulaError",
}
"""The public names, in the order of a user's day, by the module that has them."""

_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}

__all__ = [*_HOMES, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:  # the same names for type checkers, as many a line as fit
    # isort: off
    # fmt: off
    from goal_analysis.api.objectives import objective as objective, loss as loss, losses as losses, weights as weights
    from goal_analysis.api.objectives import decompose as decompose, integrability as integrability
    from goal_analysis.api.objectives import characteristics as characteristics, describe as describe, verify as verify
    from goal_analysis.api.objectives import measure as measure, recombine as recombine, twin as twin, family as family
    from goal_analysis.api.objectives import export as export
    from goal_analysis.api.runs import plot as plot, train as train, load_run as load_run
    from goal_analysis.api.runs import compare as compare, tune as tune, Run as Run
    from goal_analysis.numeric.caching import GradientCache as GradientCache
    from goal_analysis.numeric.matches import Matches as Matches
    from goal_analysis.numeric.measurement import Measurement as Measurement
    from goal_analysis.numeric.similarity import Direction as Direction
    from goal_analysis.numeric.verification import Verification as Verification
    from goal_analysis.recombination.description import Description as Description
    from goal_analysis.recombination.minings import Mining as Mining
    from goal_analysis.recombination.objective import GradientObjective as GradientObjective
    from goal_analysis.symbolic.analysis.decomposition import Decomposition as Decomposition
    from goal_analysis.symbolic.analysis.integrability import Integrability as Integrability
    from goal_analysis.symbolic.language.aggregators import Side as Side, Pool as Pool, Aggregator as Aggregator
    from goal_analysis.symbolic.language.aggregators import EACH as EACH, EACH_MEAN as EACH_MEAN, MAX as MAX
    from goal_analysis.symbolic.language.aggregators import MIN as MIN, MEAN as MEAN, SUM as SUM
    from goal_analysis.symbolic.language.aggregators import LOGSUMEXP as LOGSUMEXP, SOFTMIN as SOFTMIN
    from goal_analysis.symbolic.language.aggregators import soft_max as soft_max, soft_min as soft_min
    from goal_analysis.symbolic.language.aggregators import softmax_mean as softmax_mean
    from goal_analysis.symbolic.language.hyperparameter import Hyperparameter as Hyperparameter
    from goal_analysis.symbolic.language.primitives import s_p as s_p, s_n as s_n, x_p as x_p, x_n as x_n, gap as gap
    from goal_analysis.symbolic.language.primitives import count_p as count_p, count_n as count_n
    from goal_analysis.symbolic.language.primitives import y_p as y_p, y_n as y_n, total as total
    from goal_analysis.symbolic.language.primitives import hinge as hinge, step as step, sigmoid as sigmoid
    from goal_analysis.symbolic.language.primitives import softplus as softplus, logsumexp as logsumexp
    from goal_analysis.symbolic.language.primitives import detach as detach
    from goal_analysis.symbolic.language.similarity import Similarity as Similarity
    from goal_analysis.symbolic.objective import Objective as Objective, Term as Term, Named as Named
    from goal_analysis.symbolic.objective import Anchors as Anchors, Reduction as Reduction
    from goal_analysis.symbolic.parsing import FormulaError as FormulaError
    from goal_analysis.symbolic.weight import TripletWeight as TripletWeight, PairWeights as PairWeights
    # fmt: on
    # isort: on


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("goal-analysis")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
