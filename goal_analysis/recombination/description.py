"""What is known of an objective before training: its weights, whether they are the gradient of a loss, signs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import sympy as sp

from goal_analysis.numeric.characteristics import Characteristics, Effect, characteristics, characteristics_page
from goal_analysis.recombination.minings import mining_in, mining_text, numbers_of
from goal_analysis.recombination.verdict import verdict
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.analysis.integrability import Integrability
from goal_analysis.symbolic.language.primitives import x_n, x_p
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.typesetting import pages, plain
from goal_analysis.symbolic.typesetting.pages import Page, Row
from goal_analysis.symbolic.weight import WeightField

SIGNS = ("pulls and pushes", "pulls alone", "pushes alone", "reversed", "mixed", "none")
"""What w⁺ and w⁻ do on a triplet over the range of the scores: neither is negative anywhere and both, or one, are not
zero; neither is positive anywhere; one of them is negative somewhere otherwise; both are zero.
"""


ONE_TRIPLET = "y_p and y_n; 1 and 0 in what is said of signs, growth and bounds"


@dataclass(frozen=True, repr=False)
class Description:
    """What an objective is, at its own values; everything is derived when it is first asked for.

    Args:
        objective: the value.
        parts: for a member of the family, the names of its triplet weight (or loss) and of its pair weights.
    """

    objective: Objective
    parts: tuple[str, ...] = ()

    @cached_property
    def weights(self) -> WeightField:
        """w⁺, w⁻ and their factors T, P⁺ and P⁻ on one triplet."""
        return decompose(self.objective).field

    @cached_property
    def verdict(self) -> Integrability:
        """Whether what trains is the gradient of a loss, and of which."""
        return verdict(self.objective)

    @cached_property
    def characteristics(self) -> Characteristics:
        """Signs, limits, growth, saturation and bounds of the weights."""
        return characteristics(self.weights)

    @property
    def name(self) -> str:
        """The objective's name."""
        return self.objective.name

    @property
    def mining(self) -> str:
        """How pairs are aggregated: the mining by its name and numbers, or every term's aggregators."""
        mining = mining_in(self.objective)
        for said in () if mining is None else (mining, replace(mining, positives=None, negatives=None)):
            if numbers_of(said) is not None:  # the second selects pairs for the objective's own aggregators
                return mining_text(said, named=True)
        terms = []
        for term in self.objective.terms:
            said = []
            for x, _, side in term.aggregates:
                numbers = ", ".join(plain(p) for p in side.aggregator.parameters)
                kept = "" if side.selection is None else f" of {getattr(side.selection, 'name', side.selection)}"
                what, of = {x_p: ("positives", ""), x_n: ("negatives", "")}.get(x, (x, f" of {side.pool.value}"))
                said.append(f"{what} {side.aggregator.name}{f'({numbers})' if numbers else ''}{of}{kept}")
            terms.append(", ".join(said) + ("" if term.total is None else f", of whose sum {plain(term.total)}"))
        return "; ".join(terms)

    @property
    def settings(self) -> Mapping[str, float]:
        """The value of every hyperparameter."""
        return {h.name: float(h.default) for h in self.objective.hyperparameters}

    @property
    def direction(self) -> str:
        """How the weights move the embeddings."""
        return (self.objective.direction or self.objective.similarity).name

    @property
    def sign(self) -> str:
        """What w⁺ and w⁻ do, one of `SIGNS`."""
        effects = self.characteristics.pull.effect, self.characteristics.push.effect
        if set(effects) <= {Effect.RIGHT, Effect.NONE}:
            pulls, pushes = (effect is Effect.RIGHT for effect in effects)
            return ("pulls and pushes" if pushes else "pulls alone") if pulls else "pushes alone" if pushes else "none"
        return "reversed" if set(effects) <= {Effect.REVERSED, Effect.NONE} else "mixed"

    @property
    def integrable(self) -> bool | None:
        """Whether what trains is the gradient of a loss; None where it is open."""
        return self.verdict.integrable

    @property
    def reason(self) -> str:
        """Why, in one sentence."""
        return self.verdict.reason

    @property
    def loss(self) -> sp.Expr | None:
        """The loss of one triplet, or with ``x_p`` and ``x_n`` of one anchor; None where none was found."""
        return self.verdict.loss

    @property
    def potential(self) -> sp.Expr | None:
        """U(s_p, s_n) = ∫P⁻ds_n − ∫P⁺ds_p, where a closed form was found."""
        return self.verdict.potential

    def __str__(self) -> str:
        return self.to_plain()

    def to_plain(self, width: int | None = None) -> str:
        """Aligned text; long values go on in the next line after ``width`` characters, by default nowhere."""
        return pages.to_plain(self.pages, width)

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
            "reduction": self.objective.reduction.value,
            "anchors": self.objective.anchors.name.lower(),
            "settings": dict(self.settings),
            "integrable": self.integrable,
            "reason": self.reason,
            "loss": None if self.loss is None else plain(self.loss),
            "potential": None if self.potential is None else plain(self.potential),
            "sign": self.sign,
            "characteristics": pages.to_data([characteristics_page(self.characteristics)]),
        }

    @property
    def pages(self) -> tuple[Page, ...]:
        """What `goal_analysis.symbolic.typesetting.pages` write."""
        learned = ", ".join(self.objective.learned).replace(":none", " (stays)")
        learned = learned.replace(":loss", " (moved by the loss without prescribed pair weights)")
        rows = [
            Row("mining", "mining", self.mining),
            Row("direction", "direction", self.direction),
            Row("reduction", "reduction", self.objective.reduction.words),
            Row("anchors", "anchors", self.objective.anchors.value),
            *(Row(name, name, value) for name, value in self.settings.items()),
            *((Row("learned", "learned", learned),) if learned else ()),
            *((Row("grouped", "proxies", self.objective.grouped.name),) if self.objective.grouped else ()),
            *((Row("carried", "pairs carry", ONE_TRIPLET),) if self.objective.reads_carried else ()),
        ]
        found = pages.integrability_page(self.verdict)
        judged = [replace(row, label="L", latex_label="L") if row.key == "loss" else row for row in found.rows]
        return (
            Page(self.name, tuple(rows)),
            pages.weights_page(self.weights),
            Page(found.title, (*judged, Row("sign", "w⁺ and w⁻", self.sign))),
            characteristics_page(self.characteristics),
        )

    def __repr__(self) -> str:
        return f"Description({self.name}: {self.verdict.said}; {self.sign})"

    def _repr_markdown_(self) -> str:
        return pages.to_markdown(self.pages)
