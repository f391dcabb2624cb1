"""Is a field of weights the gradient of a loss? The verdict, why, the potential, and the loss where there is one.

w⁺ = −∂L/∂s_p and w⁻ = ∂L/∂s_n have an L if and only if ∂w⁺/∂s_n + ∂w⁻/∂s_p vanishes as a distribution: in every
region between the kinks (the smooth curl), and across every kink g = 0 at which the weights jump (the jump of
w⁺·∂g/∂s_n + w⁻·∂g/∂s_p). With separable weights this says that T is a function of U = ∫P⁻ds_n − ∫P⁺ds_p.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import combinations

import sympy as sp

from goal_analysis.symbolic.analysis.decomposition import Decomposition
from goal_analysis.symbolic.analysis.kinks import Jump, curl_jumps, is_continuous, refute_on_kink, witness_against
from goal_analysis.symbolic.analysis.recovery import potential, recover_loss
from goal_analysis.symbolic.language.display import Displayed
from goal_analysis.symbolic.language.primitives import s_n, s_p, x_n, x_p
from goal_analysis.symbolic.language.similarity import other_negative, other_positive
from goal_analysis.symbolic.objective import Objective, Term
from goal_analysis.symbolic.proof.identity import Undecided, Witness
from goal_analysis.symbolic.weight import WeightField


@dataclass(frozen=True, repr=False)
class Integrability(Displayed):
    """Whether weights are the gradient of a loss.

    Args:
        integrable: True where that is proved, False where a witness refutes it, None where it is open.
        reason: the proof, the witness, or what was tried, in one sentence.
        potential: U = ∫P⁻ds_n − ∫P⁺ds_p where the weights separate and a closed form was found.
        loss: a closed form of the loss where there is one and it was found, unique up to a constant. It is that of one
            triplet, L(s_p, s_n), or with ``x_p`` and ``x_n`` that of one anchor of a batch.
        witness: a point at which a condition fails, where one does.
        curl: ∂w⁺/∂s_n + ∂w⁻/∂s_p between the kinks.
        jumps: what the curl is concentrated to at kinks; zero on the kink where the field is integrable.
    """

    integrable: bool | None
    reason: str
    potential: sp.Expr | None = None
    loss: sp.Expr | None = None
    witness: Witness | None = None
    curl: sp.Expr | None = None
    jumps: tuple[Jump, ...] = ()


Condition = tuple[Callable[[], Witness | None], str]


def integrability(objective: Decomposition | WeightField) -> Integrability:
    """Decide whether the weights are the gradient of a loss.

    The weights of a declared loss that is continuous and stops no gradient are its gradient. Otherwise the curl
    decides. Where a gradient is stopped, where the loss jumps, or where a weight reads other pairs of the batch, one
    triplet does not tell. Then two positives with two negatives, or two anchors, are looked at too.

    Args:
        objective: the decomposition of a loss, or any field of weights.

    >>> from goal_analysis.symbolic.language.primitives import sigmoid
    >>> integrability(
    ...     WeightField(
    ...         name="nca × linear",
    ...         positive=sigmoid(s_n - s_p) * (1 - s_p),
    ...         negative=sigmoid(s_n - s_p) * s_n,
    ...     )
    ... ).integrable
    False
    """
    return _decided(objective)


@lru_cache(maxsize=4096)
def _decided(objective: Decomposition | WeightField) -> Integrability:
    if isinstance(objective, Decomposition) and not objective.loss.is_loss:
        objective = objective.field
    field = objective.field if isinstance(objective, Decomposition) else objective
    curl = smooth_curl(objective)
    jumps = tuple(curl_jumps({s_p: -field.positive, s_n: field.negative}))
    verdict = Integrability(True, _WHY, potential(field), curl=curl, jumps=jumps)
    if isinstance(objective, Decomposition) and is_continuous_loss(objective.loss):
        return replace(verdict, reason=_CONTINUOUS, loss=objective.loss.expression())
    still_open = None
    for search, what in _conditions(objective, field, curl, jumps):
        try:
            witness = search()
        except Undecided as undecided:
            still_open = still_open or f"open: whether {what} vanishes was neither proved nor refuted: {undecided}"
            continue
        if witness:
            return replace(verdict, integrable=False, reason=f"{what} is {witness}", witness=witness)
    if still_open:
        return replace(verdict, integrable=None, reason=still_open)
    return replace(verdict, loss=recover_loss(field, verdict.potential))


_WHY = "∂w⁺/∂s_n + ∂w⁻/∂s_p vanishes, between the kinks and across them"
_CONTINUOUS = "the loss is continuous and stops no gradient, so that the weights are its gradient"


def is_continuous_loss(loss: Objective) -> bool:
    """Whether a loss is proved to be continuous for any number of pairs, and stops no gradient; False
    proves nothing.
    """
    return not loss.detaches and all(map(_is_continuous_term, loss.terms))


def _is_continuous_term(term: Term) -> bool:
    places = tuple(sp.Dummy(real=True) for _ in range(2))
    sides = ((term.positives, s_p), (term.negatives, s_n))
    return is_continuous(term.effective_outer, (x_p, x_n)) and all(
        is_continuous(side.inner, (s,)) and is_continuous(side.aggregator.combine(places), places)
        for side, s in sides
        if side is not None
    )


def smooth_curl(objective: Decomposition | WeightField) -> sp.Expr:
    """∂w⁺/∂s_n + ∂w⁻/∂s_p between the kinks; 0 for a loss that stops no gradient, by the symmetry of ∂²L/∂s_p∂s_n."""
    if isinstance(objective, Decomposition):
        if objective.loss.is_loss and not objective.loss.detaches:
            return sp.S.Zero
        objective = objective.field
    return sp.factor_terms(sp.diff(objective.positive, s_n) + sp.diff(objective.negative, s_p))


def _conditions(objective, field, curl, jumps) -> Iterator[Condition]:
    yield partial(witness_against, curl, field), "the curl ∂w⁺/∂s_n + ∂w⁻/∂s_p"
    for jump in jumps:
        yield partial(refute_on_kink, jump, (s_n, s_p), field), _across(jump)
    if isinstance(objective, Decomposition):
        yield from _conditions_on_several_pairs(objective)
    for condition, what in _relative_conditions(field):
        yield partial(witness_against, condition, field), what


def _across(jump: Jump) -> str:
    return f"the weights jump across {jump.kink} = 0, and the curl there"


def _conditions_on_several_pairs(decomposition: Decomposition) -> Iterator[Condition]:
    """Symmetry of the weights of one anchor with two positives and two negatives, between kinks and across."""
    field = decomposition.field
    positives, negatives = (sp.symbols(f"{s}1 {s}2", real=True) for s in (s_p, s_n))
    weights_p, weights_n = decomposition.weights(positives, negatives)
    pulls = (-weight for weight in weights_p)
    gradient = dict(zip((*positives, *negatives), (*pulls, *weights_n), strict=True))
    for a, b in combinations(gradient, 2):
        asymmetry = sp.diff(gradient[a], b) - sp.diff(gradient[b], a)
        what = f"with several pairs, the difference of ∂²/∂{a}∂{b} and ∂²/∂{b}∂{a}"
        yield partial(witness_against, asymmetry, field), what
    for jump in curl_jumps(gradient):
        yield partial(refute_on_kink, jump, (*negatives, *positives), field), f"with several pairs, {_across(jump)}"


def _relative_conditions(field: WeightField) -> Iterator[tuple[sp.Expr, str]]:
    """Symmetry between the pairs that a relative similarity joins, of which another negative has no weight itself."""
    reads = {r.symbol: r.contribution for r in field.relative}
    positive, negative = (weight.subs(reads) for weight in (field.positive, field.negative))
    if positive.has(other_positive):
        elsewhere = sp.Symbol("s_n'", real=True)
        exchanged = positive.subs({s_p: other_positive, other_positive: s_p, s_n: elsewhere}, simultaneous=True)
        asymmetry = sp.diff(positive, other_positive) - sp.diff(exchanged, s_p)
        yield (
            asymmetry,
            "P⁺ reads another anchor's positive, and the two weights' mutual derivatives differ: the difference",
        )
    for weight, name in ((positive, "w⁺"), (negative, "w⁻")):
        if weight.has(other_negative):
            yield (
                sp.diff(weight, other_negative),
                f"{name} reads a negative that has no weight, and the derivative by it",
            )
