"""The weights of any loss, measured over the plane, and whether they are a gradient.

Nothing is known of the loss but its values and autograd's gradients. `constructed_embeddings` says which
vectors it is given, `black_box` how ∂L/∂s is recovered. With L(s_p, s_n) the loss of the constructed vectors,

    w⁺ = −Σ ∂L/∂s over the positive pairs        w⁻ = Σ ∂L/∂s over the negative pairs

are −∂L/∂s_p and ∂L/∂s_n, unless a gradient is stopped: then they are what trains in the place of these
derivatives.
"""

from __future__ import annotations

import torch
from torch import Tensor

from goal_analysis.numeric.measurement.black_box import (
    LossFunction,
    PairGradients,
    UnmeasurableLoss,
    infer_inputs,
    name_of,
    pair_gradients,
)
from goal_analysis.numeric.measurement.constructed_embeddings import Inputs, on_plane, plane_similarities, reachable
from goal_analysis.numeric.measurement.measured_factors import measured_factors
from goal_analysis.numeric.measurement.measured_weights import Measurement
from goal_analysis.numeric.measurement.non_integrability import STEP, non_integrability

BESIDE = (1.37e-3, -0.89e-3)
"""The curl is looked at this far from the grid, whose points lie on kinks more often than others do."""


def against_references(loss_fn: LossFunction) -> LossFunction:
    """A loss of (embeddings, labels, ref_emb=, ref_labels=) as one of `Inputs.QUERIES`.

    The losses of pytorch-metric-learning that take references are so measured over the whole plane, and
    without the negative as an anchor of its own, which a single set of embeddings always has.

    >>> def paired(embeddings, labels, ref_emb, ref_labels):
    ...     return ((embeddings @ ref_emb.T) * (labels[:, None] != ref_labels)).sum()
    >>> measure(against_references(paired), points=2).w_n
    tensor([[2., 2.], [2., 2.]], dtype=torch.float64)
    """

    def with_references(queries: Tensor, query_labels: Tensor, references: Tensor, reference_labels: Tensor) -> Tensor:
        return loss_fn(queries, query_labels, ref_emb=references, ref_labels=reference_labels)

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
        loss_fn: a callable of one of `Inputs` that returns a scalar; the gradients of its own parameters stay
            as they are. A module with parameters wants ``.double()``.
        inputs: what it takes; by default read off the names of its parameters.
        points: grid points along each similarity; the cost is 5·points² calls of the loss, and the batches'.
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
    grid = torch.linspace(-limit, limit, points, dtype=torch.float64)
    s_p, s_n = (s.reshape(-1) for s in torch.meshgrid(grid, grid, indexing="ij"))
    inside = reachable(plane_similarities(inputs, s_p, s_n)) | torch.tensor(inputs is Inputs.SCORES)
    around = torch.tensor([(0, STEP), (0, -STEP), (STEP, 0), (-STEP, 0)], dtype=torch.float64)
    shifts = torch.cat([torch.zeros(1, 2, dtype=torch.float64), around + torch.tensor(BESIDE, dtype=torch.float64)])
    at_p, at_n = (s[inside] + shift[:, None] for s, shift in zip((s_p, s_n), shifts.T, strict=True))
    similarities = plane_similarities(inputs, at_p.reshape(-1), at_n.reshape(-1))
    found = pair_gradients(loss_fn, on_plane(inputs), similarities, dim)
    if not found.connected:
        raise UnmeasurableLoss(
            f"{name or name_of(loss_fn)}: got a loss without a gradient by {inputs.value} "
            "but expected one that autograd can follow to its inputs"
        )
    w_p, w_n = (w.reshape(5, -1) for w in _weights(found, inputs))
    slopes = (w_p[1] - w_p[2]) / (2 * STEP), (w_n[3] - w_n[4]) / (2 * STEP)

    def on_grid(values: Tensor) -> Tensor:
        return (
            torch.full((points * points,), torch.nan, dtype=grid.dtype).masked_scatter(inside, values).view(points, -1)
        )

    return Measurement(
        name=name or name_of(loss_fn),
        inputs=inputs,
        s_p=grid,
        s_n=grid,
        w_p=on_grid(w_p[0]),
        w_n=on_grid(w_n[0]),
        curl=on_grid(slopes[0] + slopes[1]),
        curl_scale=on_grid(slopes[0].abs() + slopes[1].abs()),
        factors=measured_factors(grid, on_grid(w_p[0]), on_grid(w_n[0])),
        non_integrability=non_integrability(loss_fn, inputs, dim=dim),
        unexplained=_share(found.unexplained, found.norm),
        aside=_aside(found, inputs),
    )


def _weights(found: PairGradients, inputs: Inputs) -> tuple[Tensor, Tensor]:
    arrangement = on_plane(inputs)
    positives, negatives = (found.gradients[:, m].sum(-1) for m in (arrangement.positives, arrangement.negatives))
    return -positives, negatives


def _aside(found: PairGradients, inputs: Inputs) -> float:
    upper = found.gradients.triu(1)
    return _share(upper * ~on_plane(inputs).measured, upper)


def _share(part: Tensor, whole: Tensor) -> float:
    return (part.norm() / whole.norm()).item() if whole.any() else 0.0
