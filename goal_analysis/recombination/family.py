"""The family: every triplet weight × pair weights × mining, and the integrable twins, as one product.

The published grid is its beginning, on the hardest negatives; every weight of a loss widens it, and so do the minings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

from goal_analysis.declarations import one_of
from goal_analysis.numeric.mining import Hardest, Miner, SemiHard, Softmax, TopK
from goal_analysis.recombination.batch_integrability import BatchIntegrability, batch_integrability
from goal_analysis.recombination.composition.compact import compact
from goal_analysis.recombination.composition.minings import mining_text
from goal_analysis.recombination.composition.parts import TWIN, Parts
from goal_analysis.recombination.description import SIGNS, Description
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.symbolic.analysis.recovery import NoTwin
from goal_analysis.symbolic.weight import PairWeights, TripletWeight

MININGS: tuple[Miner, ...] = (Hardest(), Softmax(12.0, 12.0), TopK(5), SemiHard(0.2))
"""The minings of the family."""

TWINNED = ("hinge", "nca")
"""Triplet weights whose twins are in the family: a step and a sigmoid. Those of others are the same, or steeper."""


@dataclass(frozen=True, eq=False)
class Member:
    """An objective of the family.

    Args:
        name: the line of text that stands for it, such as ``nca/linear@softmax:12``.
        objective: at its defaults.
    """

    name: str
    objective: GradientObjective

    @property
    def parts(self) -> tuple[str, str]:
        """The names of its triplet weight and of its pair weights."""
        return self.objective.triplet_weight.name, self.objective.pair_weights.name

    @cached_property
    def verdict(self) -> BatchIntegrability:
        """Whether what trains is the gradient of a loss; derived when it is first asked for."""
        o = self.objective
        return batch_integrability(o.field, o.mining, o.reduction, o.settings)

    @cached_property
    def description(self) -> Description:
        """What it is; derived when it is first asked for."""
        return self.objective.describe()


@dataclass(frozen=True)
class LeftOut:
    """A combination that makes no objective of its own.

    Args:
        name: triplet weight/pair weights@mining.
        reason: why not.
    """

    name: str
    reason: str


def combinations(
    parts: Parts, minings: Iterable[Miner] = MININGS, twinned: Iterable[str] = TWINNED
) -> Iterator[Member | LeftOut]:
    """Every combination of parts, as an objective or with the reason why there is none.

    Args:
        parts: what is combined.
        minings: with which minings.
        twinned: names of triplet weights; each makes an integrable twin beside every pair weights.

    Raises:
        ValueError: a name among ``twinned`` that is not among the parts.
    """
    of_parts = tuple(t.name for t in parts.triplet_weights)
    twins = tuple(parts.triplet(name).name + TWIN for name in twinned)
    resolved = lru_cache(maxsize=None)(lambda t, p: _resolved(parts, t, p))
    for mining, triplet, pair in product(minings, (*of_parts, *twins), (p.name for p in parts.pair_weights)):
        found = resolved(triplet, pair)
        try:
            if isinstance(found, str):
                raise ValueError(found)
            objective = GradientObjective(*found, mining)
        except ValueError as problem:
            yield LeftOut(f"{triplet}/{pair}@{mining_text(mining)}", str(problem))
        else:
            yield Member(compact(objective), objective)


def family(
    parts: Parts,
    minings: Iterable[Miner] = MININGS,
    twinned: Iterable[str] = TWINNED,
    *,
    integrable: bool | None = None,
    sign: str | None = None,
    using: Iterable[str] = (),
) -> Iterator[Member]:
    """The objectives of every combination of parts that makes one; filters derive what they ask for, and no more.

    Args:
        parts: what is combined.
        minings: with which minings.
        twinned: see `combinations`.
        integrable: whether what trains is to be the gradient of a loss; None for either.
        sign: what w⁺ and w⁻ do, one of `goal_analysis.recombination.description.SIGNS`; None for any.
        using: names of weights of which a member has at least one; none for all.

    Raises:
        ValueError: a sign or a name that is not known, listing those that are.

    >>> from losses_catalog.weights import pair_weights, triplet_weights
    >>> found = family(Parts(triplet_weights, pair_weights), [Hardest()], integrable=True, using=["circle"])
    >>> [member.name for member in found]
    ['circle/linear']
    """
    if sign is not None and sign not in SIGNS:
        raise ValueError(f"sign: got {sign!r} but expected one of {', '.join(SIGNS)}")
    wanted = frozenset(using)
    names = {weight.name for weight in (*parts.triplet_weights, *parts.pair_weights)}
    names |= {t.name + TWIN for t in parts.triplet_weights}
    for name in sorted(wanted - names):
        raise ValueError(f"part: got {name!r} but expected one of {one_of(names, name)}")
    return (
        member
        for member in combinations(parts, minings, twinned)
        if isinstance(member, Member)
        and not (wanted and wanted.isdisjoint(member.parts))
        and (integrable is None or member.verdict.integrable is integrable)
        and (sign is None or member.description.sign == sign)
    )


def _resolved(parts: Parts, triplet: str, pair: str) -> tuple[TripletWeight, PairWeights] | str:
    """The two weights, or why there are none."""
    try:
        t, p = parts.resolved(triplet, pair)
    except NoTwin as problem:
        return str(problem)
    if triplet.endswith(TWIN) and t.expression == parts.triplet(triplet.removesuffix(TWIN)).expression:
        return "its twin is itself: what trains is the gradient of a loss already"
    return t, p
