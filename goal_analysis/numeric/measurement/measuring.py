"""The weights of any loss, measured over the plane, with the verdicts on them.

Nothing is known of the loss but its values and autograd's gradients. `inputs` says which vectors it is given, and
`black_box` how ∂L/∂s is recovered. With L(s_p, s_n) the loss of the constructed vectors,

    w⁺ = −Σ ∂L/∂s over the positive pairs        w⁻ = Σ ∂L/∂s over the negative pairs

are −∂L/∂s_p and ∂L/∂s_n. Where a gradient is stopped, they are what trains in the place of these derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from goal_analysis.numeric.measurement.black_box import (
    PairGradients,
    copy_of,
    forget_graphs,
    non_integrability,
    pair_gradients,
)
from goal_analysis.numeric.measurement.fields import (
    CLEAR,
    FAINT,
    NEARBY,
    NOTICEABLE,
    STEPS,
    Field,
    MeasuredFactors,
    Turning,
    fit_factors,
    largest,
    scatter,
    turning,
    usual_noise,
)
from goal_analysis.numeric.measurement.inputs import (
    Inputs,
    LossFunction,
    UnmeasurableLoss,
    infer_inputs,
    name_of,
    on_plane,
    plane_similarities,
    reachable,
)

BESIDE = (1.37e-3, -0.89e-3)
"""The curl is looked at this far from the grid, whose points lie on kinks more often than others do."""

REPEATED, REPEATABLE = 8, 1e-6
"""At so many points the loss is called once more in the end; its gradients may differ by this share."""

DEAD = 1e-9  # a point is dead if both weights are below this share of the largest weight on the plane
UNEXPLAINED = 0.01  # if more of the gradient is no gradient by similarities, the weights do not speak for the loss


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
        nearest: a `Neighbour` for each of the nearest known losses, where they were looked for.
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
    nearest: tuple[Any, ...] = ()

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
        """The lines of `summary`, by topic."""
        known = {name: w[self.reached] for name, w in (("w⁺", self.w_p), ("w⁻", self.w_n))}
        index = f"(index {self.non_integrability:.2g} on batches, curl share {self.curl_share:.2g} on the plane)"
        unseen = "nowhere have both weights been seen together"
        rounded = "the misfit is what the rounding of the loss makes"
        separable = self._verdict(self.separable, unseen if math.isnan(self.factors.misfit) else rounded)
        jumps = "differences over several steps agree on nothing; the loss rounds or jumps"
        found = {
            "measured on": f"{self.inputs.value}; {self.reached.double().mean():.0%} of the plane reached",
            "weights": ", ".join(f"{n} from {w.min():.3g} to {w.max():.3g}" for n, w in known.items()),
            "separable": f"{separable} (misfit {self.factors.misfit:.2g})",
            "integrable": f"{self._verdict(self.integrable, jumps)} {index}",
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
        if self.nearest:
            found["nearest"] = ", ".join(f"{near.loss.name} ({near.distance:.2g})" for near in self.nearest)
        return found

    def _verdict(self, yes: bool | None, otherwise: str) -> str:
        return f"undecided: {self.unreliable or otherwise}" if yes is None else "yes" if yes else "no"

    def _dead_region(self) -> str:
        if not self.dead.any():
            return "nowhere"
        gaps = (self.s_n[None, :] - self.s_p[:, None])[self.dead]
        spans = (self.s_p[self.dead.any(1)], self.s_n[self.dead.any(0)], gaps)
        s_p, s_n, gap = (f"{values.min():.2f} … {values.max():.2f}" for values in spans)
        return f"{self.dead_share:.0%} of the plane, within s_p {s_p}, s_n {s_n}, s_n − s_p {gap}"

    def summary(self) -> str:
        """A few lines of text."""
        return "\n".join([self.name, *(f"  {topic}: {text}" for topic, text in self.findings().items())])

    def _repr_markdown_(self) -> str:
        rows = (f"| {topic} | {text} |" for topic, text in self.findings().items())
        return "\n".join([f"| {self.name} | |", "|---|---|", *rows])


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{100 * share:.2g}%"


def against_references(loss_fn: LossFunction) -> LossFunction:
    """A loss of (embeddings, labels, ref_emb=, ref_labels=), as pytorch-metric-learning's are, as one of
    `Inputs.QUERIES`.

    It is so measured over the whole plane, and without the negative as an anchor of its own. A module is copied.
    """
    own = copy_of(loss_fn)

    def with_references(queries: Tensor, query_labels: Tensor, references: Tensor, reference_labels: Tensor) -> Tensor:
        forget_graphs(own)
        return own(queries, query_labels, ref_emb=references, ref_labels=reference_labels)

    with_references.__name__ = name_of(loss_fn)
    return with_references


def measure(
    loss_fn: LossFunction,
    inputs: Inputs | None = None,
    *,
    points: int = 21,
    limit: float = 0.95,
    dim: int | None = None,
    name: str | None = None,
) -> Measurement:
    """Measure the weights w⁺(s_p, s_n) and w⁻(s_p, s_n) of any loss, in float64.

    Args:
        loss_fn: a callable of one of `Inputs` that returns a scalar. A module is copied: its parameters,
            their gradients and its buffers stay as they are. One with parameters wants ``.double()``.
        inputs: what it takes; by default read off the names of its parameters.
        points: grid points along each similarity; the cost is 10·points² calls of the loss, and the batches',
            up to twice that where weights are no gradient or rounded.
        limit: the grid goes from −limit to limit.
        dim: the dimension of the embeddings, for losses that insist on one; the default is the number of
            vectors.
        name: what tables call it; by default the callable's own name.

    Raises:
        UnmeasurableLoss: a call fails or returns no finite scalar; no gradient reaches the arguments.
        ValueError: a grid or a dimension that is too small.

    >>> def softmax_of_cosines(images, texts):
    ...     scores = images @ texts.T
    ...     return torch.nn.functional.cross_entropy(10 * scores, torch.arange(len(scores)))
    >>> found = measure(softmax_of_cosines, Inputs.TWO_SETS, points=3, limit=0.5)
    >>> found.w_n
    tensor([[5.0000e+00, 9.9331e+00, 9.9995e+00],
            [6.6929e-02, 5.0000e+00, 9.9331e+00],
            [4.5398e-04, 6.6929e-02, 5.0000e+00]], dtype=torch.float64)
    >>> found.separable, found.integrable
    (True, True)
    """
    if points < 2 or not 0 < limit < 1:
        raise ValueError(f"measure: got points={points}, limit={limit} but expected points ≥ 2, 0 < limit < 1")
    grid, name = torch.linspace(-limit, limit, points, dtype=torch.float64), name or name_of(loss_fn)
    # The random numbers that a loss draws are not taken from the user's.
    with torch.random.fork_rng(devices=[]):
        return _Plane(copy_of(loss_fn), inputs or infer_inputs(loss_fn), dim, name).measure(grid)


@dataclass(frozen=True, eq=False)
class _Plane:
    """A loss that is called at points of the plane."""

    loss_fn: LossFunction
    inputs: Inputs
    dim: int | None
    name: str

    def measure(self, grid: Tensor) -> Measurement:
        points = len(grid)
        s_p, s_n = (s.reshape(-1) for s in torch.meshgrid(grid, grid, indexing="ij"))
        inside = self._reachable(s_p, s_n)
        s_p, s_n = s_p[inside], s_n[inside]
        found = self._gradients(s_p, s_n)
        if not found.connected:
            raise UnmeasurableLoss(
                f"{self.name}: got a loss without a gradient by {self.inputs.value} "
                "but expected one that autograd can follow to its inputs"
            )
        beside = s_p + BESIDE[0], s_n + BESIDE[1]
        deviations, noise = self._noise(*beside, found.precision)
        plane = turning(self._curls(*beside), noise)
        again = torch.linspace(0, len(s_p) - 1, REPEATED).long()
        first, repeated = found.gradients[again], self._gradients(s_p[again], s_n[again]).gradients
        upper = found.gradients.triu(1)

        def on_grid(values: Tensor) -> Tensor:
            return grid.new_full((points * points,), torch.nan).masked_scatter(inside, values).view(points, -1)

        w_p, w_n = map(on_grid, self._sums(found))
        return Measurement(
            name=self.name,
            inputs=self.inputs,
            s_p=grid,
            s_n=grid,
            w_p=w_p,
            w_n=w_n,
            curl=on_grid(plane.field),
            on_plane=plane,
            factors=fit_factors(grid, w_p, w_n, (on_grid(deviations[0]), on_grid(deviations[1]))),
            on_batches=non_integrability(self.loss_fn, self.inputs, dim=self.dim),
            unexplained=_share(found.unexplained, found.norm),
            aside=_share(upper * ~on_plane(self.inputs).measured, upper),
            deterministic=bool((repeated - first).abs().max() <= REPEATABLE * first.abs().max()),
        )

    def _reachable(self, s_p: Tensor, s_n: Tensor) -> Tensor:
        inside = reachable(plane_similarities(self.inputs, s_p, s_n))
        return torch.ones_like(inside) if self.inputs is Inputs.SCORES else inside

    def _gradients(self, s_p: Tensor, s_n: Tensor) -> PairGradients:
        similarities = plane_similarities(self.inputs, s_p, s_n)
        return pair_gradients(self.loss_fn, on_plane(self.inputs), similarities, self.dim)

    def _sums(self, found: PairGradients) -> tuple[Tensor, Tensor]:
        arrangement = on_plane(self.inputs)
        positives, negatives = (found.gradients[:, m].sum(-1) for m in (arrangement.positives, arrangement.negatives))
        return -positives, negatives

    def _weights(self, s_p: Tensor, s_n: Tensor) -> Tensor:
        """w⁺ and w⁻, shape ``(2, points)``; NaN where no unit vectors are."""
        inside = self._reachable(s_p, s_n)
        weights = self._sums(self._gradients(s_p[inside], s_n[inside]))
        return torch.stack([torch.full_like(s_p, torch.nan).masked_scatter(inside, w) for w in weights])

    def _noise(self, s_p: Tensor, s_n: Tensor, precision: float) -> tuple[Tensor, float]:
        """The standard deviations of w⁺ and of w⁻ at every point, and the usual one of both."""
        row = [(s_p + place * NEARBY, s_n - 0.6 * place * NEARBY) for place in range(-2, 3)]
        weights = torch.stack([self._weights(p, n) for p, n in row])
        # A rounding that hides from the differences is still that of the type the loss returns.
        least, deviations = precision / 2 * largest(weights), scatter(weights)
        floor = least if least > FAINT * largest(weights) else 0.0
        deviations = torch.maximum(deviations, torch.full_like(deviations, floor))
        return deviations, max(least, usual_noise(deviations))

    def _curls(self, s_p: Tensor, s_n: Tensor) -> Iterator[Field]:
        """∂w⁺/∂s_n + ∂w⁻/∂s_p by differences over one step after the other; 0 where no unit vectors are."""
        for step in STEPS:
            around = [(s_p, s_n + step), (s_p, s_n - step), (s_p + step, s_n), (s_p - step, s_n)]
            above, below, right, left = (self._weights(p, n) for p, n in around)
            by_n, by_p = (above - below) / (2 * step), (right - left) / (2 * step)
            known = (by_n + by_p).isfinite().all(0)
            by_n, by_p = by_n.where(known, 0.0), by_p.where(known, 0.0)
            size = (by_n.abs() + by_p.abs()).sum(0).norm() + sum(w.norm() for w in above.where(known, 0.0))
            yield Field(step, by_n[0] + by_p[1], size.item())


def _share(part: Tensor, total: Tensor) -> float:
    return min(1.0, (part.norm() / total.norm()).item()) if total.any() else 0.0
