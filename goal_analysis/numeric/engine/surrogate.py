"""The surrogate ⟨stop_gradient(W), S⟩: which way its gradients are made, and how autograd is told."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from goal_analysis.numeric.engine.functions import Functions
from goal_analysis.numeric.engine.geometry import Geometry, alike, factors
from goal_analysis.numeric.engine.pairs import DENSE, SLOTS, Pairs, Rank
from goal_analysis.numeric.engine.small import fits, gradients_at_once, is_small
from goal_analysis.numeric.engine.tiled import few, tileable, tiled


def quick_surrogate(
    functions: Functions,
    similarity: str,
    x: Tensor,
    y: Tensor,
    row_ids: Tensor | None = None,
    column_ids: Tensor | None = None,
    rank: Rank | None = None,
    unit: bool = False,
) -> Tensor | None:
    """The surrogate without a matrix of scores, or None where there is no such way; all ways agree up to rounding.

    x has the shape ``(rows, dim)``, y ``(columns, dim)``. Equal ids match; without column ids column i comes with row
    i. A rank does its part where there is much to do; else all ranks do all. With ``unit`` both are unit vectors.
    """
    rows, columns = x.shape[0], y.shape[0]
    if not x.numel() or not columns or functions.reduction not in ("sum", "mean"):
        return None
    if not functions.rows:  # the turned batch has its anchors in the rows
        ids = (row_ids, None) if column_ids is None else (column_ids, row_ids)
        alone = replace(functions, rows=True, columns=False)
        return quick_surrogate(alone, similarity, y, x, *ids, rank and rank.transposed, unit)

    device = x.device.type
    if torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            return quick_surrogate(functions, similarity, x, y, row_ids, column_ids, rank, unit)
    small = is_small(functions, similarity, rows, columns)
    if not small and (not tileable(functions) or (few(functions) and similarity != "dot")):
        return None
    pairs = Pairs.of(functions, (rows, columns), row_ids, column_ids, x.device)
    if not small and math.prod(pairs.slots) > max(rows * columns // DENSE, SLOTS * pairs.anchors):
        if not (fits(functions) and rows > 1 and columns > 1):
            return None
        small = True
    if small:
        made = gradients_at_once(functions, Geometry.of(similarity, *alike(x.detach(), y.detach()), unit), pairs)
    else:
        with torch.no_grad():
            made = tiled(functions, Geometry.of(similarity, *factors(x, y), unit), pairs, rank=rank)
    return prescribed(x, y, *made)


def uncompiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.compiler.disable` that does not import torch._dynamo before anybody compiles."""
    off: Callable[..., Any] | None = None

    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        nonlocal off
        if "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        off = off or torch.compiler.disable(function)
        return off(*args, **kwargs)

    return inner


def differentiable_once(ctx: Any, *found: Tensor | None) -> tuple[Tensor | None, ...]:
    """What a backward pass returns of prescribed gradients: with ``create_graph=True`` too they have no derivative.

    `torch.autograd.function.once_differentiable` refuses only where the upstream gradient has a history; without one a
    gradient penalty would silently do nothing. It is refused to differentiate by the inputs, which are saved.
    """
    if not torch.is_grad_enabled():
        return found
    inputs = [e for e in ctx.saved_tensors if e is not None and e.requires_grad]
    return tuple(g if g is None else NoDerivative.apply(g.detach(), *inputs) for g in found)


class NoDerivative(torch.autograd.Function):
    """A number as it is, which refuses to be differentiated."""

    @staticmethod
    def forward(gradient: Tensor, *inputs: Tensor) -> Tensor:
        """Keep what the backward pass needs."""
        return gradient.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Refuse."""
        raise RuntimeError(
            "got the gradient of a gradient objective to differentiate but expected to differentiate it once: "
            "its gradient is prescribed, and has no derivative"
        )


class Prescribed(torch.autograd.Function):
    """A value with given gradients by one or two inputs, times the upstream gradient."""

    @staticmethod
    def forward(x: Tensor, y: Tensor | None, to_x: Tensor, to_y: Tensor | None, value: Tensor) -> Tensor:
        """Keep what the backward pass needs."""
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep what the backward pass needs."""
        x, y, to_x, to_y, _ = inputs
        ctx.save_for_backward(to_x, to_y, x, y)
        ctx.dtypes = x.dtype, x.dtype if y is None else y.dtype

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The gradients, times the upstream gradient."""
        one = not upstream.is_cuda and upstream.item() == 1  # which saves a gradient's memory again
        made = zip(ctx.saved_tensors[:2], ctx.dtypes, strict=True)
        of_x, of_y = (g if g is None else (g if one else upstream * g).to(dtype) for g, dtype in made)
        return differentiable_once(ctx, of_x, of_y, None, None, None)


def prescribed(*given: Any) -> Tensor:
    """`Prescribed.apply` without torch's look at the signature of `forward`, which takes longer than a small batch."""
    transformed = torch._C._are_functorch_transforms_active()
    apply: Any = Prescribed if transformed else super(torch.autograd.Function, Prescribed)
    return apply.apply(*given)
