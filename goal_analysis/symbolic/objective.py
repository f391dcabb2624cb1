"""The one value: an objective is a loss whose derivatives may be prescribed, checked when it is constructed.

An objective is a sum of terms. Of an anchor with positives P and negatives N a term makes

    x_p = A⁺[k(s_p)]      x_n = A⁻[h(s_n)]
    W_ap = −T(x_p, x_n)·q_p·P⁺(s_p)        W_an = T(x_p, x_n)·q_n·P⁻(s_n)        q = ∂A

In a loss everything is derived: T from the outer function Φ(x_p, x_n), P⁺ = k′, P⁻ = h′. Any of T, P⁺ and P⁻ may be
prescribed instead. An objective in which nothing is prescribed is a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import lru_cache
from typing import Any

import sympy as sp

from goal_analysis.symbolic.language.aggregators import Pool, Side
from goal_analysis.symbolic.language.display import Displayed
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, resolve
from goal_analysis.symbolic.language.primitives import detach, s_n, s_p, x_n, x_p
from goal_analysis.symbolic.language.similarity import COSINE, SIMILARITIES, RelativeSimilarity, Similarity

TEXT = frozenset("/@:(*+-<>")
"""What a name has that is no identifier but the text of a recombination or a formula."""


class Anchors(Enum):
    """Which axis of the score matrix S (images × texts, or embeddings × class proxies) is the query."""

    ROWS = "rows"
    COLUMNS = "columns"
    BOTH = "rows and columns"


class Reduction(Enum):
    """How the losses of the anchors become the loss of a batch."""

    SUM = "sum"
    MEAN = "mean"


WORDS: dict[str, Mapping[str, Any]] = {
    "similarity": {similarity.name: similarity for similarity in SIMILARITIES},
    "reduction": {reduction.value: reduction for reduction in Reduction},
    "anchors": {anchors.name.lower(): anchors for anchors in Anchors},
}
"""The words of fields of an objective."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """One summand of an anchor's objective: Φ(A⁺[k(s_p)], A⁻[h(s_n)]), mostly φ(gap) with gap = A⁻ − A⁺.

    Args:
        outer: Φ, an expression of ``gap`` (or of ``x_p`` and ``x_n`` apart) and hyperparameters; None where the triplet
            weight is prescribed.
        positives: the aggregator with k, an expression of ``s_p``; None where the term has no positives.
        negatives: the aggregator with h, an expression of ``s_n``; None where the term has no negatives.
        triplet: T, prescribed, an expression of ``x_p`` and ``x_n``; None where it is derived from Φ.
    """

    outer: sp.Expr | None = None
    positives: Side | None = None
    negatives: Side | None = None
    triplet: sp.Expr | None = None

    @property
    def sides(self) -> tuple[Side, ...]:
        """Those that the term has."""
        return tuple(side for side in (self.positives, self.negatives) if side is not None)

    @property
    def named_sides(self) -> tuple[tuple[sp.Symbol, sp.Symbol, Side], ...]:
        """(x_p, s_p, positives) and (x_n, s_n, negatives), of those that the term has."""
        both = ((x_p, s_p, self.positives), (x_n, s_n, self.negatives))
        return tuple((x, s, side) for x, s, side in both if side is not None)

    def with_sides(self, change: Callable[[Side, sp.Symbol], Side], **fields: Any) -> Term:
        """The term with every side that it has changed, by its similarity s, and with other fields."""
        names = {s_p: "positives", s_n: "negatives"}
        return replace(self, **{names[s]: change(side, s) for _, s, side in self.named_sides}, **fields)

    @property
    def is_loss(self) -> bool:
        """Whether nothing is prescribed."""
        return self.triplet is None and all(side.weight is None for side in self.sides)

    @property
    def symbols(self) -> set[sp.Symbol]:
        """The free symbols of all of its formulas."""
        formulas = [f for f in (self.outer, self.triplet) if f is not None]
        for side in self.sides:
            formulas += [side.inner, *side.aggregator.parameters, *([] if side.weight is None else [side.weight])]
        return set().union(*(formula.free_symbols for formula in formulas))

    def map(self, change: Callable[[sp.Expr], sp.Expr]) -> Term:
        """The term with every formula changed, but for the parameters of its aggregators."""

        def of(formula: sp.Expr | None) -> sp.Expr | None:
            return None if formula is None else change(formula)

        def changed(side: Side, _: sp.Symbol) -> Side:
            return replace(side, inner=change(side.inner), weight=of(side.weight))

        return self.with_sides(changed, outer=of(self.outer), triplet=of(self.triplet))

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
        return expression.subs({x: 0 for x, side in ((x_p, self.positives), (x_n, self.negatives)) if side is None})

    @property
    def reads_gap_alone(self) -> bool:
        """Whether one triplet weight serves both sides: it is prescribed, or Φ is φ(A⁻ − A⁺)."""
        return self.outer is None or sp.expand(sp.diff(self.outer, x_p) + sp.diff(self.outer, x_n)) == 0

    def value(self, positives: Sequence[sp.Symbol], negatives: Sequence[sp.Symbol]) -> sp.Expr:
        """The term on an anchor with these similarities, as an expression of them."""
        aggregated = self._aggregate(positives, negatives)
        return sp.Add(*(weight * self.effective_outer.subs(xs, simultaneous=True) for weight, xs in aggregated))

    def _aggregate(self, positives, negatives) -> Iterator[tuple[sp.Expr, dict[sp.Symbol, sp.Expr]]]:
        """Every (x_p, x_n) that Φ is applied to, with the factor that it is summed with."""
        gathered_p = _gather(self.positives, s_p, positives, negatives, positives)
        gathered_n = _gather(self.negatives, s_n, negatives, negatives, positives)
        for factor_p, value_p in gathered_p:
            for factor_n, value_n in gathered_n:
                yield factor_p * factor_n, {x_p: value_p, x_n: value_n}


def _gather(side, variable, own, negatives, positives) -> list[tuple[sp.Expr, sp.Expr]]:
    if side is None:
        return [(sp.S.One, sp.S.Zero)]
    pool = (*positives, *negatives) if side.pool is Pool.ALL else own
    values = [side.inner.subs(variable, s) for s in pool]
    if not side.aggregator.enumerates:
        return [(sp.S.One, side.aggregator.combine(values))]
    places = [sp.Dummy() for _ in values]
    return list(zip(side.aggregator.weights(places), values, strict=True))


@dataclass(frozen=True, kw_only=True, repr=False)
class Objective(Displayed):
    """A loss of one anchor, or what takes its place: the sum of its terms.

    Args:
        name: an identifier, or the line of text that stands for a recombination, such as ``nca/linear@softmax:12``.
        title: what papers call it.
        terms: the summands.
        hyperparameters: every free symbol of the terms besides the similarities.
        reference: keys of the bibliography; the first is the source of the formula.
        similarity: what s_p and s_n measure.
        anchors: which axis of the score matrix is the query.
        reduction: sum or mean over the anchors. A mean of a term is over the anchors that have what the term needs.
        direction: along what the weights move embeddings, a `goal_analysis.numeric.similarity.Direction`; None for the
            similarity's own gradient.
        relative: what prescribed pair weights read from other pairs of the batch.
        proxies: whether the columns of the score matrix are class proxies, the other modality of a classifier.
        note: what a reader has to know besides.

    Raises:
        ValueError: a stray symbol, an undeclared hyperparameter, an unused one, a name twice, no terms.
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
    proxies: bool = False
    note: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not (self.name.isidentifier() or set(self.name) & TEXT):
            raise ValueError(f"loss: got the name {self.name!r} but expected an identifier")
        owner = self.owner
        if not self.terms:
            raise ValueError(f"{owner}: got no terms but expected at least one")
        for name, accepted in WORDS.items():
            object.__setattr__(self, name, _understood(getattr(self, name), accepted, f"{owner}: {name}"))
        names = [h.name for h in self.hyperparameters]
        if len(set(names)) < len(names):
            raise ValueError(f"{owner}: hyperparameters: got {names} but expected every name once")
        for i, term in enumerate(self.terms):
            self._check_term(term, f"{owner}: terms[{i}]")
        unused = {h.symbol for h in self.hyperparameters} - used_symbols(self.terms, self.relative)
        if unused:
            raise ValueError(
                f"{owner}: hyperparameters: got {_names(unused)}, which no term uses; "
                "expected hyperparameters that occur in a formula"
            )

    def _check_term(self, term: Term, where: str) -> None:
        if not isinstance(term, Term):
            raise TypeError(f"{where}: got {term!r} but expected a Term")
        if term.positives is None and term.negatives is None:
            raise ValueError(f"{where}: got neither positives nor negatives but expected at least one side")
        if (term.outer is None) == (term.triplet is None):
            given = "neither" if term.outer is None else "both"
            raise ValueError(f"{where}: got {given} an outer function and a triplet weight but expected one of them")
        declared = {h.symbol for h in self.hyperparameters}
        relative = {r.symbol for r in self.relative}
        given, what = (term.outer, "outer") if term.triplet is None else (term.triplet, "triplet")
        _check_symbols(given, {x_p, x_n} | declared, f"{where}.{what}")
        for what, side, variable, other in (
            ("positives", term.positives, s_p, "negatives"),
            ("negatives", term.negatives, s_n, "positives"),
        ):
            if side is None:
                continue
            if not isinstance(side, Side):
                raise TypeError(
                    f"{where}.{what}: got {side!r} but expected an aggregator over a formula, such as MAX({variable})"
                )
            _check_symbols(side.inner, {variable} | declared, f"{where}.{what}")
            if side.weight is not None:
                _check_symbols(side.weight, {variable} | declared | relative, f"{where}.{what}.weight")
            if side.selection is not None and not callable(side.selection):
                raise TypeError(f"{where}.{what}: got the selection {side.selection!r} but expected a callable")
            if getattr(term, other) is None and getattr(side.selection, "meets_positive", False):
                raise ValueError(
                    f"{where}.{what}: got the selection {getattr(side.selection, 'name', side.selection)}, which "
                    "compares pairs with a positive, but expected one that does not: the term has no positives"
                )
            for parameter in side.aggregator.parameters:
                _check_symbols(parameter, declared, f"{where}.{what}: parameter of {side.aggregator.name}")
            if side.pool is not Pool.OWN and (what == "positives" or getattr(term, other) is None):
                raise ValueError(
                    f"{where}.{what}: got the pool {side.pool.value!r} but expected 'own'; only negatives beside "
                    "positives can gather more"
                )

    @property
    def is_loss(self) -> bool:
        """Whether nothing is prescribed."""
        return all(term.is_loss for term in self.terms)

    @property
    def owner(self) -> str:
        """How messages call it."""
        sides = (side for term in self.terms if isinstance(term, Term) for side in term.sides)
        prescribes = any(isinstance(term, Term) and term.triplet is not None for term in self.terms)
        prescribes |= any(isinstance(side, Side) and side.weight is not None for side in sides)
        return f"{'objective' if prescribes else 'loss'} {self.name!r}"

    def with_settings(self, settings: Mapping[str, float]) -> Objective:
        """The objective with other values of its hyperparameters.

        Args:
            settings: values by name.

        Raises:
            ValueError: a name is unknown or a value lies outside its domain.
        """
        if not settings:
            return self
        resolve(self.hyperparameters, settings, self.owner)
        changed = (replace(h, default=settings.get(h.name, h.default)) for h in self.hyperparameters)
        return replace(self, hyperparameters=tuple(changed))

    def of_terms(self, terms: Sequence[Term], **fields: Any) -> Objective:
        """The objective with other terms, and of the hyperparameters those that are used then.

        Args:
            terms: the summands.
            fields: other fields of it.
        """
        given = {"hyperparameters": self.hyperparameters, "relative": self.relative, **fields}
        used = used_symbols(terms, given["relative"])
        given["hyperparameters"] = tuple(h for h in given["hyperparameters"] if h.symbol in used)
        return replace(self, terms=tuple(terms), **given)

    @property
    def detaches(self) -> bool:
        """Whether a gradient is stopped somewhere, so that the weights need not be the gradient of any loss."""
        return self.expression(_PLACES[:2], _PLACES[2:]).has(detach)

    def expression(self, positives: Sequence[sp.Symbol] = (s_p,), negatives: Sequence[sp.Symbol] = (s_n,)) -> sp.Expr:
        """The loss of one anchor with these positives and negatives, by default of one triplet."""
        return _sum(self.terms, tuple(positives), tuple(negatives))

    def values(self, settings: Mapping[str, float] | None = None) -> dict[sp.Symbol, sp.Expr]:
        """The value of every hyperparameter's symbol: its default, or what ``settings`` says."""
        return resolve(self.hyperparameters, settings or {}, self.owner)


_PLACES = tuple(sp.Dummy() for _ in range(4))
"""Two positives and two negatives, of which nothing is known."""


@lru_cache(maxsize=1024)
def _sum(terms: tuple[Term, ...], positives: tuple[sp.Symbol, ...], negatives: tuple[sp.Symbol, ...]) -> sp.Expr:
    """The loss of one anchor, remembered: every question about a loss begins with it."""
    return sp.Add(*(term.value(positives, negatives) for term in terms))


def used_symbols(terms: Sequence[Term], relative: Sequence[RelativeSimilarity] = ()) -> set[sp.Symbol]:
    """The free symbols of terms, and of what weights read from other pairs."""
    of_relative = (r.contribution.free_symbols | r.member.free_symbols for r in relative)
    return set().union(*(term.symbols for term in terms), *of_relative)


def _understood(given: Any, accepted: Mapping[str, Any], where: str) -> Any:
    """A value, or the one that a name stands for."""
    if isinstance(given, type(next(iter(accepted.values())))):
        return given
    if not isinstance(given, str) or given not in accepted:
        raise ValueError(f"{where}: got {given!r} but expected one of {', '.join(accepted)}")
    return accepted[given]


def _check_symbols(formula: sp.Expr, allowed: set[sp.Symbol], where: str) -> None:
    if not isinstance(formula, sp.Expr):
        raise TypeError(f"{where}: got {formula!r} but expected a SymPy expression")
    stray = formula.free_symbols - allowed
    if stray:
        raise ValueError(f"{where}: got the symbol {_names(stray)} in {formula} but allowed are {_names(allowed)}")


def _names(symbols: set[sp.Symbol]) -> str:
    return ", ".join(sorted(str(symbol) for symbol in symbols))
