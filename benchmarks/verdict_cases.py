"""Random objectives of every kind, twice each: as a user hands them over, and as formulas for the oracle.

Thresholds are round (0.5), odd (0.51, 1/3) and on the edges of a grid. Every case follows from its kind, the seed and
its number, so that a wrong one can be made again.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from verdict_formulas import RANGES, factor, joint, kinked, masked, number, smooth, surface
from verdict_minings import STRANGERS, mined
from verdict_weights import Formulas, Side, Term

import goal_analysis as ga
from goal_analysis.recombination.minings import MININGS, Mining
from goal_analysis.recombination.recombine import composed
from goal_analysis.symbolic.parsing import parse


@dataclass(frozen=True)
class Case:
    """An objective.

    Args:
        kind: of the generator.
        given: what `goal_analysis.integrability` is handed.
        keywords: besides.
        formulas: the same for the oracle; None where the weights are no function of the scores.
        known: whether it is the gradient of a loss, where its construction tells.
        declared: whether everything that it is made of says how it depends on the scores.
        counts: of positives and negatives of an anchor, and of anchors, that the oracle looks at.
    """

    kind: str
    given: Any
    formulas: Formulas | None
    keywords: dict[str, Any] = field(default_factory=dict)
    known: bool | None = None
    declared: bool = True
    counts: tuple[tuple[int, int, int], ...] = ((1, 1, 1), (2, 3, 1))

    def __str__(self) -> str:
        text = self.given if isinstance(self.given, str) else f"{self.given!r}"
        return " · ".join([text.strip().replace("\n", "; "), *(f"{k}={v}" for k, v in self.keywords.items())])


# --- triplets -------------------------------------------------------------------------------------


def of_formula(kind: str, text: str, known: bool | None = None, similarity: str = "cosine", **more: Any) -> Case:
    """A formula of every triplet."""
    outer = _over_aggregates(text)
    term = Term(
        outer=outer,
        positives=Side("each", "s_p") if "x_p" in outer else None,
        negatives=Side("each", "s_n") if "x_n" in outer else None,
    )
    low, high = RANGES[similarity]
    keywords = {} if similarity == "cosine" else {"similarity": similarity}
    counts = ((1, 1, 1), (2, 2, 1))
    formulas = Formulas((term,), low=low, high=high, similarity=similarity)
    return Case(kind, text, formulas, keywords, known, counts=counts, **more)


def _over_aggregates(text: str) -> str:
    return text.replace("s_p", "x_p").replace("s_n", "x_n")


def mask(r: random.Random) -> Case:
    """Masks and case distinctions of any surface."""
    return of_formula("mask", masked(r))


def hinge(r: random.Random) -> Case:
    """A hinge of one similarity times a shape of the other, and sums of such: continuous."""
    products = []
    for _ in range(r.choice((1, 1, 2, 3))):
        s, other = r.choice((("s_p", "s_n"), ("s_n", "s_p")))
        of_other = r.choice((smooth, lambda r, s: kinked(r, s, -1, 1)))(r, other)
        products.append(f"{kinked(r, s, -1, 1)}*{of_other}")
    nested = f"hinge({' - '.join(products)} + {number(r)})" if r.random() < 0.3 else " + ".join(products)
    if r.random() < 0.2:
        nested = f"max({nested}, {joint(r)}, {number(r)})"
    return of_formula("hinge", nested, known=True)


def condition(r: random.Random) -> Case:
    """Two branches that meet where the condition changes, or miss each other by a little."""
    s = r.choice(("s_p", "s_n"))
    c, h = number(r), factor(r)
    g = surface(r)
    f = smooth(r, s)
    at = f.replace(s, c)
    off = r.choice(("", "", " + 0.01*s_n", " + 0.05*s_p", " + 0.1"))
    kind = r.randrange(4)
    if kind == 0:
        text = f"({g})*({h}){off} if {g} > 0 else 0"
    elif kind == 1:
        text = f"({f} - {at})*({h}){off} if {s} > {c} else 0"
    elif kind == 2:
        text = f"({g})**2*({h}){off} if {g} > 0 else ({g})*{joint(r)}"
    else:
        d = number(r, 0.05, 1)
        z = r.choice(("s_n - s_p", f"s_n - {c}", f"s_n + s_p - {c}", "s_n*s_p"))
        text = f"({z})**2/2{off} if {z} < {d} else {d}*({z}) - {d}**2/2"
    return of_formula("condition", text, known=None if off else True)


def power(r: random.Random) -> Case:
    """Steps of powers, absolute values and roots, and of products of them, times shapes."""
    s = r.choice(("s_p", "s_n"))
    c, d = number(r), number(r, 0, 1)
    g = r.choice(
        (
            f"{s}**{r.choice((2, 3, 4, 5))} - {d}",
            f"{s}**{r.choice((3, 5))}",
            f"abs({s})**{r.choice((2, 3))} - {d}",
            f"abs({s} - {c})**3 - {d}",
            f"sqrt(2 - 2*{s}) - {d}",
            f"1 - sqrt(2 - 2*{s})",
            f"sqrt(abs({s})) - {d}",
            f"({s} - {c})**3",
            f"({s} - {c})**2*({s} - {d})",
            f"abs(s_n*s_p) - {d}",
            f"(s_n - s_p)**3 - {c}",
            f"(s_n - s_p)**2 - {d}",
            f"abs(s_n - s_p)**(3/2) - {d}",
            f"1/(2 + {s}) - {d}",
            f"sqrt(1 + s_n*s_p) - {d} - 1/2",
            f"({s}**2 - {d})*({s} - {c})",
        )
    )
    a = factor(r)
    text = r.choice((f"step({g})*({a})", f"({a}) if {g} > 0 else {factor(r)}", f"hinge({g})*({a})"))
    return of_formula("power", text, known=True if text.startswith("hinge(") else None)


def detached(r: random.Random) -> Case:
    """Gradients stopped in a factor, an argument or a side, on triplets and beside aggregators."""
    s, other = r.choice((("s_p", "s_n"), ("s_n", "s_p")))
    stop = lambda e: f"detach({e})"  # noqa: E731
    if r.random() < 0.5:
        text = r.choice(
            (
                f"{stop(smooth(r, s))}*{smooth(r, r.choice((s, other)))}",
                f"{stop(smooth(r, s))}*{joint(r)}",
                f"{stop(joint(r))}*(s_n - s_p)",
                f"softplus({r.choice((1, 4, 10))}*({stop(smooth(r, 's_n'))}*s_n - {stop(smooth(r, 's_p'))}*s_p))",
                f"hinge({smooth(r, 's_n')} - {stop(smooth(r, 's_p'))} + {number(r)})",
                f"{stop(f'step({surface(r)})')}*{joint(r)}",
                f"{joint(r)} + {stop(smooth(r, s))}",
                f"{stop(kinked(r, s, -1, 1))}*{smooth(r, other)}",
                f"{stop(kinked(r, s, -1, 1))}*{smooth(r, s)}",
                f"exp(s_n - {stop('s_p')}) - {stop('s_n')}*s_p",
            )
        )
        return of_formula("detach", text)
    k, h = (
        r.choice((f"{stop(smooth(r, v))}*{v}", f"{stop(kinked(r, v, -1, 1))}*({v} - {number(r)})", smooth(r, v), v))
        for v in ("s_p", "s_n")
    )
    outer = r.choice(
        ("softplus(x_n - x_p)", "x_n - x_p", f"hinge(x_n - x_p + {number(r)})", f"x_n - x_p*{stop('x_n')}")
    )
    p, n = r.choice(("each", "softmin", "mean", "sum", "min")), r.choice(("logsumexp", "max", "sum", "each"))
    return of_terms("detach", [(outer, (p, k), (n, h))])


# --- several pairs --------------------------------------------------------------------------------


def of_terms(kind: str, terms: list[tuple], known: bool | None = None, **fields: Any) -> Case:
    """A TOML declaration of terms (outer, positives, negatives), sides being (aggregator, inner[, temperature])."""
    lines = ['name = "declared"', *(f"{k} = {json.dumps(v)}" for k, v in fields.items())]
    plain = []
    for outer, *sides in terms:
        lines += ["[[terms]]", f"outer = {json.dumps(outer)}"]
        made: dict[str, Side] = {}
        for name, side in zip(("positives", "negatives"), sides, strict=True):
            if side is None:
                continue
            aggregator, inner, *temperature = side
            gathers_all = aggregator.startswith("all:")
            aggregator = aggregator.removeprefix("all:")
            said = {"aggregator": aggregator, "inner": inner}
            said |= {"pool": "all"} if gathers_all else {}
            said |= {"temperature": temperature[0]} if temperature else {}
            inside = ", ".join(f"{k} = {json.dumps(v)}" for k, v in said.items())
            lines.append(f"{name} = {{ {inside} }}")
            made[name] = Side(
                aggregator, inner, parameter=temperature[0] if temperature else None, gathers_all=gathers_all
            )
        plain.append(Term(outer=outer, **made))
    return Case(kind, "\n".join(lines), Formulas(tuple(plain)), known=known)


AGGREGATORS = (
    "max",
    "min",
    "logsumexp",
    "softmin",
    "mean",
    "sum",
    "mean_active",
    "each",
    "each_mean",
    "softmax_active",
)


def _side(r: random.Random, s: str) -> tuple:
    aggregator = r.choice(AGGREGATORS)
    scale = r.choice(("", "", "2*", "5*"))
    inner = r.choice((s, f"{scale}{s}", f"{scale}({s} - {number(r)})", smooth(r, s), kinked(r, s, -1, 1)))
    if r.random() < 0.2:
        inner = f"{inner}*step({s} - {number(r)})"
    gathers_all = s == "s_n" and aggregator in ("logsumexp", "sum", "max") and r.random() < 0.15
    temperature = (str(r.choice((1, 3, 10))),) if aggregator == "softmax_active" else ()
    return (f"all:{aggregator}" if gathers_all else aggregator, inner, *temperature)


def aggregate(r: random.Random) -> Case:
    """Terms of aggregates, with kinks of the aggregates, which several pairs reach together."""
    terms = []
    for _ in range(r.choice((1, 1, 1, 2))):
        p, n = _side(r, "s_p"), _side(r, "s_n")
        c, tau = number(r, -2, 2), r.choice((1, 2, 5, 10))
        which = r.random()
        if which < 0.12:
            x, side = r.choice((("x_p", p), ("x_n", n)))
            side = (side[0].removeprefix("all:"), *side[1:])
            outer = r.choice(
                (f"{x}", f"softplus({x})", f"hinge({x} - {c})", f"{x}*step({x} - {c})", f"-{x}", f"{x}**2")
            )
            terms.append((outer, p, None) if x == "x_p" else (outer, None, side))
            continue
        outer = r.choice(
            (
                "x_n - x_p",
                f"softplus({tau}*(x_n - x_p))",
                f"hinge(x_n - x_p + {c})",
                f"hinge(x_n - x_p + {c})**2",
                f"(x_n - x_p)*step(x_n - {c})",
                f"(x_n - x_p)*step(x_n - x_p - {c})",
                f"x_n - x_p if x_n > {c} else 0",
                f"softplus(x_n) + hinge({c} - x_p)",
                f"x_n*step(x_n - {c}) - x_p",
                f"x_n*step(x_n - {c}) - x_p*step({c} - x_p)",
                "x_n*x_p",
                f"abs(x_n - {c})*x_p",
                f"(x_n - x_p)*step(x_n**2 - {number(r, 0, 2)})",
                f"step(x_n + x_p - {c})*(x_n + x_p)",
                f"log(1 + exp(x_n - x_p) + exp({c}))",
            )
        )
        terms.append((outer, p, n))
    return of_terms("aggregate", terms)


def _mining(r: random.Random) -> str:
    return r.choice(
        ("hardest", "hardest", "all", "mean", "softmax:3", "softmax:6,2", "softmax:0,4", "top_k:2", "top_k:1")
    )


PAIRS: tuple[tuple[str, str, str], ...] = (
    ("1", "1", "s_n - s_p"),
    ("1 - s_p", "s_n", "((1 - s_p)**2 + s_n**2)/2"),
    ("2", "1", "s_n - 2*s_p"),
    ("exp(-s_p)", "exp(s_n)", "exp(s_n) + exp(-s_p)"),
    ("1 - s_p", "1", "s_n + (1 - s_p)**2/2"),
    ("(1 - s_p)**2", "s_n**2", "((1 - s_p)**3 + s_n**3)/3"),
    ("hinge(0.8 - s_p)", "hinge(s_n - 0.3)", "(hinge(0.8 - s_p)**2 + hinge(s_n - 0.3)**2)/2"),
    ("step(0.7 - s_p)", "step(s_n - 0.2)", "hinge(0.7 - s_p) + hinge(s_n - 0.2)"),
    ("sigmoid(-2*(s_p - 1/2))", "sigmoid(4*(s_n - 1/2))", "softplus(4*(s_n - 1/2))/4 + softplus(-2*(s_p - 1/2))/2"),
)
"""P⁺, P⁻ and their potential U."""


def _triplet(r: random.Random, potential: str) -> str:
    u = r.choice((f"({potential})", f"({potential})", "(s_n - s_p)", "(s_n**2 + (1 - s_p)**2)"))
    c, tau = number(r), r.choice((1, 2, 5, 10))
    return r.choice(
        (
            "1",
            f"sigmoid({tau}*{u})",
            f"sigmoid({tau}*({u} - {c}))",
            f"step({u} - {c})",
            f"hinge({u} - {c})",
            f"exp({u})",
            f"abs({u})",
            f"step(abs({u}) - {number(r, 0.05, 1)})",
            f"1 if {u} > {c} else 1/2",
            f"step({surface(r)})",
            f"hinge({surface(r)})",
            smooth(r, r.choice(("s_p", "s_n"))),
        )
    )


def of_weights(kind: str, t: str, p: str, n: str, mining: str, reduction: str = "mean", **fields: Any) -> Case:
    """A TOML declaration of prescribed weights."""
    lines = [f'triplet = {{ formula = "{t}" }}', f'pair = {{ positive = "{p}", negative = "{n}" }}']
    lines += [f'mining = "{mining}"', f'reduction = "{reduction}"', *(f'{k} = "{v}"' for k, v in fields.items())]
    (positives, negatives), counts, chosen = mined(mining, reduction)
    term = Term(
        triplet=_over_aggregates(t),
        positives=replace(positives, inner="s_p", weight=p),
        negatives=replace(negatives, inner="s_n", weight=n),
    )
    similarity = fields.get("similarity", "cosine")
    low, high = RANGES[similarity]
    shared = reduction == "mean" and chosen == "threshold"
    formulas = Formulas((term,), {}, low, high, shared, similarity, fields.get("direction"))
    drawn = chosen == "random"
    return Case(kind, "\n".join(lines), None if drawn else formulas, known=False if drawn else None, counts=counts)


def prescribed(r: random.Random) -> Case:
    """T and P± as formulas, T mostly a function of the potential of P±."""
    p, n, u = r.choice(PAIRS)
    if r.random() < 0.15:
        p, n = smooth(r, "s_p"), smooth(r, "s_n")
    return of_weights("prescribed", _triplet(r, u), p, n, _mining(r))


def selection(r: random.Random) -> Case:
    """Selections of pairs: the package's own, and strangers' that declare how they depend on the scores, or do not."""
    p, n, u = r.choice(PAIRS[:5])
    t = r.choice(("1", "sigmoid(5*(s_n - s_p))", "step(s_n - s_p + 0.3)", f"sigmoid(4*({u}))", _triplet(r, u)))
    if r.random() < 0.6:
        m = r.choice((0, 0.05, 0.1, 0.2, 0.3, 0.5, 1 / 3, 0.51, 1, 2.5))
        mining = r.choice(
            (
                f"semi_hard:{m}",
                f"semi_hard:{m}",
                f"top_k:{r.choice((1, 2, 5))}",
                f"selectively_hard:{m}",
                "distance_weighted",
            )
        )
        return of_weights("selection", t, p, n, mining, r.choice(("sum", "mean")))
    chosen = r.choice(STRANGERS)(r)
    aggregator = r.choice(("EACH", "EACH", "EACH_MEAN", "SUM", "MEAN", "MAX"))
    weights = (
        ga.TripletWeight(name="t", expression=_parsed(t)),
        ga.PairWeights(name="p", positive=_parsed(p), negative=_parsed(n)),
    )
    of_p = r.choice(("EACH", "MIN"))
    mining = Mining(getattr(ga, of_p), getattr(ga, aggregator), chosen)
    given = composed(*weights, mining, "strange", reduction=ga.Reduction.SUM)
    names = {"EACH": "each", "EACH_MEAN": "each_mean", "SUM": "sum", "MEAN": "mean", "MAX": "max", "MIN": "min"}
    term = Term(
        triplet=_over_aggregates(t),
        positives=Side(names[of_p], "s_p", weight=p),
        negatives=Side(names[aggregator], "s_n", weight=n, selection=chosen.in_numpy),
    )
    drawn = chosen.depends == "random"
    case = Case("selection", given, None if drawn else Formulas((term,)), known=False if drawn else None)
    return replace(
        case,
        declared=chosen.says_where or chosen.depends in ("not", "order"),
        keywords={"_": f"{t} × ({p}, {n}) {aggregator} {chosen}"},
    )


def _parsed(text: str):
    return parse(text, {"s_p": ga.s_p, "s_n": ga.s_n})


# --- similarities and directions ------------------------------------------------------------------


def similarity(r: random.Random) -> Case:
    """Similarities other than the cosine, with kinks in their own range, and where the cosine has none."""
    name = r.choice(("dot", "negative_squared_euclidean", "negative_euclidean"))
    low, high = RANGES[name]
    kind = r.randrange(4)
    s, other = r.choice((("s_p", "s_n"), ("s_n", "s_p")))
    if kind == 0:
        text = f"hinge(s_n - s_p - {number(r, 0, high - low)})"
    elif kind == 1:
        c = number(r, low, high)
        shape = r.choice((f"{s} - {c}", f"{s}**2 - {number(r, 0, 3)}", f"s_n - s_p - {c}", f"s_n + s_p - {c}"))
        text = f"({r.choice(('(s_n - s_p)', 's_n*s_p', other, f'{s}**2'))})*step({shape})"
    elif kind == 2:
        text = f"{kinked(r, s, low, high)}*{r.choice((other, f'{other}**2', f'exp({other}/2)', f'sin({other})'))}"
    else:
        c = number(r, low, high)
        text = f"s_n - s_p if abs({s} - {c}) > {number(r, 0.1, 1)} else 0"
    return of_formula("similarity", text, known=True if kind in (0, 2) else None, similarity=name)


DIRECTIONS = (
    "cosine",
    "dot",
    "negative_squared_euclidean",
    "negative_euclidean",
    "tangential",
    "direction_regularized:0.5",
    "direction_regularized:1",
)


def direction(r: random.Random) -> Case:
    """Directions that are, and are not, the gradient of the similarity, up to a factor or not."""
    p, n, u = r.choice(PAIRS[:5])
    t = r.choice(("1", "1", "sigmoid(5*(s_n - s_p))", f"sigmoid(4*({u}))", "step(s_n - s_p + 0.3)"))
    name = r.choice(("cosine", "cosine", "cosine", "negative_squared_euclidean", "negative_euclidean", "dot"))
    # Away from the cosine a dot product's direction depends on lengths, which unit vectors do not have.
    mining = r.choice(("hardest", "all", "mean", "softmax:3"))
    case = of_weights("direction", t, p, n, mining, similarity=name, direction=r.choice(DIRECTIONS))
    return replace(case, counts=((1, 1, 1), (1, 2, 1), (2, 1, 1)))


# --- the catalog ----------------------------------------------------------------------------------

SCALED = frozenset(("softmax_active", "soft_max", "soft_min"))


@lru_cache(maxsize=1)
def _losses() -> tuple[str, ...]:
    return tuple(loss.name for loss in ga.losses() if loss.plain)  # the others' formulas read more than one pair


def exchanged(r: random.Random) -> Case:
    """Losses of the catalog with other pair weights, another mining and other hyperparameters."""
    while True:
        head = r.choice((*_losses(), "constant", "hinge", "nca", "circular", "nca_twin", "hinge_twin"))
        weight = head.removesuffix("_twin") in ("constant", "hinge", "nca", "circular")
        pairs = [p for p in ga.weights()["pair"] if "relative" not in p]
        pair = r.choice((*pairs, *pairs, r.choice(_losses()))) if weight or r.random() < 0.5 else None
        name = r.choice((*MININGS, "softmax:4", "top_k:2", "semi_hard:0.4", "selectively_hard:0.3"))
        mining = name if (weight or r.random() < 0.5) and name != "distance_weighted" else None
        text = head + (f"/{pair}" if pair else "") + (f"@{mining}" if mining else "")
        reduction = r.choice(("sum", "mean"))
        try:
            found = ga.objective(text, reduction=reduction).objective
            settings = {}
            for h in found.hyperparameters:
                if r.random() < 0.4:
                    settings[h.name] = float(f"{float(h.default) * r.choice((0.5, 0.8, 1.5, 2)):.3g}")
            found = ga.objective(text, reduction=reduction, **settings).objective
        except ValueError:  # weights that do not separate, a value outside of its domain
            continue
        return _of_value("catalog", found, text, {"reduction": reduction, **settings}, name if mining else "")


def _of_value(kind: str, found: Any, text: str, keywords: dict[str, Any], mining: str) -> Case:
    """The oracle's reading of a value: its formulas as text."""
    values = {h.name: float(h.default) for h in found.hyperparameters}
    (_, n), counts, chosen = mined(mining or "hardest", keywords["reduction"])

    def side(given: Any) -> Side | None:
        if given is None:
            return None
        name = given.aggregator.name
        return Side(
            name,
            str(given.inner),
            None if given.weight is None else str(given.weight),
            str(given.aggregator.parameters[0]) if name in SCALED else None,
            given.pool.name == "ALL",
            None if given.selection is None else n.selection,
        )

    terms = tuple(
        Term(
            None if term.outer is None else str(term.effective_outer),
            None if term.triplet is None else str(term.triplet_weights[0]),
            side(term.positives),
            side(term.negatives),
        )
        for term in found.terms
    )
    low, high = RANGES[found.similarity.name]
    shared = keywords["reduction"] == "mean" and chosen == "threshold"
    return Case(kind, text, Formulas(terms, values, low, high, shared), keywords, counts=counts)


KINDS: dict[str, Callable[[random.Random], Case]] = {
    "mask": mask,
    "hinge": hinge,
    "condition": condition,
    "power": power,
    "detach": detached,
    "aggregate": aggregate,
    "prescribed": prescribed,
    "selection": selection,
    "similarity": similarity,
    "direction": direction,
    "catalog": exchanged,
}
"""What makes a case of every kind."""


def case(kind: str, seed: int, place: int) -> Case:
    """The case of a kind at a place; a formula that is refused at once is drawn again.

    Raises:
        ValueError: an unknown kind, or none is accepted.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: got {kind!r} but expected one of {', '.join(KINDS)}")
    r = random.Random(f"{seed} {kind} {place}")
    for _ in range(40):
        drawn = KINDS[kind](r)
        try:
            ga.objective(drawn.given, **{k: v for k, v in drawn.keywords.items() if k != "_"})
        except ValueError:  # a formula of numbers alone, two sides that cancel
            continue
        return drawn
    raise ValueError(f"kind {kind}: got 40 objectives that are refused but expected one that is accepted")
