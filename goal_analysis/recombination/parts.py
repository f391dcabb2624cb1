"""Parts: weights and losses by their names, and how two weights are put side by side in one objective."""

from dataclasses import dataclass, replace
from functools import lru_cache

from goal_analysis.declarations import named
from goal_analysis.recombination.names import OF_PAIR, TWIN
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.analysis.recovery import tangent_profile, u
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.weight import PairWeights, TripletWeight, compose


@dataclass(frozen=True)
class Parts:
    """What names resolve to, with ``classes``, what others call losses. Losses that separate give pair weights too.

    A name twice, one that ends in ``_twin``, and a loss and a weight of one name are ValueErrors.
    """

    triplet_weights: tuple[TripletWeight, ...] = ()
    pair_weights: tuple[PairWeights, ...] = ()
    losses: tuple[Objective, ...] = ()
    classes: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        of_losses = {loss.name for loss in self.losses}
        kinds = {"triplet weights": self.triplet_weights, "pair weights": self.pair_weights, "losses": self.losses}
        for kind, values in kinds.items():
            names = [value.name for value in values]
            for name in names:
                if names.count(name) > 1 or name.endswith(TWIN):
                    expected = "every name once" if names.count(name) > 1 else f"a name that does not end in {TWIN}"
                    raise ValueError(f"{kind}: got {name!r} among {', '.join(names)} but expected {expected}")
                if kind != "losses" and name in of_losses:
                    raise ValueError(f"{kind}: got {name!r}, which is a loss, but expected a name of its own")

    def resolved(self, triplet: str | TripletWeight, pair: str | PairWeights) -> tuple[TripletWeight, PairWeights]:
        """The weights of these names, `side_by_side`; with ``_twin`` behind the first its twin, or NoTwin is raised."""
        name = triplet if isinstance(triplet, str) else ""
        t = self.triplet(name.removesuffix(TWIN)) if isinstance(triplet, str) else triplet
        t, p = side_by_side(t, self.pair(pair) if isinstance(pair, str) else pair)
        return (twin_of(t, p), p) if name.endswith(TWIN) else (t, p)

    def triplet(self, name: str) -> TripletWeight:
        """The triplet weight of this name."""
        return named("triplet weight", name, {one.name: one for one in self.triplet_weights})

    def pair(self, name: str) -> PairWeights:
        """The pair weights of this name, or those of the loss of this name, which has to separate."""
        found = named("pair weights", name, {one.name: one for one in (*self.pair_weights, *self.losses)})
        return weights_of_loss(found)[1] if isinstance(found, Objective) else found

    def loss(self, name: str) -> Objective:
        """The loss of this name."""
        return named("loss", name, {one.name: one for one in self.losses})


@lru_cache(maxsize=256)
def weights_of_loss(loss: Objective) -> tuple[TripletWeight, PairWeights]:
    """T and (P⁺, P⁻) of a loss on one triplet, under its name; a ValueError where they do not separate. Those of a loss
    of distances, where s = −d lies in [−2, 0], are defined for a cosine too, but say something else there.
    """
    field = decompose(loss).field
    if field.factors is None:
        raise ValueError(f"loss {loss.name}: got weights that do not separate but expected T, P⁺ and P⁻")
    t, p, n = field.factors.triplet, field.factors.positive, field.factors.negative
    reads = [e for r in field.relative for e in (r.contribution, r.member)]
    of_t, of_p = (
        tuple(h for h in field.hyperparameters if any(e.has(h.symbol) for e in formulas))
        for formulas in ((t,), (p, n, *reads))
    )
    pair = {"positive": p, "negative": n, "relative": field.relative}
    return (
        TripletWeight(name=loss.name, expression=t, hyperparameters=of_t, reference=loss.reference),
        PairWeights(name=loss.name, hyperparameters=of_p, reference=loss.reference, **pair),
    )


def side_by_side(triplet: TripletWeight, pair: PairWeights) -> tuple[TripletWeight, PairWeights]:
    """Both weights: of two different hyperparameters of one name the pair weights' is renamed; a common one stays."""
    taken = {h.name for h in (*triplet.hyperparameters, *pair.hyperparameters)}
    renamed: dict[Hyperparameter, Hyperparameter] = {}
    for h in pair.hyperparameters:
        if h not in triplet.hyperparameters and any(h.name == other.name for other in triplet.hyperparameters):
            name = h.name + OF_PAIR
            while name in taken:
                name += OF_PAIR
            taken.add(name)
            renamed[h] = replace(h, name=name)
    symbols = {old.symbol: new.symbol for old, new in renamed.items()}
    hyperparameters = tuple(renamed.get(h, h) for h in pair.hyperparameters)
    positive, negative = pair.positive.xreplace(symbols), pair.negative.xreplace(symbols)
    relative = tuple(r.map(lambda e: e.xreplace(symbols)) for r in pair.relative)
    return triplet, replace(
        pair, positive=positive, negative=negative, hyperparameters=hyperparameters, relative=relative
    )


@lru_cache(maxsize=1024)
def twin_of(triplet: TripletWeight, pair: PairWeights) -> TripletWeight:
    """The triplet weight g(U) of the integrable twin beside the same pair weights, or NoTwin is raised."""
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
