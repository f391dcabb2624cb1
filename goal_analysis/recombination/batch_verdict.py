"""The verdict on a batch."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp


@dataclass(frozen=True)
class BatchIntegrability:
    """Whether W(S) is the gradient of a loss.

    Args:
        integrable: the verdict; None where it was neither proved nor refuted.
        reason: why, in one sentence.
        potential: U = ∫P⁻ds_n − ∫P⁺ds_p where a closed form was found.
        loss: the loss of one triplet, or with ``x_p`` and ``x_n`` of one anchor of softmax mining, where one was
            found. Similarities that it reads besides aggregates stand for the mean over the anchor's pairs.
    """

    integrable: bool | None
    reason: str
    potential: sp.Expr | None = None
    loss: sp.Expr | None = None
