"""Embeddings of half precision on a GPU, which are multiplied as they are."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from goal_analysis.numeric.engine.geometry import factors
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.parts import Parts
from goal_analysis.recombination.text import parse_objective
from losses_catalog import catalog, pair_weights, triplet_weights

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
TEXTS = ("nca(tau=12)/linear", "nca(tau=12)/linear@softmax:12", "circle(gamma=20)")


def embeddings(n: int, dtype: torch.dtype, device: str) -> list[Tensor]:
    torch.manual_seed(0)
    sides = (normalize(torch.randn(n, 64), dim=1).to(device, dtype) for _ in range(2))
    return [e.requires_grad_() for e in sides]


def gradients(text: str, x: Tensor, y: Tensor, ids: Tensor | None) -> tuple[Tensor, ...]:
    objective = GradientObjective(parse_objective(text, Parts(triplet_weights, pair_weights, catalog)))
    return torch.autograd.grad(objective(x, y, ids), (x, y))


def test_without_a_gpu_half_precision_is_widened() -> None:
    x, y = embeddings(4, torch.bfloat16, "cpu")
    assert all(e.dtype is torch.float32 and not e.requires_grad for e in factors(x, y))


@needs_gpu
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("captions", [1, 5])
@pytest.mark.parametrize("n", [200, 9000])
def test_on_a_gpu_the_gradients_are_those_of_the_widened_numbers(text: str, captions: int, n: int) -> None:
    x, y = embeddings(n, torch.bfloat16, "cuda")
    assert all(e.dtype is torch.bfloat16 for e in factors(x, y))
    ids = None if captions == 1 else torch.arange(n, device="cuda") // captions
    wide = [e.detach().float().requires_grad_() for e in (x, y)]
    for found, expected in zip(gradients(text, x, y, ids), gradients(text, *wide, ids), strict=True):
        error = torch.linalg.vector_norm(found.float() - expected) / torch.linalg.vector_norm(expected)
        assert error < 5e-3  # a bfloat16 number has 8 bits


@needs_gpu
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_on_a_gpu_the_gradients_are_those_of_the_cpu(text: str, dtype: torch.dtype) -> None:
    of_gpu, of_cpu = ([g.cpu() for g in gradients(text, *embeddings(300, dtype, d), None)] for d in ("cuda", "cpu"))
    torch.testing.assert_close(of_gpu, of_cpu, rtol=1e-4, atol=1e-6)
