"""The unit vectors with prescribed similarities that a loss is given, and which of their pairs match.

They are the rows of the similarities' Cholesky factor. On the plane *all* anchors with pairs of both kinds see the same
s_p and s_n: the derivatives are one triplet's weights times the number of anchors. Unit vectors
reach 1 + s_p > 2·s_n² with one negative in one set, 1 + s_p > 2·|s_n| with two classes of two, and else everything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from goal_analysis.numeric.measurement.calling import IN_A_ROW, OF_PAIRS, Inputs, Shape

SMALLEST_EIGENVALUE = 1e-4
"""Similarities closer to the edge of what unit vectors reach are left out: digits are lost there."""

OF_VIEWS = (Inputs.VIEWS, Inputs.STACKED, Inputs.MULTIVIEW)
IN_ONE_SET = (Inputs.ONE_SET, *OF_VIEWS)
NOBODY, ALONE, PAIR = "no positives", "no negatives", "a single pair"

LAYOUTS: dict[Inputs, tuple[str, str, dict[str, str]]] = {
    Inputs.ONE_SET: ("001|", "000111|", {NOBODY: "0123|", ALONE: "000|"}),
    Inputs.TWO_SETS: ("01|01", "0123|0123", {PAIR: "0|0"}),
    Inputs.VIEWS: ("01|01", "012|012", {PAIR: "0|0"}),
    Inputs.STACKED: ("01|01", "012|012", {PAIR: "0|0"}),
    Inputs.SCORES: ("01|01", "0123|0123", {PAIR: "0|0"}),
    Inputs.SIMILARITIES: ("0|01", "0|000111", {NOBODY: "0|11", ALONE: "0|00"}),
    Inputs.TRIPLETS: ("0|01", "012|012345", {}),
    Inputs.PAIRS: ("01|02", "012345|012678", {NOBODY: "01|23", ALONE: "01|01"}),
    Inputs.GROUPS: ("0|01", "01|023145", {}),
    Inputs.MULTIVIEW: ("01|01", "0011|0011", {ALONE: "00|00"}),
    Inputs.QUERIES: ("01|01", "01|0011", {NOBODY: "00|11", ALONE: "00|00"}),
    Inputs.PROXIES: ("01|01", "0101|01", {}),
}
"""The classes of the vectors on the plane, in a small batch of several anchors, and in batches where a kind of pair is
missing; the bar stands behind those that come first: the images, the queries or the anchors.
"""


@dataclass(frozen=True, eq=False)
class Arrangement:
    """How numbered vectors become the arguments of a loss, and which pairs (i, j), i < j, match and which do not."""

    shape: Shape
    labels: tuple[int, ...]  # the vectors' classes
    first: int  # so many are images, queries or anchors
    positives: Bool[Tensor, "vectors vectors"] = field(init=False)
    negatives: Bool[Tensor, "vectors vectors"] = field(init=False)

    def __post_init__(self) -> None:
        kind, classes, place = self.shape.inputs, torch.tensor(self.labels), torch.arange(len(self.labels))
        equal, allowed = classes[:, None] == classes, place[:, None] < place
        if kind not in IN_ONE_SET:
            allowed &= (place[:, None] < self.first) & (place >= self.first)
        if kind in (Inputs.TRIPLETS, Inputs.PAIRS):  # an anchor meets its own positive and its own negative only
            allowed &= (place - place[:, None]) % self.first == 0
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
        within = (place[:, None] < self.first) == (place < self.first)
        other = torch.ones_like(within).triu(1) & ~self.measured
        found = {"positives": self.positives, "negatives": self.negatives, "other pairs": other}
        if self.shape.inputs in OF_VIEWS:
            own = (place - place[:, None]) == self.first
            found = {
                "positives, the other view": self.positives & own,
                "other positives": self.positives & ~own,
                "negatives in the other view": self.negatives & ~within,
                "negatives in the same view": self.negatives & within,
            }
        elif self.shape.inputs is not Inputs.ONE_SET and not self.shape.of_scores:
            found |= {"pairs within one set": other & within, "other pairs": other & ~within}
        return {name: mask for name, mask in found.items() if mask.any()}

    @property
    def readings(self) -> dict[str, Bool[Tensor, "anchors 2 vectors vectors"]]:
        """Who may be the anchors, and of each its positive pairs and its negative ones."""
        own = torch.eye(len(self.labels), dtype=torch.bool)
        touching = own[:, :, None] | own[:, None]
        every = torch.stack([self.positives, self.negatives])
        anchors, first = every & touching[:, None], self.first
        match self.shape.inputs:
            case kind if kind in IN_ONE_SET:
                of_first = {"first views as anchors": anchors[:first]} if kind in OF_VIEWS else {}
                return {"every embedding an anchor": anchors, **of_first}
            case Inputs.PAIRS:
                return {"all pairs together": every[None]}
            case Inputs.SIMILARITIES:
                # The k-th positive and the k-th negative are a row.
                rows = torch.stack([s[s.flatten(1).any(1)] for s in anchors[1:].unbind(1)], 1)
                return {"all of one anchor": every[None], "row by row": rows}
            case Inputs.TRIPLETS:
                of_batch = anchors[:first].clone()
                of_batch[:, 1] = touching[:first] & ~self.positives
                of_batch[:, 1, :, :first] = False
                return {"its own negative": anchors[:first], "every other row a negative": of_batch}
            case Inputs.GROUPS:
                return {"rows as anchors": anchors[:first]}
        together = {"all pairs together": every[None]} if self.shape.beside in OF_PAIRS else {}
        axes = {"rows as anchors": anchors[:first], "both directions": anchors, "columns as anchors": anchors[first:]}
        return axes | together

    def arguments(self, vectors: Tensor) -> tuple[Tensor, ...]:
        """The arguments of the loss, from vectors, with the proxies last, or from scores of ``(first, rest)``."""
        shape, n = self.shape, self.first
        labels, head, tail = torch.tensor(self.labels), vectors[:n], vectors[n:]
        match shape.inputs:
            case Inputs.SCORES:
                marked = self._marked(self.positives[:n, n:])
                beside = {"labels": torch.arange(n), "transpose": vectors.T} | dict.fromkeys(OF_PAIRS, marked)
                given = vectors, *(x for name, x in beside.items() if name == shape.beside)
                return tuple(x.flatten() for x in given) if shape.beside == IN_A_ROW else given
            case Inputs.SIMILARITIES:
                return vectors[0, self.positives[0, 1:]], vectors[0, self.negatives[0, 1:]]
            case Inputs.ONE_SET:
                return vectors, labels
            case Inputs.TWO_SETS | Inputs.VIEWS | Inputs.GROUPS:
                return head, tail
            case Inputs.TRIPLETS:
                return head, tail[:n], tail[n:]
            case Inputs.PAIRS:
                marked = self._marked(labels[:n] == labels[n:])
                return head, tail, marked[:, None] if shape.in_column else marked
            case Inputs.STACKED:
                return (torch.stack([head, tail], 1).flatten(0, 1) if shape.in_turn else vectors,)
            case Inputs.MULTIVIEW:
                return torch.stack([head, tail], 1), labels[:n]
            case Inputs.QUERIES:
                return head, labels[:n], tail, labels[n:]
            case Inputs.PROXIES:
                return head, labels[:n], tail.T if shape.transposed else tail

    def _marked(self, positive: Tensor) -> Tensor:
        marks = torch.tensor(self.shape.labels)
        return torch.where(positive, *(marks.to(self.shape.dtype) if marks.is_floating_point() else marks))

    def points(self, similarities: Float[Tensor, "points vectors vectors"]) -> Tensor:
        """What a loss is handed: scores, or unit vectors of its dimension, the Cholesky factor widened with zeros."""
        if self.shape.of_scores:
            return similarities[:, : self.first, self.first :].contiguous()
        count = similarities.shape[-1]
        if (dim := self.shape.dim or count) < count:
            raise ValueError(f"dim: got {dim} but expected at least {count}, as many as a batch has vectors")
        vectors = torch.nn.functional.pad(torch.linalg.cholesky(similarities), (0, dim - count))
        return vectors @ turn(dim) if self.shape.turned else vectors

    def reaches(self, similarities: Float[Tensor, "points vectors vectors"]) -> Bool[Tensor, " points"]:
        """Whether unit vectors with these similarities exist, safely; scores may be any."""
        if self.shape.of_scores:
            return torch.ones(len(similarities), dtype=torch.bool)
        return torch.linalg.eigvalsh(similarities)[:, 0] > SMALLEST_EIGENVALUE


def turn(dim: int) -> Tensor:
    """A matrix that turns vectors so that all that they have in common with coordinates is chance."""
    generator = torch.Generator().manual_seed(0)
    return torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64)).Q


def arranged(shape: Shape, layout: str) -> Arrangement:
    """The arrangement of a layout; of a class with proxies stand as many classes as the loss has."""
    head, tail = layout.split("|")
    if shape.inputs is Inputs.PROXIES:
        classes = tuple(range(shape.classes))
        queries = classes * (2 if len(head) > len(tail) and shape.classes < 4 else 1)
        return Arrangement(shape, (*queries, *classes), len(queries))
    return Arrangement(shape, tuple(map(int, head + tail)), len(head))


def on_plane(shape: Shape) -> Arrangement:
    """The arrangement whose similarities `plane_similarities` prescribes."""
    return arranged(shape, "0011|" if shape.even else LAYOUTS[shape.inputs][0])


def in_batch(shape: Shape) -> Arrangement:
    """A small batch of several anchors, for `batch_similarities`."""
    plane, batch, _ = LAYOUTS[shape.inputs]
    return arranged(shape, plane if shape.references == 1 else batch)


def plane_similarities(
    arrangement: Arrangement, s_p: Float[Tensor, " points"], s_n: Float[Tensor, " points"]
) -> Float[Tensor, "points vectors vectors"]:
    """The similarities of all vectors of `on_plane`, for every point (s_p, s_n)."""
    n = arrangement.first
    match arrangement.shape.inputs:
        case Inputs.TRIPLETS | Inputs.GROUPS | Inputs.SIMILARITIES:
            rest = s_p * s_n
        case Inputs.PAIRS:
            rest = torch.zeros_like(s_p)
        case _:
            rest = (((s_p + (n - 1) * s_n).abs() - 1) / (n - 1) + 1 - (s_p - s_n).abs()) / 2
    of_pairs = torch.where(arrangement.positives, s_p[:, None, None], rest[:, None, None])
    upper = torch.where(arrangement.negatives, s_n[:, None, None], of_pairs).triu(1)
    return upper + upper.mT + torch.eye(len(arrangement.labels), dtype=s_p.dtype)


def batch_similarities(
    arrangement: Arrangement, seed: int, closeness: float = 1.0, spread: float = 0.0
) -> Float[Tensor, "vectors vectors"]:
    """The similarities of random vectors, of a class around a centre, all ``spread`` along one direction."""
    generator = torch.Generator().manual_seed(seed)
    count, dim = len(arrangement.labels), 2 * len(arrangement.labels)
    centres, own = (torch.randn(count, dim, generator=generator, dtype=torch.float64) for _ in range(2))
    vectors = closeness * centres[list(arrangement.labels)] + own
    along = torch.randn(count, 1, generator=generator, dtype=torch.float64)
    vectors[:, :1] += spread * dim**0.5 * along
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    return vectors @ vectors.T
