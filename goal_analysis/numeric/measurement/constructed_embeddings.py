"""Unit vectors whose similarities are prescribed exactly, arranged as a loss expects its arguments.

An arrangement says which of its vectors are given to the loss as what, and which pairs of them are positives
and negatives. Embeddings are the rows of the Cholesky factor of the wanted matrix of similarities, so that
every entry is met to rounding. On the plane of (s_p, s_n) *all* anchors of an arrangement see the same two
similarities wherever they have pairs of both kinds: then the derivatives along s_p and s_n are the weights of
one triplet, times the number of anchors that the loss sums over.

- ``ONE_SET``: anchor and positive of one class, the negative of another, at s_n from *both*, since the
  positive is an anchor too. Unit vectors so arranged exist where 1 + s_p > 2·s_n², which is two thirds of the
  plane.
- ``TWO_SETS``, ``SCORES`` and ``QUERIES``: two images and two texts, S = [[s_p, s_n], [s_n, s_p]]. The
  similarities within the images and within the texts are both (|s_p + s_n| − |s_p − s_n|)/2, which exists on
  the whole plane.
- ``TRIPLETS``: one anchor; positive and negative are at s_p·s_n from each other, which is what they are on
  average if nothing else is known, and exists on the whole plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SMALLEST_EIGENVALUE = 1e-4
"""Similarities closer to the edge of what unit vectors reach are left out: digits are lost there."""


class Inputs(Enum):
    """What a loss takes, in this order."""

    ONE_SET = "(embeddings, labels)"
    TWO_SETS = "(image embeddings, text embeddings), row i of both matching"
    SCORES = "(score matrix), the diagonal matching"
    TRIPLETS = "(anchors, positives, negatives)"
    QUERIES = "(queries, query labels, references, reference labels)"


@dataclass(frozen=True, eq=False)
class Arrangement:
    """How numbered vectors become the arguments of a loss, and which pairs (i, j), i < j, are measured.

    Args:
        inputs: what the loss takes.
        labels: the class of every vector.
        first: how many of the vectors come first: the images, the queries, the anchors.
        positives: shape ``(vectors, vectors)``, upper triangle.
        negatives: shape ``(vectors, vectors)``, upper triangle.
    """

    inputs: Inputs
    labels: tuple[int, ...]
    first: int
    positives: Bool[Tensor, "vectors vectors"]
    negatives: Bool[Tensor, "vectors vectors"]

    @property
    def measured(self) -> Bool[Tensor, "vectors vectors"]:
        """The pairs that are positives or negatives."""
        return self.positives | self.negatives

    def arguments(self, vectors: Tensor) -> tuple[Tensor, ...]:
        """What the loss is called with: ``vectors``, shape ``(vectors, dim)``, dealt out with labels.

        Of ``SCORES``, ``vectors`` are the scores themselves.
        """
        labels, n = torch.tensor(self.labels), self.first
        match self.inputs:
            case Inputs.SCORES:
                return (vectors,)
            case Inputs.ONE_SET:
                return vectors, labels
            case Inputs.TWO_SETS:
                return vectors[:n], vectors[n:]
            case Inputs.TRIPLETS:
                return vectors[:n], vectors[n : 2 * n], vectors[2 * n :]
            case Inputs.QUERIES:
                return vectors[:n], labels[:n], vectors[n:], labels[n:]


def _arrangement(inputs: Inputs, labels: tuple[int, ...], first: int) -> Arrangement:
    classes, place = torch.tensor(labels), torch.arange(len(labels))
    equal = classes[:, None] == classes[None, :]
    allowed = place[:, None] < place[None, :]
    if inputs is Inputs.TRIPLETS:  # an anchor meets its own positive and its own negative only
        allowed &= (place[:, None] < first) & ((place[None, :] - place[:, None]) % first == 0)
    elif inputs is not Inputs.ONE_SET:
        allowed &= (place[:, None] < first) & (place[None, :] >= first)
    return Arrangement(inputs, labels, first, equal & allowed, ~equal & allowed)


_ON_PLANE = {
    Inputs.ONE_SET: ((0, 0, 1), 3),
    Inputs.TWO_SETS: ((0, 1, 0, 1), 2),
    Inputs.SCORES: ((0, 1, 0, 1), 2),
    Inputs.TRIPLETS: ((0, 0, 1), 1),
    Inputs.QUERIES: ((0, 1, 0, 1), 2),
}
_IN_BATCH = {
    Inputs.ONE_SET: ((0, 0, 1, 1, 2, 2), 6),
    Inputs.TWO_SETS: ((0, 1, 2, 0, 1, 2), 3),
    Inputs.SCORES: ((0, 1, 2, 0, 1, 2), 3),
    Inputs.TRIPLETS: ((0, 1, 0, 1, 2, 3), 2),
    # As many references as on the plane: a classifier has one for each of its classes.
    Inputs.QUERIES: ((0, 1, 0, 0, 1), 3),
}


def on_plane(inputs: Inputs) -> Arrangement:
    """The arrangement whose similarities `plane_similarities` prescribes."""
    return _arrangement(inputs, *_ON_PLANE[inputs])


def in_batch(inputs: Inputs) -> Arrangement:
    """A small batch of several anchors, for `batch_similarities`."""
    return _arrangement(inputs, *_IN_BATCH[inputs])


def plane_similarities(
    inputs: Inputs, s_p: Float[Tensor, " points"], s_n: Float[Tensor, " points"]
) -> Float[Tensor, "points vectors vectors"]:
    """The similarities of all vectors of `on_plane`, for every point (s_p, s_n).

    >>> plane_similarities(Inputs.TRIPLETS, torch.tensor([0.5]), torch.tensor([0.2]))
    tensor([[[1.0000, 0.5000, 0.2000],
             [0.5000, 1.0000, 0.1000],
             [0.2000, 0.1000, 1.0000]]])
    """
    one = torch.ones_like(s_p)
    if inputs in (Inputs.TWO_SETS, Inputs.SCORES, Inputs.QUERIES):
        within = ((s_p + s_n).abs() - (s_p - s_n).abs()) / 2
        rows = (
            (one, within, s_p, s_n),
            (within, one, s_n, s_p),
            (s_p, s_n, one, within),
            (s_n, s_p, within, one),
        )
    else:
        third = s_n if inputs is Inputs.ONE_SET else s_p * s_n
        rows = (one, s_p, s_n), (s_p, one, third), (s_n, third, one)
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def batch_similarities(arrangement: Arrangement, seed: int) -> Float[Tensor, "vectors vectors"]:
    """The similarities of random vectors, those of one class around a common centre, in float64."""
    generator = torch.Generator().manual_seed(seed)
    count, dim = len(arrangement.labels), 2 * len(arrangement.labels)
    centres, spread = (torch.randn(count, dim, generator=generator, dtype=torch.float64) for _ in range(2))
    vectors = torch.nn.functional.normalize(centres[list(arrangement.labels)] + spread, dim=1)
    return vectors @ vectors.T


def reachable(similarities: Float[Tensor, "*points vectors vectors"]) -> Bool[Tensor, "*points"]:
    """Whether unit vectors with these similarities exist, safely.

    >>> hard = plane_similarities(Inputs.ONE_SET, torch.tensor([0.0, 0.0]), torch.tensor([0.7, 0.8]))
    >>> reachable(hard)
    tensor([ True, False])
    """
    return torch.linalg.eigvalsh(similarities)[..., 0] > SMALLEST_EIGENVALUE


def vectors_with(
    similarities: Float[Tensor, "*points vectors vectors"], dim: int
) -> Float[Tensor, "*points vectors dim"]:
    """Unit vectors with these similarities: the Cholesky factor, widened with zeros to ``dim`` columns.

    Raises:
        ValueError: fewer dimensions than vectors.

    >>> wanted = torch.tensor([[1.0, 0.6], [0.6, 1.0]], dtype=torch.float64)
    >>> vectors_with(wanted, 3)
    tensor([[1.0000, 0.0000, 0.0000],
            [0.6000, 0.8000, 0.0000]], dtype=torch.float64)
    """
    count = similarities.shape[-1]
    if dim < count:
        raise ValueError(f"vectors_with: got dim {dim} but expected at least {count}, one for each vector")
    return torch.nn.functional.pad(torch.linalg.cholesky(similarities), (0, dim - count))
