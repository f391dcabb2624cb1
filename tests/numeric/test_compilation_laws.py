"""Laws that the compiled weights of every loss and of every weight of the catalog obey."""

from itertools import product, starmap

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch

from goal_analysis.numeric.compilation import TORCH, compiled
from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.language.primitives import hinge, s_n, s_p, sigmoid, softplus, step
from goal_analysis.symbolic.proof.evaluation import MULTIPRECISION, program
from goal_analysis.symbolic.weight import WeightField, compose
from losses_catalog import catalog, pair_weights, triplet_weights

SCALE = 256
"""As large as published scales get: the γ of circle loss."""

EXACT = 1e-12


LOSSES = {loss.name: loss for loss in catalog}
COMPOSED = {field.name: field for field in starmap(compose, product(triplet_weights, pair_weights))}

every_field = pytest.mark.parametrize("name", [*LOSSES, *COMPOSED])


def field_of(name: str) -> WeightField:
    """The weight field of a loss of the catalog, or of a triplet weight with a pair weight."""
    return decompose(LOSSES[name]).field if name in LOSSES else COMPOSED[name]


def weights(field: WeightField, scaled: bool = False) -> list[sp.Expr]:
    """T, P⁺ and P⁻, or w⁺ and w⁻, at the defaults; ``scaled`` makes what may be any positive number large."""
    large = {
        h.name: SCALE
        for h in field.hyperparameters
        if h.domain.start == 0 and h.domain.left_open and h.domain.end == sp.oo
    }
    f = field.factors
    expressions = (f.triplet, f.positive, f.negative) if f else (field.positive, field.negative)
    return [sp.sympify(e).subs(field.values(large if scaled else {})) for e in expressions]


def inputs(field: WeightField) -> list[sp.Symbol]:
    return [s_p, s_n, *(r.symbol for r in field.relative)]


def points(field: WeightField, count: int = 16) -> list[torch.Tensor]:
    low, high = map(float, field.similarity.window)
    similarities = [low + (high - low) * torch.rand(count) for _ in range(2)]
    return [*similarities, *(torch.rand(count) for _ in field.relative)]


def in_many_digits(expressions: list[sp.Expr], symbols: list[sp.Symbol], values: list[torch.Tensor]) -> np.ndarray:
    steps = program(expressions, symbols)
    with mpmath.workdps(50):
        rows = [
            steps.run(MULTIPRECISION, *map(mpmath.mpf, point))
            for point in zip(*map(torch.Tensor.tolist, values), strict=True)
        ]
        return np.array([[float(v) for v in row] for row in rows]).T


def worst(found, exact: np.ndarray) -> float:
    """The largest relative error where there is a value; nowhere else is there to be one."""
    found, exists = np.stack([np.asarray(x) for x in found]), np.isfinite(exact)
    assert not np.isfinite(found[~exists]).any()
    return float(np.max(np.abs(found - exact)[exists] / np.maximum(np.abs(exact[exists]), 1e-290)))


@every_field
@pytest.mark.parametrize("scaled", [False, True], ids=["defaults", "large scales"])
def test_torch_and_numpy_compute_the_formula(name: str, scaled: bool) -> None:
    field = field_of(name)
    expressions, symbols, values = weights(field, scaled), inputs(field), points(field)
    exact = in_many_digits(expressions, symbols, values)
    arrays = compiled(expressions, symbols, NUMPY)(*(v.numpy() for v in values))
    # Far in the tail of a sigmoid the relative error is the absolute error of its argument.
    steep = 100 if scaled else 1
    for found in (compiled(expressions, symbols)(*values), arrays):
        assert worst(found, exact) < EXACT * steep
        assert worst([x * (1 + 3 * EXACT * steep) for x in found], exact) > EXACT * steep
    assert np.any(exact != 0)


@every_field
def test_the_three_ways_to_run_agree(name: str) -> None:
    field = field_of(name)
    expressions, symbols, values = weights(field), inputs(field), points(field)
    run = compiled(expressions, symbols)
    kept = [v.clone() for v in values]
    overwriting = run(*values)
    assert all(map(torch.equal, kept, values))  # the inputs are left alone
    recording = run(*(v.clone().requires_grad_() for v in values))
    broadcasting = run(*(v[:, None] for v in values[:-1]), values[-1][:, None].expand(-1, 2))
    for a, b, c in zip(overwriting, recording, broadcasting, strict=True):
        torch.testing.assert_close(b.detach(), a, rtol=1e-13, atol=1e-300)
        torch.testing.assert_close(c, a[:, None].expand(-1, 2), rtol=1e-13, atol=1e-300)


def infinite_at(field: WeightField, expressions: list[sp.Expr], point: tuple[float, ...]) -> list[bool]:
    """Which of the expressions have no value at this point that a float32 reaches."""
    exact = in_many_digits(expressions, inputs(field), [torch.tensor([v]) for v in point])
    return [not abs(row[0]) <= torch.finfo(torch.float32).max for row in exact]


@every_field
def test_weights_are_finite_where_the_formula_is(name: str) -> None:
    field = field_of(name)
    ends = [float(field.similarity.opposite), 0.0, float(field.similarity.identical)]
    for scaled in (False, True):
        expressions = weights(field, scaled)
        run = compiled(expressions, inputs(field))
        for p, n in product(ends, ends):
            point = (p, n, *(0.0 for _ in field.relative))
            expected = infinite_at(field, expressions, point)
            for dtype in (torch.float32, torch.bfloat16):
                found = run(*(torch.tensor([v], dtype=dtype) for v in point))
                assert [not x.isfinite().item() for x in found] == expected, (p, n, dtype)


def test_some_formulas_are_infinite_and_few() -> None:
    infinite = {
        name
        for name, field in ((name, field_of(name)) for name in (*LOSSES, *COMPOSED))
        for p in (float(field.similarity.opposite), float(field.similarity.identical))
        if any(infinite_at(field, weights(field), (p, 0.0, *(0.0 for _ in field.relative))))
    }
    without_end = {"ipo", "sppo", "margin_mse", "discopop"}  # linear in scores that have no end
    of_angles = {"tuplet_margin", "arc_face", "sub_center_arc_face", "curricular_face", "mv_arc_softmax"}
    assert infinite == of_angles | without_end | {"temperature_free_info_nce"}


x, e = s_n - s_p, sp.exp
OVERFLOWING = [
    e(x) / (1 + e(x)),
    e(2 * x) / (3 + 2 * e(x)) ** 2,
    sp.log(1 + e(x)),
    sp.log(2 + e(x) + 3 * e(-x)),
    e(x) / (e(x) + e(-x)),
    e(x) * sigmoid(-x),
    e(x) * sigmoid(-20 * x) ** 2 * softplus(x),
    (e(x) + softplus(x)) * sigmoid(-3 * x),
    step(-x) * e(x) + step(x) * (1 + x),
    sigmoid(20 * x) * softplus(x) + sigmoid(-20 * x) * e(x),
    e(s_n / 10) * e(-s_p / 10) * sigmoid(-x),
    e(s_n) * e(-s_p) / (1 + e(s_n) * e(-s_p)),
    e(s_n) * e(s_p) / (e(s_n) + e(s_p)) ** 2,
    e(s_n) * e(-s_p) * (1 - sigmoid(x)),
    e(s_n) * e(-s_p) * e(-softplus(20 * x)) * (sigmoid(20 * x) - 2) - softplus(x) * sigmoid(-x),
    e(x) * (e(-x) + 1) / (2 + e(x)),
    e(x) * hinge(1 - x),
    sp.log(1 + 2 * e(s_n) * e(-s_p)),
    -sp.log(e(s_p) / (e(s_n) + e(s_p))),
    sp.log(sigmoid(x)),
    sp.sqrt(e(x) / (1 + e(x))),
    1 / sp.sqrt(1 + e(x)),
    1 / (2 + e(x) + e(-x)),
    (1 - e(x)) / (1 + e(x)),
    x / (1 + e(x)),
    sigmoid(x) ** 3 / sigmoid(2 * x),
]
FAR = [-3000.0, -400.0, -88.0, -1.5, 0.0, 0.3, 60.0, 400.0, 3000.0]


@pytest.mark.parametrize("expression", OVERFLOWING, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_no_exponential_is_infinite_where_its_factor_is_zero(expression: sp.Expr, dtype: torch.dtype) -> None:
    places = [one.flatten() for one in torch.meshgrid(*[torch.tensor(FAR, dtype=dtype)] * 2, indexing="ij")]
    symbols, leaves = [s_p, s_n], [one.requires_grad_() for one in places]
    (value,) = compiled([expression], symbols)(*leaves)
    slopes = torch.autograd.grad(value.sum(), leaves)
    exact = in_many_digits([expression, *(sp.diff(expression, s) for s in symbols)], symbols, places)
    for found, expected in zip((value, *slopes), exact, strict=True):
        close = {"rtol": 1e4 * torch.finfo(dtype).eps, "atol": torch.finfo(dtype).eps}
        torch.testing.assert_close(found.detach(), torch.as_tensor(expected, dtype=dtype), **close)
    (array,) = compiled([expression], symbols, NUMPY)(*(one.detach().numpy() for one in places))
    assert np.isfinite(array).all()


def test_operation_by_operation_it_would_be() -> None:
    assert (torch.exp(torch.tensor(4000.0)) * torch.sigmoid(torch.tensor(-4000.0))).isnan()


def test_torch_is_the_default() -> None:
    assert compiled([s_p], [s_p]).table is TORCH
