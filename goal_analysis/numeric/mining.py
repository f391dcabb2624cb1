"""Mining: which triplets of a batch count, and how much.

A miner reads the scores of every anchor (a row) with its candidates (the columns) and returns triplets. It
reads numbers only: no gradient flows through the choice. For the other direction of retrieval hand over
``scores.T`` and ``matches.transposed``. An anchor without a positive or without a negative contributes
nothing, and among equal scores the first candidate wins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.triplets import PairList, Triplets, joined

__all__ = [
    "MINERS",
    "Miner",
    "Triplets",
    "miner",
    "Hardest",
    "SemiHard",
    "All",
    "TopK",
    "DistanceWeighted",
    "SelectivelyHard",
    "Softmax",
]


@runtime_checkable
class Miner(Protocol):
    """What picks the triplets of a batch."""

    name: ClassVar[str]

    def __call__(self, scores: Float[Tensor, "anchors candidates"], matches: Matches) -> Triplets:
        """The mined triplets; raises a ValueError where scores and matches differ in shape."""
        ...


@dataclass(frozen=True)
class Hardest:
    """The least similar positive and the most similar negative of every anchor; weight 1.

    "In Defense of the Triplet Loss for Person Re-Identification" (Hermans, Beyer and Leibe, 2017,
    https://arxiv.org/abs/1703.07737).

    >>> scores = torch.tensor([[0.9, 0.2, 0.4], [0.3, 0.8, 0.1], [0.5, 0.6, 0.7]])
    >>> Hardest()(scores, Matches.of_pairs(3)).negative
    tensor([2, 0, 1])
    """

    name: ClassVar[str] = "hardest"

    def __call__(self, scores: Float[Tensor, "anchors candidates"], matches: Matches) -> Triplets:
        """Mine ``scores``; see `Miner`."""
        s = _values(scores, matches, self.name)
        return joined(_largest(-s, matches.positives), _largest(s, matches.negatives), len(s))


@dataclass(frozen=True)
class All:
    """Every positive of an anchor with every negative of it; weight 1 each."""

    name: ClassVar[str] = "all"

    def __call__(self, scores: Float[Tensor, "anchors candidates"], matches: Matches) -> Triplets:
        """Mine ``scores``; see `Miner`."""
        s = _values(scores, matches, self.name)
        one = torch.ones_like(s)
        return joined(PairList.where(matches.positives, one), PairList.where(matches.negatives, one), len(s))


@dataclass(frozen=True)
class SemiHard:
    """Triplets with 0 < s_p − s_n ≤ margin: in the right order, but too close; weight 1 each.

    "FaceNet: A Unified Embedding for Face Recognition and Clustering" (Schroff, Kalenichenko and Philbin,
    2015, https://arxiv.org/abs/1503.03832).

    Args:
        margin: how close is too close, on the scale of the scores.

    Raises:
        ValueError: the margin is negative or not finite.
    """

    margin: float = 0.2
    name: ClassVar[str] = "semi_hard"

    def __post_init__(self) -> None:
        _check_nonnegative(self.name, margin=self.margin)

    def __call__(self, scores: Float[Tensor, "anchors candidates"], matches: Matches) -> Triplets:
        """Mine ``scores``; see `Miner`."""
        s = _values(scores, matches, self.name)
        every = All()(s, matches)
        ahead = s[every.anchor, every.positive] - s[every.anchor, every.negative]
        kept = (ahead > 0) & (ahead <= self.margin)
        return Triplets(every.anchor[kept], every.positive[kept], every.negative[kept], every.weight[kept])


@dataclass(frozen=True)
class TopK:
    """The least similar positive with each of the k most similar negatives; weights sum to 1 an anchor.

    Args:
        k: how many negatives; at 1 this is `Hardest`, and from the number of negatives on it is their mean.

    Raises:
        ValueError: k is not at least 1.
    """

    k: int = 5
    name: ClassVar[str] = "top_k"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"miner {self.name}: k: got {self.k} but expected at least 1")

    def __call__(self, scores: Float[Tensor, "anchors candidates"], matches: Matches) -> Triplets:
        """Mine ``scores``; see `Miner`."""
        s = _values(scores, matches, self.name)
        order = torch.sort(_among(s, matches.negatives), dim=1, descending=True, stable=True).indices
        chosen = torch.zeros_like(matches.negatives).scatter(1, order[:, : self.k], True) & matches.negatives
        return joined(_largest(-s, matches.positives), _uniform(chosen, s), len(s))


@dataclass(frozen=True)
class DistanceWeighted:
    """For every positive pair one negative, drawn so that all distances are equally likely; weight 1 each.

    P(n | a) ∝ 1/q(d) with d = √(2 − 2s), raised to ``cutoff`` at least, and q(d) ∝ dᵐ⁻²(1 − d²/4)^((m−3)/2),
    the density of distances on the unit sphere in m dimensions. Negatives from ``reach`` on are not drawn, as
    a margin loss would not feel them.

    "Sampling Matters in Deep Embedding Learning" (Wu, Manmatha, Smola and Krähenbühl, 2017,
    https://arxiv.org/abs/1706.07567).

    Args:
        dim: m, the dimension of the embeddings; the scores are their cosines.
        cutoff: the distance below which all are equally likely.
        reach: the distance from which none is drawn.
        generator: the source of randomness, on the device of the scores; torch's own by default.

    Raises:
        ValueError: a dimension below 2, or a distance that two points of the sphere do not have.
    """

    dim: int = 512
    cutoff: float = 0.5
    reach: float = 1.4
    generator: torch.Generator | None = None
    name: ClassVar[str] = "distance_weighted"

    def __post_init__(self) -> None:
        if self.dim != int(self.dim) or self.dim < 2:
            raise ValueError(f"miner {self.name}: dim: got {self.dim} but expected a whole number of at least 2")
        if not 0 < self.cutoff < 2:
            raise ValueError(f"miner {self.name}: cutoff: got {self.cutoff} but expected a number in (0, 2)")
        if not 0 < self.reach <= 2:
            raise ValueError(f"miner {self.name}: reach: got {self.reach} but expected a number in (0, 2]")

    def __call__(self, scores: Float[Tensor, "anchors candidates"], matches: Matches) -> Triplets:
        """Mine ``scores``; see `Miner`."""
        s = _values(scores, matches, self.name)
        chances = self.chances(s, matches)
        pairs = PairList.where(matches.positives & chances.any(1, keepdim=True), torch.ones_like(s))
        if not len(pairs.anchor):
            return joined(pairs, pairs, len(s))
        drawn = torch.multinomial(chances[pairs.anchor], 1, generator=self.generator)[:, 0]
        return Triplets(pairs.anchor, pairs.candidate, drawn, pairs.weight)

    def chances(
        self, scores: Float[Tensor, "anchors candidates"], matches: Matches
    ) -> Float[Tensor, "anchors candidates"]:
        """P(n | a), shape ``(anchors, candidates)``; zeros for an anchor without negatives within reach."""
        distance = (2 - 2 * _values(scores, matches, self.name)).clamp_min(0).sqrt()
        d = distance.clamp_min(self.cutoff)
        log_q = (self.dim - 2) * d.log() + (self.dim - 3) / 2 * torch.log1p(-d * d / 4)
        drawable = matches.negatives & (distance < self.reach)
        return _softmax(-log_q, drawable)


@dataclass(frozen=True)
class SelectivelyHard:
    """The hardest negative, or all where it is as similar as the positive; weights sum to 1 an anchor.

    Where |s_p − s_n| < ε, s_p being the hardest positive and s_n the hardest negative, the gradient of the
    hardest triplet almost vanishes, and the mean over all negatives takes its place.

    "Selectively Hard Negative Mining for Alleviating Gradient Vanishing in Image-Text Matching" (Li, Guo,
    Wang, Feng and Du, 2023, https://arxiv.org/abs/2303.00181).

    Args:
        epsilon: ε.

    Raises:
        ValueError: ε is negative or not finite.
    """

    epsilon: float = 0.01
    name: ClassVar[str] = "selectively_hard"

    def __post_init__(self) -> None:
        _check_nonnegative(self.name, epsilon=self.epsilon)

    def __call__(self, scores: Float[Tensor, "anchors candidates"], matches: Matches) -> Triplets:
        """Mine ``scores``; see `Miner`."""
        s = _values(scores, matches, self.name)
        hardest = Hardest()(s, matches)
        a, p, n = hardest.to_pml()
        chosen = torch.zeros_like(matches.negatives)
        chosen[a, n] = True
        chosen[a] |= ((s[a, p] - s[a, n]).abs() < self.epsilon)[:, None]
        chosen &= matches.negatives
        return joined(_largest(-s, matches.positives), _uniform(chosen, s), len(s))


@dataclass(frozen=True)
class Softmax:
    """Every triplet, weighted by softmaxes over negatives and over negated positives; an anchor's sum is 1.

    The weight of (p, n) is softmin(β⁺·s)_p · softmax(β⁻·s)_n: the mining weights of logsumexp. As β grows it
    becomes `Hardest`, and at 0 the mean.

    Args:
        positive_scale: β⁺.
        negative_scale: β⁻.

    Raises:
        ValueError: a scale is negative or not finite.
    """

    positive_scale: float = 10.0
    negative_scale: float = 10.0
    name: ClassVar[str] = "softmax"

    def __post_init__(self) -> None:
        _check_nonnegative(self.name, positive_scale=self.positive_scale, negative_scale=self.negative_scale)

    def __call__(self, scores: Float[Tensor, "anchors candidates"], matches: Matches) -> Triplets:
        """Mine ``scores``; see `Miner`."""
        s = _values(scores, matches, self.name)
        positive = _softmax(-self.positive_scale * s, matches.positives)
        negative = _softmax(self.negative_scale * s, matches.negatives)
        return joined(PairList.where(matches.positives, positive), PairList.where(matches.negatives, negative), len(s))


def miner(name: str) -> Miner:
    """The miner of this name, at its default settings.

    Raises:
        ValueError: an unknown name, listing those that are known.
    """
    for known in MINERS:
        if known.name == name:
            return known
    raise ValueError(f"miner: got {name!r} but expected one of {', '.join(m.name for m in MINERS)}")


def _check_nonnegative(owner: str, **parameters: float) -> None:
    for name, value in parameters.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"miner {owner}: {name}: got {value} but expected a finite number of at least 0")


def _values(scores: Tensor, matches: Matches, name: str) -> Tensor:
    """The scores without their history, in float32 at least so that weights keep their digits."""
    matches.check(scores, f"miner {name}")
    s = scores.detach()
    return s.float() if s.dtype in (torch.bfloat16, torch.float16) else s


def _among(values: Tensor, members: Tensor) -> Tensor:
    return values.masked_fill(~members, -torch.inf)


def _largest(values: Tensor, members: Tensor) -> PairList:
    """The member with the largest value, for every anchor that has members."""
    if not members.numel():  # argmax wants something to choose from
        return PairList.where(members, values)
    candidate = _among(values, members).argmax(1)
    (anchor,) = members.gather(1, candidate[:, None])[:, 0].nonzero(as_tuple=True)
    return PairList(anchor, candidate[anchor], values.new_ones(len(anchor)))


def _softmax(values: Tensor, members: Tensor) -> Tensor:
    """The softmax over the members; zeros outside of them, and zeros where there are none."""
    inside = _among(values, members).masked_fill(~members.any(1, keepdim=True), 0)
    return torch.softmax(inside, 1).masked_fill(~members, 0)


def _uniform(chosen: Tensor, like: Tensor) -> PairList:
    """The chosen pairs, those of an anchor with weights that sum to 1."""
    counts = chosen.sum(1, keepdim=True).clamp_min(1).to(like.dtype)
    return PairList.where(chosen, (1 / counts).expand(like.shape))


MINERS: tuple[Miner, ...] = (
    Hardest(),
    SemiHard(),
    All(),
    TopK(),
    DistanceWeighted(),
    SelectivelyHard(),
    Softmax(),
)
"""Every miner, at its default settings."""
