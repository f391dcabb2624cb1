"""Gradient objectives: what trains is the weight matrix W, whether or not a loss has it as its gradient.

The value that an objective returns is the surrogate ⟨stop_gradient(W), S⟩. Its gradient by the scores is W, and by the
embeddings what the direction makes of W; both are multiplied by the upstream gradient, so mixed precision with a
scaler, accumulation and clipping need nothing special. It is no loss, and no curve of it means anything.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.mining import Hardest, Miner
from goal_analysis.numeric.similarity import Direction, embedding_gradients
from goal_analysis.numeric.similarity import scores as pairwise
from goal_analysis.recombination.inputs import are_unit, check_finite, check_shapes, lengths
from goal_analysis.recombination.paths import matches_of, prescribed, quick_surrogate
from goal_analysis.recombination.weighting import Weighting
from goal_analysis.symbolic.loss import Anchors, Reduction
from goal_analysis.symbolic.similarity import COSINE, DOT, Similarity
from goal_analysis.symbolic.weight import PairWeights, TripletWeight, WeightField, compose


class GradientObjective(nn.Module):
    """Triplet weight × pair weights × mining, acting along a direction.

        W = Σ over mined triplets (a, p, n) of m·T(s_p, s_n)·(P⁻(s_n) at (a, n), −P⁺(s_p) at (a, p))

    Args:
        triplet_weight: T.
        pair_weights: P⁺ and P⁻.
        mining: which triplets count, or how softly; see `goal_analysis.numeric.mining`.
        similarity: of the embeddings, for `forward`. The cosine of unit embeddings is their dot product, which is
            computed as such; embeddings that are no unit vectors are normalised, with one warning.
        direction: what the weights of the pairs make of the embeddings; by default the similarity's own gradient.
        reduction: the sum over the anchors, or the mean over those that have a triplet.
        anchors: which axes of the scores are queries; of both, the weights are summed.
        settings: hyperparameters that differ from their defaults.
        refuse_nonfinite: whether NaN and infinities in the input raise an error instead of passing through.

    Raises:
        ValueError: an unknown hyperparameter or a value outside its domain.

    >>> from losses_catalog.weights import constant_pair, nca_triplet
    >>> objective = GradientObjective(nca_triplet, constant_pair, settings={"tau": 1.0})
    >>> scores = torch.tensor([[0.9, 0.1], [0.3, 0.8]], requires_grad=True)
    >>> objective.from_scores(scores, Matches.of_pairs(2)).backward()
    >>> scores.grad
    tensor([[-0.6644,  0.6418],
            [ 0.7319, -0.7094]])
    """

    def __init__(
        self,
        triplet_weight: TripletWeight,
        pair_weights: PairWeights,
        mining: Miner | None = None,
        similarity: Similarity = COSINE,
        direction: Direction | None = None,
        reduction: Reduction = Reduction.SUM,
        anchors: Anchors = Anchors.BOTH,
        settings: Mapping[str, float | int] | None = None,
        refuse_nonfinite: bool = True,
    ) -> None:
        super().__init__()
        self.triplet_weight = triplet_weight
        self.pair_weights = pair_weights
        self.mining: Miner = mining or Hardest()
        self.similarity = similarity
        self.direction = direction
        self.reduction = reduction
        self.anchors = anchors
        self.settings = dict(settings or {})
        self.refuse_nonfinite = refuse_nonfinite
        self.field: WeightField = compose(triplet_weight, pair_weights)
        values = tuple(self.field.values(self.settings).items())
        self.weighting = Weighting(triplet_weight, pair_weights, self.mining, anchors, values)
        self._warned = False

    @torch.compiler.disable
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        image_embeddings: Float[Tensor, "images dim"],
        text_embeddings: Float[Tensor, "texts dim"],
        image_ids: Int[Tensor, " images"] | None = None,
        text_ids: Int[Tensor, " texts"] | None = None,
    ) -> Float[Tensor, ""]:
        """The surrogate of a batch of embeddings.

        Args:
            image_embeddings: the rows.
            text_embeddings: the columns.
            image_ids: of the images: texts of one image match it and are no negatives of it. By default text i
                matches image i alone.
            text_ids: the image that each text describes; by default text i comes with image i.

        Raises:
            ValueError: shapes or ids that do not fit, or a number that is not finite, with its row.
        """
        check_shapes(image_embeddings, text_embeddings, image_ids, text_ids)
        x, y = image_embeddings, text_embeddings
        of_images, of_texts = lengths(x), lengths(y)
        if not are_unit(torch.cat([of_images, of_texts])):  # what is not finite has no length of 1
            if self.refuse_nonfinite:
                check_finite(x, of_images, "image_embeddings")
                check_finite(y, of_texts, "text_embeddings")
            x, y = self._unit(x, of_images), self._unit(y, of_texts)
        if self.direction is None and self.similarity in (COSINE, DOT):
            value = quick_surrogate(self.weighting, self.reduction, x, y, image_ids, text_ids)
            if value is not None:
                return value
        return self._through_scores(x, y, matches_of(len(x), x.device, image_ids, text_ids))

    @torch.compiler.disable
    def from_scores(self, scores: Float[Tensor, "rows columns"], matches: Matches) -> Float[Tensor, ""]:
        """The surrogate of scores from anywhere, such as a model whose score is no dot product.

        Args:
            scores: the rows are images, the columns texts.
            matches: which pairs are positives and which negatives.

        Raises:
            ValueError: shapes that do not fit, or a score that is not finite, with its row.
        """
        matches.check(scores, repr(self))
        if self.refuse_nonfinite:
            check_finite(scores, scores.detach().sum(1), "scores")
        with torch.no_grad():
            w = self.weight_matrix(scores, matches)
            value = (w * scores).sum()
        return prescribed(scores, None, w, None, value)

    def weight_matrix(self, scores: Float[Tensor, "rows columns"], matches: Matches) -> Float[Tensor, "rows columns"]:
        """W(S), which takes the place of a loss's ∂L/∂S; in float32 at least."""
        w, anchors = self.weighting.matrix(scores, matches)
        return w / max(anchors, 1) if self.reduction is Reduction.MEAN else w

    def extra_repr(self) -> str:
        """The composition."""
        parts = [
            f"triplet_weight={self.triplet_weight.name}",
            f"pair_weights={self.pair_weights.name}",
            f"mining={self.mining}",
            f"direction={(self.direction or self.similarity).name}",
            f"reduction={self.reduction.value}",
        ]
        values = {h.name: float(self.field.values(self.settings)[h.symbol]) for h in self.field.hyperparameters}
        return ", ".join([*parts, *(f"{name}={value:g}" for name, value in values.items())])

    def _through_scores(self, unit_images: Tensor, unit_texts: Tensor, matches: Matches) -> Tensor:
        similarity = DOT if self.similarity == COSINE else self.similarity
        with torch.no_grad(), torch.autocast(unit_images.device.type, enabled=False):
            x, y = (e.detach().to(torch.promote_types(e.dtype, torch.float32)) for e in (unit_images, unit_texts))
            s = pairwise(similarity, x, y)
            w = self.weight_matrix(s, matches)
            gradients = embedding_gradients(self.direction or similarity, w, x, y)
            value = (w * s).sum()
        return prescribed(unit_images, unit_texts, *gradients, value)

    def _unit(self, embeddings: Tensor, of_rows: Tensor) -> Tensor:
        if self.similarity != COSINE or are_unit(of_rows):
            return embeddings
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"got embeddings of lengths from {of_rows.min():.3g} to {of_rows.max():.3g} but expected unit vectors "
                "for the cosine; they are normalised",
                stacklevel=3,
            )
        return nn.functional.normalize(embeddings, dim=1)
