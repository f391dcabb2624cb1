"""Compiled expressions: values, derivatives, kinds of numbers, shapes, devices and errors."""

import copy
import pickle
import shutil

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from goal_analysis.numeric.compilation import TORCH, compiled
from goal_analysis.numeric.lowering import NUMPY
from goal_analysis.symbolic.language.primitives import detach, hinge, logsumexp, s_n, s_p, sigmoid, softplus, step
from goal_analysis.symbolic.proof.evaluation import (
    FLOAT,
    FUNCTIONS,
    MULTIPRECISION,
    UnsupportedFunction,
    evaluate,
    program,
)

EVERYTHING = sp.Add(
    hinge(s_p - s_n) + 2 * step(s_n) - sigmoid(3 * s_p) / softplus(s_n),
    logsumexp(s_p, s_n, 0) * sp.exp(-s_p) - sp.log(2 + s_n) + sp.sqrt(1 - s_p**2),
    (2 + s_n) ** sp.Rational(5, 3) + sp.sin(s_p) * sp.cos(s_n) + detach(s_p),
)
"""Every operation of a program."""

FAR = [-1e30, -1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4, 1e30]


def grid() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(50) * 1.98 - 0.99, torch.rand(50) * 1.98 - 0.99


@pytest.mark.parametrize("table", [TORCH, NUMPY], ids=["torch", "numpy"])
def test_everything_agrees_with_floats(table) -> None:
    p, n = grid()
    values = (p, n) if table is TORCH else (p.numpy(), n.numpy())
    (found,) = compiled([EVERYTHING], [s_p, s_n], table)(*values)
    for i in range(len(p)):
        expected = evaluate(EVERYTHING, {s_p: float(p[i]), s_n: float(n[i])}, FLOAT)
        assert float(found[i]) == pytest.approx(expected, rel=1e-13)
        assert float(found[i]) != pytest.approx(expected * (1 + 1e-11), rel=1e-13)


def test_both_tables_have_every_operation() -> None:
    assert set(FUNCTIONS.values()) <= set(FLOAT) <= set(TORCH) == set(NUMPY)


@pytest.mark.parametrize(
    "function",
    [hinge, sigmoid, softplus, lambda x: logsumexp(x, s_n)],
    ids=["hinge", "sigmoid", "softplus", "logsumexp"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_values_are_what_floats_give(function, dtype) -> None:
    x = torch.tensor(FAR, dtype=dtype)
    expression = function(s_p)
    (found,) = compiled([expression], [s_p, s_n])(x, torch.zeros_like(x))
    with mpmath.workdps(60):
        expected = [float(evaluate(expression, {s_p: mpmath.mpf(float(v)), s_n: 0}, MULTIPRECISION)) for v in x]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=dtype), rtol=1e-6, atol=1e-40)


def test_the_obvious_softplus_is_not() -> None:
    x = torch.tensor([100.0], dtype=torch.float32)
    assert torch.log(1 + torch.exp(x)).isinf()


def test_softplus_keeps_its_digits_past_torchs_threshold() -> None:
    x = torch.linspace(15.0, 45.0, 301)
    (found,) = compiled([softplus(s_p)], [s_p])(x)
    expected = torch.tensor([evaluate(softplus(s_p), {s_p: float(v)}) for v in x])
    torch.testing.assert_close(found, expected, rtol=1e-15, atol=0)
    assert (torch.nn.functional.softplus(x) - found).abs().max() > 1e-9


@pytest.mark.parametrize("expression", [hinge(s_p), hinge(s_p) ** 2, step(s_p) * s_p, softplus(s_p), sigmoid(s_p)])
def test_autograd_is_the_symbolic_derivative_at_the_kink_too(expression: sp.Expr) -> None:
    x = torch.tensor([-1e4, -1.0, 0.0, 1.0, 1e4], requires_grad=True)
    (gradient,) = torch.autograd.grad(compiled([expression], [s_p])(x)[0].sum(), x)
    (derived,) = compiled([sp.diff(expression, s_p)], [s_p])(x.detach())
    torch.testing.assert_close(gradient, derived)


def test_relu_would_differ_at_the_kink() -> None:
    x = torch.zeros(1, requires_grad=True)
    (gradient,) = torch.autograd.grad(torch.relu(x).sum(), x)
    assert gradient != compiled([step(s_p)], [s_p])(x.detach())[0]


def test_functional_transforms_pass_through() -> None:
    run = compiled([hinge(s_p) + step(s_p)], [s_p])
    gradient = torch.func.grad(lambda x: run(x)[0].sum())(torch.tensor([-1.0, 0.0, 1.0]))
    assert gradient.tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("given", "back"),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float32)]
    + [(d, d) for d in (torch.float32, torch.float64)],
)
def test_narrow_numbers_are_computed_in_float32(given: torch.dtype, back: torch.dtype) -> None:
    p, n = (x.to(given) for x in grid())
    outputs = [EVERYTHING, sp.Integer(1)]
    found = compiled(outputs, [s_p, s_n])(p, n)
    assert [x.dtype for x in found] == [back, back]
    exact = compiled(outputs, [s_p, s_n])(p.double(), n.double())
    torch.testing.assert_close(found[0].double(), exact[0], rtol=1e-4, atol=1e-4)
    assert torch.equal(found[1].double(), exact[1])


@pytest.mark.parametrize("given", [torch.bfloat16, torch.float32, torch.float64])
def test_autocast_changes_nothing(given: torch.dtype) -> None:
    p, n = (x.to(given) for x in grid())
    run = compiled([EVERYTHING], [s_p, s_n])
    with torch.autocast("cpu", torch.bfloat16):
        (inside,) = run(p, n)
        assert (p.float()[None] @ n.float()[:, None]).dtype == torch.bfloat16  # it is on
    assert torch.equal(inside, run(p, n)[0])


def test_outputs_have_the_shape_of_all_inputs() -> None:
    run = compiled([sp.Rational(1, 2), 1 - s_p, s_n * s_p], [s_p, s_n])
    p, n = torch.rand(3, 1), torch.rand(4)
    half, of_p, both = run(p, n)
    assert [x.shape for x in (half, of_p, both)] == [(3, 4)] * 3
    assert torch.equal(half, torch.full((3, 4), 0.5))
    assert torch.equal(of_p, (1 - p).expand(3, 4))
    assert [x.shape for x in run(torch.rand(2, 5), torch.rand(2, 5))] == [(2, 5)] * 3
    arrays = compiled([sp.Rational(1, 2), 1 - s_p], [s_p, s_n], NUMPY)(p.numpy(), n.numpy())
    assert [x.shape for x in arrays] == [(3, 4)] * 2


def test_a_plain_number_is_a_value_too() -> None:
    p, _ = grid()
    run = compiled([EVERYTHING], [s_p, s_n])
    torch.testing.assert_close(run(p, 0.25)[0], run(p, torch.tensor(0.25))[0])
    assert run(0.5, 0.25)[0] == pytest.approx(evaluate(EVERYTHING, {s_p: 0.5, s_n: 0.25}))


def test_numpy_is_silent_where_it_overflows() -> None:
    x = np.array([-1000.0, 0.0, 1000.0], dtype=np.float32)
    found = compiled([sp.exp(s_p), sp.log(s_p), 1 / s_p, sp.sqrt(s_p)], [s_p], NUMPY)(x)
    assert found[0].tolist() == [0.0, 1.0, np.inf]
    assert found[0].dtype == np.float32
    with pytest.warns(RuntimeWarning, match="overflow"):
        np.exp(x)


@pytest.mark.parametrize("table", [TORCH, NUMPY], ids=["torch", "numpy"])
def test_it_survives_pickling_and_copying(table) -> None:
    run = compiled([EVERYTHING], [s_p, s_n], table)
    for again in (pickle.loads(pickle.dumps(run)), copy.deepcopy(run)):
        assert again == run
        assert again.table is table
        assert again(0.5, 0.25)[0] == run(0.5, 0.25)[0]


def test_what_is_returned_is_not_overwritten() -> None:
    x = 1 - s_p
    outputs = [x, sp.exp(x), sigmoid(x) + x, s_p, sp.Integer(2)]
    given = torch.rand(5)
    kept = given.clone()
    found = compiled(outputs, [s_p])(given)
    expected = [
        1 - kept,
        (1 - kept).exp(),
        torch.sigmoid(1 - kept) + 1 - kept,
        kept,
        torch.full_like(kept, 2),
    ]
    torch.testing.assert_close(found, tuple(expected))
    assert torch.equal(given, kept)


def test_vmap_with_a_shared_argument() -> None:
    run = compiled([sp.exp(2 * s_p) + s_n], [s_p, s_n])
    p, n = torch.rand(4), torch.rand(3, 4)
    found = torch.func.vmap(lambda row: run(p, row)[0])(n)
    torch.testing.assert_close(found, (2 * p).exp() + n)


def test_constants_are_computed_once() -> None:
    run = compiled([s_p * sp.exp(2) + sp.log(3) * sigmoid(sp.Rational(1, 3))], [s_p])
    operations = [s.operation for s in run.program.steps]
    assert sorted(set(operations) - {"constant"}) == ["add", "mul"]


class Elsewhere(TorchDispatchMode):
    """Notes every tensor that is made on another device than meta."""

    def __init__(self) -> None:
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.device.type != "meta":
            self.made.append(function)
        return result


@pytest.mark.parametrize(("constant", "made"), [(TORCH["constant"], False), (lambda e: torch.tensor(float(e)), True)])
def test_no_constant_becomes_a_tensor_elsewhere_at_a_call(constant, made: bool) -> None:
    x = torch.empty(3, device="meta")
    steps = program([2 * s_p if made else EVERYTHING, sp.Integer(2)], [s_p, s_n])  # a stack refuses tensors elsewhere
    with Elsewhere() as watch:
        found = steps.run({**TORCH, "constant": constant}, x, x)
    assert bool(watch.made) is made
    with Elsewhere() as watch:
        found = compiled([EVERYTHING, sp.Integer(2)], [s_p, s_n])(x, x)
    assert not watch.made
    assert {y.device.type for y in found} == {"meta"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch's own modules use
def test_torch_compiles_it_whole() -> None:
    backend = "inductor" if shutil.which("g++") else "eager"
    run = compiled([EVERYTHING, sp.Integer(1)], [s_p, s_n])
    p, n = grid()
    found = torch.compile(run.__call__, fullgraph=True, backend=backend)(p, n)
    torch.testing.assert_close(found, run(p, n), rtol=1e-12, atol=1e-12)
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(lambda x: x.tolist(), fullgraph=True, backend=backend)(p)


def test_a_function_from_elsewhere_is_named() -> None:
    with pytest.raises(
        UnsupportedFunction, match=r"got the function 'gamma' in gamma\(s_p\) but supported are acos, atan, cos"
    ):
        compiled([sp.gamma(s_p)], [s_p])


def test_a_stray_symbol_is_named() -> None:
    with pytest.raises(ValueError, match="got the symbol s_n but expected the inputs s_p"):
        compiled([s_n], [s_p])


def test_a_wrong_number_of_values_is_named() -> None:
    with pytest.raises(TypeError, match="got 1 values but expected s_p, s_n"):
        compiled([s_n], [s_p, s_n])(torch.zeros(1))


def test_whole_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"got a tensor of torch\.int64 but expected a floating-point one"):
        compiled([s_p], [s_p])(torch.arange(3))
