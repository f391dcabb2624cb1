"""The family: triplet weights × pair weights × minings, integrable twins, and every loss with other pair weights."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import permutations, product

import sympy as sp

from goal_analysis.declarations import expect_among
from goal_analysis.recombination.description import SIGNS, Description
from goal_analysis.recombination.minings import Mining, hardest, mining_text, semi_hard, softmax, top_k
from goal_analysis.recombination.parts import TWIN, Parts, weights_of_loss
from goal_analysis.recombination.recombine import composed, recombine, refusal
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import COSINE
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.proof.identity import find_witness
from goal_analysis.symbolic.weight import PairWeights

FAMILY_MININGS: tuple[Mining, ...] = (hardest(), softmax(12.0, 12.0), top_k(5), semi_hard(0.2))
"""The minings of the family."""

TWINNED = ("hinge", "nca")
"""Triplet weights whose twins are in the family: a step and a sigmoid. Those of others are the same, or steeper."""

SPAN = (sp.Integer(-1), sp.Integer(1))
"""Over which similarities pair weights are compared."""


@dataclass(frozen=True)
class LeftOut:
    """A combination, triplet weight/pair weights@mining, that is no objective of its own, and why not."""

    name: str
    reason: str


def combinations(
    parts: Parts,
    minings: Iterable[Mining] = FAMILY_MININGS,
    twinned: Iterable[str] = TWINNED,
    using: frozenset[str] = frozenset(),
) -> Iterator[Description | LeftOut]:
    """Every combination with one of the parts ``using`` names, if any, as an objective or with the reason why none."""
    pairs = {p.name: p for p in (*parts.pair_weights, *pair_weights_of(parts))}
    heads = [t.name for t in parts.triplet_weights] + [parts.triplet(name).name + TWIN for name in twinned]
    for mining in minings:
        mined = mining_text(mining)
        behind = "" if mined == "hardest" else f"@{mined}"
        makers = [(head, pair, behind, partial(_of_weights, parts, head, pair)) for head, pair in product(heads, pairs)]
        of_losses = product(parts.losses, parts.pair_weights)
        makers += [(loss.name, pair.name, f"@{mined}", partial(_of_loss, loss, pair)) for loss, pair in of_losses]
        for head, pair, end, make in makers:
            if not using or not using.isdisjoint((head, pair)):
                yield _member(f"{head}/{pair}{end}", (head, pair), partial(make, mining))


def _of_weights(parts: Parts, triplet: str, pair: str, mining: Mining, name: str) -> Objective:
    t, p = parts.resolved(triplet, pair)
    if triplet.endswith(TWIN) and t.expression == parts.triplet(triplet.removesuffix(TWIN)).expression:
        raise ValueError("its twin is itself: what trains is the gradient of a loss already")
    return composed(t, p, mining, name=name)


def _of_loss(loss: Objective, pair: PairWeights, mining: Mining, name: str) -> Objective:
    if loss.similarity != COSINE:
        raise ValueError("its scores are distances")
    return recombine(loss, pair=pair, mining=mining, name=name)


def _member(name: str, of: tuple[str, str], make: Callable[[str], Objective]) -> Description | LeftOut:
    try:
        objective = make(name)
        refused = refusal(objective)
    except ValueError as problem:
        return LeftOut(name, str(problem))
    return Description(objective, of) if refused is None else LeftOut(name, refused)


def family(
    parts: Parts,
    minings: Iterable[Mining] = FAMILY_MININGS,
    twinned: Iterable[str] = TWINNED,
    *,
    integrable: bool | None = None,
    sign: str | None = None,
    using: Iterable[str] = (),
) -> Iterator[Description]:
    """The objectives of every `combinations` that are ``integrable`` or not, and of a sign among `SIGNS`; None is any.

    A sign or a name that is not known is a ValueError that lists those that are.
    """
    if sign is not None:
        expect_among("sign", sign, SIGNS)
    wanted = frozenset(using)
    names = {value.name for value in (*parts.triplet_weights, *parts.pair_weights, *parts.losses)}
    names |= {t.name + TWIN for t in parts.triplet_weights}
    for name in sorted(wanted):
        expect_among("part", name, names)
    return (
        member
        for member in combinations(parts, minings, twinned, wanted)
        if isinstance(member, Description)
        and (integrable is None or member.verdict.integrable is integrable)
        and (sign is None or member.sign == sign)
    )


@lru_cache(maxsize=16)
def pair_weights_of(parts: Parts) -> tuple[PairWeights, ...]:
    """The pair weights of the losses that separate, without those that equal others up to names of hyperparameters."""
    found: list[PairWeights] = []
    for loss in parts.losses:
        try:
            pair = weights_of_loss(loss)[1]
        except ValueError:
            continue
        if not any(_equal(pair, known) for known in (*parts.pair_weights, *found)):
            found.append(pair)
    return tuple(found)


def _equal(one: PairWeights, other: PairWeights) -> bool:
    if one.relative or other.relative:
        return False
    own, its = ([h.symbol for h in p.hyperparameters] for p in (one, other))
    if len(own) != len(its):
        return False
    ranges = {s_p: SPAN, s_n: SPAN} | {symbol: (sp.Rational(1, 2), sp.Integer(2)) for symbol in own}
    for order in permutations(own):
        renamed = dict(zip(its, order, strict=True))
        pairs = ((one.positive, other.positive), (one.negative, other.negative))
        if all(find_witness(a - b.xreplace(renamed), ranges) is None for a, b in pairs):
            return True
    return False
