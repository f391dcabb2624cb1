"""Laws of a training step: what trainers do around a loss is right around an objective too, whichever way it takes."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

from goal_analysis.numeric.matches import Matches
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.parts import Parts
from goal_analysis.recombination.text import parse_objective
from goal_analysis.symbolic.language.similarity import DOT, NEGATIVE_EUCLIDEAN
from goal_analysis.symbolic.objective import Reduction
from losses_catalog import catalog, pair_weights, triplet_weights

Make = Callable[..., GradientObjective]


PARTS = Parts(triplet_weights, pair_weights, catalog)


def of(text: str, **fields) -> Make:
    return lambda: GradientObjective(parse_objective(text, PARTS, **fields))


OBJECTIVES: dict[str, Make] = {
    "hardest": of("nca/linear"),
    "softmax in tiles": of("nca/linear@softmax:8,12"),
    "mean of the positives": of("nca/linear@softmax:0,12"),
    "relative": of("nca/relative_linear"),
    "all": of("nca/linear@all"),
    "top_k": of("nca/linear@top_k:3"),
    "semi_hard": of("nca/linear@semi_hard:0.5"),
    "selectively_hard": of("nca/linear@selectively_hard:0.05"),
    "distances": of("nca/linear", similarity=NEGATIVE_EUCLIDEAN),
    "sum": of("nca/linear", reduction=Reduction.SUM),
    "circle": of("circle(gamma=20)"),
    "info_nce": of("info_nce"),
    "lifted_structure": of("lifted_structure"),
    "another pair weight": of("circle(gamma=20)/linear"),
}
ROWS, DIM = 12, 5

EVERY_WAY = ("hardest", "softmax in tiles", "relative", "semi_hard", "circle")
"""One of each way through the engine, for what takes long."""

makes = pytest.mark.parametrize("make", OBJECTIVES.values(), ids=OBJECTIVES.keys())


class Towers(nn.Module):
    """Two linear maps onto the sphere."""

    def __init__(self) -> None:
        super().__init__()
        self.images, self.texts = nn.Linear(6, DIM), nn.Linear(7, DIM)

    def forward(self, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        return normalize(self.images(images).float(), dim=1), normalize(self.texts(texts).float(), dim=1)


def batch(n: int = ROWS) -> tuple[Tensor, Tensor]:
    x = normalize(torch.randn(n, DIM), dim=1)
    return x, normalize(x + torch.randn(n, DIM), dim=1)


def gradients(objective: Callable[..., Tensor], x: Tensor, y: Tensor, *ids: Tensor | None, scale: float = 1) -> Tensor:
    """Those of both sides, one below the other."""
    x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
    return torch.cat(torch.autograd.grad(scale * objective(x, y, *ids), (x, y)))


def of_parameters(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.fixture
def given() -> tuple[nn.Module, Tensor, Tensor]:
    """A model and a batch, in float32 as models are."""
    torch.set_default_dtype(torch.float32)
    return Towers(), torch.randn(ROWS, 6), torch.randn(ROWS, 7)


@makes
def test_gradients_are_linear_in_the_upstream_gradient(make: Make) -> None:
    objective, (x, y) = make(), batch()
    once = gradients(objective, x, y)
    assert once.abs().max() > 1e-3
    for scale in (3.0, -0.5, 0.0):
        torch.testing.assert_close(gradients(objective, x, y, scale=scale), scale * once, rtol=1e-13, atol=1e-15)
    both = gradients(lambda a, b: 2 * objective(a, b) + 0.5 * objective(a, b), x, y)
    torch.testing.assert_close(both, 2.5 * once, rtol=1e-12, atol=1e-14)


@makes
def test_a_scaler_under_autocast_changes_no_gradient(make: Make, given: tuple) -> None:
    model, images, texts = given
    objective, found = make(), []
    for scale in (None, 2.0**12):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            value = objective(*model(images, texts))
        if scale is None:
            value.backward()
        else:
            optimizer, scaler = torch.optim.SGD(model.parameters()), torch.amp.GradScaler("cpu", init_scale=scale)
            scaler.scale(value).backward()
            assert of_parameters(model).abs().max() > 100 * found[0].abs().max()
            scaler.unscale_(optimizer)
        found.append(of_parameters(model))
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=0)


@makes
def test_accumulated_gradients_are_the_sum_of_the_parts(make: Make, given: tuple) -> None:
    model, images, texts = given
    objective, alone = make(), []
    parts = [(images[i : i + 4], texts[i : i + 4]) for i in range(0, ROWS, 4)]
    for part in parts:
        model.zero_grad()
        objective(*model(*part)).backward()
        alone.append(of_parameters(model))
    model.zero_grad()
    for part in parts:
        objective(*model(*part)).backward()
    torch.testing.assert_close(of_parameters(model), sum(alone), rtol=1e-5, atol=1e-6)
    model.zero_grad()
    objective(*model(images, texts)).backward()  # one batch has other negatives
    assert not torch.allclose(of_parameters(model), sum(alone), rtol=1e-2)


@makes
def test_gradients_are_clipped(make: Make, given: tuple) -> None:
    model, images, texts = given
    make()(*model(images, texts)).backward()
    before = of_parameters(model)
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    torch.testing.assert_close(norm, before.norm(), rtol=1e-5, atol=0)
    torch.testing.assert_close(of_parameters(model), before * (1e-3 / norm), rtol=1e-3, atol=1e-9)


# Where torch breaks its graph it looks at the gradients of what it hands on.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("make", [OBJECTIVES[way] for way in EVERY_WAY], ids=EVERY_WAY)
def test_a_compiled_step_has_the_same_gradients(make: Make, given: tuple) -> None:
    model, images, texts = given
    objective, found = make(), []

    def step(a: Tensor, b: Tensor) -> Tensor:
        return 2 * objective(*model(a, b))

    torch.compiler.reset()
    for way in (step, torch.compile(step, backend="aot_eager")):
        model.zero_grad()
        way(images, texts).backward()
        found.append(of_parameters(model))
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)


@makes
def test_deterministic_algorithms_run_and_repeat(make: Make) -> None:
    objective, (x, y), ids = make(), batch(), torch.arange(ROWS) // 3
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (gradients(objective, x, y, ids) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert first.equal(second)
    assert first.abs().max() > 0


@makes
def test_differentiating_twice_is_refused(make: Make) -> None:
    x, y = (e.requires_grad_() for e in batch())
    once = torch.autograd.grad(make()(x, y), (x, y), create_graph=True)
    torch.testing.assert_close(torch.cat(once), gradients(make(), x, y), rtol=0, atol=0)
    penalised = (once[0] ** 2).sum() + x.sum()
    with pytest.raises(RuntimeError, match="its gradient is prescribed, and has no derivative"):
        penalised.backward()


@makes
@pytest.mark.parametrize(
    "case", ["nothing", "one", "no negatives", "equal", "opposite", "duplicates", "no positives", "no texts"]
)
def test_extreme_batches_have_finite_gradients(make: Make, case: str) -> None:
    x, y = batch(4)
    ids: tuple[Tensor, ...] = ()
    if case == "nothing":
        x, y = x[:0], y[:0]
    elif case == "one":
        x, y = x[:1], y[:1]
    elif case == "no negatives":
        ids = (torch.zeros(4, dtype=torch.long),)
    elif case == "equal":
        x = y = torch.full((4, 4), 0.5)
    elif case == "opposite":
        x = torch.eye(4)[:1].repeat(4, 1)
        y = x * torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None]
    elif case == "duplicates":
        x, y = x[[0, 0, 1, 1]], y[[2, 2, 3, 3]]
    elif case == "no positives":
        ids = (torch.arange(4), torch.arange(4) + 4)
    else:
        y, ids = y[:0], (torch.arange(4), torch.arange(0))
    objective = make()
    if objective.similarity == NEGATIVE_EUCLIDEAN and case in ("equal", "opposite"):
        x = x + 1e-3 * torch.randn(x.shape)  # the distance has no gradient at 0
    found = gradients(objective, x, y, *ids)
    assert found.isfinite().all()
    if case in ("nothing", "one", "no negatives", "no positives", "no texts"):
        assert found.eq(0).all()


@makes
def test_other_captions_of_an_image_are_no_negatives(make: Make) -> None:
    (x, y), ids, objective = batch(), torch.arange(ROWS) // 2, make()
    scores = (x @ y.T).requires_grad_()
    objective.from_scores(scores, Matches.of_image_ids(ids)).backward()
    same = ids[:, None] == ids[None, :]
    assert (scores.grad[same] <= 0).all()  # drawn closer or left alone, never pushed
    scores.grad = None
    objective.from_scores(scores, Matches.of_pairs(ROWS)).backward()
    assert (scores.grad[same] > 0).any()
    if objective.similarity != NEGATIVE_EUCLIDEAN:
        masked = objective.weight_matrix(x @ y.T, Matches.of_image_ids(ids))
        torch.testing.assert_close(gradients(objective, x, y, ids), torch.cat([masked @ y, masked.T @ x]))


@makes
def test_class_labels_repeat_on_both_sides(make: Make) -> None:
    (x, _), (y, _), objective = batch(9), batch(7), make()
    of_images, of_texts = torch.arange(9) % 3, torch.arange(7) % 4
    found = gradients(objective, x, y, of_images, of_texts)
    assert found.abs().max() > 0
    names = torch.tensor([31, -7, 500, 12])  # what classes are called does not matter
    assert found.equal(gradients(objective, x, y, names[of_images], names[of_texts])) or torch.allclose(
        found, gradients(objective, x, y, names[of_images], names[of_texts]), rtol=1e-12, atol=1e-13
    )
    assert not torch.allclose(found, gradients(objective, x, y, of_images, of_texts + 1), atol=1e-6)


@makes
@pytest.mark.parametrize("dtypes", [(torch.float16,) * 2, (torch.bfloat16,) * 2, (torch.float32, torch.bfloat16)])
def test_gradients_have_the_dtype_of_their_input(make: Make, dtypes: tuple[torch.dtype, torch.dtype]) -> None:
    x, y = (e.to(dtype).requires_grad_() for e, dtype in zip(batch(), dtypes, strict=True))
    objective = make()
    found = torch.autograd.grad(objective(x, y), (x, y))
    exact = gradients(objective, x.double(), y.double()).split(ROWS)
    for got, expected, dtype in zip(found, exact, dtypes, strict=True):
        assert got.dtype == dtype
        assert (got - expected).norm() <= 4 * torch.finfo(dtype).eps * expected.norm() + 1e-5


@makes
def test_strides_do_not_matter(make: Make) -> None:
    objective, (x, y) = make(), batch()
    wide = torch.stack([x, y], 2)
    for a, b in ((x.T.contiguous().T, y), (wide[..., 0], wide[..., 1]), (x[:1].expand(ROWS, -1), y)):
        assert not (a.is_contiguous() and b.is_contiguous())
        torch.testing.assert_close(
            gradients(objective, a, b), gradients(objective, a.contiguous(), b.contiguous()), rtol=1e-12, atol=1e-13
        )


@makes
@pytest.mark.parametrize("frozen", [0, 1])
def test_one_side_may_be_frozen(make: Make, frozen: int) -> None:
    objective, sides = make(), list(batch())
    expected = gradients(objective, *sides).split(ROWS)[1 - frozen]
    sides[1 - frozen].requires_grad_()
    objective(*sides).backward()
    torch.testing.assert_close(sides[1 - frozen].grad, expected, rtol=1e-13, atol=1e-15)
    assert sides[frozen].grad is None
    with torch.no_grad():
        assert not objective(*sides).requires_grad


def test_a_copy_trains_as_the_original() -> None:
    objective, (x, y) = of("constant/constant")(), batch()
    assert gradients(copy.deepcopy(objective), x, y).equal(gradients(objective, x, y))


@pytest.mark.parametrize("n", [6, 600])  # at once, and in tiles or by entries
@pytest.mark.parametrize("text", ["nca/linear", "info_nce"])
def test_functional_transforms_give_the_same_gradients(text: str, n: int) -> None:
    module = GradientObjective(parse_objective(text, PARTS))
    x, y = (normalize(torch.randn(n, 4), dim=1) for _ in range(2))
    leaves = [e.clone().requires_grad_() for e in (x, y)]
    expected = torch.autograd.grad(3 * module(*leaves), leaves)
    found = torch.func.grad(lambda x, y: 3 * module(x, y), argnums=(0, 1))(x, y)
    _, pull_back = torch.func.vjp(module, x, y)
    of_call = torch.func.grad(lambda x: 3 * torch.func.functional_call(module, {}, (x, y)))(x)
    for got in (found, pull_back(torch.tensor(3.0)), (of_call, expected[1])):
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b)
    with pytest.raises(RuntimeError, match="expected to differentiate it once"):
        torch.func.grad(lambda x: torch.func.grad(module)(x, y).square().sum())(x)


@pytest.mark.parametrize("text", ["vse_pp", "nca/linear", "info_nce", "siglip"])
def test_many_positives_an_anchor_have_the_gradients_of_the_scores(text: str) -> None:
    module = GradientObjective(parse_objective(text, PARTS))
    x, y = (normalize(torch.randn(300, 4), dim=1).requires_grad_() for _ in range(2))
    ids = torch.arange(300) // 100
    expected = torch.autograd.grad(module.from_scores(x @ y.T, Matches.of_image_ids(ids)), (x, y))
    for found, of_scores in zip(torch.autograd.grad(module(x, y, ids), (x, y)), expected, strict=True):
        torch.testing.assert_close(found, of_scores)
    (other,) = torch.autograd.grad(module(x, y, ids % 2), x)
    assert not torch.allclose(other, expected[0])


class Counted(TorchDispatchMode):
    """How often tensors are worked on: of a small batch that costs what the numbers in them do not."""

    calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += 1
        return func(*args, **(kwargs or {}))


def calls(of_batch: Callable[..., Tensor], *args: Tensor) -> int:
    of_batch(*args).backward()  # what is done once an objective is done
    with Counted() as counted:
        of_batch(*args).backward()
    return counted.calls


@pytest.mark.parametrize(("text", "alone", "of_ids"), [("nca/linear", 62, 92), ("nca/linear@softmax:12", 60, 94)])
def test_a_small_batch_takes_few_calls(text: str, alone: int, of_ids: int) -> None:
    module, (x, y) = GradientObjective(parse_objective(text, PARTS)), batch(128)
    x, ids, matches = x.requires_grad_(), torch.arange(128) // 5, Matches.of_image_ids(torch.arange(128) // 5)
    assert calls(module, x, y) <= alone
    assert calls(module, x, y, ids) <= of_ids
    assert calls(lambda x, y: module.from_scores(x @ y.T, matches), x, y) > of_ids


def test_a_tie_is_seen_beside_a_row_that_is_no_number() -> None:
    module = GradientObjective(replace(parse_objective("vse_pp", PARTS), similarity=DOT), refuse_nonfinite=False)
    x, y = (e.clone() for e in batch(3))
    x[0], x[2] = 0, torch.nan  # both negatives of the first are as similar, and none of the third is a number
    found = []
    for value in (lambda x: module(x, y), lambda x: module.from_scores(x @ y.T, Matches.of_pairs(3))):
        given = x.clone().requires_grad_()
        value(given).backward()
        found.append(given.grad[0])
    torch.testing.assert_close(*found)
    assert found[0].norm() > 0
