"""Is a field of weights the gradient of a loss? The curl, the reason, the potential and the loss where there is one.

w⁺ = −∂L/∂s_p and w⁻ = ∂L/∂s_n have an L if and only if ∂w⁺/∂s_n + ∂w⁻/∂s_p vanishes, as a distribution: in every
region between the kinks (the smooth curl), and across every kink g = 0 at which the weights jump (the jump of
w⁺·∂g/∂s_n + w⁻·∂g/∂s_p). With separable weights this says that T is a function of U = ∫P⁻ds_n − ∫P⁺ds_p.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import sympy as sp

from goal_analysis.symbolic.algebra.identity import Witness, find_witness, refute_zero
from goal_analysis.symbolic.algebra.tidying import tidy
from goal_analysis.symbolic.decomposition import Decomposition
from goal_analysis.symbolic.primitives import hinge, s_n, s_p, step
from goal_analysis.symbolic.recovery import potential, recover_loss
from goal_analysis.symbolic.relative import other_negative, other_positive
from goal_analysis.symbolic.weight import WeightField


@dataclass(frozen=True)
class Jump:
    """What the curl is concentrated to at a kink: δ(``kink``) times ``coefficient``."""

    kink: sp.Expr
    coefficient: sp.Expr


@dataclass(frozen=True)
class Integrability:
    """Whether a field is the gradient of a loss.

    Args:
        integrable: the verdict.
        reason: why, in one sentence.
        curl: ∂w⁺/∂s_n + ∂w⁻/∂s_p between the kinks.
        jumps: its concentrated part at kinks, zero on the kink where the field is integrable.
        potential: U = ∫P⁻ds_n − ∫P⁺ds_p where the weights separate and a closed form was found.
        loss: a closed form of L(s_p, s_n), unique up to a constant, where there is one and it was found.
        witness: where a condition fails, a point at which it does.
    """

    integrable: bool
    reason: str
    curl: sp.Expr
    jumps: tuple[Jump, ...]
    potential: sp.Expr | None
    loss: sp.Expr | None
    witness: Witness | None = None

    def _repr_markdown_(self) -> str:
        from goal_analysis.symbolic.typesetting.pages import integrability_page
        from goal_analysis.symbolic.typesetting.writers import to_markdown

        return to_markdown([integrability_page(self)])


def integrability(objective: Decomposition | WeightField) -> Integrability:
    """Decide whether the weights are the gradient of a loss.

    A loss without a stopped gradient is integrable, and its curl says so. Where a gradient is stopped, or where a
    weight reads other pairs of the batch, one triplet does not tell: then two positives with two negatives, or two
    anchors, are looked at too.

    Args:
        objective: the decomposition of a loss, or any field of weights.

    Raises:
        Undecided: a condition could be neither proved nor refuted.

    >>> from goal_analysis.symbolic.primitives import sigmoid
    >>> integrability(
    ...     WeightField(
    ...         name="nca × linear",
    ...         positive=sigmoid(s_n - s_p) * (1 - s_p),
    ...         negative=sigmoid(s_n - s_p) * s_n,
    ...     )
    ... ).integrable
    False
    """
    field = objective.field if isinstance(objective, Decomposition) else objective
    curl = smooth_curl(field)
    jumps = tuple(curl_jumps({s_p: -field.positive, s_n: field.negative}))
    verdict = Integrability(True, _WHY, curl, jumps, potential(field), None)
    for condition, what in _conditions(objective, field, curl, jumps):
        witness = _witness(condition, field)
        if witness:
            return replace(verdict, integrable=False, reason=f"{what} is {witness}", witness=witness)
    if isinstance(objective, Decomposition) and not objective.loss.detaches:
        return replace(verdict, loss=objective.loss.expression())
    return replace(verdict, loss=recover_loss(field, verdict.potential))


_WHY = "∂w⁺/∂s_n + ∂w⁻/∂s_p vanishes, between the kinks and across them"


def smooth_curl(field: WeightField) -> sp.Expr:
    """∂w⁺/∂s_n + ∂w⁻/∂s_p between the kinks."""
    return sp.factor_terms(sp.diff(field.positive, s_n) + sp.diff(field.negative, s_p))


def curl_jumps(gradient: Mapping[sp.Symbol, sp.Expr]) -> Iterator[Jump]:
    """What the curl of a gradient field is concentrated to, for every two similarities at every kink.

    Args:
        gradient: ∂L/∂s by similarity.
    """
    in_steps = {s: weight.replace(hinge, lambda x: x * step(sp.factor_terms(x))) for s, weight in gradient.items()}
    for kink in _kinks(in_steps):
        on, off = ({step(kink): value, step(-kink): 1 - value} for value in (sp.S.One, sp.S.Zero))
        jump = {s: weight.xreplace(on) - weight.xreplace(off) for s, weight in in_steps.items()}
        for a, b in combinations(gradient, 2):
            coefficient = sp.factor_terms(jump[b] * sp.diff(kink, a) - jump[a] * sp.diff(kink, b))
            if coefficient != 0:
                yield Jump(kink, coefficient)


def _kinks(gradient: Mapping[sp.Symbol, sp.Expr]) -> list[sp.Expr]:
    found: dict[sp.Expr, None] = {}
    for weight in gradient.values():
        for s in sorted(weight.atoms(step), key=sp.default_sort_key):
            if -s.args[0] not in found and s.has(*gradient):
                found[s.args[0]] = None
    return list(found)


def _conditions(objective, field, curl, jumps) -> Iterator[tuple[sp.Expr, str]]:
    """What has to vanish, with what it means if it does not."""
    yield curl, "the curl ∂w⁺/∂s_n + ∂w⁻/∂s_p"
    for jump in jumps:
        yield from _on_kink(jump, (s_n, s_p), field)
    if isinstance(objective, Decomposition) and objective.loss.detaches:
        yield from _pair_conditions(objective)
    yield from _relative_conditions(field)


def _on_kink(jump: Jump, similarities: Sequence[sp.Symbol], field: WeightField) -> Iterator[tuple[sp.Expr, str]]:
    """The coefficient on the kink itself, zero where the kink lies beyond what unit vectors reach."""
    variable = next(s for s in similarities if jump.kink.has(s))
    low, high = field.ranges[s_n]
    for root in sp.solve(jump.kink, variable):
        within = step(root - low) * step(high - root)
        coefficient = tidy(jump.coefficient.subs(variable, root) * within, field.similarity)
        yield coefficient, f"the weights jump across {jump.kink} = 0, and the curl there"


def _pair_conditions(decomposition: Decomposition) -> Iterator[tuple[sp.Expr, str]]:
    """Symmetry of the weights of one anchor with two positives and two negatives, between kinks and across."""
    positives, negatives = (sp.symbols(f"{s}1 {s}2", real=True) for s in (s_p, s_n))
    weights_p, weights_n = decomposition.weights(positives, negatives)
    pulls = (-weight for weight in weights_p)
    gradient = dict(zip((*positives, *negatives), (*pulls, *weights_n), strict=True))
    for a, b in combinations(gradient, 2):
        asymmetry = sp.diff(gradient[a], b) - sp.diff(gradient[b], a)
        yield asymmetry, f"with several pairs, the difference of ∂²/∂{a}∂{b} and ∂²/∂{b}∂{a}"
    for jump in curl_jumps(gradient):
        for coefficient, what in _on_kink(jump, (*negatives, *positives), decomposition.field):
            yield coefficient, f"with several pairs, {what}"


def _relative_conditions(field: WeightField) -> Iterator[tuple[sp.Expr, str]]:
    """Symmetry between the pairs that a relative similarity joins: another anchor's positive, with the roles
    exchanged, and another negative of the anchor, which has no weight itself.
    """
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


def _witness(condition: sp.Expr, field: WeightField) -> Witness | None:
    """A point at which ``condition`` fails, at the default hyperparameters if it fails there; None if it is proved."""
    ranges = {symbol: field.ranges.get(symbol, field.ranges[s_p]) for symbol in condition.free_symbols}
    at_defaults = {symbol: (value, value) for symbol, value in field.values().items()}
    return find_witness(condition, {**ranges, **at_defaults}) or refute_zero(condition, ranges)
