"""The gradient by similarities of any loss, recovered from its gradients by embeddings.

Of independent embeddings e_i, a loss of cosines or distances has ∂L/∂e_i = Σ_j c_ij·(e_j − s_ij·e_i), and one of dot
products Σ_j c_ij·e_j, with c_ij = ∂L/∂s_ij, the mean of both ends. What it leaves of the tangential gradient is
*unexplained*: the gradient is stopped at one end, or the loss reads something else than similarities.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from goal_analysis.numeric.measurement.arrangement import Arrangement, in_batch, on_plane, plane_similarities, turn
from goal_analysis.numeric.measurement.calling import ACCEPTED, Call, UnmeasurableLoss, copy_of
from goal_analysis.numeric.measurement.fields import share


@dataclass(frozen=True, eq=False)
class PairGradients:
    """∂L/∂s of every pair at several points, symmetric, zero on the diagonal; NaN where the loss is not finite."""

    gradients: Float[Tensor, "points vectors vectors"]
    unexplained: float  # the share of the tangential gradient that they leave
    used: Bool[Tensor, " vectors"]  # at which vectors there was any gradient
    connected: bool  # whether the loss depended on its inputs at all
    precision: float  # the resolution of the type that the loss returned
    learned: Mapping[str, Float[Tensor, " points"]]  # the gradient of every parameter, or its norm


def pair_gradients(
    call: Call, arrangement: Arrangement, similarities: Float[Tensor, "points vectors vectors"]
) -> PairGradients:
    """∂L/∂s of every pair of an arrangement of vectors, with the errors of `differentiated`."""
    points, n = arrangement.points(similarities), arrangement.first
    values, found, learned = differentiated(call, arrangement, points)
    connected, precision = found is not None, torch.finfo(values.dtype).eps
    found = torch.zeros_like(points) if found is None else found
    finite = values.isfinite() & found.flatten(1).isfinite().all(1)
    found = found.masked_fill(~finite[:, None, None], torch.nan)
    if call.shape.of_scores:
        pairs = torch.zeros_like(similarities)
        pairs[:, :n, n:] = found
        used, unexplained = found.nan_to_num().any().expand(len(arrangement.labels)), 0.0
        return PairGradients(pairs + pairs.mT, unexplained, used, connected, precision, learned)
    count = similarities.shape[-1]
    if call.shape.turned:
        points, found = (x @ turn(x.shape[-1]).T for x in (points, found))
    ends = torch.linalg.solve_triangular(points[..., :count], found[..., :count], upper=False, left=False)
    pairs = (ends + ends.mT) / 2
    pairs = pairs - torch.diag_embed(pairs.diagonal(dim1=-2, dim2=-1))
    tangential = found - (found * points).sum(-1, keepdim=True) * points
    explained = pairs @ points - (pairs * similarities).sum(-1, keepdim=True) * points
    unexplained = share((tangential - explained).nan_to_num(), tangential.nan_to_num())
    used = found.nan_to_num().abs().sum((0, 2)) > 0
    return PairGradients(pairs, unexplained, used, connected, precision, learned)


Differentiated = tuple[Float[Tensor, " points"], Tensor | None, dict[str, Float[Tensor, " points"]]]


def differentiated(call: Call, arrangement: Arrangement, points: Tensor) -> Differentiated:
    """The loss at every one of ``points``, vectors or scores, its gradient by them and those of its parameters.

    A call that fails, returns no scalar, or cannot be differentiated raises `UnmeasurableLoss`.
    """
    if call.at_once and len(points) > 1:
        with suppress(Exception):  # what cannot be mapped is called point by point
            return mapped(call, arrangement, points)
    return _differentiated(call, points, lambda x, own: torch.stack(
        [value_of(call, arrangement, at, {n: p[k] for n, p in own.items()}) for k, at in enumerate(x.unbind())]
    ))  # fmt: skip


def mapped(call: Call, arrangement: Arrangement, points: Tensor) -> Differentiated:
    """`differentiated`, in one call that torch maps over the points; whatever a loss raises that cannot be mapped."""
    apart = replace(call, loss_fn=copy_of(call.loss_fn), remembers=False)
    with warnings.catch_warnings(action="ignore"):
        return _differentiated(apart, points, torch.vmap(lambda x, own: value_of(apart, arrangement, x, own)))


def _differentiated(
    call: Call, points: Tensor, values_at: Callable[[Tensor, Mapping[str, Tensor]], Tensor]
) -> Differentiated:
    # Every point has parameters of its own, so that one sum has the gradients of all points.
    leaf, own = points.clone().requires_grad_(), {}
    for name, p in call.learned.items():
        own[name] = p.detach().expand(len(points), *p.shape).clone().requires_grad_()
    values = values_at(leaf, own)
    nothing = {name: points.new_zeros(len(points)) for name in own}
    if not values.requires_grad:
        return values, None, nothing
    try:
        by_point, *others = torch.autograd.grad(values.sum(), [leaf, *own.values()], allow_unused=True)
    except Exception as error:
        raise UnmeasurableLoss(
            f"{call.name}: got a loss that cannot be differentiated: {type(error).__name__}: {error}"
        ) from error
    call.forget_graphs()
    known = {n: g.reshape(len(points), -1) for n, g in zip(own, others, strict=True) if g is not None}
    learned = {n: (g[:, 0] if g.shape[1] == 1 else g.norm(dim=1)).to(points.dtype) for n, g in known.items()}
    return values.detach(), by_point, nothing | learned


def value_of(call: Call, arrangement: Arrangement, point: Tensor, learned: Mapping[str, Tensor]) -> Tensor:
    """The loss at vectors or scores; `UnmeasurableLoss` where the call fails, or returns nothing to train."""
    return returned(call, arrangement, point, learned)[0]


def returned(call: Call, arrangement: Arrangement, point: Tensor, learned: Mapping[str, Tensor]) -> tuple[Tensor, str]:
    """The loss at vectors or scores, as `value_of`, and in words what was made of what the call returned."""
    shape = call.shape
    arguments = arrangement.arguments(point.to(shape.dtype))
    try:
        value = call(*arguments, **learned)
    except Exception as error:
        given = ", ".join(f"{tuple(a.shape)} {str(a.dtype).removeprefix('torch.')}" for a in arguments)
        raise UnmeasurableLoss(
            f"{call.name}: called with {shape.inputs.value}, tensors of {given}, it raised {type(error).__name__}: "
            f"{error}. What it takes can be said by inputs=, one of {ACCEPTED}; a dimension by dim=, a type by dtype="
        ) from error
    return _trained(value, call.name)


def _trained(value: Any, name: str) -> tuple[Tensor, str]:
    if isinstance(value, float | int) and not isinstance(value, bool):  # as a sum of no terms is
        value = torch.tensor(float(value), dtype=torch.float64)
    if isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 0:
        return value.mean(), "" if value.numel() == 1 else f"the mean of what it returns, of shape {tuple(value.shape)}"
    held = {} if isinstance(value, Tensor) else _parts(value)
    trained = {k: v for k, v in held.items() if isinstance(v, Tensor) and v.numel() == 1 and v.is_floating_point()}
    for preferred in (lambda v: v.requires_grad, lambda v: v.ndim == 0):
        trained = {k: v for k, v in trained.items() if preferred(v)} or trained
    key = "loss" if "loss" in trained else next(iter(trained), "")
    if len(trained) == 1 or key == "loss":
        return trained[key].mean(), "" if len(held) == 1 else f"{key} of what it returns"
    got = (
        f"shape {tuple(value.shape)} and {value.dtype}" if isinstance(value, Tensor) else f"type {type(value).__name__}"
    )
    several = f" with the scalars {', '.join(trained)}" if trained else ""
    raise UnmeasurableLoss(f"{name}: got a value of {got}{several} but expected a scalar tensor, or one called loss")


def _parts(value: Any) -> dict[str, Any]:
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return {f"value {place}": part for place, part in enumerate(value, 1)}
    named = value if isinstance(value, Mapping) else getattr(value, "_asdict", lambda: getattr(value, "__dict__", {}))()
    return {str(key): part for key, part in named.items()}


@dataclass(frozen=True, eq=False)
class Field:
    """The gradient of a loss by coordinates of the similarities, each of which is that of some pairs."""

    call: Call
    arrangement: Arrangement
    axes: Bool[Tensor, "coordinates vectors vectors"]  # the pairs of every coordinate
    similarities: Callable[[Float[Tensor, "points coordinates"]], Float[Tensor, "points vectors vectors"]]

    def __call__(self, x: Float[Tensor, "*points coordinates"]) -> Float[Tensor, "*points coordinates"]:
        """∂L/∂x; NaN where no unit vectors are, or where the loss is not finite."""
        similarities = self.similarities(x.flatten(0, -2))
        inside = self.arrangement.reaches(similarities)
        found = torch.full((len(inside), x.shape[-1]), torch.nan, dtype=x.dtype)
        if inside.any():
            found[inside] = self.along_axes(pair_gradients(self.call, self.arrangement, similarities[inside]).gradients)
        return found.view_as(x)

    def coordinates(self, similarities: Float[Tensor, "points vectors vectors"]) -> Float[Tensor, "points coordinates"]:
        """Those of vectors with these similarities, each that of the first of its pairs."""
        first = self.axes.flatten(1).int().argmax(1)
        return similarities.flatten(1)[:, first]

    def along_axes(self, gradients: Float[Tensor, "points vectors vectors"]) -> Float[Tensor, "points coordinates"]:
        """The sums of the pairs' gradients."""
        return torch.einsum("pij,cij->pc", gradients, self.axes.to(gradients.dtype))


def plane_field(call: Call) -> Field:
    """(−w⁺, w⁻) by (s_p, s_n)."""
    plane = on_plane(call.shape)
    axes = torch.stack([plane.positives, plane.negatives])
    return Field(call, plane, axes, lambda x: plane_similarities(plane, *x.T))


def batch_field(call: Call) -> Field:
    """The gradient by the similarity of every pair of a small batch, of every score for a loss of scores."""
    batch = in_batch(call.shape)
    pairs = (batch.measured if call.shape.of_scores else torch.ones_like(batch.measured).triu(1)).nonzero()
    axes = torch.zeros(len(pairs), *batch.measured.shape, dtype=torch.bool)
    axes[(torch.arange(len(pairs)), *pairs.T)] = True

    def similarities(x: Tensor) -> Tensor:
        upper = torch.einsum("pc,cij->pij", x, axes.to(x.dtype))
        return upper + upper.mT + torch.eye(len(batch.labels), dtype=x.dtype)

    return Field(call, batch, axes, similarities)
