"""What weights make of embeddings, by definition: autograd through the similarity, or loops over pairs."""

import torch
from torch import Tensor

from goal_analysis.recombination.export.fragments.settled import STRENGTH


def defined_dot(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of Σ W·(x·y)."""
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    to_x, to_y = torch.autograd.grad((weights * (x[:, None] * y[None]).sum(2)).sum(), (x, y))
    return to_x, to_y


def defined_cosine(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of Σ W·cos(x, y)."""
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    s = torch.nn.functional.cosine_similarity(x[:, None], y[None], dim=2)
    to_x, to_y = torch.autograd.grad((weights * s).sum(), (x, y))
    return to_x, to_y


def defined_squared(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of −Σ W·‖x − y‖²."""
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    to_x, to_y = torch.autograd.grad(-(weights * (x[:, None] - y[None]).square().sum(2)).sum(), (x, y))
    return to_x, to_y


def defined_euclidean(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of −Σ W·‖x − y‖."""
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    to_x, to_y = torch.autograd.grad(-(weights * (x[:, None] - y[None]).norm(dim=2)).sum(), (x, y))
    return to_x, to_y


def defined_tangential(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over pairs of W times the part of y across x, and of x across y."""
    to_x, to_y = torch.zeros_like(x), torch.zeros_like(y)
    for i, a in enumerate(x):
        for j, b in enumerate(y):
            to_x[i] += weights[i, j] * (b - (a @ b) / (a @ a) * a)
            to_y[j] += weights[i, j] * (a - (a @ b) / (b @ b) * b)
    return to_x, to_y


def defined_regularized(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over pairs; a negative moves less along the line from its anchor to the mean of what pulls that."""
    to_x, to_y = torch.zeros_like(x), torch.zeros_like(y)
    for i, a in enumerate(x):
        pull = (-weights[i]).clamp_min(0)
        line = (pull[:, None] * y).sum(0) / pull.sum() - a if pull.sum() > 0 else torch.zeros_like(a)
        along = line / line.norm() if line.norm() > 0 else line
        for j, b in enumerate(y):
            to_x[i] += weights[i, j] * b
            to_y[j] += weights[i, j] * a
            if weights[i, j] > 0:
                to_y[j] -= weights[i, j] * STRENGTH * (a @ along) * along
    return to_x, to_y
