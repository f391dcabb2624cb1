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

DEAD = 1e-9
"""A point is dead if both weights are below this share of the largest weight on the plane."""

NOTICEABLE = 1e-4
"""Misfits, curls and indices above this are more than rounding and finite differences make."""


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
        curl_scale: |∂w⁺/∂s_n| + |∂w⁻/∂s_p|, what the curl can be at most.
        factors: T, P⁺ and P⁻ with their misfit.
        non_integrability: the index of the weights on random batches, 0 for a gradient, up to 1.
        unexplained: the share of the embeddings' gradient that no gradient of similarities explains.
        aside: the share of the pairs' gradient on pairs that are neither positives nor negatives here.
    """

    name: str
    inputs: Inputs
    s_p: Float[Tensor, " s_p"]
    s_n: Float[Tensor, " s_n"]
    w_p: Float[Tensor, "s_p s_n"]
    w_n: Float[Tensor, "s_p s_n"]
    curl: Float[Tensor, "s_p s_n"]
    curl_scale: Float[Tensor, "s_p s_n"]
    factors: MeasuredFactors
    non_integrability: float
    unexplained: float
    aside: float

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
        """‖curl‖ over ‖its two derivatives‖ on the plane: 0 for a gradient, at most 1."""
        # Differences of constant weights are rounding alone, and not to be compared with each other.
        noise = 1e-5 * (self.w_p.nan_to_num().norm() + self.w_n.nan_to_num().norm())
        scale = self.curl_scale.nan_to_num().norm() + noise
        return (self.curl.nan_to_num().norm() / scale).item() if scale > 0 else 0.0

    @property
    def separable(self) -> bool:
        """Whether T, P⁺ and P⁻ meet the weights."""
        return self.factors.misfit < NOTICEABLE

    @property
    def integrable(self) -> bool:
        """Whether the weights are a gradient, on random batches and on the plane.

        It looks between the kinks: a curl concentrated where the weights jump is not seen. On a loss that
        reads other pairs too the plane is silent, and the batches alone decide.
        """
        on_plane = self.curl_share if self.aside < NOTICEABLE else 0.0
        return max(on_plane, self.non_integrability) < NOTICEABLE

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
            "integrable": f"{_verdict(self.integrable)} {index}",
            "dead": self._dead_region(),
        }
        if self.unexplained > NOTICEABLE:
            found["beware"] = (
                f"{self.unexplained:.0%} of the gradient is no gradient by similarities: "
                "it is stopped at one end of the pairs, or the loss reads something else"
            )
        if self.aside > NOTICEABLE:
            found["besides"] = f"{self.aside:.0%} of the weight lies on other pairs than positives and negatives"
        return found

    def _separates(self) -> str:
        return "undecided" if math.isnan(self.factors.misfit) else _verdict(self.separable)

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


def _verdict(yes: bool) -> str:
    return "yes" if yes else "no"


def _span(values: Tensor) -> str:
    return f"{values.min():.2f} … {values.max():.2f}"
