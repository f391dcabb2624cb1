"""Parts: what names of weights stand for, and how two weights are put side by side in one objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from goal_analysis.declarations import one_of
from goal_analysis.symbolic.analysis.recovery import tangent_profile, u
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter
from goal_analysis.symbolic.weight import PairWeights, TripletWeight, compose

TWIN = "_twin"
"""What a triplet weight's name ends in that stands for its integrable twin beside the pair weights."""

OF_PAIR = "_pair"
"""What the name of a pair weights' hyperparameter gets where the triplet weight has another one of that name."""


@dataclass(frozen=True)
class Parts:
    """The weights that names resolve to.

    Args:
        triplet_weights: by name.
        pair_weights: by name.

    Raises:
        ValueError: a name twice, or one that ends in ``_twin``.
    """

    triplet_weights: tuple[TripletWeight, ...] = ()
    pair_weights: tuple[PairWeights, ...] = ()

    def __post_init__(self) -> None:
        for kind, weights in (("triplet weights", self.triplet_weights), ("pair weights", self.pair_weights)):
            names = [weight.name for weight in weights]
            for name in names:
                if names.count(name) > 1 or name.endswith(TWIN):
                    expected = "every name once" if names.count(name) > 1 else f"a name that does not end in {TWIN}"
                    raise ValueError(f"{kind}: got {name!r} among {', '.join(names)} but expected {expected}")

    def resolved(self, triplet: str, pair: str) -> tuple[TripletWeight, PairWeights]:
        """The weights of these names, with distinct names of their hyperparameters; see `side_by_side`.

        Args:
            triplet: a triplet weight's name, or that name and ``_twin``: its tangent twin beside the pair weights.
            pair: a name of pair weights.

        Raises:
            ValueError: an unknown name, listing those that are known.
            NoTwin: a twin that does not exist.
        """
        weights = self.pair(pair)
        found = self.triplet(triplet.removesuffix(TWIN))
        t, p = side_by_side(found, weights)
        return (twin_of(t, p), p) if triplet.endswith(TWIN) else (t, p)

    def triplet(self, name: str) -> TripletWeight:
        """The triplet weight of this name."""
        return _named(self.triplet_weights, name, "triplet weight")

    def pair(self, name: str) -> PairWeights:
        """The pair weights of this name."""
        return _named(self.pair_weights, name, "pair weights")


def side_by_side(triplet: TripletWeight, pair: PairWeights) -> tuple[TripletWeight, PairWeights]:
    """Both weights, as they can be composed: of two different hyperparameters of one name the pair weights' is renamed.

    A hyperparameter that both have in common stays one: it is set for both.

    >>> from goal_analysis.symbolic.language.hyperparameter import nonnegative
    >>> from goal_analysis.symbolic.language.primitives import s_n, s_p
    >>> one, other = (Hyperparameter("margin", default, nonnegative) for default in (0.2, 1))
    >>> t = TripletWeight(name="t", expression=s_n - s_p + one.symbol, hyperparameters=(one,))
    >>> p = PairWeights(name="p", positive=other.symbol - s_p, negative=s_n, hyperparameters=(other,))
    >>> side_by_side(t, p)[1].positive
    margin_pair - s_p
    """
    taken = {h.name for h in (*triplet.hyperparameters, *pair.hyperparameters)}
    renamed: dict[Hyperparameter, Hyperparameter] = {}
    for h in pair.hyperparameters:
        if h not in triplet.hyperparameters and any(h.name == other.name for other in triplet.hyperparameters):
            name = h.name + OF_PAIR
            while name in taken:
                name += OF_PAIR
            taken.add(name)
            renamed[h] = replace(h, name=name)
    if not renamed:
        return triplet, pair
    symbols = {old.symbol: new.symbol for old, new in renamed.items()}
    relative = tuple(
        replace(r, contribution=r.contribution.xreplace(symbols), member=r.member.xreplace(symbols))
        for r in pair.relative
    )
    return triplet, replace(
        pair,
        positive=pair.positive.xreplace(symbols),
        negative=pair.negative.xreplace(symbols),
        hyperparameters=tuple(renamed.get(h, h) for h in pair.hyperparameters),
        relative=relative,
    )


@lru_cache(maxsize=1024)
def twin_of(triplet: TripletWeight, pair: PairWeights) -> TripletWeight:
    """The triplet weight g(U) of the integrable twin, beside the same pair weights; see `tangent_twin`.

    Args:
        triplet: T.
        pair: P⁺ and P⁻, without another hyperparameter of a name of T's.

    Raises:
        NoTwin: T is no function of one scalar argument, or the pair weights have no closed potential.
    """
    profile, potential = tangent_profile(compose(triplet, pair))
    found = profile.subs(u, potential)
    both = dict.fromkeys((*triplet.hyperparameters, *pair.hyperparameters))
    return TripletWeight(
        name=triplet.name + TWIN,
        expression=found,
        hyperparameters=tuple(h for h in both if h.symbol in found.free_symbols),
        reference=triplet.reference,
        note=f"the tangent twin of {triplet.name} beside the pair weights {pair.name}",
    )


def _named(weights: Sequence, name: str, kind: str):
    for weight in weights:
        if weight.name == name:
            return weight
    raise ValueError(f"{kind}: got {name!r} but expected one of {one_of((w.name for w in weights), name)}")
