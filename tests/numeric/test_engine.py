"""Laws of the engine: its weights, its value, and the ways that keep no matrix.

They are of losses of every kind. That of every single one weights and value are those of plain loops is verified in
`test_verification`.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import accumulate, cycle, islice
from threading import Barrier

import pytest
import sympy as sp
import torch
from kinds_of_losses import carrying, covering
from torch import Tensor
from torch.nn.functional import normalize

from goal_analysis.numeric.anchor_by_anchor import anchor_by_anchor
from goal_analysis.numeric.batches import BATCHES, RANDOM_PAIRS, SEVERAL_CAPTIONS, Batch
from goal_analysis.numeric.compilation import formula
from goal_analysis.numeric.engine.dense import weight_matrix
from goal_analysis.numeric.engine.functions import Functions
from goal_analysis.numeric.engine.geometry import Geometry
from goal_analysis.numeric.engine.pairs import Pairs, Rank
from goal_analysis.numeric.engine.small import gradients_at_once, is_small
from goal_analysis.numeric.engine.surrogate import quick_surrogate
from goal_analysis.numeric.engine.tiled import tileable, tiled
from goal_analysis.numeric.functions import functions_of, loss_value, weights_of_scores
from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import embedding_gradients, scores
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
    soft_max,
    soft_min,
    softmax_active,
)
from goal_analysis.symbolic.language.primitives import carried_by, gap, s_n, s_p, softplus, step, x_n, x_p
from goal_analysis.symbolic.language.similarity import COSINE, DOT
from goal_analysis.symbolic.objective import Anchors, Objective, Reduction, Term
from losses_catalog import catalog

RELATIVE = 1e-10
POSITIVES, NEGATIVES = sp.symbols("p:2", real=True), sp.symbols("n:3", real=True)
ALL_AGGREGATORS = (*AGGREGATORS, softmax_active(sp.Integer(3)), soft_max(sp.Integer(7)), soft_min(sp.Integer(7)))

every_loss = pytest.mark.parametrize("loss", catalog, ids=lambda loss: loss.name)
every_kind = pytest.mark.parametrize("loss", covering(catalog), ids=lambda loss: loss.name)


def agree(found: Tensor, expected: Tensor, relative: float = RELATIVE) -> bool:
    """Whether two tensors are the same up to rounding, wherever the expected one is finite."""
    finite = expected.isfinite()
    error = (found - expected)[finite].abs()
    largest = expected[finite].abs().max() if finite.any() else torch.zeros(())
    return bool(found[finite].isfinite().all() and (error <= relative * largest + 1e-13).all())


def similarities(loss: Objective, batch: Batch) -> Tensor:
    return scores(loss.similarity, batch.rows, batch.columns)


def by_autograd(loss: Objective, s: Tensor, matches: Matches) -> Tensor:
    s = s.detach().clone().requires_grad_()
    return torch.autograd.grad(loss_value(loss, s, matches), s, materialize_grads=True)[0]


def one_term(outer: sp.Expr, anchors: Anchors = Anchors.ROWS, **sides: Side) -> Objective:
    return Objective(name="made_up", title="Made up", terms=(Term(outer=outer, **sides),), anchors=anchors)


# --- the weights are the gradient of the value ----------------------------------------------------


@every_loss
def test_the_weights_are_the_gradient_of_the_value_by_autograd(loss: Objective) -> None:
    for batch in BATCHES:
        s, matches = similarities(loss, batch), carrying(loss, batch.matches)
        assert agree(weights_of_scores(loss, s, matches), by_autograd(loss, s, matches)), (loss, batch.name)


@every_kind
def test_a_thousandth_too_much_is_seen(loss: Objective) -> None:
    s, matches = similarities(loss, SEVERAL_CAPTIONS), carrying(loss, SEVERAL_CAPTIONS.matches)
    w = weights_of_scores(loss, s, matches)
    assert not agree(1.001 * w, by_autograd(loss, s, matches)), loss
    assert not agree(1.001 * w, anchor_by_anchor(loss, s, matches).gradient), loss


@every_kind
def test_tables_of_scores_gone_through_at_once_read_nothing_of_each_other(loss: Objective) -> None:
    s, matches = similarities(loss, SEVERAL_CAPTIONS), carrying(loss, SEVERAL_CAPTIONS.matches)
    tables = torch.stack((s, s.bfloat16().double(), torch.full_like(s, torch.nan)))
    at_once = anchor_by_anchor(loss, tables, matches)
    for i, alone in enumerate(anchor_by_anchor(loss, table, matches) for table in tables[:2]):
        for found, expected in zip(at_once, alone, strict=True):
            torch.testing.assert_close(found[i], expected, rtol=1e-12, atol=1e-15)
    assert not torch.equal(at_once.gradient[0] * s, at_once.gradient[1] * tables[1]), loss


@every_kind
def test_of_one_anchor_they_are_those_of_the_formulas(loss: Objective) -> None:
    one = replace(loss, anchors=Anchors.ROWS)
    s = scores(loss.similarity, RANDOM_PAIRS.rows[:1], RANDOM_PAIRS.columns[:5])
    positives = torch.tensor([[True, False, True, False, False]])
    matches = carrying(one, Matches(positives, ~positives))
    found = weights_of_scores(one, s, matches)
    of_positives, of_negatives = one.weights(POSITIVES, NEGATIVES)
    at, every, values = (*s[positives], *s[~positives]), (*POSITIVES, *NEGATIVES), tuple(loss.values().items())
    if matches.carried is not None:
        at = (*at, *matches.carried[positives], *matches.carried[~positives])
        every = (*every, *map(carried_by, every))
    expected = torch.empty_like(s)
    expected[positives] = torch.stack([-formula(w, every, values)(*at) for w in of_positives])
    expected[~positives] = torch.stack([formula(w, every, values)(*at) for w in of_negatives])
    assert agree(found, expected), loss
    value = formula(loss.expression(POSITIVES, NEGATIVES), every, values)(*at)
    torch.testing.assert_close(loss_value(one, s, matches), value)


@pytest.mark.parametrize("of_positives", ALL_AGGREGATORS, ids=lambda a: a.name)
def test_any_aggregators_and_pools_combine(of_positives: Aggregator) -> None:
    """Any two of the three, as in a Latin square; of a small batch, as the formula of softmax_active has as many terms
    as there are pairs of members.
    """
    matches = Matches.of_image_ids(torch.tensor([0, 1, 1, 2, 2, 2]))
    s = scores(COSINE, SEVERAL_CAPTIONS.rows[:6], SEVERAL_CAPTIONS.columns[:6])
    pools = islice(cycle(Pool), ALL_AGGREGATORS.index(of_positives), None)
    for of_negatives, pool in zip(ALL_AGGREGATORS, pools, strict=False):
        outer = softplus(gap) * (1 + x_p**2) + x_n**3
        sides = {"positives": of_positives(s_p**2 + s_p / 3), "negatives": of_negatives(sp.exp(s_n) - 1, pool)}
        loss = one_term(outer, Anchors.BOTH, **sides)
        w, expected = weights_of_scores(loss, s, matches), by_autograd(loss, s, matches)
        assert agree(w, expected), of_negatives
        assert agree(w, anchor_by_anchor(loss, s, matches).gradient), of_negatives
        assert not agree(1.001 * w, expected), of_negatives


# --- the ways that keep no matrix of scores -------------------------------------------------------

UNTILED = {"ranked_list", "mil_nce", "online_contrastive"}
"""The aggregate of the one has no sum to be taken tile by tile; the other gathers the negatives of its positives."""

PLAIN = [loss for loss in catalog if loss.plain]
"""The others, whose terms compare pairs or are counted over the batch, keep the matrix."""

every_plain_loss = pytest.mark.parametrize("loss", PLAIN, ids=lambda loss: loss.name)
every_plain_kind = pytest.mark.parametrize("loss", covering(PLAIN), ids=lambda loss: loss.name)

TILES = ((None, True), (None, False), ((16, 12), True), ((40, 7), False), ((5, 60), True), ((64, 64), False))
"""Their sizes, with one exponential for both axes where bounds allow it, or one each."""
N = 40
IDS = {
    "pairs": (None, None, N),
    "captions": (torch.arange(N) // 2, None, N),
    "in disorder": (torch.arange(N) * 37 % 23, None, N),
    "ids of both": (torch.arange(N) * 7 % 33, torch.arange(53) % 36, 53),
    "without negatives or positives": (torch.arange(3), torch.zeros(4, dtype=torch.long), 4),
    "48 positives": (torch.arange(4), torch.arange(192) // 48, 192),  # more than are gathered at a time
}


def embeddings(ids: str) -> tuple[Tensor, Tensor]:
    of_rows, _, columns = IDS[ids]
    rows = N if of_rows is None else len(of_rows)
    x, y = (normalize(torch.randn(n, 6), dim=1) for n in (rows, columns))
    return x, y


def pairs_of(functions: Functions, ids: str) -> Pairs:
    of_rows, of_columns, columns = IDS[ids]
    return Pairs.of(functions, (N if of_rows is None else len(of_rows), columns), of_rows, of_columns)


def positives_of(ids: str) -> Tensor:
    of_rows, of_columns, _ = IDS[ids]
    of_rows = torch.arange(N) if of_rows is None else of_rows
    return of_rows[:, None] == (of_rows if of_columns is None else of_columns)


def measured(loss: Objective, x: Tensor, y: Tensor) -> Geometry:
    return Geometry.of("dot" if loss.similarity == COSINE else loss.similarity.name, x, y)


def through_the_matrix(loss: Objective, x: Tensor, y: Tensor, positives: Tensor) -> tuple[Tensor, ...]:
    similarity = DOT if loss.similarity == COSINE else loss.similarity
    s = scores(similarity, x, y)
    w = weight_matrix(functions_of(loss), s, positives, ~positives)
    return (*embedding_gradients(similarity, w, x, y), (w * s).sum())


def without_bounds(functions: Functions) -> Functions:
    """The same where nobody knows how large exponents become."""
    terms = []
    for term in functions.terms:
        side = term.negatives
        hints = None if side is None else replace(side.hints, bound=float("inf"))
        terms.append(replace(term, negatives=side and replace(side, hints=hints)))
    return replace(functions, terms=tuple(terms))


def with_rows(loss: Objective) -> Objective:
    """The loss with rows among its anchors, as the tiled way has them."""
    return replace(loss, anchors=Anchors.ROWS) if loss.anchors is Anchors.COLUMNS else loss


class World:
    """Ranks as threads of one process: what each gathers, all have given.

    Args:
        rows: of every rank.
        columns: likewise.
    """

    def __init__(self, rows: list[int], columns: list[int]) -> None:
        self.ends = [[0, *accumulate(sizes)] for sizes in (rows, columns)]
        self.barrier, self.given = Barrier(len(rows), timeout=60), [torch.empty(0)] * len(rows)

    def rank(self, i: int) -> Rank:
        def gathered(own: Tensor) -> Tensor:
            self.given[i] = own
            self.barrier.wait()
            found = torch.stack(self.given)
            self.barrier.wait()
            return found

        rows, columns = (slice(*ends[i : i + 2]) for ends in self.ends)
        return Rank(rows, columns, gathered)

    def run(self, of_rank: Callable[[Rank], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """What the ranks found of their own rows and columns, put together; the value is that of all."""
        ranks = [self.rank(i) for i in range(len(self.given))]
        with ThreadPoolExecutor(len(ranks)) as pool:
            to_x, to_y, values = zip(*pool.map(of_rank, ranks), strict=True)
        assert all(value == values[0] for value in values)
        of_rows = [g[rank.rows] for g, rank in zip(to_x, ranks, strict=True)]
        of_columns = [g[rank.columns] for g, rank in zip(to_y, ranks, strict=True)]
        return torch.cat(of_rows), torch.cat(of_columns), values[0]


def quick_way(loss: Objective) -> bool:
    """Whether there is a way without the matrix."""
    functions = functions_of(loss)
    assert tileable(functions) is (loss.name not in UNTILED)
    aggregated = {term.negatives.aggregator.name for term in functions.terms if term.negatives is not None}
    return tileable(functions) and (aggregated != {"max"} or loss.similarity in (COSINE, DOT))


@pytest.mark.parametrize("ids", ["captions", "without negatives or positives"])
@every_plain_kind
def test_ranks_share_a_batch_with_ties_and_duplicates(loss: Objective, ids: str) -> None:
    if not quick_way(loss):
        return
    x, y = embeddings(ids)
    x, y = ((e * 64).round() / 64 for e in (x, y))  # their products are exact, so that ties are
    for e in (x, y):
        e[-1], e[len(e) // 2] = e[0], e[1]  # on other ranks than what they are equal to
    world = World(*([n // 4, 0, n - n // 4] for n in (len(x), len(y))))
    for anchors in (Anchors.ROWS, Anchors.BOTH):
        functions, geometry = functions_of(replace(loss, anchors=anchors)), measured(loss, x, y)
        pairs = pairs_of(functions, ids)
        expected = tiled(functions, geometry, pairs)
        found = world.run(partial(tiled, functions, geometry, pairs, (7, 12)))
        assert all(agree(a, b, 1e-9) for a, b in zip(found, expected, strict=True)), (loss, anchors)
        assert not expected[2] or not agree(1.001 * found[2], expected[2], 1e-9), (loss, anchors)


@every_plain_loss
def test_every_loss_in_tiles_is_what_the_matrix_gives(loss: Objective) -> None:
    if not quick_way(loss):
        return
    x, y = embeddings("in disorder")
    loss = with_rows(loss)
    functions = functions_of(loss)
    found = tiled(functions, measured(loss, x, y), pairs_of(functions, "in disorder"), (16, 12))
    expected = through_the_matrix(loss, x, y, positives_of("in disorder"))
    assert all(agree(a, b, 1e-9) for a, b in zip(found, expected, strict=True)), loss


@pytest.mark.parametrize("ids", IDS)
@every_plain_kind
def test_tiles_of_any_size_give_what_the_matrix_gives(loss: Objective, ids: str) -> None:
    if not quick_way(loss):
        return
    x, y = embeddings(ids)
    for anchors in (Anchors.ROWS, Anchors.BOTH):
        of = replace(loss, anchors=anchors)
        expected = through_the_matrix(of, x, y, positives_of(ids))
        for size, bounded in TILES:
            functions = functions_of(of) if bounded else without_bounds(functions_of(of))
            found = tiled(functions, measured(loss, x, y), pairs_of(functions, ids), size)
            assert all(agree(a, b, 1e-9) for a, b in zip(found, expected, strict=True)), (loss, anchors, size)


OF_EVERY_LOSS = {(loss, "in disorder") for loss in PLAIN}
OF_EVERY_KIND = {(loss, ids) for loss in covering(PLAIN) for ids in IDS}


@pytest.mark.parametrize(
    ("loss", "ids"),
    sorted(OF_EVERY_LOSS | OF_EVERY_KIND, key=lambda pair: (pair[0].name, pair[1])),
    ids=lambda of: getattr(of, "name", of),
)
def test_a_small_batch_in_few_calls_gives_what_the_matrix_gives(loss: Objective, ids: str) -> None:
    x, y = embeddings(ids)
    for anchors in (Anchors.ROWS, Anchors.BOTH):
        of = replace(loss, anchors=anchors)
        functions, shape = functions_of(of), (len(x), len(y))
        if not is_small(functions, "dot", *shape):
            assert loss.name in UNTILED | {"lifted_structure"}
            return
        found = gradients_at_once(functions, measured(loss, x, y), pairs_of(functions, ids))
        expected = through_the_matrix(of, x, y, positives_of(ids))
        assert all(agree(a, b, 1e-9) for a, b in zip(found, expected, strict=True)), (loss, anchors)
        other = Pairs.of(functions, shape, torch.arange(shape[0]) // 7, torch.arange(shape[1]) // 7)
        seen = gradients_at_once(functions, measured(loss, x, y), other)
        assert not all(agree(a, b, 1e-3) for a, b in zip(seen, expected, strict=True)) or not expected[0].any()


@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("name", ["vse_pp", "info_nce", "circle"])
def test_columns_alone_as_anchors_go_as_rows_do(name: str, ids: str) -> None:
    of_rows, of_columns, _ = IDS[ids]
    loss = replace(next(loss for loss in catalog if loss.name == name), anchors=Anchors.COLUMNS)
    x, y = embeddings(ids)
    expected = through_the_matrix(loss, x, y, positives_of(ids))
    leaves = [e.clone().requires_grad_() for e in (x, y)]
    value = quick_surrogate(functions_of(loss), "dot", *leaves, of_rows, of_columns)
    assert value is not None
    found = (*torch.autograd.grad(value, leaves), value)
    assert all(agree(a, b, 1e-9) for a, b in zip(found, expected, strict=True))
    assert not agree(1.001 * found[0], expected[0], 1e-9)


@pytest.mark.parametrize("of_positives", ALL_AGGREGATORS, ids=lambda a: a.name)
def test_any_aggregator_of_positives_goes_in_tiles(of_positives: Aggregator) -> None:
    for of_negatives in (EACH, EACH_MEAN, MEAN, LOGSUMEXP):
        outer = softplus(gap) * (1 + x_p**2) + x_n**3
        loss = one_term(
            outer, Anchors.BOTH, positives=of_positives(s_p**2 + s_p / 3), negatives=of_negatives(sp.exp(s_n) - 1)
        )
        for ids in ("pairs", "in disorder", "ids of both"):
            x, y = embeddings(ids)
            pairs = pairs_of(functions_of(loss), ids)
            expected = through_the_matrix(loss, x, y, positives_of(ids))
            for size in (None, (16, 12)):
                found = tiled(functions_of(loss), measured(loss, x, y), pairs, size)
                assert all(agree(a, b, 1e-9) for a, b in zip(found, expected, strict=True)), (of_negatives, ids, size)
            found = gradients_at_once(functions_of(loss), measured(loss, x, y), pairs)
            assert all(agree(a, b, 1e-9) for a, b in zip(found, expected, strict=True)), (of_negatives, ids)


@pytest.mark.parametrize("name", ["vse_pp", "vse0", "info_nce", "circle", "lifted_structure"])
def test_groups_of_many_sizes_give_what_the_matrix_gives(name: str) -> None:
    loss = next(loss for loss in catalog if loss.name == name)
    ids = torch.arange(300).double().sqrt().long()[torch.randperm(300)]
    pairs = Pairs.of(functions_of(loss), (300, 300), ids)
    x, y = (normalize(torch.randn(300, 6), dim=1) for _ in range(2))
    expected = through_the_matrix(loss, x, y, ids[:, None] == ids)
    for size in (None, (128, 64)):
        found = tiled(functions_of(loss), measured(loss, x, y), pairs, size)
        assert all(agree(a, b, 1e-9) for a, b in zip(found, expected, strict=True)), size


@every_plain_kind
def test_other_matches_are_seen(loss: Objective) -> None:
    loss = with_rows(loss)
    functions = functions_of(loss)
    x, y = embeddings("captions")
    if loss.name in UNTILED | {"triplet_soft_margin", "selectively_hard_triplet"}:
        return
    found = tiled(functions, measured(loss, x, y), pairs_of(functions, "pairs"), (16, 12))
    expected = through_the_matrix(loss, x, y, positives_of("captions"))
    assert not all(agree(a, b, 1e-3) for a, b in zip(found, expected, strict=True)), loss


@every_plain_kind
def test_ties_and_duplicates_change_no_way(loss: Objective) -> None:
    """Halves, so that equal pairs have exactly equal scores whatever the order of summing."""
    loss = with_rows(loss)
    functions = functions_of(loss)
    aggregated = {term.negatives.aggregator.name for term in functions.terms if term.negatives is not None}
    if not tileable(functions) or (aggregated == {"max"} and loss.similarity not in (COSINE, DOT)):
        return
    equal, few = torch.full((N, 4), 0.5), torch.eye(4).repeat(N, 1)[torch.randperm(N)]
    for x, y in ((equal, equal), (few, few), (few, few.flip(0)), (equal, few)):
        expected = through_the_matrix(loss, x, y, positives_of("pairs"))
        for size in (None, (16, 12)):
            found = tiled(functions, measured(loss, x, y), pairs_of(functions, "pairs"), size)
            for a, b in zip(found, expected, strict=True):
                assert agree(a, b, 1e-9), (loss, size)
        if is_small(functions, "dot", N * 4, N * 4):
            found = gradients_at_once(functions, measured(loss, x, y), pairs_of(functions, "pairs"))
            assert all(agree(a, b, 1e-9) for a, b in zip(found, expected, strict=True)), loss


def test_among_ties_the_first_candidate_wins() -> None:
    loss = next(loss for loss in catalog if loss.name == "vse_pp")
    s, first = torch.full((200, 200), 0.5), torch.tensor([1] + [0] * 199)
    w = weights_of_scores(replace(loss, anchors=Anchors.ROWS), s, Matches.of_pairs(200))
    assert w.argmax(1).equal(first)
    same, told_apart = torch.full((200, 201), 0.5), torch.cat([torch.zeros(200, 1), torch.eye(200)], 1)
    for size in (None, (64, 32), (200, 7)):
        for axis, ends in enumerate(((same, told_apart), (told_apart, same))):
            found = tiled(functions_of(loss), Geometry.of("dot", *ends), Pairs.of(functions_of(loss), (200, 200)), size)
            assert found[axis][:, 1:].argmax(1).equal(first)
    s[:, 5] = 0.6
    assert not weights_of_scores(loss, s, Matches.of_pairs(200)).argmax(1).equal(first)


# --- of a batch -----------------------------------------------------------------------------------


@every_kind
def test_permuting_the_batch_permutes_them(loss: Objective) -> None:
    batch = SEVERAL_CAPTIONS
    s, matches = similarities(loss, batch), carrying(loss, batch.matches)
    rows, columns = torch.randperm(len(s)), torch.randperm(s.shape[1])
    permuted = Matches(*(None if table is None else table[rows][:, columns] for table in matches.tables))
    found = weights_of_scores(loss, s[rows][:, columns], permuted)
    expected = weights_of_scores(loss, s, matches)
    assert agree(found, expected[rows][:, columns]), loss
    assert not agree(found, expected), loss


@every_kind
def test_swapping_images_and_texts_transposes_them(loss: Objective) -> None:
    batch = SEVERAL_CAPTIONS
    s, matches = similarities(loss, batch), carrying(loss, batch.matches)
    both, rows, columns = (replace(loss, anchors=anchors) for anchors in (Anchors.BOTH, Anchors.ROWS, Anchors.COLUMNS))
    w = weights_of_scores(both, s, matches)
    assert agree(weights_of_scores(both, s.T, matches.transposed).T, w), loss
    assert agree(weights_of_scores(columns, s.T, matches.transposed).T, weights_of_scores(rows, s, matches)), loss
    parts = [weights_of_scores(replace(of, reduction=Reduction.SUM), s, matches) for of in (rows, columns)]
    assert agree(sum(parts), weights_of_scores(replace(both, reduction=Reduction.SUM), s, matches)), loss
    assert not agree(*parts) or either_axis(loss)


def either_axis(loss: Objective) -> bool:
    """Whether a pair's weight reads no other pair, or those of both ends: either axis may be the anchor."""
    sides = [side for term in loss.terms for side in term.sides]
    apart = len(sides) == len(loss.terms) and all(side.aggregator is EACH for side in sides)
    return apart or any(side.pool is Pool.BOTH_ENDS for side in sides)


def counted(loss: Objective, s: Tensor, matches: Matches) -> Tensor | int:
    """What the sum of the only term is divided by, counted by a loss that is 1 where the term counts."""
    (term,) = loss.terms
    if loss.reduction in (Reduction.SUM, Reduction.MEAN):
        return 1 if loss.reduction is Reduction.SUM else len(s)
    above_zero = step(sp.sympify(term.outer) - sp.Rational(1, 10**30))
    counts = replace(term, outer=above_zero)
    if loss.reduction is Reduction.MEAN_EACH:
        counts = replace(term, outer=sp.S.One, named=())
    counts = counts.with_sides(lambda side, _: replace(side, aggregator=EACH) if side.aggregator.enumerates else side)
    return loss_value(loss.of_terms((counts,), reduction=Reduction.SUM), s, matches).clamp(min=1)


@pytest.mark.parametrize("reduction", Reduction, ids=lambda reduction: reduction.value)
@every_kind
def test_the_value_is_that_of_its_anchors(loss: Objective, reduction: Reduction) -> None:
    if any(side.pool is Pool.BOTH_ENDS for term in loss.terms for side in term.sides):
        return
    if loss.name in ("pnp_decreasing_quickly", "guided_info_nce") and reduction is Reduction.MEAN_ACTIVE:
        return  # small values are rounded to zero, or just not
    s, every = similarities(loss, SEVERAL_CAPTIONS), carrying(loss, SEVERAL_CAPTIONS.matches)
    loss = replace(loss, anchors=Anchors.ROWS, reduction=reduction)
    rows = [Matches(*(None if table is None else table[i, None] for table in every.tables)) for i in range(len(s))]
    total = torch.zeros(())
    for of_term in (loss.of_terms((term,)) for term in loss.terms):
        summed = replace(of_term, reduction=Reduction.SUM)
        of_rows = sum(loss_value(summed, s[i, None], row) for i, row in enumerate(rows))
        total = total + of_rows / counted(of_term, s, every)
    torch.testing.assert_close(loss_value(loss, s, every), total)


@pytest.mark.parametrize("of_positives", [EACH_MEAN, MEAN], ids=lambda a: a.name)
def test_the_negatives_of_both_ends_as_a_loop(of_positives: Aggregator) -> None:
    """With aggregated positives an anchor gathers its own negatives and those of all its positives."""
    s, m = similarities(catalog[0], SEVERAL_CAPTIONS), SEVERAL_CAPTIONS.matches
    total = torch.zeros(())
    for i in range(12):
        own = [s[i, k] for k in range(12) if m.negatives[i, k]]
        ends = {j: [s[k, j] for k in range(12) if m.negatives[k, j]] for j in range(12) if m.positives[i, j]}
        if of_positives is MEAN:
            joined = torch.stack([*own, *(other for others in ends.values() for other in others)])
            total += (torch.logsumexp(joined, 0) - s[i][m.positives[i]].mean()) / 12
        else:
            each = [torch.logsumexp(torch.stack(own + others), 0) - s[i, j] for j, others in ends.items()]
            total += torch.stack(each).mean() / 12
    loss = one_term(gap, positives=of_positives(s_p), negatives=LOGSUMEXP(s_n, Pool.BOTH_ENDS))
    torch.testing.assert_close(loss_value(loss, s, m), total)


def test_a_mean_counts_the_anchors_that_have_what_the_term_needs() -> None:
    s = torch.tensor([[0.5, 0.1, 0.3], [0.2, 0.7, 0.4]])
    positives = torch.tensor([[True, False, True], [False, False, False]])
    negatives = torch.tensor([[False, True, False], [True, True, True]])
    terms = (Term(outer=-x_p, positives=EACH(s_p)), Term(outer=x_n, negatives=MAX(s_n)))
    loss = Objective(name="two_terms", title="Two terms", terms=terms, anchors=Anchors.ROWS)
    torch.testing.assert_close(
        loss_value(loss, s, Matches(positives, negatives)), torch.tensor(-(0.5 + 0.3) / 1 + (0.1 + 0.7) / 2)
    )
    both = replace(loss, anchors=Anchors.BOTH)  # rows and columns are counted together
    expected = -(2 * 0.8) / 3 + (0.1 + 0.7 + 0.2 + 0.7 + 0.4) / 5
    torch.testing.assert_close(loss_value(both, s, Matches(positives, negatives)), torch.tensor(expected))


@every_kind
def test_without_negatives_or_positives_nothing_is_nan(loss: Objective) -> None:
    s = torch.rand(3, 4) / 2
    nothing = torch.zeros(3, 4, dtype=torch.bool)
    for tables in ((nothing, nothing), (~nothing, nothing), (nothing, ~nothing)):
        matches = carrying(loss, Matches(*tables))
        assert loss_value(loss, s, matches).isfinite()
        w = weights_of_scores(loss, s, matches)
        assert w.isfinite().all()
        assert (w[~(matches.positives | matches.negatives)] == 0).all()


@pytest.mark.parametrize("inner", [sp.sqrt(1 - s_p**2), sp.sqrt(s_p)], ids=str)
@pytest.mark.parametrize("aggregator", [EACH, MEAN, LOGSUMEXP, MAX], ids=lambda a: a.name)
def test_an_infinite_slope_at_no_member_is_not_seen(inner: sp.Expr, aggregator: Aggregator) -> None:
    """The first has an infinite slope on the diagonal, the second where a similarity is left out."""
    s = torch.eye(4) + 0.3 * (1 - torch.eye(4))
    matches = Matches.of_labels(torch.tensor([1, 0, 0, 0]))
    loss = one_term(gap, Anchors.BOTH, positives=aggregator(inner), negatives=EACH(s_n))
    w = weights_of_scores(loss, s, matches)
    assert w.isfinite().all()
    assert agree(w, by_autograd(loss, s, matches))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_they_are_computed_in_float32_at_least_and_need_no_autograd(dtype: torch.dtype) -> None:
    batch = RANDOM_PAIRS
    s = (batch.rows @ batch.columns.T).to(dtype)
    loss = next(loss for loss in catalog if loss.name == "circle")
    expected = torch.promote_types(dtype, torch.float32)
    with torch.inference_mode():
        assert loss_value(loss, s, batch.matches).dtype == expected
        assert weights_of_scores(loss, s, batch.matches).dtype == expected


def test_settings_replace_defaults() -> None:
    batch = RANDOM_PAIRS
    s = batch.rows @ batch.columns.T
    loss = next(loss for loss in catalog if loss.name == "info_nce")
    found = loss_value(loss, s, batch.matches, {"tau": 3})
    directions = [torch.nn.functional.cross_entropy(3 * t, torch.arange(12)) for t in (s, s.T)]
    torch.testing.assert_close(found, sum(directions) / 2)
    w = weights_of_scores(loss, s, batch.matches, {"tau": 3})
    assert not agree(w, weights_of_scores(loss, s, batch.matches))
    with pytest.raises(ValueError, match="loss 'info_nce': got a value for 'scale' but expected one of tau"):
        weights_of_scores(loss, s, batch.matches, {"scale": 3})


def test_what_does_not_fit_is_named() -> None:
    loss = one_term(gap, positives=EACH(s_p), negatives=EACH(s_n))
    with pytest.raises(ValueError, match=r"loss 'made_up': got scores of shape \(2, 3\) but expected \(3, 3\)"):
        loss_value(loss, torch.zeros(2, 3), Matches.of_pairs(3))
    median = replace(EACH, name="median", enumerates=False)
    with pytest.raises(ValueError, match="aggregator: got 'median' without tensors but expected one of max, min"):
        functions_of(one_term(gap, positives=EACH(s_p), negatives=median(s_n)))
    prescribed = replace(loss, terms=(Term(triplet=sp.S.One, positives=EACH(s_p), negatives=EACH(s_n)),))
    with pytest.raises(ValueError, match="got prescribed weights but expected a loss, which has a value"):
        loss_value(prescribed, torch.zeros(3, 3), Matches.of_pairs(3))
