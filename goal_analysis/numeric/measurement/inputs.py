"""What a loss takes, and the unit vectors with prescribed similarities that it is given.

An arrangement says which vectors become which argument, and which pairs of them are positives and negatives. The
vectors are the rows of the Cholesky factor of the wanted similarities, so that every similarity is met to rounding. On
the plane of (s_p, s_n) *all* anchors with pairs of both kinds see the same two similarities. The derivatives of the
loss along s_p and s_n are then the weights of one triplet, times the number of anchors that the loss sums over.

- ``ONE_SET``: anchor and positive have one class, the negative another. The negative is at s_n from *both*, since the
  positive is an anchor too. Such unit vectors exist where 1 + s_p > 2·s_n², which is two thirds of the plane.
- ``TWO_SETS``, ``SCORES`` and ``QUERIES``: two images and two texts, S = [[s_p, s_n], [s_n, s_p]]. The similarities
  within the images and within the texts are (|s_p + s_n| − |s_p − s_n|)/2. This exists on the whole plane.
- ``TRIPLETS``: one anchor. Positive and negative are at s_p·s_n from each other, which is their expected similarity if
  nothing else is known. This exists on the whole plane.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SMALLEST_EIGENVALUE = 1e-4
"""Similarities closer to the edge of what unit vectors reach are left out: digits are lost there."""

LABEL_NAMES = ("label", "target", "class", "ids")
SET_NAMES = ("embed", "feature", "image", "text", "query", "queries", "passage", "caption", "candidate", "key")
QUERY_NAMES = ("query", "queries", "embed")
REFERENCE_NAMES = ("reference", "ref_", "galler", "proxies", "proxy", "passage", "key", "candidate", "document")
TRIPLET_NAMES = (("anchor", "query"), ("pos",), ("neg",))
KNOB_NAMES = ("scale", "bias", "temperature", "margin", "tau")
"""Parameters that are no embeddings; the user has to give one without a default."""

LossFunction = Callable[..., Any]


class UnmeasurableLoss(ValueError):
    """A callable is no loss of one of the accepted kinds."""


class Inputs(Enum):
    """What a loss takes, in this order."""

    ONE_SET = "(embeddings, labels)"
    TWO_SETS = "(image embeddings, text embeddings), row i of both matching"
    SCORES = "(score matrix), the diagonal matching"
    TRIPLETS = "(anchors, positives, negatives)"
    QUERIES = "(queries, query labels, references, reference labels)"


ACCEPTED = "; ".join(f"Inputs.{kind.name}: {kind.value}" for kind in Inputs)


def name_of(loss_fn: LossFunction) -> str:
    """The name of a loss in error messages."""
    return getattr(loss_fn, "__name__", type(loss_fn).__name__)


def infer_inputs(loss_fn: LossFunction) -> Inputs:
    """What a loss takes, by the names of its parameters; an UnmeasurableLoss where they do not tell."""
    function = loss_fn.forward if isinstance(loss_fn, torch.nn.Module) else loss_fn
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named_only = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    required = [p.name for p in positional if p.default is p.empty]
    given = ", ".join(str(p).partition(":")[0].partition("=")[0].strip() for p in parameters) or "unknown parameters"
    knobs = [name for name in [*required, *named_only] if _has_word(name, KNOB_NAMES)]
    if knobs:
        raise UnmeasurableLoss(
            f"{name_of(loss_fn)}: got a callable of ({given}), where {' and '.join(knobs)} has no default; "
            f"hand in a function that sets it, such as lambda {', '.join(n for n in required if n not in knobs)}: "
            f"loss({', '.join(n if n not in knobs else f'{n}=…' for n in [*required, *named_only])}), "
            f"and say what it takes by inputs=, one of {ACCEPTED}"
        )
    kind = None if named_only else _kind(required, [p.name for p in positional])
    if kind is None:
        raise UnmeasurableLoss(
            f"{name_of(loss_fn)}: got a callable of ({given}), whose names do not tell what it takes; "
            f"say it by inputs=, one of {ACCEPTED}"
        )
    return kind


def _kind(required: list[str], names: list[str]) -> Inputs | None:
    match required:
        case [name] if len(names) > 1 and _has_word(names[1], LABEL_NAMES):
            return Inputs.ONE_SET
        case [name]:
            return None if _has_word(name, (*SET_NAMES, "anchor")) else Inputs.SCORES
        case [_, labels] if _has_word(labels, LABEL_NAMES):
            return Inputs.ONE_SET
        case [_, _] if all(_has_word(name, SET_NAMES) for name in required):
            return Inputs.TWO_SETS
        case [_, _, _] if all(map(_has_word, required, TRIPLET_NAMES)):
            return Inputs.TRIPLETS
        case [_, _, _, _] if all(map(_has_word, required, (QUERY_NAMES, LABEL_NAMES, REFERENCE_NAMES, LABEL_NAMES))):
            return Inputs.QUERIES
    return None


def _has_word(name: str, words: tuple[str, ...]) -> bool:
    return any(word in name.lower() for word in words)


@dataclass(frozen=True, eq=False)
class Arrangement:
    """How numbered vectors become the arguments of a loss, and which pairs (i, j), i < j, are positives and negatives.

    ``labels`` are the vectors' classes; ``first`` is how many come first: the images, the queries or the anchors.
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
        """The arguments of the loss, from vectors of shape ``(vectors, dim)`` or, of ``SCORES``, the scores."""
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


_PAIRS_ON_PLANE, _PAIRS_IN_BATCH = ((0, 1, 0, 1), 2), ((0, 1, 2, 0, 1, 2), 3)
_ON_PLANE = {Inputs.ONE_SET: ((0, 0, 1), 3), Inputs.TRIPLETS: ((0, 0, 1), 1)}
_IN_BATCH = {
    Inputs.ONE_SET: ((0, 0, 1, 1, 2, 2), 6),
    Inputs.TRIPLETS: ((0, 1, 0, 1, 2, 3), 2),
    # As many references as on the plane: a classifier has one for each of its classes.
    Inputs.QUERIES: ((0, 1, 0, 0, 1), 3),
}


def on_plane(inputs: Inputs) -> Arrangement:
    """The arrangement whose similarities `plane_similarities` prescribes."""
    return _arrangement(inputs, *_ON_PLANE.get(inputs, _PAIRS_ON_PLANE))


def in_batch(inputs: Inputs) -> Arrangement:
    """A small batch of several anchors, for `batch_similarities`."""
    return _arrangement(inputs, *_IN_BATCH.get(inputs, _PAIRS_IN_BATCH))


def plane_similarities(
    inputs: Inputs, s_p: Float[Tensor, " points"], s_n: Float[Tensor, " points"]
) -> Float[Tensor, "points vectors vectors"]:
    """The similarities of all vectors of `on_plane`, for every point (s_p, s_n)."""
    one = torch.ones_like(s_p)
    if inputs in _ON_PLANE:
        third = s_n if inputs is Inputs.ONE_SET else s_p * s_n
        rows = (one, s_p, s_n), (s_p, one, third), (s_n, third, one)
    else:
        within = ((s_p + s_n).abs() - (s_p - s_n).abs()) / 2
        rows = (one, within, s_p, s_n), (within, one, s_n, s_p), (s_p, s_n, one, within), (s_n, s_p, within, one)
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def batch_similarities(arrangement: Arrangement, seed: int) -> Float[Tensor, "vectors vectors"]:
    """The similarities of random vectors, those of one class around a common centre, in float64."""
    generator = torch.Generator().manual_seed(seed)
    count, dim = len(arrangement.labels), 2 * len(arrangement.labels)
    centres, spread = (torch.randn(count, dim, generator=generator, dtype=torch.float64) for _ in range(2))
    vectors = torch.nn.functional.normalize(centres[list(arrangement.labels)] + spread, dim=1)
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
        raise ValueError(f"vectors_with: got dim {dim} but expected at least {count}, one for each vector")
    return torch.nn.functional.pad(torch.linalg.cholesky(similarities), (0, dim - count))
