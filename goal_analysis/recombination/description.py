"""What is known of an objective before it has trained: its weights, whether they are the gradient of a loss, its signs.

Everything is derived from the objective's own parts, at its own settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache

import sympy as sp

from goal_analysis.numeric.characteristics import Characteristics, characteristics, characteristics_page
from goal_analysis.numeric.formula import Values
from goal_analysis.numeric.mining import Miner
from goal_analysis.numeric.similarity import Direction
from goal_analysis.recombination.batch_integrability import BatchIntegrability
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import Similarity
from goal_analysis.symbolic.objective import Anchors, Reduction
from goal_analysis.symbolic.proof.evaluation import FLOAT, program
from goal_analysis.symbolic.typesetting import plain
from goal_analysis.symbolic.typesetting.pages import Page, Row, to_data, to_markdown, to_plain, weights_page
from goal_analysis.symbolic.weight import WeightField

SIGNS = ("pulls and pushes", "pulls alone", "pushes alone", "mixed", "none")
"""What w⁺ and w⁻ do over the range of the scores: neither is negative anywhere and both, or one, are not zero; one of
them is negative somewhere; both are zero."""

GRID = 33
"""Points along each similarity at which the signs are read."""

NEGLIGIBLE = 1e-12
"""A weight this far below zero, as a share of its scale, is rounding."""


@dataclass(frozen=True)
class Description:
    """What an objective is.

    Args:
        name: triplet weight / pair weights @ mining.
        weights: w⁺, w⁻ and their factors T, P⁺ and P⁻.
        mining: which triplets count, with its numbers.
        direction: along what the embeddings move.
        reduction: "sum" or "mean", over the anchors.
        anchors: which axes are queries.
        settings: the value of every hyperparameter.
        integrable: whether what trains is the gradient of a loss; None where it was neither proved nor refuted.
        reason: why, in one sentence.
        loss: the loss of one triplet, or with ``x_p`` and ``x_n`` of one anchor of softmax mining; None where there
            is none or no closed form was found.
        potential: U(s_p, s_n) = ∫P⁻ds_n − ∫P⁺ds_p, where a closed form was found.
        sign: one of `SIGNS`.
        characteristics: limits, growth, saturation and scale of the weights.
    """

    name: str
    weights: WeightField
    mining: str
    direction: str
    reduction: str
    anchors: str
    settings: Mapping[str, float]
    integrable: bool | None
    reason: str
    loss: sp.Expr | None
    potential: sp.Expr | None
    sign: str
    characteristics: Characteristics

    def __str__(self) -> str:
        return self.to_plain()

    def to_plain(self, width: int | None = None) -> str:
        """Aligned text.

        Args:
            width: where long values go on in the next line; by default nowhere.
        """
        return to_plain(self.pages, width)

    def to_json(self) -> dict[str, object]:
        """Plain values under the names of the fields; formulas as text that `parse` reads back."""
        factors = self.weights.factors
        formulas = {} if factors is None else {"T": factors.triplet, "P+": factors.positive, "P-": factors.negative}
        formulas |= {"w+": self.weights.positive, "w-": self.weights.negative}
        return {
            "name": self.name,
            "weights": {name: plain(formula) for name, formula in formulas.items()},
            "mining": self.mining,
            "direction": self.direction,
            "reduction": self.reduction,
            "anchors": self.anchors,
            "settings": dict(self.settings),
            "integrable": self.integrable,
            "reason": self.reason,
            "loss": None if self.loss is None else plain(self.loss),
            "potential": None if self.potential is None else plain(self.potential),
            "sign": self.sign,
            "characteristics": to_data([characteristics_page(self.characteristics)]),
        }

    @property
    def pages(self) -> tuple[Page, ...]:
        """What `goal_analysis.symbolic.typesetting.pages` write."""
        rows = [
            Row("mining", "mining", self.mining),
            Row("direction", "direction", self.direction),
            Row("reduction", "reduction", f"{self.reduction} over the anchors"),
            Row("anchors", "anchors", self.anchors),
            *(Row(name, name, value) for name, value in self.settings.items()),
        ]
        return (
            Page(self.name, tuple(rows)),
            weights_page(self.weights),
            Page("Integrability", tuple(self._verdict())),
            characteristics_page(self.characteristics),
        )

    def _verdict(self) -> list[Row]:
        verdict = "undecided" if self.integrable is None else self.integrable
        rows = [Row("integrable", "integrable", verdict), Row("reason", "because", self.reason)]
        if self.potential is not None:
            rows.append(Row("potential", "U(s_p, s_n)", self.potential))
        if self.loss is not None:
            rows.append(Row("loss", "L", self.loss, "L"))
        return [*rows, Row("sign", "w⁺ and w⁻", self.sign)]

    def _repr_markdown_(self) -> str:
        return to_markdown(self.pages)


def described(
    field: WeightField,
    name: str,
    mining: Miner,
    verdict: BatchIntegrability,
    direction: Direction | Similarity,
    reduction: Reduction,
    anchors: Anchors,
    values: Values,
) -> Description:
    """The description of an objective with these parts.

    The arguments are those of `Description` as objects, with the verdict on what trains.
    """
    sign, found = _shape(field, values)
    return Description(
        name=name,
        weights=field,
        mining=_with_numbers(mining),
        direction=direction.name,
        reduction=reduction.value,
        anchors=anchors.value,
        settings={symbol.name: float(value) for symbol, value in values},
        integrable=verdict.integrable,
        reason=verdict.reason,
        loss=verdict.loss,
        potential=verdict.potential,
        sign=sign,
        characteristics=found,
    )


def _with_numbers(mining: Miner) -> str:
    """A miner's name with its numbers.

    >>> from goal_analysis.numeric.mining import TopK
    >>> _with_numbers(TopK(3))
    'top_k(k=3)'
    """
    numbers = {f.name: getattr(mining, f.name) for f in fields(mining)}  # pyright: ignore[reportArgumentType]
    text = ", ".join(f"{name}={value:g}" for name, value in numbers.items() if isinstance(value, float | int))
    return f"{mining.name}({text})" if text else mining.name


@lru_cache(maxsize=4096)
def _shape(field: WeightField, values: Values) -> tuple[str, Characteristics]:
    settings = {symbol.name: float(value) for symbol, value in values}
    return _sign(field, dict(values)), characteristics(field, settings)


def _sign(field: WeightField, values: Mapping[sp.Symbol, sp.Expr]) -> str:
    at = dict(values) | {r.symbol: sp.S.Zero for r in field.relative}
    low, high = float(field.similarity.opposite), float(field.similarity.identical)
    grid = [low + (high - low) * (i + 0.5) / GRID for i in range(GRID)]
    compiled = program([field.positive.subs(at), field.negative.subs(at)], (s_p, s_n))
    rows = [compiled.run(FLOAT, p, n) for p in grid for n in grid]
    least, most = ([f(w for w in column if w == w) for column in zip(*rows, strict=True)] for f in (min, max))
    if any(low < -NEGLIGIBLE * max(abs(low), abs(high)) for low, high in zip(least, most, strict=True)):
        return "mixed"
    pulls, pushes = (value > 0 for value in most)
    if pulls and pushes:
        return "pulls and pushes"
    return "pulls alone" if pulls else "pushes alone" if pushes else "none"
