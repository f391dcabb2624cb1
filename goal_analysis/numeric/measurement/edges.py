"""Where a loss is not finite, and where its weights explode: at the ends of the similarities and on poor batches.

At s = ±1 vectors coincide or are opposite, and the gradient by similarities cannot be recovered from the embeddings'.
Whether value and gradients are finite there can be seen. The same is asked of a zero vector, and of batches in which
nobody has a positive or a negative. Towards the ends, weights that grow by a constant factor,
every five times nearer, grow without bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from goal_analysis.numeric.measurement.arrangement import (
    LAYOUTS,
    Arrangement,
    arranged,
    batch_similarities,
    in_batch,
    on_plane,
    plane_similarities,
)
from goal_analysis.numeric.measurement.calling import Call
from goal_analysis.numeric.measurement.gradients import Field, differentiated, plane_field
from goal_analysis.numeric.measurement.inputs import Inputs, UnmeasurableLoss

ENDS = {
    "s_p = 1": (1.0, 0.2),
    "s_p = −1": (-1.0, 0.0),
    "s_n = 1": (0.1, 1.0),
    "s_n = −1": (0.1, -1.0),
    "s_p = s_n = 1": (1.0, 1.0),
    "s_p = s_n": (0.2, 0.2),
}
"""Points (s_p, s_n) by what is special about them."""

TURNS = 4  # the embeddings are also turned at random so often: rounding takes a cosine to either side of 1
NEARER = (2e-2, 4e-3, 8e-4)  # distances from an end
GROWTH = 1.5  # weights that grow by as much, every five times nearer, grow without bound; those of a root do by 2.2
SMALL = 1e-9


def not_finite(call: Call) -> dict[str, str]:
    """What is NaN or infinite, or raises, by where."""
    found = {}
    for place, arrangement, points in _cases(call):
        if said := dict.fromkeys(words for point in points for words in _complaints(call, arrangement, point)):
            found[place] = ", ".join(said)
    return found


def _cases(call: Call) -> Iterator[tuple[str, Arrangement, list[Tensor]]]:
    shape, plane = call.shape, on_plane(call.shape)
    for place, (s_p, s_n) in ENDS.items():
        at = plane_similarities(plane, torch.tensor([s_p]).double(), torch.tensor([s_n]).double())
        if shape.of_scores:
            (scores,) = plane.points(at)
            # Scores of vectors in float are above 1 by their rounding as often as not.
            yield place, plane, [scores, scores * (1 + 4 * torch.finfo(shape.dtype).eps)]
        elif (vectors := at_the_edge(at[0])) is not None:
            yield place, plane, _turned(vectors, shape.dim)
    for place, layout in LAYOUTS[shape.inputs][2].items():
        arrangement = arranged(shape, layout)
        yield place, arrangement, [*arrangement.points(batch_similarities(arrangement, 0)[None])]
    if not shape.of_scores:
        arrangement = in_batch(shape)
        (vectors,) = arrangement.points(batch_similarities(arrangement, 0)[None])
        vectors[0] = 0
        yield "a vector of zeros", arrangement, [vectors]


def between_labels(call: Call) -> str:
    """What a loss of pairs makes of a label halfway from negatives to positives; empty where labels are not graded."""
    shape, s = call.shape, torch.linspace(-0.99, 0.99, 199, dtype=torch.float64)
    if shape.inputs is not Inputs.PAIRS or not all(isinstance(label, float) for label in shape.labels):
        return ""
    middle = sum(shape.labels) / 2
    graded = [replace(call, shape=replace(shape, labels=(label, label))) for label in (*shape.labels, middle)]
    try:
        *of_labels, of_middle = (plane_field(each)(torch.stack([s, s], 1))[:, 0] for each in graded)
    except UnmeasurableLoss:
        return ""
    if torch.allclose(of_labels[0], of_labels[1]):  # labels are compared with each other
        return ""
    for label, weights in zip(shape.labels, of_labels, strict=True):
        if torch.allclose(weights, of_middle):
            return f"a label of {middle:g} counts as {label:g}"
    pulls = of_middle < 0
    if (turn := pulls.int().diff().nonzero().flatten()).numel() != 1:
        return "" if of_middle.any() else f"a label of {middle:g} has no gradient"
    first, then = ("pulls", "pushes") if pulls[0] else ("pushes", "pulls")
    return f"of a label of {middle:g} it {first} below s = {s[turn + 1].item():.2g} and {then} above"


def at_the_edge(similarities: Tensor) -> Tensor | None:
    """Vectors with these similarities that may depend on each other, equal ones exactly so; None if there are none."""
    values, directions = torch.linalg.eigh(similarities)
    if values[0] < -SMALL:
        return None
    rows = directions * values.clamp(min=0).sqrt()
    equal = (similarities[:, None] == similarities[None]).all(2)
    return rows[equal.int().argmax(1)]  # of equal rows the first


def _turned(vectors: Float[Tensor, "vectors rank"], dim: int | None) -> list[Tensor]:
    """The vectors as they are, and turned at random."""
    wide = torch.nn.functional.pad(vectors, (0, (dim or len(vectors)) - vectors.shape[1]))
    generator = torch.Generator().manual_seed(0)
    size = wide.shape[1]
    turns = (torch.randn(size, size, generator=generator, dtype=wide.dtype) for _ in range(TURNS))
    return [wide, *(wide @ torch.linalg.qr(turn).Q for turn in turns)]


def _complaints(call: Call, arrangement: Arrangement, point: Tensor) -> Iterator[str]:
    try:
        value, gradient, learned = differentiated(call, arrangement, point[None])
    except UnmeasurableLoss as error:
        yield f"raises {type(error.__cause__).__name__}" if error.__cause__ else "returns no scalar"
        return
    found = {"value": value, "gradient": gradient} | {f"gradient of {name}": g for name, g in learned.items()}
    for what, x in found.items():
        if x is not None and not x.isfinite().all():
            yield f"{what} {'NaN' if x.isnan().any() else 'infinite'}"


def explosions(plane: Field) -> dict[str, str]:
    """Which weights grow without bound, by the end that they grow towards."""
    near, found = torch.tensor(NEARER, dtype=torch.float64), {}
    same = torch.full_like(near, 0.3)
    ends = {"s_p → 1": (1 - near, same), "s_p → −1": (near - 1, 0 * same)}
    ends |= {"s_n → 1": (same, 1 - near), "s_n → −1": (same, near - 1)}
    for end, sides in ends.items():
        grown = []
        for name, w in zip(("w⁺", "w⁻"), plane(torch.stack(sides, 1)).abs().T, strict=True):
            ratios = w[1:] / w[:-1]
            if w.isfinite().all() and (w > 0).all() and (ratios > GROWTH).all() and ratios[1] > 0.8 * ratios[0]:
                grown.append(f"{name} grows {ratios[1]:.2g}-fold every five times nearer")
        if grown:
            found[end] = ", ".join(grown)
    return found
