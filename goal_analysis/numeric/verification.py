"""Verification: the derived weights against autograd and against numbers of many digits, batch by batch.

What is compared, each on the triplets or on the scores of a batch:

| quantity | with |
|---|---|
| T, P⁺, P⁻ | the same formulas in numbers of many digits |
| T·P⁺, T·P⁻, w⁺, w⁻ | autograd of the loss of one triplet, off the kinks |
| W | autograd of the loss of the batch by its scores |
| ∂L/∂X, ∂L/∂Y | autograd of the loss of the batch by its embeddings, through the similarity |

A relative error is the largest absolute one over the largest magnitude of its quantity in the batch. That of ∂L/∂X is
over the largest sum of a row's |W| if this is larger, as the gradient of a collapsed batch cancels to zero. At ties
and kinks W follows the conventions of `aggregation`, which are those of autograd, and is compared there too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import mpmath
import pandas as pd
import sympy as sp
import torch
from torch import Tensor

from goal_analysis.numeric.batch_loss import loss_value, weight_matrix
from goal_analysis.numeric.batches import BATCHES, Batch
from goal_analysis.numeric.formula import Values, formula
from goal_analysis.numeric.similarity import embedding_gradients, scores
from goal_analysis.symbolic.arithmetic import MULTIPRECISION
from goal_analysis.symbolic.decomposition import Decomposition
from goal_analysis.symbolic.evaluation import program
from goal_analysis.symbolic.primitives import hinge, s_n, s_p, step

BOUND = 1e-10
"""The largest relative error in float64."""

NEGLIGIBLE = 1e-14
"""An absolute error that is none: what should cancel to zero is left of this size."""

TRIPLETS = 24
"""How many triplets of a batch are looked at."""

DIGITS = 40

DTYPES = (torch.float64, torch.float32, torch.bfloat16)


class VerificationError(AssertionError):
    """The derived weights of a loss are not its gradient, or not finite."""


@dataclass(frozen=True, eq=False)
class Verification:
    """The errors of a loss's weights; all within their bounds.

    Args:
        frame: one row per batch, dtype and quantity with the columns ``loss``, ``batch``, ``dtype``, ``device``,
            ``quantity``, ``points`` (numbers that were compared), ``absolute`` and ``relative`` (the largest errors)
            and ``singular`` (numbers left out because the exact weight is infinite there).
    """

    frame: pd.DataFrame

    @property
    def worst(self) -> pd.DataFrame:
        """The largest errors over the batches, per dtype and quantity."""
        return self.frame.groupby(["dtype", "quantity"], sort=False)[["absolute", "relative"]].max()

    def _repr_html_(self) -> str:
        return self.worst.to_html()


@dataclass(frozen=True)
class _Compared:
    quantity: str
    computed: Tensor
    reference: Tensor
    scale: float = 0.0


def verify(
    decomposition: Decomposition,
    batches: Sequence[Batch | Callable[[], Batch]] = BATCHES,
    dtypes: Sequence[torch.dtype] = DTYPES,
    device: torch.device | str = "cpu",
    settings: Mapping[str, float] | None = None,
) -> Verification:
    """Compare a loss's weights with autograd, and return the errors.

    Args:
        decomposition: the loss with its derived weights.
        batches: what to compare on. One set of embeddings against itself is left out for a loss of class proxies.
        dtypes: of the embeddings and scores; weights of bfloat16 scores are computed in float32.
        device: where the weights are computed.
        settings: hyperparameters that differ from their defaults.

    Raises:
        VerificationError: a float64 error beyond `BOUND`, or, in any dtype, a number that is not finite where the
            exact one is; naming loss, quantity, batch, error and bound.
        ValueError: an unknown hyperparameter, or one outside of its domain.

    >>> from goal_analysis.numeric.batches import random_pairs
    >>> from goal_analysis.symbolic.aggregators import EACH
    >>> from goal_analysis.symbolic.decomposition import decompose
    >>> from goal_analysis.symbolic.loss import SymbolicLoss, Term
    >>> from goal_analysis.symbolic.primitives import gap, softplus
    >>> term = Term(outer=softplus(gap), positives=EACH(s_p), negatives=EACH(s_n))
    >>> loss = SymbolicLoss(name="soft_margin", title="Soft-margin triplet loss", terms=(term,))
    >>> frame = verify(decompose(loss), [random_pairs], [torch.float64]).frame
    >>> frame.quantity.tolist(), bool(frame.relative.max() < 1e-14)
    (['T', 'P⁺', 'P⁻', 'T·P⁺', 'w⁺', 'T·P⁻', 'w⁻', 'W', '∂L/∂X', '∂L/∂Y'], True)
    """
    loss = decomposition.loss
    rows = []
    for batch in (b if isinstance(b, Batch) else b() for b in batches):
        if batch.one_set and loss.proxies:
            continue
        for dtype in dtypes:
            for compared in _comparisons(decomposition, batch, dtype, device, settings):
                of = {"loss": loss.name, "batch": batch.name, "dtype": str(dtype).removeprefix("torch.")}
                row = of | {"device": str(device), "quantity": compared.quantity} | _errors(compared)
                _check(row, dtype)
                rows.append(row)
    return Verification(pd.DataFrame(rows).drop(columns="finite"))


def _check(row: dict, dtype: torch.dtype) -> None:
    where = f"loss {row['loss']!r}: {row['quantity']} on batch {row['batch']!r} in {row['dtype']}"
    if not row["finite"]:
        raise VerificationError(f"{where}: got a number that is not finite where the exact one is")
    if dtype == torch.float64 and row["relative"] > BOUND and row["absolute"] > NEGLIGIBLE:
        raise VerificationError(
            f"{where}: got a relative error of {row['relative']:.3g} but expected at most {BOUND:g}"
        )


def _errors(compared: _Compared) -> dict[str, float | int | bool]:
    computed, reference = compared.computed.double().cpu().flatten(), compared.reference.flatten()
    exists = reference.isfinite()
    error = (computed - reference)[exists].abs()
    absolute = float(error.max()) if len(error) else 0.0
    scale = max(compared.scale, float(reference[exists].abs().max()) if len(error) else 0.0)
    return {
        "points": len(error),
        "absolute": absolute,
        "relative": absolute / scale if absolute else 0.0,
        "singular": int((~exists).sum()),
        "finite": bool(computed[exists].isfinite().all()),
    }


def _comparisons(decomposition, batch, dtype, device, settings) -> Iterator[_Compared]:
    loss = decomposition.loss
    values = tuple(loss.values(settings).items())
    embeddings = [e.to(device, dtype) for e in (batch.rows, batch.columns)]
    similarities = scores(loss.similarity, *embeddings).to(dtype)
    yield from _of_triplets(decomposition, *_triplets(similarities, batch), values)

    exact = similarities.double().cpu().requires_grad_()
    reference = _gradients(loss_value(loss, exact, batch.matches, settings), exact)[0]
    _check_singularities(decomposition, exact, reference, values)
    matches = batch.matches.to(device)
    w = weight_matrix(decomposition, similarities, matches, settings)
    yield _Compared("W", w, reference)

    leaves = [e.double().cpu().requires_grad_() for e in embeddings]
    value = loss_value(loss, scores(loss.similarity, *leaves), batch.matches, settings)
    found = embedding_gradients(loss.similarity, w, *(e.to(w.dtype) for e in embeddings))
    for name, gradient, expected, axis in zip("XY", found, _gradients(value, *leaves), (1, 0), strict=True):
        yield _Compared(f"∂L/∂{name}", gradient, expected, float(reference.abs().sum(axis).max()))
