"""The loss of a batch, and its weight matrix W = ∂L/∂S by the chain rule on the derived pieces.

An anchor without what a term needs contributes nothing to it, and the mean of a term does not count it. The loss of
no scores at all is zero.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import sympy as sp
import torch
from jaxtyping import Float
from torch import Tensor

from goal_analysis.numeric.formula import Values, formula
from goal_analysis.numeric.layout import (
    Pairs,
    SideLayout,
    TermLayout,
    lay_out,
    negative_pairs,
    positive_pairs,
)
from goal_analysis.numeric.matches import Matches
from goal_analysis.symbolic.analysis.decomposition import Decomposition, TermParts
from goal_analysis.symbolic.language.aggregators import Side
from goal_analysis.symbolic.language.primitives import s_n, s_p, undetach, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Reduction, SymbolicLoss, Term


def loss_value(
    loss: SymbolicLoss,
    scores: Float[Tensor, "rows columns"],
    matches: Matches,
    settings: Mapping[str, float | int] | None = None,
) -> Float[Tensor, ""]:
    """The loss of a batch: the sum or the mean over its anchors, as the loss says.

    A mean of a term is over the anchors that have what the term needs. Where both axes are anchors, the two
    directions are summed. Autograd differentiates the value, and stops at every `detach`.

    Args:
        loss: any loss of the declarable shape.
        scores: the similarities S; computed with in float32 at least.
        matches: which pairs are positives and which negatives, of the same shape.
        settings: hyperparameters that differ from their defaults.

    Raises:
        ValueError: an unknown hyperparameter, or one outside of its domain; scores of another shape than the
            matches; an aggregator without a tensor form.

    >>> from goal_analysis.symbolic.language.aggregators import EACH
    >>> from goal_analysis.symbolic.language.primitives import gap, softplus
    >>> term = Term(outer=softplus(gap), positives=EACH(s_p), negatives=EACH(s_n))
    >>> loss = SymbolicLoss(name="soft_margin", title="Softmax-margin triplet loss", terms=(term,))
    >>> loss_value(loss, torch.tensor([[0.9, 0.1], [0.3, 0.8]]), Matches.of_pairs(2))
    tensor(0.8429)
    """
    matches.check(scores, f"loss {loss.name!r}")
    values = tuple(loss.values(settings).items())
    if not scores.numel():
        return _at_least_float32(scores).sum()
    total = torch.zeros((), dtype=_at_least_float32(scores).dtype, device=scores.device)
    for _, of_rows, its_matches in _queries(loss.anchors, _at_least_float32(scores), matches):
        for term in loss.terms:
            layout = _layout(loss, term, of_rows, its_matches, values)
            at_places = formula(term.effective_outer, (x_p, x_n), values)(*layout.arguments())
            total = total + (layout.factors(loss.reduction) * at_places).sum()
    return total


def weight_matrix(
    decomposition: Decomposition,
    scores: Float[Tensor, "rows columns"],
    matches: Matches,
    settings: Mapping[str, float | int] | None = None,
) -> Float[Tensor, "rows columns"]:
    """W = ∂L/∂S, which is −w⁺ at positives and w⁻ at negatives.

    W = Σ over the terms of outer derivative × mining weight × inner derivative, computed without autograd, in
    float32 at least. The gradients of the embeddings of dot scores S = X·Yᵀ are W·Y and Wᵀ·X. Where the scores
    require a gradient the result carries a graph, as W is differentiable in turn; detach it, or compute it without
    a gradient, where it is to be a constant.

    Args:
        decomposition: the derived pieces of a loss.
        scores: the similarities S.
        matches: which pairs are positives and which negatives, of the same shape.
        settings: hyperparameters that differ from their defaults.

    Raises:
        ValueError: as `loss_value`.

    >>> from goal_analysis.symbolic.language.aggregators import EACH
    >>> from goal_analysis.symbolic.analysis.decomposition import decompose
    >>> from goal_analysis.symbolic.language.primitives import gap, softplus
    >>> term = Term(outer=softplus(gap), positives=EACH(s_p), negatives=EACH(s_n))
    >>> loss = SymbolicLoss(name="soft_margin", title="Softmax-margin triplet loss", terms=(term,))
    >>> weight_matrix(decompose(loss), torch.tensor([[0.9, 0.1], [0.3, 0.8]]), Matches.of_pairs(2))
    tensor([[-0.3322,  0.3209],
            [ 0.3659, -0.3547]])
    """
    loss = decomposition.loss
    matches.check(scores, f"loss {loss.name!r}")
    values = tuple(loss.values(settings).items())
    total = torch.zeros_like(_at_least_float32(scores))
    if not scores.numel():
        return total
    for by_columns, of_rows, its_matches in _queries(loss.anchors, _at_least_float32(scores), matches):
        gradient = torch.zeros_like(of_rows)
        for parts in decomposition.parts:
            layout = _layout(loss, _undetached(parts.term), of_rows, its_matches, values)
            gradient = gradient + _term_gradient(parts, layout, loss.reduction, values, of_rows.shape)
        total = total + (gradient.T if by_columns else gradient)
    return total


def _at_least_float32(scores: Tensor) -> Tensor:
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _queries(anchors: Anchors, scores: Tensor, matches: Matches) -> Iterator[tuple[bool, Tensor, Matches]]:
    """Whether columns are the anchors, and the scores and matches with the anchors as rows."""
    if anchors is not Anchors.COLUMNS:
        yield False, scores, matches
    if anchors is not Anchors.ROWS:
        yield True, scores.T, matches.transposed


def _layout(loss: SymbolicLoss, term: Term, scores: Tensor, matches: Matches, values: Values) -> TermLayout:
    positives, negatives, present = None, None, torch.ones((1, 1, 1), dtype=torch.bool, device=scores.device)
    if term.positives is not None:
        positives = _side(loss, term.positives, s_p, positive_pairs(matches), scores, values, turned=True)
        present = present & positives.present
    if term.negatives is not None:
        each_positive = term.positives is not None and term.positives.aggregator.enumerates
        pairs = negative_pairs(term.negatives.pool, matches, each_positive)
        negatives = _side(loss, term.negatives, s_n, pairs, scores, values, turned=False)
        present = present & negatives.present
    return TermLayout(positives, negatives, present)


def _undetached(term: Term) -> Term:
    """The term with nothing detached, so that the derivative of W, too, is that of its formulas."""
    positives, negatives = (
        None if side is None else replace(side, inner=undetach(side.inner)) for side in (term.positives, term.negatives)
    )
    return replace(term, positives=positives, negatives=negatives)


def _side(
    loss: SymbolicLoss,
    side: Side,
    variable: sp.Symbol,
    pairs: Pairs,
    scores: Tensor,
    values: Values,
    turned: bool,
) -> SideLayout:
    parameters = tuple(float(parameter.subs(values)) for parameter in side.aggregator.parameters)
    inner = formula(side.inner, (variable,), values)
    return lay_out(side.aggregator, parameters, pairs, scores, inner, loss.similarity, turned)


def _term_gradient(
    parts: TermParts, layout: TermLayout, reduction: Reduction, values: Values, shape: torch.Size
) -> Tensor:
    """∂/∂S of one term with the anchors as rows."""
    weights = (-parts.outer_positive, parts.outer_negative)
    slopes = ((parts.inner_positive, s_p), (parts.inner_negative, s_n))
    total: Tensor | None = None
    for side, outer, (slope, variable) in zip((layout.positives, layout.negatives), weights, slopes, strict=True):
        if side is not None:
            at_places = formula(outer, (x_p, x_n), values)(*layout.arguments())
            of_handed = layout.spread(layout.factors(reduction) * at_places)
            slopes_there = formula(slope, (variable,), values)(side.similarities)
            gradient = side.gradient(of_handed, slopes_there, shape)
            total = gradient if total is None else total + gradient
    assert total is not None  # a term has a side
    return total
