"""Laws of the weight matrix, for every loss of the catalog."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import sympy as sp
import torch
from goal_analysis.numeric.batch_loss import loss_value, weight_matrix
from torch import Tensor

from goal_analysis.numeric.batches import BATCHES, Batch, random_pairs, several_captions
from goal_analysis.numeric.formula import formula
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import scores
from goal_analysis.symbolic.analysis.decomposition import Decomposition, _parts, decompose
from goal_analysis.symbolic.language.aggregators import (
    AGGREGATORS,
    EACH,
    EACH_MEAN,
    LOGSUMEXP,
    MAX,
    MEAN,
    Aggregator,
    Pool,
    Side,
    softmax_active,
)
from goal_analysis.symbolic.language.primitives import gap, hinge, s_n, s_p, softplus, x_n, x_p
from goal_analysis.symbolic.objective import Anchors, Reduction, SymbolicLoss, Term
from losses_catalog import catalog

RELATIVE = 1e-10
POSITIVES, NEGATIVES = sp.symbols("p:2", real=True), sp.symbols("n:3", real=True)

every_loss = pytest.mark.parametrize("loss", catalog, ids=lambda loss: loss.name)
every_batch = pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: batch.__name__)
decomposed = cache(decompose)


def agree(found: Tensor, expected: Tensor) -> bool:
    """Whether two weight matrices are the same up to rounding; what is not finite has to be so in both."""
    finite = expected.isfinite()
    error = (found - expected)[finite].abs()
    largest = expected[finite].abs().max() if finite.any() else torch.zeros(())
    return bool((found.isfinite() == finite).all() and (error <= RELATIVE * largest + 1e-14).all())


def wrong(decomposition: Decomposition) -> Decomposition:
    """The same with all that a weight is made of times 1.001, once."""
    factor = sp.Rational(1001, 1000)
    parts = tuple(
        replace(p, outer_positive=factor * p.outer_positive, outer_negative=factor * p.outer_negative)
        for p in decomposition.parts
    )
    return replace(decomposition, parts=parts)


def similarities(loss: SymbolicLoss, batch: Batch) -> Tensor:
    return scores(loss.similarity, batch.rows, batch.columns)


def by_autograd(loss: SymbolicLoss, s: Tensor, matches: Matches) -> Tensor:
    s = s.detach().clone().requires_grad_()
    value = loss_value(loss, s, matches)
    return torch.autograd.grad(value, s, materialize_grads=True)[0]


@every_batch
@every_loss
def test_it_is_the_gradient_by_autograd(loss: SymbolicLoss, batch: Callable[[], Batch]) -> None:
    s, matches = similarities(loss, batch()), batch().matches
    expected = by_autograd(loss, s, matches)
    assert agree(weight_matrix(decomposed(loss), s, matches), expected), loss


@every_loss
def test_a_wrong_factor_is_seen_by_autograd(loss: SymbolicLoss) -> None:
    s, matches = similarities(loss, several_captions()), several_captions().matches
    assert not agree(weight_matrix(wrong(decomposed(loss)), s, matches), by_autograd(loss, s, matches)), loss


@every_loss
def test_of_one_anchor_it_is_that_of_the_formulas(loss: SymbolicLoss) -> None:
    one = replace(loss, anchors=Anchors.ROWS)
    s = scores(loss.similarity, random_pairs().rows[:1], random_pairs().columns[:5])
    positives = torch.tensor([[True, False, True, False, False]])
    found = weight_matrix(decomposed(one), s, Matches(positives, ~positives))
    of_positives, of_negatives = decomposed(one).weights(POSITIVES, NEGATIVES)
    at = (*s[positives], *s[~positives])
    every, values = (*POSITIVES, *NEGATIVES), tuple(loss.values().items())
    expected = torch.empty_like(s)
    expected[positives] = torch.stack([-formula(w, every, values)(*at) for w in of_positives])
    expected[~positives] = torch.stack([formula(w, every, values)(*at) for w in of_negatives])
    assert agree(found, expected), loss
    assert not agree(1.001 * found, expected), loss
    value = formula(loss.expression(POSITIVES, NEGATIVES), every, values)(*at)
    torch.testing.assert_close(loss_value(one, s, Matches(positives, ~positives)), value)


def reads_other_rows(loss: SymbolicLoss) -> bool:
    return any(term.negatives and term.negatives.pool is Pool.BOTH_ENDS for term in loss.terms)


@pytest.mark.parametrize("loss", [loss for loss in catalog if not reads_other_rows(loss)], ids=lambda loss: loss.name)
@pytest.mark.parametrize("reduction", Reduction, ids=lambda reduction: reduction.value)
def test_of_a_batch_the_value_is_that_of_its_anchors(loss: SymbolicLoss, reduction: Reduction) -> None:
    batch = several_captions()
    s, every = similarities(loss, batch), batch.matches
    rows = [Matches(every.positives[i, None], every.negatives[i, None]) for i in range(len(s))]
    by_row = replace(loss, anchors=Anchors.ROWS, reduction=Reduction.SUM)
    total = sum(loss_value(by_row, s[i, None], row) for i, row in enumerate(rows))
    value = loss_value(replace(by_row, reduction=reduction), s, every)
    torch.testing.assert_close(value, total / (1 if reduction is Reduction.SUM else len(s)))


@every_loss
def test_of_dot_scores_the_embeddings_gradients_are_products(loss: SymbolicLoss) -> None:
    batch = several_captions()
    x, y = (0.7 * e.requires_grad_() for e in (batch.rows, batch.columns))
    expected = torch.autograd.grad(loss_value(loss, x @ y.T, batch.matches), (x, y))
    w = weight_matrix(decomposed(loss), (x @ y.T).detach(), batch.matches)
    for found, gradient in zip((w @ y, w.T @ x), expected, strict=True):
        assert agree(found, gradient), loss
        assert not agree(1.001 * found, gradient), loss


@every_loss
def test_permuting_the_batch_permutes_it(loss: SymbolicLoss) -> None:
    batch = several_captions()
    s, matches = similarities(loss, batch), batch.matches
    rows, columns = torch.randperm(len(s)), torch.randperm(s.shape[1])
    permuted = Matches(matches.positives[rows][:, columns], matches.negatives[rows][:, columns])
    found = weight_matrix(decomposed(loss), s[rows][:, columns], permuted)
    expected = weight_matrix(decomposed(loss), s, matches)
    assert agree(found, expected[rows][:, columns]), loss
    assert not agree(found, expected), loss


@every_loss
def test_swapping_images_and_texts_transposes_it(loss: SymbolicLoss) -> None:
    batch = several_captions()
    s, matches = similarities(loss, batch), batch.matches
    both, rows, columns = (decomposed(replace(loss, anchors=a)) for a in (Anchors.BOTH, Anchors.ROWS, Anchors.COLUMNS))
    found = weight_matrix(both, s.T, matches.transposed)
    assert agree(found.T, weight_matrix(both, s, matches)), loss
    assert agree(weight_matrix(columns, s.T, matches.transposed).T, weight_matrix(rows, s, matches)), loss
    assert agree(weight_matrix(rows, s, matches) + weight_matrix(columns, s, matches), found.T), loss
    assert not agree(weight_matrix(columns, s, matches), weight_matrix(rows, s, matches)) or either_axis(loss)


def either_axis(loss: SymbolicLoss) -> bool:
    """Whether a pair's weight reads no other pair, or those of both ends: either axis may be the anchor."""
    sides = [side for term in loss.terms for side in (term.positives, term.negatives) if side is not None]
    apart = len(sides) == len(loss.terms) and all(side.aggregator is EACH for side in sides)
    return apart or any(side.pool is Pool.BOTH_ENDS for side in sides)


@every_loss
def test_it_is_linear_in_the_upstream_gradient(loss: SymbolicLoss) -> None:
    batch = several_captions()
    s = similarities(loss, batch).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_value(loss, s, batch.matches), s, torch.tensor(-3.5))
    w = weight_matrix(decomposed(loss), s.detach(), batch.matches)
    surrogate = torch.autograd.grad((w * s).sum(), s, torch.tensor(-3.5))[0]
    assert agree(surrogate, gradient), loss
    assert not agree(w, gradient), loss


def one_term(outer: sp.Expr, **sides: Side) -> Decomposition:
    return decompose(SymbolicLoss(name="made_up", title="Made up", terms=(Term(outer=outer, **sides),)))


@pytest.mark.parametrize("pool", Pool, ids=lambda pool: pool.value)
@pytest.mark.parametrize("of_negatives", [*AGGREGATORS, softmax_active(sp.Integer(3))], ids=lambda a: a.name)
@pytest.mark.parametrize("of_positives", [*AGGREGATORS, softmax_active(sp.Integer(3))], ids=lambda a: a.name)
def test_any_aggregators_and_pools_combine(of_positives: Aggregator, of_negatives: Aggregator, pool: Pool) -> None:
    term = Term(
        outer=softplus(gap) * (1 + x_p**2) + x_n**3,
        positives=of_positives(s_p**2 + s_p / 3),
        negatives=of_negatives(sp.exp(s_n) - 1, pool),
    )
    loss = SymbolicLoss(name="made_up", title="Made up", terms=(term,))
    parts = parts_of(loss)
    batch = several_captions()
    s = similarities(loss, batch)
    assert agree(weight_matrix(parts, s, batch.matches), by_autograd(loss, s, batch.matches))


def parts_of(loss: SymbolicLoss) -> Decomposition:
    """The decomposition as far as a batch reads it: separability is not looked for."""
    simple = SymbolicLoss(name="simple", title="Simple", terms=(Term(outer=x_n, negatives=EACH(s_n)),))
    return replace(decompose(simple), loss=loss, parts=tuple(map(_parts, loss.terms)))


def test_the_negatives_of_both_ends_as_a_loop() -> None:
    batch = several_captions()
    s, m = batch.rows @ batch.columns.T, batch.matches
    total = torch.zeros(())
    for i in range(12):
        of_anchor = []
        for j in range(12):
            if m.positives[i, j]:
                others = [s[i, k] for k in range(12) if m.negatives[i, k]]
                others += [s[k, j] for k in range(12) if m.negatives[k, j]]
                of_anchor.append(torch.logsumexp(torch.stack(others), 0) - s[i, j])
        total += torch.stack(of_anchor).mean() / 12
    term = Term(outer=gap, positives=EACH_MEAN(s_p), negatives=LOGSUMEXP(s_n, Pool.BOTH_ENDS))
    loss = SymbolicLoss(name="both_ends", title="Both ends", terms=(term,), anchors=Anchors.ROWS)
    torch.testing.assert_close(loss_value(loss, s, m), total)


def test_the_negatives_of_all_positives_ends_as_a_loop() -> None:
    """With aggregated positives an anchor gathers its own negatives and those of all its positives."""
    batch = several_captions()
    s, m = batch.rows @ batch.columns.T, batch.matches
    total = torch.zeros(())
    for i in range(12):
        others = [s[i, k] for k in range(12) if m.negatives[i, k]]
        others += [s[k, j] for j in range(12) if m.positives[i, j] for k in range(12) if m.negatives[k, j]]
        total += (torch.logsumexp(torch.stack(others), 0) - s[i][m.positives[i]].mean()) / 12
    term = Term(outer=gap, positives=MEAN(s_p), negatives=LOGSUMEXP(s_n, Pool.BOTH_ENDS))
    loss = SymbolicLoss(name="both_ends", title="Both ends", terms=(term,), anchors=Anchors.ROWS)
    torch.testing.assert_close(loss_value(loss, s, m), total)


def test_a_mean_counts_the_anchors_that_have_what_the_term_needs() -> None:
    s = torch.tensor([[0.5, 0.1, 0.3], [0.2, 0.7, 0.4]])
    positives = torch.tensor([[True, False, True], [False, False, False]])
    negatives = torch.tensor([[False, True, False], [True, True, True]])
    terms = (Term(outer=-x_p, positives=EACH(s_p)), Term(outer=x_n, negatives=MAX(s_n)))
    loss = SymbolicLoss(name="two_terms", title="Two terms", terms=terms, anchors=Anchors.ROWS)
    value = loss_value(loss, s, Matches(positives, negatives))
    torch.testing.assert_close(value, torch.tensor(-(0.5 + 0.3) / 1 + (0.1 + 0.7) / 2))


@every_loss
def test_without_negatives_or_positives_nothing_is_nan(loss: SymbolicLoss) -> None:
    s = torch.rand(3, 4) / 2
    nothing = torch.zeros(3, 4, dtype=torch.bool)
    for matches in (Matches(nothing, nothing), Matches(~nothing, nothing), Matches(nothing, ~nothing)):
        assert loss_value(loss, s, matches).isfinite()
        w = weight_matrix(decomposed(loss), s, matches)
        assert w.isfinite().all()
        assert (w[~(matches.positives | matches.negatives)] == 0).all()


@pytest.mark.parametrize("inner", [sp.sqrt(1 - s_p**2), sp.sqrt(s_p)], ids=str)
@pytest.mark.parametrize("aggregator", [EACH, MEAN, LOGSUMEXP, MAX], ids=lambda a: a.name)
def test_an_infinite_slope_at_no_member_is_not_seen(inner: sp.Expr, aggregator: Aggregator) -> None:
    """The first has an infinite slope on the diagonal, the second where a similarity is left out."""
    s = torch.eye(4) + 0.3 * (1 - torch.eye(4))
    matches = Matches.of_labels(torch.tensor([1, 0, 0, 0]))
    decomposition = one_term(gap, positives=aggregator(inner), negatives=EACH(s_n))
    w = weight_matrix(decomposition, s, matches)
    assert w.isfinite().all()
    assert agree(w, by_autograd(decomposition.loss, s, matches))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_it_is_computed_in_float32_at_least(dtype: torch.dtype) -> None:
    batch = random_pairs()
    s = (batch.rows @ batch.columns.T).to(dtype)
    loss = next(loss for loss in catalog if loss.name == "circle")
    expected = dtype if dtype == torch.float64 else torch.float32
    assert loss_value(loss, s, batch.matches).dtype == expected
    assert weight_matrix(decomposed(loss), s, batch.matches).dtype == expected


def test_settings_replace_defaults() -> None:
    batch = random_pairs()
    s = batch.rows @ batch.columns.T
    loss = next(loss for loss in catalog if loss.name == "info_nce")
    found = loss_value(loss, s, batch.matches, {"scale": 3})
    directions = [torch.nn.functional.cross_entropy(3 * t, torch.arange(12)) for t in (s, s.T)]
    torch.testing.assert_close(found, sum(directions))
    w = weight_matrix(decomposed(loss), s, batch.matches, {"scale": 3})
    assert not agree(w, weight_matrix(decomposed(loss), s, batch.matches))
    with pytest.raises(ValueError, match="loss 'info_nce': got a value for 'tau' but expected one of scale"):
        weight_matrix(decomposed(loss), s, batch.matches, {"tau": 3})


def test_scores_of_another_shape_are_named() -> None:
    loss = one_term(hinge(gap), positives=EACH(s_p), negatives=EACH(s_n)).loss
    with pytest.raises(ValueError, match=r"loss 'made_up': got scores of shape \(2, 3\) but expected \(3, 3\)"):
        loss_value(loss, torch.zeros(2, 3), Matches.of_pairs(3))


def test_it_needs_no_autograd() -> None:
    batch = random_pairs()
    with torch.inference_mode():
        w = weight_matrix(decomposed(catalog[0]), batch.rows @ batch.columns.T, batch.matches)
    assert not w.requires_grad
