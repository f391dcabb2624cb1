"""Products of embeddings and scores, summed in float32 at least.

A GPU multiplies bfloat16 numbers into float32 by itself: as exactly as it multiplies the same numbers widened, and many
times faster. So embeddings of that kind are left as they are there; everywhere else they are widened first.
"""

from __future__ import annotations

import torch
from torch import Tensor


def alike(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers in one dtype: the wider one of both, and float32 at least."""
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    return x.to(dtype), y.to(dtype)


def factors(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers without their history, as they are multiplied by `product` and `add_product`."""
    as_they_are = x.is_cuda and x.dtype == y.dtype == torch.bfloat16
    return (x.detach(), y.detach()) if as_they_are else alike(x.detach(), y.detach())


def dtype_of_products(x: Tensor) -> torch.dtype:
    """In which factors such as these are multiplied and added up."""
    return torch.promote_types(x.dtype, torch.float32)


def product(a: Tensor, b: Tensor, out: Tensor) -> None:
    """A·B, put into a tensor of `dtype_of_products`."""
    if a.dtype == out.dtype:
        torch.mm(a, b, out=out)
    else:
        torch.mm(a, b, out.dtype, out=out)


def add_product(to: Tensor, w: Tensor, e: Tensor, fresh: bool = False) -> None:
    """Add W·E to a gradient, or put it there; W is rounded to bfloat16 where E has that, as the gradient will be."""
    if w.dtype == e.dtype:
        to.addmm_(w, e, beta=0 if fresh else 1)
    elif fresh:
        torch.mm(w.to(e.dtype), e, to.dtype, out=to)
    else:
        to += torch.mm(w.to(e.dtype), e, to.dtype)
