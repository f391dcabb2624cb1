"""Dropout whose mask costs little on a CPU, where drawing one number for every value takes longer than the encoder."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

LEVELS = 2**16
"""The share that is left out is a multiple of 1/65,536."""


def check_share(name: str, share: float | int) -> float | int:
    """The share, which is from 0 to below 1.

    Raises:
        ValueError: it is not.
    """
    if not 0 <= share < 1:
        raise ValueError(f"{name}: got {share!r} but expected a number from 0 to below 1")
    return share


class Dropout(nn.Module):
    """In training every value is 0 with probability ``share``, and otherwise divided by 1 − ``share``.

    On a CPU one random number of 64 bits decides over four values.

    See "Dropout: A Simple Way to Prevent Neural Networks from Overfitting" (Srivastava et al., JMLR 15, 2014,
    https://jmlr.org/papers/v15/srivastava14a.html).

    Args:
        share: from 0 to below 1.

    Raises:
        ValueError: a share outside of [0, 1).
    """

    def __init__(self, share: float | int = 0.0) -> None:
        super().__init__()
        self.share = check_share("dropout", share)

    def extra_repr(self) -> str:
        """The share."""
        return f"{self.share:g}"

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The values that are left in, larger."""
        if not self.training or self.share == 0:
            return x
        if x.device.type != "cpu":
            return nn.functional.dropout(x, float(self.share))
        out = min(round(self.share * LEVELS), LEVELS - 1)
        drawn = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        left = drawn.view(torch.int16)[: x.numel()].view(x.shape) >= out - LEVELS // 2
        return x * left * (LEVELS / (LEVELS - out))
