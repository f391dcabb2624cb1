"""The one value: an objective is a loss whose derivatives may be prescribed, checked when it is constructed.

x_p = A⁺[k(s_p)]      x_n = A⁻[h(s_n)]
W_ap = −T(x_p, x_n)·q_p·P⁺(s_p)        W_an = T(x_p, x_n)·q_n·P⁻(s_n)        q = ∂A

In a loss everything is derived: T from the outer function Φ(x_p, x_n), P⁺ = k′, P⁻ = h′.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import sympy as sp

from goal_analysis.declarations import Choice, expect_kind, named, naming, number_of, one_of
from goal_analysis.symbolic.language.aggregators import Aggregator, Pool, Side
from goal_analysis.symbolic.language.display import Displayed
from goal_analysis.symbolic.language.hyperparameter import RESERVED, Hyperparameter, resolve
from goal_analysis.symbolic.language.primitives import (
    CARRIED,
    carried_by,
    check_symbols,
    count_n,
    count_p,
    detach,
    gap,
    maximum,
    s_n,
    s_p,
    slope,
    step,
    total,
    undetach,
    x_n,
    x_p,
    y_n,
    y_p,
)
from goal_analysis.symbolic.language.similarity import COSINE, SIMILARITIES, RelativeSimilarity, Similarity

TEXT = frozenset("/@:(*+-<>")
"""What a name has that is no identifier but the text of a recombination or a formula."""


class Anchors(Choice):
    """Which axis of the score matrix S (images × texts, or embeddings × class proxies) is the query."""

    ROWS = "rows"
    COLUMNS = "columns"
    BOTH = "rows and columns"


class Reduction(Choice):
    """How a term's values of Φ, one for each anchor, pair or triplet, become the loss of a batch."""

    SUM = "sum"
    MEAN = "mean"
    """Summed for every anchor, and averaged over the anchors that have what the term needs."""
    MEAN_EACH = "mean_each"
    """Averaged over all values of Φ of the batch."""
    MEAN_ACTIVE = "mean_active"
    """Averaged over the values of Φ above zero, or of T where that is prescribed; the count is not differentiated."""

    @property
    def words(self) -> str:
        """The reduction in words."""
        each = {Reduction.MEAN_EACH: "mean of each value", Reduction.MEAN_ACTIVE: "mean of the values above zero"}
        return f"{each.get(self, self.value)} over the anchors"


WORDS: dict[str, Mapping[str, Any]] = {
    "similarity": {similarity.name: similarity for similarity in SIMILARITIES},
    "reduction": {reduction.value: reduction for reduction in Reduction},
    "anchors": {anchors.name.lower(): anchors for anchors in Anchors},
}
"""The words of fields of an objective."""


@dataclass(frozen=True)
class Named:
    """One more aggregate that Φ reads by its name.

    Args:
        name: an identifier.
        side: the aggregator with an inner function of ``s_n``, as on the side of the negatives; its pool says which
            pairs it gathers.
    """

    name: str
    side: Side

    @property
    def symbol(self) -> sp.Symbol:
        """The symbol of the aggregate in Φ."""
        return sp.Symbol(self.name, real=True)


@dataclass(frozen=True, kw_only=True)
class Term:
    """One summand of an anchor's objective: Φ(A⁺[k(s_p)], A⁻[h(s_n)]), mostly φ(gap) with gap = A⁻ − A⁺.

    Args:
        outer: Φ, an expression of ``gap`` (or of ``x_p`` and ``x_n`` apart), the names of further aggregates, the
            counts ``count_p`` and ``count_n``, what an enumerated pair carries, ``y_p`` and ``y_n``, and
            hyperparameters; None where the triplet weight is prescribed.
        positives: the aggregator with k, an expression of ``s_p``; None where the term has no positives.
        negatives: the aggregator with h, an expression of ``s_n``; None where the term has no negatives.
        triplet: T, prescribed, an expression of ``x_p`` and ``x_n``; None where it is derived from Φ.
        named: further aggregates that Φ reads.
        total: the anchor's loss as an expression of ``total``, the sum of its values of Φ; None for the sum itself.
    """

    outer: sp.Expr | None = None
    positives: Side | None = None
    negatives: Side | None = None
    triplet: sp.Expr | None = None
    named: tuple[Named, ...] = ()
    total: sp.Expr | None = None

    @property
    def _both(self) -> dict[str, tuple[sp.Symbol, sp.Symbol, Side]]:
        both = {"positives": (x_p, s_p, self.positives), "negatives": (x_n, s_n, self.negatives)}
        return {name: (x, s, side) for name, (x, s, side) in both.items() if side is not None}

    @property
    def aggregates(self) -> tuple[tuple[sp.Symbol, sp.Symbol, Side], ...]:
        """What Φ reads: (x_p, s_p, positives), (x_n, s_n, negatives) and (its symbol, s_n, side) of every named one."""
        return (*self._both.values(), *((one.symbol, s_n, one.side) for one in self.named))

    @property
    def sides(self) -> tuple[Side, ...]:
        """Those that the term has, with the named aggregates last."""
        return tuple(side for _, _, side in self.aggregates)

    @property
    def plain(self) -> bool:
        """Whether Φ reads x_p and x_n alone, and inner functions their own similarity: T, q and P make all weights."""
        n = self.negatives
        compares = n is not None and (n.inner.has(s_p) or n.pool is Pool.POSITIVES)
        return not (self.named or compares or self.total or self.symbols & {count_p, count_n, y_p, y_n})

    def with_sides(self, change: Callable[[Side, sp.Symbol], Side], **fields: Any) -> Term:
        """The term with every side changed, by the similarity s that it reads, and with other fields."""
        changed = {name: change(side, s) for name, (_, s, side) in self._both.items()}
        named = tuple(replace(one, side=change(one.side, s_n)) for one in self.named)
        return replace(self, **changed, named=named, **fields)

    @property
    def is_loss(self) -> bool:
        """Whether nothing is prescribed."""
        return self.triplet is None and all(side.weight is None for side in self.sides)

    @property
    def symbols(self) -> set[sp.Symbol]:
        """The free symbols of all of its formulas."""
        formulas = [f for f in (self.outer, self.triplet, self.total) if f is not None]
        for side in self.sides:
            formulas += [side.inner, *side.aggregator.parameters, *([] if side.weight is None else [side.weight])]
        return set().union(*(formula.free_symbols for formula in formulas)) - {total}

    def map(self, change: Callable[[sp.Expr], sp.Expr]) -> Term:
        """The term with every formula changed, but for the parameters of its aggregators."""

        def changed(side: Side, _: sp.Symbol) -> Side:
            return replace(side, inner=change(side.inner), weight=side.weight and change(side.weight))

        formulas = {"outer": self.outer, "triplet": self.triplet, "total": self.total}
        return self.with_sides(changed, **{name: f and change(f) for name, f in formulas.items()})

    @property
    def surrogate(self) -> Term:
        """A loss that has the weights as its derivatives, once `detach` is read as its argument."""

        def straight_through(side: Side, s: sp.Symbol) -> Side:
            if side.weight is None:
                return side
            return replace(side, inner=detach(side.inner) + (s - detach(s)) * detach(side.weight), weight=None)

        outer = self.outer if self.triplet is None else detach(self.triplet) * gap
        return self.with_sides(straight_through, outer=outer, triplet=None)

    @property
    def effective_outer(self) -> sp.Expr:
        """Φ with the side that the term does not have at zero."""
        return self._without_missing(sp.S.Zero if self.outer is None else self.outer)

    @property
    def triplet_weights(self) -> tuple[sp.Expr, sp.Expr]:
        """T⁺ = −∂Φ/∂x_p and T⁻ = ∂Φ/∂x_n, or twice what is prescribed."""
        if self.triplet is not None:
            prescribed = self._without_missing(self.triplet)
            return prescribed, prescribed
        outer = self.effective_outer
        return -sp.diff(outer, x_p), sp.diff(outer, x_n)

    def _without_missing(self, expression: sp.Expr) -> sp.Expr:
        return expression.subs(dict.fromkeys({x_p, x_n} - {x for x, _, _ in self._both.values()}, 0))

    @property
    def reads_gap_alone(self) -> bool:
        """Whether one triplet weight serves both sides: it is prescribed, or Φ is φ(A⁻ − A⁺)."""
        return self.outer is None or sp.expand(sp.diff(self.outer, x_p) + sp.diff(self.outer, x_n)) == 0

    def values(self, positives: Sequence[sp.Symbol], negatives: Sequence[sp.Symbol]) -> list[tuple[sp.Expr, sp.Expr]]:
        """Every value of Φ on an anchor with these similarities, with its factor, or what is made of their sum."""
        found = [(weight, self.effective_outer.xreplace(xs)) for weight, xs in self.gathered(positives, negatives)]
        if self.total is None:
            return found
        return [(sp.S.One, self.total.subs(total, sp.Add(*(weight * value for weight, value in found))))]

    def gathered(self, positives, negatives) -> Iterator[tuple[sp.Expr, dict[sp.Symbol, sp.Expr]]]:
        """Everything that Φ is applied to, with the factor that it is summed with."""
        pools = {Pool.ALL: (*positives, *negatives), Pool.POSITIVES: positives}
        counts = {count_p: sp.Integer(len(positives)), count_n: sp.Integer(len(negatives))}
        for factor_p, value_p, own in _gather(self.positives, s_p, positives):
            at = counts | {x_p: value_p} | ({} if own is None else {y_p: carried_by(own)})
            for one in self.named:
                ((_, at[one.symbol], _),) = _gather(one.side, s_n, pools.get(one.side.pool, negatives), own)
            pool = () if self.negatives is None else pools.get(self.negatives.pool, negatives)
            for factor_n, value_n, other in _gather(self.negatives, s_n, pool, own):
                yield factor_p * factor_n, at | {x_n: value_n} | ({} if other is None else {y_n: carried_by(other)})


def _gather(side, variable, pool, own=None) -> list[tuple[sp.Expr, sp.Expr, sp.Symbol | None]]:
    if side is None:
        return [(sp.S.One, sp.S.Zero, None)]
    of_own = {} if own is None else {s_p: own, y_p: carried_by(own)}
    at = [of_own | {variable: s, carried_by(variable): carried_by(s)} for s in pool]
    values = [side.inner.xreplace(one) for one in at]
    if not side.aggregator.enumerates:
        return [(sp.S.One, side.aggregator.combine(values), None)]
    places = [sp.Dummy() for _ in values]
    return list(zip(side.aggregator.weights(places), values, pool, strict=True))


@dataclass(frozen=True, kw_only=True, repr=False)
class Objective(Displayed):
    """The one value: a loss of one anchor as a sum of terms, or prescribed weights in its place.

    Args:
        name: an identifier, or the line of text that stands for a recombination, such as ``nca/linear@softmax:12``.
        title: what papers call it.
        terms: the summands.
        hyperparameters: every free symbol of the terms besides the similarities.
        reference: keys of the bibliography; the first is the source of the formula.
        similarity: what s_p and s_n measure.
        anchors: which axis of the score matrix is the query.
        reduction: how the values of every term become one number; see `Reduction`. A mean is over those anchors, pairs
            or triplets that have what the term needs.
        direction: how the weights move embeddings, a `goal_analysis.numeric.similarity.Direction`; None for the
            similarity's own gradient.
        relative: what prescribed pair weights read from other pairs of the batch.
        learned: the hyperparameters that training moves, by name, or as text with ``+`` between them; ``"tau<=100"``
            moves up to 100. One that is always positive is moved by its logarithm. Each has the gradient of the loss.
            ``"tau:loss"`` has that of the loss without prescribed pair weights, ``"tau:none"`` none, so that it stays.
        proxies: whether the columns of the score matrix are class proxies, the other modality of a classifier.
        grouped: an aggregator such as ``MAX`` that makes one score of the several proxies of a class, whose columns
            stand side by side. None for one proxy a class.
        note: what else a reader has to know.

    Raises:
        ValueError: a stray symbol, an undeclared or unused hyperparameter, a name twice, or no terms.
        TypeError: a field holds something of another type.

    >>> from goal_analysis.symbolic.language.aggregators import EACH
    >>> from goal_analysis.symbolic.language.hyperparameter import nonnegative
    >>> from goal_analysis.symbolic.language.primitives import gap, hinge
    >>> margin = Hyperparameter("margin", 0.2, nonnegative)
    >>> triplet = Objective(
    ...     name="triplet",
    ...     title="Triplet loss",
    ...     terms=(Term(outer=hinge(gap + margin.symbol), positives=EACH(s_p), negatives=EACH(s_n)),),
    ...     hyperparameters=(margin,),
    ... )
    >>> triplet.expression()
    hinge(margin + s_n - s_p)
    """

    name: str
    title: str
    terms: tuple[Term, ...]
    hyperparameters: tuple[Hyperparameter, ...] = ()
    reference: tuple[str, ...] = ()
    similarity: Similarity = COSINE
    anchors: Anchors = Anchors.BOTH
    reduction: Reduction = Reduction.MEAN
    direction: Any = None
    relative: tuple[RelativeSimilarity, ...] = ()
    learned: tuple[str, ...] = ()
    proxies: bool = False
    grouped: Aggregator | None = None
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not (self.name.isidentifier() or set(self.name) & TEXT):
            raise ValueError(f"loss: got the name {self.name!r} but expected an identifier")
        if not self.terms:
            raise ValueError(f"loss {self.name!r}: got no terms but expected at least one")
        for i, term in enumerate(self.terms):
            _check_kinds(term, f"loss {self.name!r}: terms[{i}]")
        owner = self.owner
        for name, accepted in WORDS.items():
            if not isinstance(given := getattr(self, name), type(next(iter(accepted.values())))):
                object.__setattr__(self, name, named(f"{owner}: {name}", given, accepted))
        names = [h.name for h in self.hyperparameters]
        if len(set(names)) < len(names):
            raise ValueError(f"{owner}: hyperparameters: got {names} but expected every name once")
        expect_kind(f"{owner}: learned", self.learned, Iterable, "names of hyperparameters")
        given = self.learned.split("+") if isinstance(self.learned, str) else self.learned
        object.__setattr__(self, "learned", tuple(re.sub(r"\s", "", text) for text in given if text.strip()))
        _ = self.most_learned
        for i, term in enumerate(self.terms):
            self._check_term(term, f"{owner}: terms[{i}]")
        if self.grouped is not None and (self.grouped.enumerates or not self.proxies):
            raise ValueError(
                f"{owner}: grouped: got {self.grouped.name} but expected an aggregator of all proxies of a class, such "
                "as MAX, in a loss of proxies"
            )
        used = used_symbols(self.terms, self.relative, self.grouped)
        unused = {h.name for h in self.hyperparameters if h.symbol not in used}
        if unused:
            raise ValueError(
                f"{owner}: hyperparameters: got {', '.join(sorted(unused))}, which no term uses; "
                "expected hyperparameters that occur in a formula"
            )

    def _check_term(self, term: Term, where: str) -> None:
        if (term.outer is None) == (term.triplet is None):
            given = "neither" if term.outer is None else "both"
            raise ValueError(f"{where}: got {given} an outer function and a triplet weight but expected one of them")
        declared = {h.symbol for h in self.hyperparameters}
        reads = {x_p, x_n} | declared
        if term.triplet is None:
            reads |= {count_p, count_n} | {one.symbol for one in term.named}
            reads |= {carried_by(s) for _, s, side in term._both.values() if side.aggregator.enumerates}
        given, what = (term.outer, "outer") if term.triplet is None else (term.triplet, "triplet")
        check_symbols(given, reads, f"{where}.{what}")
        if term.total is not None:
            check_symbols(term.total, {total} | declared, f"{where}.total")
        for what, (_, s, side) in term._both.items():
            self._check_side(term, side, s, f"{where}.{what}")
        taken = {*RESERVED, *(h.name for h in self.hyperparameters)}
        for one in term.named:
            if not one.name.isidentifier() or one.name in taken:
                raise ValueError(f"{where}.named: got the name {one.name!r} but expected a free identifier")
            if one.side.aggregator.enumerates or one.side.weight is not None or one.side.selection is not None:
                raise ValueError(
                    f"{where}.named.{one.name}: got {one.side.aggregator.name} but expected an aggregate of all pairs, "
                    "such as MEAN(s_n)"
                )
            if one.symbol not in getattr(term.outer, "free_symbols", ()):
                raise ValueError(f"{where}.named: got {one.name} but expected aggregates that Φ reads")
            self._check_side(term, one.side, s_n, f"{where}.named.{one.name}")
            taken.add(one.name)
        if not term.plain and not term.is_loss:
            raise ValueError(
                f"{where}: got prescribed weights beside named aggregates, counts, totals or inner functions that "
                "read the own positive or what pairs carry, but expected a loss: what these read has no triplet weight "
                "of its own"
            )

    def _check_side(self, term: Term, side: Side, s: sp.Symbol, where: str) -> None:
        declared = {h.symbol for h in self.hyperparameters}
        check_symbols(side.inner, {s, carried_by(s), s_p, y_p} | declared, where)
        if s == s_n and side.inner.has(s_p, y_p) and not (term.positives and term.positives.aggregator.enumerates):
            raise ValueError(
                f"{where}: got {s_p if side.inner.has(s_p) else y_p} in {side.inner} but expected positives that are "
                "enumerated (each or each_mean), of which one meets the others at a time"
            )
        if side.weight is not None:
            check_symbols(side.weight, {s} | declared | {r.symbol for r in self.relative}, f"{where}.weight")
        expect_kind(f"{where}.selection", side.selection, Callable | None, "a callable")
        if len(term.sides) == 1 and getattr(side.selection, "meets_positive", False):
            raise ValueError(
                f"{where}: got the selection {getattr(side.selection, 'name', side.selection)}, which "
                "compares pairs with a positive, but expected one that does not: the term has no positives"
            )
        for parameter in side.aggregator.parameters:
            check_symbols(parameter, declared, f"{where}: parameter of {side.aggregator.name}")
        if side.pool is not Pool.OWN and (s == s_p or term.positives is None):
            raise ValueError(
                f"{where}: got the pool {side.pool.value!r} but expected 'own'; only negatives beside positives can "
                "gather more"
            )

    @property
    def is_loss(self) -> bool:
        """Whether nothing is prescribed."""
        return all(term.is_loss for term in self.terms)

    @property
    def most_learned(self) -> dict[Hyperparameter, tuple[float, str]]:
        """The hyperparameters that training moves, in their order: the upper bound of each, and ``loss``, ``none``
        or nothing, which prescribes its gradient.
        """
        known, found = {h.name: h for h in self.hyperparameters}, {}
        for text in self.learned:
            before, colon, by = text.partition(":")
            name, bounded, most = before.partition("<=")
            where = f"{self.owner}: learned"
            if name not in known or known[name] in found:
                expected = f"one of {one_of(known, name)}, each once" if known else "none: it has no hyperparameters"
                raise ValueError(f"{where}: got {name!r} but expected {expected}")
            if colon and by not in ("loss", "none"):
                raise ValueError(f"{where}: got {text} but expected {name}, {name}:loss or {name}:none")
            h = known[name]
            with naming(where):
                found[h] = float(h.check(number_of(most), name)) if bounded else float(h.domain.end), by
            if found[h][0] < h.default:
                raise ValueError(f"{where}: got {text} but expected at least {h.default:g}, where {name} begins")
        return {h: found[h] for h in self.hyperparameters if h in found}

    @cached_property
    def reads_carried(self) -> bool:
        """Whether a formula reads what pairs carry, ``y_p`` or ``y_n``."""
        return bool(used_symbols(self.terms) & set(CARRIED))

    @property
    def owner(self) -> str:
        """The name of the objective in messages."""
        return f"{'loss' if self.is_loss else 'objective'} {self.name!r}"

    def with_settings(self, settings: Mapping[str, float]) -> Objective:
        """The objective with other values of hyperparameters; a name or a value that it cannot have is a ValueError."""
        if not settings:
            return self
        resolve(self.hyperparameters, settings, self.owner)
        changed = (replace(h, default=settings.get(h.name, h.default)) for h in self.hyperparameters)
        return replace(self, hyperparameters=tuple(changed))

    def of_terms(self, terms: Sequence[Term], **fields: Any) -> Objective:
        """The objective with other terms and fields, and of the hyperparameters those that are used then."""
        given = {"hyperparameters": self.hyperparameters, "relative": self.relative, **fields}
        used = used_symbols(terms, given["relative"], given.get("grouped", self.grouped))
        given["hyperparameters"] = tuple(h for h in given["hyperparameters"] if h.symbol in used)
        names = {h.name for h in given["hyperparameters"]}
        given.setdefault("learned", tuple(one for one in self.learned if re.split("[<:]", one)[0] in names))
        return replace(self, terms=tuple(terms), **given)

    @property
    def detaches(self) -> bool:
        """Whether a gradient is stopped somewhere, so that the weights need not be the gradient of any loss."""
        stops = self.reduction is Reduction.MEAN_ACTIVE
        return stops or self.expression(_PLACES[:2], _PLACES[2:]).has(detach)

    @property
    def plain(self) -> bool:
        """Whether every term is, and is summed for every anchor."""
        return all(term.plain for term in self.terms) and self.reduction in (Reduction.SUM, Reduction.MEAN)

    def expression(self, positives: Sequence[sp.Symbol] = (s_p,), negatives: Sequence[sp.Symbol] = (s_n,)) -> sp.Expr:
        """The loss of one anchor with these positives and negatives, by default of one triplet."""
        return _sum(self.terms, tuple(positives), tuple(negatives), self.reduction)

    def weights(
        self, positives: Sequence[sp.Symbol] = (s_p,), negatives: Sequence[sp.Symbol] = (s_n,)
    ) -> tuple[tuple[sp.Expr, ...], tuple[sp.Expr, ...]]:
        """−∂L/∂s of every positive and ∂L/∂s of every negative of one anchor, or what is prescribed in their place."""
        surrogates = tuple(term.surrogate for term in self.terms)
        value = _sum(surrogates, tuple(positives), tuple(negatives), self.reduction)
        of_p, of_n = ([undetach(slope(value, s)) for s in side] for side in (positives, negatives))
        return tuple(sp.Mul(-1, weight) for weight in of_p), tuple(of_n)

    def values(self, settings: Mapping[str, float] | None = None) -> dict[sp.Symbol, sp.Expr]:
        """The value of every hyperparameter's symbol: its default, or what ``settings`` says."""
        return resolve(self.hyperparameters, settings or {}, self.owner)


_PLACES = tuple(sp.Dummy() for _ in range(4))
"""Two positives and two negatives, of which nothing is known."""


@lru_cache(maxsize=1024)
def _sum(
    terms: tuple[Term, ...], positives: tuple[sp.Symbol, ...], negatives: tuple[sp.Symbol, ...], reduction: Reduction
) -> sp.Expr:
    return sp.Add(*(reduced(term.values(positives, negatives), reduction) for term in terms))


def reduced(values: Sequence[tuple[sp.Expr, sp.Expr]], reduction: Reduction) -> sp.Expr:
    """The loss of all values of Φ, each with its factor, that a batch has; a mean over anchors is not taken."""
    total = sp.Add(*(factor * value for factor, value in values))
    if len(values) == 1 or reduction in (Reduction.SUM, Reduction.MEAN):
        return total
    if reduction is Reduction.MEAN_EACH:
        return total / len(values)
    return total / detach(maximum(sp.Add(*(step(value) for _, value in values)), sp.S.One))


def used_symbols(
    terms: Sequence[Term], relative: Sequence[RelativeSimilarity] = (), grouped: Aggregator | None = None
) -> set[sp.Symbol]:
    """The free symbols of terms, of what weights read from other pairs, and of what groups columns."""
    of_groups = (parameter.free_symbols for parameter in (grouped.parameters if grouped else ()))
    of_relative = (r.contribution.free_symbols | r.member.free_symbols for r in relative)
    return set().union(*(term.symbols for term in terms), *of_relative, *of_groups)


def _check_kinds(term: Any, where: str) -> None:
    expect_kind(where, term, Term, "a Term")
    if term.positives is None and term.negatives is None:
        raise ValueError(f"{where}: got neither positives nor negatives but expected at least one side")
    for what, (_, s, side) in term._both.items():
        expect_kind(f"{where}.{what}", side, Side, f"an aggregator over a formula, such as MAX({s})")
    for one in term.named:
        if not isinstance(one, Named) or not isinstance(one.side, Side):
            raise TypeError(f"{where}.named: got {one!r} but expected Named('z', MEAN(s_n)), a name and an aggregate")
