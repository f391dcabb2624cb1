"""The gradient by similarities of a loss from elsewhere, recovered from its gradients by embeddings.

Let E hold the embeddings as rows, linearly independent, and G the gradient of the loss by E. A loss that
reads cosines or distances of its embeddings has g_i = Σ_j c_ij·(e_j − s_ij·e_i), one that reads dot products
g_i = Σ_j c_ij·e_j, with c_ij = ∂L/∂s_ij in both. So the coefficients of g_i in the basis E are the wanted
derivatives; that of e_i itself does not matter. Every pair is found twice, at its two ends: c is the mean,
which is the least-squares solution in these coordinates, and what it leaves of the tangential gradient is
reported as *unexplained*: zero for every function of the similarities, not zero if the gradient is stopped at
one end of a pair, or if the loss reads something else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from goal_analysis.numeric.measurement.constructed_embeddings import Arrangement, Inputs, vectors_with

LossFunction = Callable[..., Any]
"""A function that takes one of `Inputs` and returns a scalar tensor."""


class UnmeasurableLoss(ValueError):
    """A callable is no loss of one of the accepted kinds."""


@dataclass(frozen=True, eq=False)
class PairGradients:
    """∂L/∂s of every pair of vectors, at several points.

    Args:
        gradients: shape ``(points, vectors, vectors)``, symmetric, zero on the diagonal.
        unexplained: shape ``(points,)``; the norm of what the gradients of the pairs leave unexplained.
        norm: shape ``(points,)``; the norm of the tangential gradient.
        connected: whether the loss depended on its inputs at any point.
    """

    gradients: Float[Tensor, "points vectors vectors"]
    unexplained: Float[Tensor, " points"]
    norm: Float[Tensor, " points"]
    connected: bool


def name_of(loss_fn: LossFunction) -> str:
    """How error messages call a loss."""
    return getattr(loss_fn, "__name__", type(loss_fn).__name__)


_WORDS = {
    "labels": ("label", "target", "class", "ids"),
    "embeddings": (
        "embed",
        "feature",
        "image",
        "text",
        "query",
        "queries",
        "passage",
        "caption",
        "candidate",
        "key",
    ),
}


def infer_inputs(loss_fn: LossFunction) -> Inputs:
    """What a loss takes, read off the names of its parameters.

    Raises:
        UnmeasurableLoss: the names do not tell.

    >>> infer_inputs(lambda embeddings, labels: ...).name, infer_inputs(lambda scores: ...).name
    ('ONE_SET', 'SCORES')
    """
    function = loss_fn.forward if isinstance(loss_fn, torch.nn.Module) else loss_fn
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p.name for p in positional if p.default is p.empty]
    spoken = [p.name for p in positional][: max(2, len(required))]
    if len(spoken) > 1 and any(word in spoken[1].lower() for word in _WORDS["labels"]) and len(required) <= 2:
        return Inputs.ONE_SET
    if len(required) == 2 and all(any(w in name.lower() for w in _WORDS["embeddings"]) for name in required):
        return Inputs.TWO_SETS
    by_count = {1: Inputs.SCORES, 3: Inputs.TRIPLETS, 4: Inputs.QUERIES}
    if len(required) in by_count:
        return by_count[len(required)]
    given = ", ".join(p.name for p in parameters) or "unknown parameters"
    raise UnmeasurableLoss(
        f"{name_of(loss_fn)}: got a callable of ({given}), whose names do not tell what it takes; "
        f"say it by inputs=, one of {_accepted()}"
    )


def _accepted() -> str:
    return "; ".join(f"Inputs.{kind.name}: {kind.value}" for kind in Inputs)


def pair_gradients(
    loss_fn: LossFunction,
    arrangement: Arrangement,
    similarities: Float[Tensor, "points vectors vectors"],
    dim: int | None = None,
) -> PairGradients:
    """∂L/∂s of every pair of an arrangement of vectors, at every point.

    Args:
        loss_fn: the loss; gradients of its own parameters are neither computed nor changed.
        arrangement: how it is called.
        similarities: what the vectors' similarities are to be.
        dim: the dimension of the embeddings; by default the number of vectors.

    Raises:
        UnmeasurableLoss: the call fails, or returns no finite scalar.
    """
    if arrangement.inputs is Inputs.SCORES:
        n = arrangement.first
        scores = similarities[:, :n, n:].contiguous()
        by_scores, connected = _gradients(loss_fn, arrangement, scores, similarities)
        gradients = torch.zeros_like(similarities)
        gradients[:, :n, n:], gradients[:, n:, :n] = by_scores, by_scores.mT
        return PairGradients(gradients, by_scores.new_zeros(len(scores)), by_scores.flatten(1).norm(dim=1), connected)
    vectors = vectors_with(similarities, dim or similarities.shape[-1])
    found, connected = _gradients(loss_fn, arrangement, vectors, similarities)
    return PairGradients(*_by_pairs(found, vectors, similarities), connected)


def _by_pairs(found: Tensor, vectors: Tensor, similarities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The module's formulas: ∂L/∂s, the norm of what they leave, and that of the tangential gradient."""
    count = similarities.shape[-1]
    factor, inside = vectors[..., :count], found[..., :count]
    ends = torch.linalg.solve_triangular(factor, inside, upper=False, left=False)
    pairs = (ends + ends.mT) / 2
    pairs = pairs - torch.diag_embed(pairs.diagonal(dim1=-2, dim2=-1))
    own = (pairs * similarities).sum(-1, keepdim=True)
    tangential = found - (found * vectors).sum(-1, keepdim=True) * vectors
    left = tangential - (pairs @ vectors - own * vectors)
    return pairs, left.flatten(1).norm(dim=1), tangential.flatten(1).norm(dim=1)


def _gradients(
    loss_fn: LossFunction, arrangement: Arrangement, points: Tensor, similarities: Tensor
) -> tuple[Tensor, bool]:
    """The gradient of the loss by each of ``points``, one call a point, and whether there was any."""
    gradients, connected = torch.zeros_like(points), False
    for gradient, point, around in zip(gradients, points, similarities, strict=True):
        leaf = point.clone().requires_grad_()
        value = _value(loss_fn, arrangement, leaf)
        if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
            raise UnmeasurableLoss(f"{name_of(loss_fn)}: got {_described(value)} but expected a scalar tensor")
        # Many losses return a constant where nothing is active; that is a gradient of zero.
        found = torch.autograd.grad(value.sum(), leaf, allow_unused=True)[0] if value.requires_grad else None
        for what, number in (("value", value), ("gradient", found)):
            if number is not None and not torch.isfinite(number).all():
                raise UnmeasurableLoss(
                    f"{name_of(loss_fn)}: got a {what} that is not finite, at the similarities "
                    f"{[[round(s, 4) for s in row] for row in around.tolist()]}, but expected finite numbers"
                )
        if found is not None:
            gradient.copy_(found)
            connected = True
    return gradients, connected


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a value of shape {tuple(value.shape)} and {value.dtype}"
    return f"a value of type {type(value).__name__}"


def _value(loss_fn: LossFunction, arrangement: Arrangement, leaf: Tensor) -> Any:
    arguments = arrangement.arguments(leaf)
    try:
        return loss_fn(*arguments)
    except Exception as error:
        given = ", ".join(f"{tuple(a.shape)} {str(a.dtype).removeprefix('torch.')}" for a in arguments)
        raise UnmeasurableLoss(
            f"{name_of(loss_fn)}: called with {arrangement.inputs.value}, tensors of {given}, it raised "
            f"{type(error).__name__}: {error}. A module with parameters of its own wants .double() and dim=; "
            f"what it takes can be said by inputs=, one of {_accepted()}"
        ) from error
