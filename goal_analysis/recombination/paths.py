"""From embeddings to a value with prescribed gradients: which way is taken, and how autograd is told.

Hardest and soft mining of dot products have ways of their own, which keep no matrix of scores; everything else goes
through the whole matrix. All give the same gradients up to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.mining import Hardest, Softmax
from goal_analysis.recombination.hardest import hardest_weights
from goal_analysis.recombination.positives import Positives
from goal_analysis.recombination.products import dtype_of_products, factors
from goal_analysis.recombination.sparse import SparseWeights
from goal_analysis.recombination.streamed import soft_gradients
from goal_analysis.recombination.weighting import Weighting
from goal_analysis.symbolic.objective import Reduction


def quick_surrogate(
    weighting: Weighting,
    reduction: Reduction,
    images: Tensor,
    texts: Tensor,
    image_ids: Tensor | None = None,
    text_ids: Tensor | None = None,
) -> Tensor | None:
    """The surrogate ⟨W, S⟩ of dot products by a way of its own, or None where there is none.

    There is one for `Hardest` and for `Softmax` with scales above zero, with weights that read their own triplet alone
    and at most a few positives an anchor.

    Args:
        weighting: what W is.
        reduction: the sum over the anchors, or the mean over those that have a triplet.
        images: shape ``(images, dim)``.
        texts: shape ``(texts, dim)``.
        image_ids: shape ``(images,)``; None for pairs.
        text_ids: shape ``(texts,)``; None where text i comes with image i.
    """
    mining = weighting.mining
    soft = isinstance(mining, Softmax) and min(mining.positive_scale, mining.negative_scale) > 0
    if not (soft or isinstance(mining, Hardest)) or weighting.pair_weights.relative or not images.numel():
        return None
    if not len(texts):
        return None
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        positives = _positives_of(len(images), images.device, image_ids, text_ids)
        if positives is None:
            return None
        x, y = factors(images, texts)
        if isinstance(mining, Softmax):
            *parts, anchors = soft_gradients(weighting, mining, x, y, positives)
        else:
            entries, value, anchors = hardest_weights(weighting, x, y, positives)
            parts = [entries.row, entries.column, entries.weight, value]
        if reduction is Reduction.MEAN:
            for part in parts[-2:] if isinstance(mining, Hardest) else parts:
                part /= anchors.clamp_min(1)
    way = _Prescribed if isinstance(mining, Softmax) else _Sparse
    return way.apply(images, texts, *parts)


def matches_of(n: int, device: torch.device, image_ids: Tensor | None, text_ids: Tensor | None) -> Matches:
    """Which pairs match: those of equal ids, or without ids the diagonal."""
    return Matches.of_pairs(n, device) if image_ids is None else Matches.of_image_ids(image_ids, text_ids)


def prescribed(x: Tensor, y: Tensor | None, to_x: Tensor, to_y: Tensor | None, value: Tensor) -> Tensor:
    """This value, with these gradients times the upstream gradient."""
    return _Prescribed.apply(x, y, to_x, to_y, value)


def _positives_of(n: int, device: torch.device, image_ids: Tensor | None, text_ids: Tensor | None) -> Positives | None:
    if image_ids is None:
        return Positives.of_pairs(n, device)
    return Positives.of_ids(image_ids, image_ids if text_ids is None else text_ids)


def differentiable_once(backward: Callable[..., tuple[Tensor | None, ...]]) -> Callable[..., tuple[Tensor | None, ...]]:
    """The backward pass of prescribed gradients: with ``create_graph=True`` it runs, but they have no derivative.

    `torch.autograd.function.once_differentiable` refuses only where the upstream gradient has a history; without one
    what it returns would pass for a constant, and a gradient penalty would silently do nothing.
    """

    @functools.wraps(backward)
    def way(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            found = backward(ctx, *upstream)
        if not torch.is_grad_enabled():
            return found
        return tuple(g if g is None else _NoDerivative.apply(g, g.new_zeros((), requires_grad=True)) for g in found)

    return way


class _NoDerivative(torch.autograd.Function):
    """A number as it is, which refuses to be differentiated."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, of: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError(
            "got the gradient of a gradient objective to differentiate but expected to differentiate it once: "
            "its gradient is prescribed, and has no derivative"
        )


class _Prescribed(torch.autograd.Function):
    """A value with given gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor | None, to_x: Tensor, to_y: Tensor | None, value: Tensor) -> Tensor:
        ctx.save_for_backward(*(g for g in (to_x, to_y) if g is not None))
        ctx.dtypes = [e.dtype for e in (x, y) if e is not None]
        return value.clone()

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        found = [(upstream * g).to(dtype) for g, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)]
        return (*found, *([None] * (5 - len(found))))


class _Sparse(torch.autograd.Function):
    """A value whose gradients W·Y and Wᵀ·X are made from the entries of W when they are asked for."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, row: Tensor, column: Tensor, weight: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(x, y, row, column, weight)
        return value.clone()

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, y, row, column, weight = ctx.saved_tensors
        entries = SparseWeights(row, column, upstream * weight)
        dtype = dtype_of_products(weight)
        to_x = entries.times(y.to(dtype), len(x)).to(x.dtype) if ctx.needs_input_grad[0] else None
        to_y = entries.transposed.times(x.to(dtype), len(y)).to(y.dtype) if ctx.needs_input_grad[1] else None
        return to_x, to_y, None, None, None, None
