"""Work cut into strips, so that what is in memory at a time is bounded."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

AT_A_TIME = 2**22
"""Numbers that one tensor of a strip has at most, or as many as one row has."""


def in_strips(score: Callable[[slice], Tensor], rows: int, size: int) -> Float[Tensor, "rows ..."]:
    """What ``score`` gives for all rows, asked for a strip of them at a time.

    Where gradients are wanted, a strip is computed again when they are, and its intermediate tensors are not kept.

    Args:
        score: of a slice of the rows.
        rows: how many there are, at least 1.
        size: numbers in the largest tensor for one row.
    """
    step = max(1, AT_A_TIME // max(size, 1))
    strips = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
    if torch.is_grad_enabled() and len(strips) > 1:
        return torch.cat([checkpoint(score, strip, use_reentrant=False) for strip in strips])
    return torch.cat([score(strip) for strip in strips])
