"""The unit vectors with prescribed similarities that a loss is given, and which of their pairs match.

An arrangement says which vectors become which argument, and which pairs of them are positives and negatives. The
vectors are the rows of the Cholesky factor of the wanted similarities, so that every similarity is met to rounding. On
the plane of (s_p, s_n) *all* anchors with pairs of both kinds see the same two similarities. The derivatives of the
loss along s_p and s_n are then the weights of one triplet, times the number of anchors that the loss sums over.

| kind | on the plane | other pairs | reached |
|---|---|---|---|
| ``ONE_SET`` | anchor and positive of one class, the negative at s_n from *both* | none | 1 + s_p > 2·s_n² |
| the same, even | two of each class, every other pair at s_n | none | 1 + s_p > 2·|s_n| |
| ``VIEWS``, ``STACKED``, ``MULTIVIEW`` | two views of two, every other pair at s_n | none | 1 + s_p > 2·|s_n| |
| ``TWO_SETS``, ``SCORES``, ``QUERIES``, ``PROXIES`` | S: s_p on its diagonal, else s_n | between bounds | whole |
| ``TRIPLETS``, ``GROUPS`` | one anchor | s_p·s_n, as is expected | whole |
| ``PAIRS`` | a positive and a negative pair | orthogonal | whole |
| ``SIMILARITIES`| s_p and s_n themselves | none | whole |
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from goal_analysis.numeric.measurement.inputs import Inputs

SMALLEST_EIGENVALUE = 1e-4
"""Similarities closer to the edge of what unit vectors reach are left out: digits are lost there."""

OF_SCORES = (Inputs.SCORES, Inputs.SIMILARITIES)
OF_VIEWS = (Inputs.VIEWS, Inputs.STACKED, Inputs.MULTIVIEW)
IN_ONE_SET = (Inputs.ONE_SET, *OF_VIEWS)

Anchors = tuple[tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]], ...]
"""Of every anchor its positive pairs and its negative ones."""


@dataclass(frozen=True)
class Shape:
    """How a loss is called: the kind, the dimension and the type of the embeddings, the label of a positive and of a
    negative pair, the number of classes with the name of their proxies, which may be columns, how many references of
    a class a batch of queries has, whether stacked views take turns, and whether the plane has two of every class.
    """

    inputs: Inputs
    dim: int | None = None
    dtype: torch.dtype = torch.float64
    labels: tuple[float | int, float | int] = (1.0, 0.0)
    classes: int = 2
    proxies: str = ""
    transposed: bool = False
    references: int = 2
    in_turn: bool = False
    even: bool = False


@dataclass(frozen=True, eq=False)
class Arrangement:
    """How numbered vectors become the arguments of a loss, and which pairs (i, j), i < j, are positives and negatives.

    ``labels`` are the vectors' classes; ``first`` is how many come first: the images, the queries or the anchors.
    """

    shape: Shape
    labels: tuple[int, ...]
    first: int
    positives: Bool[Tensor, "vectors vectors"] = field(init=False)
    negatives: Bool[Tensor, "vectors vectors"] = field(init=False)

    def __post_init__(self) -> None:
        kind, first = self.shape.inputs, self.first
        classes, place = torch.tensor(self.labels), torch.arange(len(self.labels))
        equal, allowed = classes[:, None] == classes[None, :], place[:, None] < place[None, :]
        if kind not in IN_ONE_SET:
            allowed &= (place[:, None] < first) & (place[None, :] >= first)
        if kind in (Inputs.TRIPLETS, Inputs.PAIRS):  # an anchor meets its own positive and its own negative only
            allowed &= (place[None, :] - place[:, None]) % first == 0
        object.__setattr__(self, "positives", equal & allowed)
        object.__setattr__(self, "negatives", ~equal & allowed)

    @property
    def measured(self) -> Bool[Tensor, "vectors vectors"]:
        """The pairs that are positives or negatives."""
        return self.positives | self.negatives

    @property
    def relations(self) -> dict[str, Bool[Tensor, "vectors vectors"]]:
        """The pairs by what they are to each other."""
        place = torch.arange(len(self.labels))
        within = (place[:, None] < self.first) == (place[None, :] < self.first)
        other = torch.ones_like(within).triu(1) & ~self.measured
        found = {"positives": self.positives, "negatives": self.negatives, "other pairs": other}
        if self.shape.inputs in OF_VIEWS:
            own = (place[None, :] - place[:, None]) == self.first
            found = {
                "positives, the other view": self.positives & own,
                "other positives": self.positives & ~own,
                "negatives in the other view": self.negatives & ~within,
                "negatives in the same view": self.negatives & within,
            }
        elif self.shape.inputs not in (Inputs.ONE_SET, *OF_SCORES):
            found |= {"pairs within one set": other & within, "other pairs": other & ~within}
        return {name: mask for name, mask in found.items() if mask.any()}

    @property
    def readings(self) -> dict[str, Anchors]:
        """Who may be the anchors, and which pairs each has."""
        positives, negatives = self.positives | self.positives.T, self.negatives | self.negatives.T
        count, first, kind = len(self.labels), self.first, self.shape.inputs

        def anchors(some: range) -> Anchors:
            return tuple((_pairs(i, positives), _pairs(i, negatives)) for i in some)

        every = (
            tuple(map(tuple, self.positives.nonzero().tolist())),
            tuple(map(tuple, self.negatives.nonzero().tolist())),
        )
        match kind:
            case _ if kind in IN_ONE_SET:
                return {"every embedding an anchor": anchors(range(count))}
            case Inputs.PAIRS:
                return {"all pairs together": (every,)}
            case Inputs.SIMILARITIES:
                rows = {"row by row": tuple(((p,), (n,)) for p, n in zip(*every, strict=True))}
                return {"all of one anchor": (every,), **rows}
            case Inputs.TRIPLETS:
                others = [tuple((i, j) for j in range(first, count) if j != first + i) for i in range(first)]
                of_batch = tuple((_pairs(i, positives), others[i]) for i in range(first))
                return {"its own negative": anchors(range(first)), "every other row a negative": of_batch}
            case Inputs.GROUPS:
                return {"rows as anchors": anchors(range(first))}
        rows, columns = anchors(range(first)), anchors(range(first, count))
        return {"rows as anchors": rows, "both directions": (*rows, *columns), "columns as anchors": columns}

    def arguments(self, vectors: Tensor) -> tuple[Tensor, ...]:
        """The arguments of the loss, from vectors of shape ``(vectors, dim)`` or scores of ``(first, rest)``.

        Behind them stand the proxies, where the loss has some.
        """
        labels, n = torch.tensor(self.labels), self.first
        match self.shape.inputs:
            case Inputs.SCORES:
                return (vectors,)
            case Inputs.SIMILARITIES:
                positives = self.positives[0, 1:]
                return vectors[0, positives], vectors[0, ~positives]
            case Inputs.ONE_SET:
                return vectors, labels
            case Inputs.TWO_SETS | Inputs.VIEWS | Inputs.GROUPS:
                return vectors[:n], vectors[n:]
            case Inputs.TRIPLETS:
                return vectors[:n], vectors[n : 2 * n], vectors[2 * n :]
            case Inputs.PAIRS:
                own = labels[:n] == labels[n:]
                marks = torch.tensor(self.shape.labels)
                marks = marks.to(self.shape.dtype) if marks.is_floating_point() else marks
                return vectors[:n], vectors[n:], torch.where(own, marks[0], marks[1])
            case Inputs.STACKED if self.shape.in_turn:
                return (torch.stack([vectors[:n], vectors[n:]], 1).flatten(0, 1),)
            case Inputs.STACKED:
                return (vectors,)
            case Inputs.MULTIVIEW:
                return torch.stack([vectors[:n], vectors[n:]], 1), labels[:n]
            case Inputs.QUERIES:
                return vectors[:n], labels[:n], vectors[n:], labels[n:]
            case Inputs.PROXIES:
                return vectors[:n], labels[:n], vectors[n:].T if self.shape.transposed else vectors[n:]


def _pairs(anchor: int, mask: Tensor) -> tuple[tuple[int, int], ...]:
    return tuple((min(anchor, j), max(anchor, j)) for j in mask[anchor].nonzero().flatten().tolist())


_ON_PLANE = {
    Inputs.ONE_SET: ((0, 0, 1), 3),
    Inputs.TRIPLETS: ((0, 0, 1), 1),
    Inputs.GROUPS: ((0, 0, 1), 1),
    Inputs.SIMILARITIES: ((0, 0, 1), 1),
    Inputs.PAIRS: ((0, 1, 0, 2), 2),
}
_IN_BATCH = {
    Inputs.ONE_SET: ((0, 0, 0, 1, 1, 1), 6),
    Inputs.VIEWS: ((0, 1, 2, 0, 1, 2), 3),
    Inputs.STACKED: ((0, 1, 2, 0, 1, 2), 3),
    Inputs.SIMILARITIES: ((0, 0, 0, 0, 1, 1, 1), 1),
    Inputs.TRIPLETS: ((0, 1, 2, 0, 1, 2, 3, 4, 5), 3),
    Inputs.PAIRS: ((0, 1, 2, 3, 4, 5, 0, 1, 2, 6, 7, 8), 6),
    Inputs.GROUPS: ((0, 1, 0, 2, 3, 1, 4, 5), 2),
    Inputs.MULTIVIEW: ((0, 0, 1, 1, 0, 0, 1, 1), 4),
}


def on_plane(shape: Shape) -> Arrangement:
    """The arrangement whose similarities `plane_similarities` prescribes."""
    classes = tuple(range(shape.classes))
    if shape.even:
        return Arrangement(shape, (0, 0, 1, 1), 4)
    return Arrangement(shape, *_ON_PLANE.get(shape.inputs, (2 * classes, shape.classes)))


def in_batch(shape: Shape) -> Arrangement:
    """A small batch of several anchors, for `batch_similarities`."""
    classes = tuple(range(shape.classes))
    if shape.inputs is Inputs.PROXIES:
        queries = classes * (2 if shape.classes < 4 else 1)
        return Arrangement(shape, (*queries, *classes), len(queries))
    if shape.inputs is Inputs.QUERIES:
        return Arrangement(shape, (0, 1, *(0,) * shape.references, *(1,) * shape.references), 2)
    return Arrangement(shape, *_IN_BATCH.get(shape.inputs, ((0, 1, 2, 3) * 2, 4)))


def plane_similarities(
    arrangement: Arrangement, s_p: Float[Tensor, " points"], s_n: Float[Tensor, " points"]
) -> Float[Tensor, "points vectors vectors"]:
    """The similarities of all vectors of `on_plane`, for every point (s_p, s_n)."""
    count, n = len(arrangement.labels), arrangement.first
    match arrangement.shape.inputs:
        case Inputs.TRIPLETS | Inputs.GROUPS | Inputs.SIMILARITIES:
            rest = s_p * s_n
        case Inputs.PAIRS:
            rest = torch.zeros_like(s_p)
        case _:
            rest = (((s_p + (n - 1) * s_n).abs() - 1) / (n - 1) + 1 - (s_p - s_n).abs()) / 2
    of_pairs = torch.where(arrangement.positives, s_p[:, None, None], rest[:, None, None])
    upper = torch.where(arrangement.negatives, s_n[:, None, None], of_pairs).triu(1)
    return upper + upper.mT + torch.eye(count, dtype=s_p.dtype)


def batch_similarities(
    arrangement: Arrangement, seed: int, closeness: float = 1.0, spread: float = 0.0
) -> Float[Tensor, "vectors vectors"]:
    """The similarities of random vectors, in float64: those of one class around a common centre, as close to it as
    ``closeness`` says, and all of them spread out along one direction.
    """
    generator = torch.Generator().manual_seed(seed)
    count, dim = len(arrangement.labels), 2 * len(arrangement.labels)
    centres, own = (torch.randn(count, dim, generator=generator, dtype=torch.float64) for _ in range(2))
    vectors = closeness * centres[list(arrangement.labels)] + own
    along = torch.randn(count, 1, generator=generator, dtype=torch.float64)
    vectors[:, :1] += spread * dim**0.5 * along
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    return vectors @ vectors.T


def reachable(similarities: Float[Tensor, "*points vectors vectors"]) -> Bool[Tensor, "*points"]:
    """Whether unit vectors with these similarities exist, safely."""
    return torch.linalg.eigvalsh(similarities)[..., 0] > SMALLEST_EIGENVALUE


def vectors_with(
    similarities: Float[Tensor, "*points vectors vectors"], dim: int
) -> Float[Tensor, "*points vectors dim"]:
    """Unit vectors with these similarities: the Cholesky factor, widened with zeros to ``dim`` columns."""
    count = similarities.shape[-1]
    if dim < count:
        raise ValueError(f"dim: got {dim} but expected at least {count}, as many as a batch has vectors")
    return torch.nn.functional.pad(torch.linalg.cholesky(similarities), (0, dim - count))
