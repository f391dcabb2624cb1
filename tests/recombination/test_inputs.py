"""What objectives refuse, and in which words."""

import warnings

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from goal_analysis.numeric.matches import Matches
from goal_analysis.recombination.objective import GradientObjective, check_shapes
from goal_analysis.recombination.parts import Parts
from goal_analysis.recombination.text import parse_objective
from goal_analysis.symbolic.language.similarity import DOT
from losses_catalog import catalog, pair_weights, triplet_weights

PARTS = Parts(triplet_weights, pair_weights, catalog)
objectives = pytest.mark.parametrize("text", ["nca/linear", "nca/linear@all", "nca/linear@softmax:5,6", "circle"])


def of(text: str, refuse_nonfinite: bool = True, **fields) -> GradientObjective:
    return GradientObjective(parse_objective(text, PARTS, **fields), refuse_nonfinite)


def batch(n: int = 6, dim: int = 4) -> tuple[Tensor, Tensor]:
    return normalize(torch.randn(n, dim), dim=1), normalize(torch.randn(n, dim), dim=1)


ONE, TWO = torch.zeros(2, 3), torch.zeros(3, 3)
IDS = torch.arange(3)
WHOLE = "whole numbers of shape ({},), one an embedding"
FLOATS = "floating-point numbers of shape (embeddings, dim)"
WRONG = {
    "one axis": ((ONE[0], ONE), "image_embeddings: got a tensor of torch.float32 of shape (3,) but expected " + FLOATS),
    "three axes": (
        (ONE, ONE[None]),
        "text_embeddings: got a tensor of torch.float32 of shape (1, 2, 3) but expected " + FLOATS,
    ),
    "whole numbers": (
        (ONE, ONE.long()),
        "text_embeddings: got a tensor of torch.int64 of shape (2, 3) but expected " + FLOATS,
    ),
    "two dims": (
        (ONE, ONE[:, :2]),
        "got image_embeddings of shape (2, 3) and text_embeddings of shape (2, 2) but expected one dim",
    ),
    "other numbers": (
        (ONE, TWO),
        "got 2 images and 3 texts without image_ids but expected the ids, or as many",
    ),
    "ids of the texts alone": (
        (TWO, TWO, None, IDS),
        "got 3 images and 3 texts without image_ids but expected the ids, or as many",
    ),
    "ids of the images alone": (
        (TWO, ONE, IDS),
        "got 2 texts for 3 images without text_ids but expected the ids",
    ),
    "too many ids": (
        (ONE, ONE, IDS),
        "image_ids: got a tensor of torch.int64 of shape (3,) but expected " + WHOLE.format(2),
    ),
    "too few ids of texts": (
        (TWO, TWO, IDS, IDS[:2]),
        "text_ids: got a tensor of torch.int64 of shape (2,) but expected " + WHOLE.format(3),
    ),
    "ids of two axes": (
        (TWO, TWO, IDS[None]),
        "image_ids: got a tensor of torch.int64 of shape (1, 3) but expected " + WHOLE.format(3),
    ),
    "ids with fractions": (
        (TWO, TWO, IDS, IDS.float()),
        "text_ids: got a tensor of torch.float32 of shape (3,) but expected " + WHOLE.format(3),
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_shapes_that_do_not_fit(wrong: str) -> None:
    given, text = WRONG[wrong]
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole text is compared below
        check_shapes(*given, *[None] * (4 - len(given)))
    assert str(refused.value) == text


@pytest.mark.parametrize("place", range(4))
def test_what_is_no_tensor_is_refused(place: int) -> None:
    given: list[object] = [TWO, TWO, IDS, IDS]
    given[place] = [1, 2, 3]
    name = ("image_embeddings", "text_embeddings", "image_ids", "text_ids")[place]
    with pytest.raises(TypeError, match=rf"^{name}: got \[.*\] but expected a tensor$"):
        check_shapes(*given)


def test_shapes_that_fit() -> None:
    check_shapes(ONE, ONE, None, None)
    check_shapes(TWO, TWO, IDS, None)
    check_shapes(TWO, ONE, IDS, IDS[:2])
    check_shapes(ONE.bfloat16(), ONE, None, None)


@objectives
def test_the_objective_asks_the_same(text: str) -> None:
    objective, (x, y) = of(text), batch()
    with pytest.raises(ValueError, match="got 6 images and 5 texts without image_ids but expected the ids, or as many"):
        objective(x, y[:5])
    with pytest.raises(ValueError, match="got 5 texts for 6 images without text_ids but expected the ids"):
        objective(x, y[:5], torch.arange(6))
    assert objective(x, y[:5], torch.arange(6), torch.arange(5)).isfinite()


@objectives
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("side", [0, 1], ids=["images", "texts"])
def test_numbers_that_are_not_finite_are_refused_with_their_row(text: str, wrong: float, side: int) -> None:
    sides = list(batch())
    sides[side] = sides[side].clone()
    sides[side][3, 1] = sides[side][5, 0] = wrong
    name = ("image_embeddings", "text_embeddings")[side]
    expected = f"^{name}: row 3: got a number that is not finite but expected finite numbers$"
    for similarity in (None, DOT):
        chosen = {} if similarity is None else {"similarity": similarity}
        objective = of(text, **chosen)
        with pytest.raises(ValueError, match=expected):
            objective(*sides)
        passing = of(text, refuse_nonfinite=False, **chosen)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            passing(*sides)


@objectives
def test_scores_that_are_not_finite_are_refused_with_their_row(text: str) -> None:
    scores, matches = torch.randn(5, 5).tanh(), Matches.of_pairs(5)
    objective = of(text)
    objective.from_scores(scores, matches)
    scores[2, 4] = torch.nan
    expected = "^scores: row 2: got a number that is not finite but expected finite numbers$"
    with pytest.raises(ValueError, match=expected):
        objective.from_scores(scores, matches)
    passing = of(text, refuse_nonfinite=False)
    assert passing.from_scores(scores, matches).isnan()


def test_finite_numbers_whose_length_overflows_are_not_refused() -> None:
    x, y = (e.float() for e in batch())
    x[1] *= 3e38
    objective = of("nca/linear", similarity=DOT)
    objective(x, y)


@objectives
def test_the_cosine_of_other_lengths_warns_once_and_normalises(text: str) -> None:
    objective, (x, y) = of(text), batch()
    a, b = (3 * x).requires_grad_(), y.clone().requires_grad_()
    expected = "got embeddings of lengths from 3 to 3 but expected unit vectors for the cosine; they are normalised"
    with pytest.warns(UserWarning, match=expected):
        value = objective(a, b)
    found = torch.autograd.grad(value, (a, b))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        objective(2 * x, y)
        exact = torch.autograd.grad(objective(normalize(a, dim=1), b), (a, b))
        of(text)(x, y)
        of(text, similarity=DOT)(3 * x, y)
    torch.testing.assert_close(found, exact)
    assert (found[0] * a).sum(1).abs().max() < 1e-12  # normalising, lengths do not matter


@pytest.mark.parametrize("factor", [1e-30, 1e-15, 1e15, 1e30])
def test_the_cosine_of_numbers_whose_squares_are_no_floats_is_theirs(factor: float) -> None:
    x, y = (e.float() for e in batch())
    found = []
    for scale in (factor, 2):
        far = (scale * x).requires_grad_()
        with pytest.warns(UserWarning, match="unit vectors"):
            found.append(scale * torch.autograd.grad(of("info_nce")(far, y), far)[0])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("text", ["info_nce", "vse_pp", "nca/linear"])
def test_a_row_of_zeros_has_no_direction_and_is_named(text: str) -> None:
    x, y = batch()
    x[3] = 0
    with (
        pytest.warns(UserWarning, match="unit vectors"),
        pytest.raises(ValueError, match="image_embeddings: row 3: got zeros alone"),
    ):
        of(text)(x, y)
    with pytest.warns(UserWarning, match="unit vectors"):
        assert of(text, refuse_nonfinite=False)(x, y).isnan()


def test_lengths_within_a_hundredth_pass_for_units() -> None:
    x, y = batch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        of("nca/linear")(1.009 * x, y.bfloat16().double())
    with pytest.warns(UserWarning, match="unit vectors"):
        of("nca/linear")(1.011 * x, y)


def test_an_unknown_hyperparameter_is_refused() -> None:
    with pytest.raises(ValueError, match="tua"):
        of("nca(tua=3)/linear")
