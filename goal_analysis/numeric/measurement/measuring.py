"""The weights of any loss, measured over the plane, and whether they are a gradient.

Nothing is known of the loss but its values and autograd's gradients. `constructed_embeddings` says which
vectors it is given, `black_box` how ∂L/∂s is recovered. With L(s_p, s_n) the loss of the constructed vectors,

    w⁺ = −Σ ∂L/∂s over the positive pairs        w⁻ = Σ ∂L/∂s over the negative pairs

are −∂L/∂s_p and ∂L/∂s_n, unless a gradient is stopped: then they are what trains in the place of these
derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from goal_analysis.numeric.measurement.black_box import (
    LossFunction,
    PairGradients,
    UnmeasurableLoss,
    copied,
    forget_graphs,
    name_of,
    pair_gradients,
)
from goal_analysis.numeric.measurement.constructed_embeddings import Inputs, on_plane, plane_similarities, reachable
from goal_analysis.numeric.measurement.measured_factors import measured_factors
from goal_analysis.numeric.measurement.measured_weights import Measurement
from goal_analysis.numeric.measurement.non_integrability import non_integrability
from goal_analysis.numeric.measurement.signatures import infer_inputs
from goal_analysis.numeric.measurement.turning import (
    FAINT,
    NEARBY,
    STEPS,
    Field,
    largest,
    scatter,
    turning,
    usual_noise,
)

BESIDE = (1.37e-3, -0.89e-3)
"""The curl is looked at this far from the grid, whose points lie on kinks more often than others do."""

REPEATED, REPEATABLE = 8, 1e-6
"""At so many points the loss is called once more in the end; its gradients may differ by this share."""


def against_references(loss_fn: LossFunction) -> LossFunction:
    """A loss of (embeddings, labels, ref_emb=, ref_labels=) as one of `Inputs.QUERIES`.

    The losses of pytorch-metric-learning that take references are so measured over the whole plane, and
    without the negative as an anchor of its own, which a single set of embeddings always has. Of a module a
    copy is made, so that its buffers stay as they are.

    >>> def paired(embeddings, labels, ref_emb, ref_labels):
    ...     return ((embeddings @ ref_emb.T) * (labels[:, None] != ref_labels)).sum()
    >>> measure(against_references(paired), points=2).w_n
    tensor([[2., 2.], [2., 2.]], dtype=torch.float64)
    """
    own = copied(loss_fn)

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
    inputs = inputs or infer_inputs(loss_fn)
    # The random numbers that a loss draws are not taken from the user's.
    with torch.random.fork_rng(devices=[]):
        return _measured(copied(loss_fn), inputs, torch.linspace(-limit, limit, points, dtype=torch.float64), dim, name)


def _measured(loss_fn: LossFunction, inputs: Inputs, grid: Tensor, dim: int | None, name: str | None) -> Measurement:
    points = len(grid)
    s_p, s_n = (s.reshape(-1) for s in torch.meshgrid(grid, grid, indexing="ij"))
    inside = _reachable(inputs, s_p, s_n)
    s_p, s_n = s_p[inside], s_n[inside]

    def at(p: Tensor, n: Tensor) -> PairGradients:
        return pair_gradients(loss_fn, on_plane(inputs), plane_similarities(inputs, p, n), dim)

    found = at(s_p, s_n)
    if not found.connected:
        raise UnmeasurableLoss(
            f"{name or name_of(loss_fn)}: got a loss without a gradient by {inputs.value} "
            "but expected one that autograd can follow to its inputs"
        )
    w_p, w_n = _weights(found, inputs)
    noise_p, noise_n, noise = _noise(at, inputs, s_p + BESIDE[0], s_n + BESIDE[1], found.precision)
    plane = turning(_curls(at, inputs, s_p + BESIDE[0], s_n + BESIDE[1]), noise)
    on_batches = non_integrability(loss_fn, inputs, dim=dim)
    again = torch.linspace(0, len(s_p) - 1, REPEATED).long()

    def on_grid(values: Tensor) -> Tensor:
        return (
            torch.full((points * points,), torch.nan, dtype=grid.dtype).masked_scatter(inside, values).view(points, -1)
        )

    return Measurement(
        name=name or name_of(loss_fn),
        inputs=inputs,
        s_p=grid,
        s_n=grid,
        w_p=on_grid(w_p),
        w_n=on_grid(w_n),
        curl=on_grid(plane.field),
        on_plane=plane,
        factors=measured_factors(grid, on_grid(w_p), on_grid(w_n), (on_grid(noise_p), on_grid(noise_n))),
        on_batches=on_batches,
        unexplained=_share(found.unexplained, found.norm),
        aside=_aside(found, inputs),
        deterministic=_repeats(at(s_p[again], s_n[again]).gradients, found.gradients[again]),
    )


def _reachable(inputs: Inputs, s_p: Tensor, s_n: Tensor) -> Tensor:
    inside = reachable(plane_similarities(inputs, s_p, s_n))
    return torch.ones_like(inside) if inputs is Inputs.SCORES else inside


def _weights_where_reachable(
    at: Callable[[Tensor, Tensor], PairGradients], inputs: Inputs, s_p: Tensor, s_n: Tensor
) -> tuple[Tensor, Tensor]:
    """w⁺ and w⁻; NaN where no unit vectors are."""
    inside = _reachable(inputs, s_p, s_n)
    weights = _weights(at(s_p[inside], s_n[inside]), inputs)
    w_p, w_n = (torch.full_like(s_p, torch.nan).masked_scatter(inside, w) for w in weights)
    return w_p, w_n


def _noise(
    at: Callable[[Tensor, Tensor], PairGradients], inputs: Inputs, s_p: Tensor, s_n: Tensor, precision: float
) -> tuple[Tensor, Tensor, float]:
    """The standard deviations of w⁺ and of w⁻ at every point, and the usual one of both."""
    row = [(s_p + place * NEARBY, s_n - 0.6 * place * NEARBY) for place in range(-2, 3)]
    weights = torch.stack([torch.stack(_weights_where_reachable(at, inputs, p, n)) for p, n in row])
    least = precision / 2 * largest(weights)
    deviations = scatter(weights)
    # A rounding that hides from the differences is still that of the type the loss returns.
    deviations = torch.maximum(
        deviations, torch.full_like(deviations, least if least > FAINT * largest(weights) else 0)
    )
    return deviations[0], deviations[1], max(least, usual_noise(deviations))


def _curls(at: Callable[[Tensor, Tensor], PairGradients], inputs: Inputs, s_p: Tensor, s_n: Tensor) -> Iterator[Field]:
    """∂w⁺/∂s_n + ∂w⁻/∂s_p by differences over one step after the other; 0 where no unit vectors are."""
    for step in STEPS:
        around = [(s_p, s_n + step), (s_p, s_n - step), (s_p + step, s_n), (s_p - step, s_n)]
        above, below, right, left = (torch.stack(_weights_where_reachable(at, inputs, p, n)) for p, n in around)
        by_n, by_p = (above - below) / (2 * step), (right - left) / (2 * step)
        known = (by_n + by_p).isfinite().all(0)
        by_n, by_p = by_n.where(known, 0.0), by_p.where(known, 0.0)
        size = (by_n.abs() + by_p.abs()).sum(0).norm() + sum(w.norm() for w in above.where(known, 0.0))
        yield Field(step, by_n[0] + by_p[1], size.item())


def _repeats(again: Tensor, first: Tensor) -> bool:
    return bool((again - first).abs().max() <= REPEATABLE * first.abs().max())


def _weights(found: PairGradients, inputs: Inputs) -> tuple[Tensor, Tensor]:
    arrangement = on_plane(inputs)
    positives, negatives = (found.gradients[:, m].sum(-1) for m in (arrangement.positives, arrangement.negatives))
    return -positives, negatives


def _aside(found: PairGradients, inputs: Inputs) -> float:
    upper = found.gradients.triu(1)
    return _share(upper * ~on_plane(inputs).measured, upper)


def _share(part: Tensor, whole: Tensor) -> float:
    return min(1.0, (part.norm() / whole.norm()).item()) if whole.any() else 0.0
