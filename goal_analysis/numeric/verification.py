"""Verification: the derived weights against autograd and against numbers of many digits, batch by batch.

| quantity | with |
|---|---|
| T, P⁺, P⁻ | the same formulas in numbers of many digits |
| T·P⁺, T·P⁻, w⁺, w⁻ | autograd of the loss of one triplet, off the kinks |
| L | the loss in plain loops, `anchor_by_anchor`, up to `ROWS` rows and columns |
| W | autograd of those loops by the scores; past `ROWS` of `loss_value`, which shares the engine |
| ∂L/∂X, ∂L/∂Y | autograd of `loss_value` by the embeddings, through the similarity |

A relative error is the largest absolute one over the largest magnitude of its quantity in the batch, or over what
cancels in it: the rounding of the summands is none, and the error of ∂L/∂X is over the largest sum of a row's |W|. At
ties and kinks W follows the conventions of the engine's aggregators, and is compared there too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import mpmath
import pandas as pd
import sympy as sp
import torch
from torch import Tensor

from goal_analysis.numeric.anchor_by_anchor import AnchorByAnchor, anchor_by_anchor
from goal_analysis.numeric.batches import BATCHES, Batch
from goal_analysis.numeric.compilation import Values, formula
from goal_analysis.numeric.functions import loss_value, weights_of_scores
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import embedding_gradients, scores
from goal_analysis.symbolic.analysis.decomposition import Decomposition
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, step, undetach
from goal_analysis.symbolic.objective import Objective
from goal_analysis.symbolic.proof.evaluation import MULTIPRECISION, Program, program

BOUND = 1e-10  # the largest relative error in float64

NARROW_BOUND = 1e-3
"""The largest relative error in float32, and of what half precisions compute, in float32, from rounded scores; the
catalog's worst is 2e-5.
"""

HALF_BOUND = 0.5
"""The largest relative error of the gradients of embeddings in half precisions: the scores that the weights are
computed from are rounded, those of the reference are not.
"""

ROUNDING = 64  # how many units in the last place of what is summed may be left of what cancels to zero
ROWS = 64  # the most rows and columns of a batch that is gone through anchor by anchor
TRIPLETS = 24  # how many triplets of a batch are looked at
DIGITS = 40
DTYPES = (torch.float64, torch.float32, torch.bfloat16)


class VerificationError(AssertionError):
    """The derived weights of a loss are not its gradient, or not finite."""


@dataclass(frozen=True, eq=False)
class Verification:
    """The errors of a loss's weights; all within their bounds.

    Args:
        frame: one row per batch, dtype and quantity with the columns ``loss``, ``batch``, ``dtype``,
            ``device``, ``quantity``, ``points`` (how many were compared), ``absolute`` and ``relative``
            (the largest errors) and ``singular`` (how many were left out, because the exact weight is
            infinite there).
    """

    frame: pd.DataFrame

    @property
    def worst(self) -> pd.DataFrame:
        """The largest errors over the batches, per dtype and quantity."""
        return self.frame.groupby(["dtype", "quantity"], sort=False)[["absolute", "relative"]].max()

    def __repr__(self) -> str:
        worst = self.frame.groupby("dtype", sort=False)["relative"].max()
        said = ", ".join(f"{error:.1g} in {dtype}" for dtype, error in worst.items())
        return f"Verification({', '.join(self.frame['loss'].unique())}: largest relative errors {said})"

    def _repr_html_(self) -> str:
        return self.worst.to_html()


class _Compared(NamedTuple):
    """A quantity; errors are relative to at least ``scale``, and rounding is that of ``summed``."""

    quantity: str
    computed: Tensor
    reference: Tensor
    scale: float = 0.0
    summed: float = 0.0


def bound(quantity: str, dtype: torch.dtype) -> float:
    """The largest relative error that a quantity may have."""
    if dtype == torch.float64:
        return BOUND
    return HALF_BOUND if quantity.startswith("∂") and dtype != torch.float32 else NARROW_BOUND


def check_device(device: torch.device | str, dtypes: Sequence[torch.dtype]) -> None:
    """Refuse a device that torch does not have here, or on which it does not compute in a dtype, with a ValueError."""
    for dtype in dtypes:
        try:
            (torch.ones(1, dtype=dtype, device=device) * 2).cpu()  # a device without numbers, such as meta, fails
        except (RuntimeError, AssertionError, TypeError) as problem:
            said = str(problem).splitlines()[0]
            raise ValueError(
                f"device: got {device!r} for {str(dtype).removeprefix('torch.')} but expected a device on which torch "
                f"computes it here: {said}"
            ) from problem


def verify(
    decomposition: Decomposition,
    batches: Sequence[Batch] = BATCHES,
    dtypes: Sequence[torch.dtype] = DTYPES,
    device: torch.device | str = "cpu",
    settings: Mapping[str, float | int] | None = None,
) -> Verification:
    """Compare a loss's weights with autograd, and return the errors.

    A loss of class proxies leaves batches of one set out; weights of bfloat16 scores are computed in float32. A
    `VerificationError` tells of an error beyond its `bound`, or a number that is not finite where the exact one is; a
    ValueError of a wrong setting or device, embeddings that are not finite, and nothing to compare.

    >>> from goal_analysis.symbolic.analysis.decomposition import decompose
    >>> from losses_catalog.info_nce import info_nce_loss
    >>> frame = verify(decompose(info_nce_loss), BATCHES[:1], [torch.float64]).frame
    >>> frame.quantity.tolist(), bool(frame.relative.max() < 1e-14)
    (['T', 'P⁺', 'P⁻', 'T·P⁺', 'w⁺', 'T·P⁻', 'w⁻', 'L', 'W', '∂L/∂X', '∂L/∂Y'], True)
    """
    check_device(device, dtypes)
    loss, rows = decomposition.loss, []
    for batch in batches:
        if (batch.one_set and loss.proxies) or not (batch.matches.positives | batch.matches.negatives).any():
            continue
        for dtype in dtypes:
            of = {"loss": loss.name, "batch": batch.name, "dtype": str(dtype).removeprefix("torch.")}
            for compared in _comparisons(decomposition, batch, dtype, device, settings):
                where = f"loss {loss.name!r}: {compared.quantity} on batch {batch.name!r} in {of['dtype']}"
                errors = _errors(compared, dtype, where)
                rows.append(of | {"device": str(device), "quantity": compared.quantity} | errors)
    if not any(row["points"] for row in rows if row["quantity"] == "W"):
        raise ValueError(
            f"loss {loss.name!r}: got nothing to compare but expected a dtype and a batch with pairs, finite weights "
            f"and{' class proxies as columns' if loss.proxies else ' a match for every embedding'}"
        )
    return Verification(pd.DataFrame(rows))


def _errors(compared: _Compared, dtype: torch.dtype, where: str) -> dict[str, float | int]:
    computed, reference = compared.computed.cpu().double().flatten(), compared.reference.flatten()
    exists = reference.isfinite()
    computed, reference = computed[exists], reference[exists]
    if not computed.isfinite().all():
        raise VerificationError(f"{where}: got a number that is not finite where the exact one is")
    absolute, largest = (float(x.abs().max()) if len(x) else 0.0 for x in (computed - reference, reference))
    rounding = ROUNDING * torch.finfo(torch.promote_types(dtype, torch.float32)).eps * compared.summed
    scale = max(compared.scale, largest, compared.summed if absolute <= rounding else 0.0)
    relative = absolute and (absolute / scale if scale else float("inf"))
    if relative > (most := bound(compared.quantity, dtype)):
        raise VerificationError(f"{where}: got a relative error of {relative:.3g} but expected at most {most:g}")
    singular = len(exists) - len(computed)
    return {"points": len(computed), "absolute": absolute, "relative": relative, "singular": singular}


def _comparisons(decomposition, batch, dtype, device, settings) -> Iterator[_Compared]:
    loss = decomposition.loss
    values = tuple(loss.values(settings).items())
    embeddings, similarities = _scored(loss, batch, dtype, device)
    if not all(e.isfinite().all() for e in embeddings):
        raise ValueError(
            f"loss {loss.name!r}: got embeddings of batch {batch.name!r} that are not finite in "
            f"{str(dtype).removeprefix('torch.')} but expected finite ones"
        )
    of_classes = similarities if loss.grouped is None else similarities[:, ::2]
    given, exact = _matches(loss, batch), _leaf(similarities)
    matches = given.to(device)
    yield from _of_triplets(decomposition, of_classes, given, tuple(decomposition.field.values(settings).items()))

    if max(exact.shape) <= ROWS:
        dtypes = DTYPES if dtype in DTYPES and similarities.is_cpu else (dtype,)
        by_anchor = _by_anchor(loss, batch, dtypes, device, tuple((settings or {}).items()))
        total, reference, size, summed = (of_dtypes[dtypes.index(dtype)] for of_dtypes in by_anchor)
        yield _Compared("L", loss_value(loss, similarities, matches, settings), total, summed=float(size))
    else:
        reference = _gradients(loss_value(loss, exact, given, settings), exact)[0]
        summed = 0.0
    _check_singularities(decomposition, exact, reference, values)
    w = weights_of_scores(loss, similarities, matches, settings)
    yield _Compared("W", w, reference, summed=float(summed))

    inner = [side.inner for term in loss.terms for side in term.sides]
    if dtype.itemsize < 4 and any(e.has(step) and e.has(s_n) and e.has(s_p) for e in inner):
        return  # which pairs count is told by comparing two scores, otherwise where digits are few
    leaves = [_leaf(e) for e in embeddings]
    value = loss_value(loss, scores(loss.similarity, *leaves), given, settings)
    found = embedding_gradients(loss.similarity, w, *(e.to(w.dtype) for e in embeddings))
    for name, gradient, expected, axis in zip("XY", found, _gradients(value, *leaves), (1, 0), strict=True):
        singular = ~reference.isfinite().all(axis).unsqueeze(1)
        terms = reference.nan_to_num(0.0, 0.0, 0.0).abs().sum(axis).max()
        yield _Compared(f"∂L/∂{name}", gradient, expected.masked_fill(singular, torch.nan), float(terms), float(summed))


def _scored(loss: Objective, batch: Batch, dtype: torch.dtype, device) -> tuple[list[Tensor], Tensor]:
    embeddings = [e.to(device, dtype) for e in (batch.rows, batch.columns)]
    if loss.grouped is not None:  # every class has another's proxy besides
        embeddings[1] = torch.stack((embeddings[1], embeddings[1].roll(1, 0)), 1).flatten(0, 1)
    return embeddings, scores(loss.similarity, *embeddings).to(dtype)


def _matches(loss: Objective, batch: Batch) -> Matches:
    drawn = torch.rand(batch.matches.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return replace(batch.matches, carried=drawn) if loss.reads_carried else batch.matches


@lru_cache(maxsize=64)
def _by_anchor(loss: Objective, batch: Batch, dtypes, device, settings) -> AnchorByAnchor:
    """L, ∂L/∂S and the sizes of both for the scores in every dtype, for which anchors are gone through once."""
    rounded = torch.stack([_scored(loss, batch, dtype, device)[1].to("cpu", torch.float64) for dtype in dtypes])
    return anchor_by_anchor(loss, rounded, _matches(loss, batch), dict(settings))


def _leaf(x: Tensor) -> Tensor:
    """A copy in float64 to differentiate by, as rows and columns may be one tensor."""
    return x.detach().to("cpu", torch.float64, copy=True).requires_grad_()


def _gradients(value: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    if not value.requires_grad:
        return tuple(torch.zeros_like(leaf) for leaf in leaves)
    return torch.autograd.grad(value, leaves, materialize_grads=True)


def _of_triplets(
    decomposition: Decomposition, similarities: Tensor, matches: Matches, values: Values
) -> Iterator[_Compared]:
    every = (matches.positives.unsqueeze(2) & matches.negatives.unsqueeze(1)).nonzero()
    chosen = torch.linspace(0, max(len(every) - 1, 0), min(TRIPLETS, len(every)), dtype=torch.float64).long()
    anchor, positive, negative = every[chosen].to(similarities.device).T
    positives, negatives = similarities[anchor, positive], similarities[anchor, negative]
    field, pair = decomposition.field, (s_p, s_n)
    expression, exact = decomposition.loss.expression(), [_leaf(s) for s in (positives, negatives)]
    by_p, by_n = _gradients(formula(expression, pair, values)(*exact).sum(), *exact)
    off_kinks, near = torch.ones_like(by_p, dtype=torch.bool), 1e-9 if positives.dtype == torch.float64 else 1e-5
    for kink in expression.atoms(hinge, step):  # there a derivative is a convention
        off_kinks &= formula(kink.args[0], pair, values)(*exact).abs() > near

    def compared(name: str, weight: sp.Expr, reference: Tensor, summed: float = 0.0) -> _Compared:
        computed = formula(weight, pair, values)(positives, negatives)
        return _Compared(name, computed[off_kinks], reference[off_kinks], summed=summed)

    weights = {"w⁺": (field.positive, -by_p), "w⁻": (field.negative, by_n)}
    summed = max((float(g.nan_to_num(0.0, 0.0, 0.0).abs().max()) for g in (by_p, by_n) if len(g)), default=0.0)
    if field.factors is not None:
        t, p, n = factors = field.factors.triplet, field.factors.positive, field.factors.negative
        for name, factor, reference in zip(
            ("T", "P⁺", "P⁻"), factors, _in_many_digits(factors, values, exact), strict=True
        ):
            yield compared(name, factor, reference)
        weights = {"T·P⁺": (t * p, -by_p), "w⁺": weights["w⁺"], "T·P⁻": (t * n, by_n), "w⁻": weights["w⁻"]}
    for name, (weight, reference) in weights.items():
        yield compared(name, weight, reference, summed)


@lru_cache(maxsize=256)
def _program(expressions: tuple[sp.Expr, ...], values: Values) -> Program:
    return program([e.subs(values) for e in expressions], (s_p, s_n))


def _in_many_digits(expressions: tuple[sp.Expr, ...], values: Values, at: Sequence[Tensor]) -> Tensor:
    computed = _program(expressions, values)
    with mpmath.workdps(DIGITS):
        points = zip(*(s.tolist() for s in at), strict=True)
        numbers = [[float(x) for x in computed.run(MULTIPRECISION, *map(mpmath.mpf, point))] for point in points]
    return torch.tensor(numbers, dtype=torch.float64).reshape(-1, len(expressions)).T


def _check_singularities(decomposition: Decomposition, similarities: Tensor, reference: Tensor, values: Values) -> None:
    """Autograd may return what is not finite only where the exact slope of an inner function is not."""
    for s in similarities[~reference.isfinite()].tolist():
        at = [torch.tensor([s], dtype=torch.float64)] * 2
        slopes = tuple(undetach(side.slope(s)) for term in decomposition.loss.terms for _, s, side in term.aggregates)
        if _in_many_digits(slopes, values, at).isfinite().all():
            raise VerificationError(
                f"loss {decomposition.loss.name!r}: got an infinite or undefined gradient at s = {s} "
                "but expected a finite one, as the exact one is"
            )
