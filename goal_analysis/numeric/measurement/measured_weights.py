"""What was measured of a loss, with the verdicts, and all of it as a table or text."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from goal_analysis.numeric.measurement.constructed_embeddings import Inputs
from goal_analysis.numeric.measurement.measured_factors import MeasuredFactors
from goal_analysis.numeric.measurement.turning import CLEAR, NOTICEABLE, Turning

DEAD = 1e-9
"""A point is dead if both weights are below this share of the largest weight on the plane."""

UNEXPLAINED = 0.01
"""If more of the gradient is no gradient by similarities, the weights do not speak for the loss."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured of a loss.

    Args:
        name: what tables call it.
        inputs: what the loss was given.
        s_p: the grid along s_p, shape ``(s_p,)``.
        s_n: the grid along s_n, shape ``(s_n,)``.
        w_p: w⁺, shape ``(s_p, s_n)``, NaN where no unit vectors reach.
        w_n: w⁻, likewise.
        curl: ∂w⁺/∂s_n + ∂w⁻/∂s_p, likewise; taken a thousandth beside the point.
        on_plane: how much of the slopes and the weights on the plane the curl is.
        factors: T, P⁺ and P⁻ with their misfit.
        on_batches: the same of the weights on random batches.
        unexplained: the share of the embeddings' gradient that no gradient of similarities explains.
        aside: the share of the pairs' gradient on pairs that are neither positives nor negatives here.
        deterministic: whether a second call at the same point gave the same gradient.
    """

    name: str
    inputs: Inputs
    s_p: Float[Tensor, " s_p"]
    s_n: Float[Tensor, " s_n"]
    w_p: Float[Tensor, "s_p s_n"]
    w_n: Float[Tensor, "s_p s_n"]
    curl: Float[Tensor, "s_p s_n"]
    on_plane: Turning
    factors: MeasuredFactors
    on_batches: Turning
    unexplained: float
    aside: float
    deterministic: bool = True

    @property
    def reached(self) -> Bool[Tensor, "s_p s_n"]:
        """Where there are weights."""
        return self.w_p.isfinite()

    @property
    def dead(self) -> Bool[Tensor, "s_p s_n"]:
        """Where both weights vanish."""
        largest = torch.maximum(self.w_p.abs(), self.w_n.abs())
        return self.reached & (largest <= DEAD * largest.nan_to_num().max())

    @property
    def dead_share(self) -> float:
        """The share of the plane, as far as it was reached, where both weights vanish."""
        return (self.dead.sum() / self.reached.sum()).item()

    @property
    def curl_share(self) -> float:
        """‖curl‖ over ‖all four slopes‖ + ‖w⁺‖ + ‖w⁻‖ on the plane: 0 for a gradient, less than 1."""
        return self.on_plane.share

    @property
    def non_integrability(self) -> float:
        """The index of the weights on random batches: 0 for a gradient, less than 1."""
        return self.on_batches.share

    @property
    def unreliable(self) -> str:
        """Why the weights do not speak for the loss; empty if they do."""
        if not self.deterministic:
            return "the loss is not deterministic: called twice at a point it has two gradients"
        if self.unexplained > UNEXPLAINED:
            return f"{_percent(self.unexplained)} of the gradient is unexplained by similarities"
        return ""

    @property
    def separable(self) -> bool | None:
        """Whether T, P⁺ and P⁻ meet the weights; None if that is undecided."""
        misfit, rounding = self.factors.misfit, self.factors.rounding
        if self.unreliable or math.isnan(misfit):
            return None
        if misfit < NOTICEABLE:
            return True
        return None if misfit < CLEAR * rounding else False

    @property
    def integrable(self) -> bool | None:
        """Whether the weights are a gradient, on random batches and on the plane; None if that is undecided.

        It looks between the kinks: a curl concentrated where the weights jump is not seen. On a loss that
        reads other pairs too the plane is silent, and the batches alone decide.
        """
        places = (self.on_plane, self.on_batches) if self.aside < NOTICEABLE else (self.on_batches,)
        if self.unreliable:
            return None
        if all(place.share < NOTICEABLE for place in places):
            return True
        return False if any(place.believed >= NOTICEABLE for place in places) else None

    def frame(self) -> pd.DataFrame:
        """One row a point: s_p, s_n, w_p, w_n, T, P_p, P_n, curl, dead, reached."""
        grid_p, grid_n = torch.meshgrid(self.s_p, self.s_n, indexing="ij")
        columns = {
            "s_p": grid_p,
            "s_n": grid_n,
            "w_p": self.w_p,
            "w_n": self.w_n,
            "T": self.factors.triplet,
            "P_p": self.factors.positive[:, None].expand_as(grid_p),
            "P_n": self.factors.negative[None, :].expand_as(grid_p),
            "curl": self.curl,
            "dead": self.dead,
            "reached": self.reached,
        }
        return pd.DataFrame({name: column.reshape(-1).numpy() for name, column in columns.items()})

    def findings(self) -> dict[str, str]:
        """What `summary` says, by topic."""
        size = {"w⁺": self.w_p, "w⁻": self.w_n}
        known = {name: w[self.reached] for name, w in size.items()}
        index = f"(index {self.non_integrability:.2g} on batches, curl share {self.curl_share:.2g} on the plane)"
        found = {
            "measured on": f"{self.inputs.value}; {self.reached.double().mean():.0%} of the plane reached",
            "weights": ", ".join(f"{n} from {w.min():.3g} to {w.max():.3g}" for n, w in known.items()),
            "separable": f"{self._separates()} (misfit {self.factors.misfit:.2g})",
            "integrable": f"{self._integrates()} {index}",
            "dead": self._dead_region(),
        }
        if not self.deterministic:
            found["beware"] = "not deterministic: called twice at a point the loss has two gradients"
        elif self.unexplained > NOTICEABLE:
            found["beware"] = (
                f"{_percent(self.unexplained)} of the gradient is no gradient by similarities: "
                "it is stopped at one end of the pairs, or the loss reads something else"
            )
        if self.aside > NOTICEABLE:
            found["besides"] = f"{_percent(self.aside)} of the weight lies on other pairs than positives and negatives"
        return found

    def _separates(self) -> str:
        if self.unreliable:
            return f"undecided: {self.unreliable}"
        if math.isnan(self.factors.misfit):
            return "undecided: nowhere have both weights been seen together"
        return _verdict(self.separable, "the misfit is what the rounding of the loss makes")

    def _integrates(self) -> str:
        if self.unreliable:
            return f"undecided: {self.unreliable}"
        return _verdict(self.integrable, "differences over several steps agree on nothing; the loss rounds or jumps")

    def _dead_region(self) -> str:
        if not self.dead.any():
            return "nowhere"
        rows, columns = self.dead.any(1), self.dead.any(0)
        gaps = (self.s_n[None, :] - self.s_p[:, None])[self.dead]
        return (
            f"{self.dead_share:.0%} of the plane, within s_p {_span(self.s_p[rows])}, "
            f"s_n {_span(self.s_n[columns])}, s_n − s_p {_span(gaps)}"
        )

    def summary(self) -> str:
        """A few lines of text."""
        return "\n".join([self.name, *(f"  {topic}: {text}" for topic, text in self.findings().items())])

    def _repr_markdown_(self) -> str:
        rows = (f"| {topic} | {text} |" for topic, text in self.findings().items())
        return "\n".join([f"| {self.name} | |", "|---|---|", *rows])


def _verdict(yes: bool | None, else_because: str) -> str:
    return f"undecided: {else_because}" if yes is None else "yes" if yes else "no"


def _percent(share: float) -> str:
    """Two digits at least, so that nothing noticeable is called 0 %."""
    return f"{share:.0%}" if share >= 0.1 else f"{100 * share:.2g}%"


def _span(values: Tensor) -> str:
    return f"{values.min():.2f} … {values.max():.2f}"
