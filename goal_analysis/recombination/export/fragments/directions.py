"""Scores of embeddings, and what weights make of the embeddings."""

import torch
from torch import Tensor

from goal_analysis.recombination.export.fragments.settled import STRENGTH


def dot_products(x: Tensor, y: Tensor) -> Tensor:
    """The scores of unit vectors: every x·y."""
    return x @ y.T


def negative_squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """The scores: every −‖x − y‖²."""
    return -squared_distances(x, y)


def negative_distances(x: Tensor, y: Tensor) -> Tensor:
    """The scores: every −‖x − y‖."""
    return -distances(x, y)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """‖x − y‖² through one matrix product; pairs so close that it cancels are done by their difference."""
    sizes = (x * x).sum(1)[:, None] + (y * y).sum(1)
    squared = sizes - 2 * (x @ y.T)
    i, j = (squared < 0.01 * sizes).nonzero(as_tuple=True)
    if len(i) > len(x) + len(y):  # a collapsed batch
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    return squared.index_put((i, j), (x[i] - y[j]).square().sum(1))


def distances(x: Tensor, y: Tensor) -> Tensor:
    """‖x − y‖."""
    return squared_distances(x, y).sqrt()


def dot_gradients(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """W·Y and Wᵀ·X: those of x·y."""
    return weights @ y, weights.T @ x


def tangential_gradients(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """W·Y and Wᵀ·X without the part along the embedding itself."""
    return across(weights @ y, unit_and_length(x)[0]), across(weights.T @ x, unit_and_length(y)[0])


def cosine_gradients(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Those of the cosine."""
    (unit_x, length_x), (unit_y, length_y) = unit_and_length(x), unit_and_length(y)
    return across(weights @ unit_y, unit_x) / length_x, across(weights.T @ unit_x, unit_y) / length_y


def squared_gradients(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Those of −‖x − y‖²."""
    to_x, to_y = difference_gradients(weights, x, y)
    return 2 * to_x, 2 * to_y


def euclidean_gradients(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Those of −‖x − y‖; zero where x and y coincide."""
    d = distances(x, y)
    coincide = d == 0
    return difference_gradients((weights / d.masked_fill(coincide, 1)).masked_fill(coincide, 0), x, y)


def difference_gradients(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Σⱼ Wᵢⱼ(yⱼ − xᵢ) and Σᵢ Wᵢⱼ(xᵢ − yⱼ)."""
    return weights @ y - weights.sum(1)[:, None] * x, weights.T @ x - weights.sum(0)[:, None] * y


def regularized_gradients(weights: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """W·Y and Wᵀ·X, where a negative moves less (not at all at STRENGTH 1) along the line from anchor to positive."""
    pull, push = (-weights).clamp_min(0), weights.clamp_min(0)
    pulled = pull.sum(1, keepdim=True)
    towards = pull @ y / pulled.masked_fill(pulled == 0, 1) - x
    u = unit_and_length(towards.masked_fill(pulled == 0, 0))[0]
    return weights @ y, weights.T @ x - STRENGTH * (push.T @ ((x * u).sum(1, keepdim=True) * u))


def unit_and_length(x: Tensor) -> tuple[Tensor, Tensor]:
    """The rows over their lengths, and the lengths; zero stays zero, as if its length were one."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    length = length.masked_fill(length == 0, 1)
    return x / length, length


def across(gradient: Tensor, unit_vectors: Tensor) -> Tensor:
    """The part of every row that is orthogonal to the unit vector of that row."""
    return gradient - (gradient * unit_vectors).sum(1, keepdim=True) * unit_vectors
