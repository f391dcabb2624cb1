"""Gradient objectives: what trains is the weight matrix W, whether or not a loss has it as its gradient.

The value that an objective returns is the surrogate ⟨stop_gradient(W), S⟩. Its gradient by the scores is W, and by the
embeddings what the direction makes of W; both are multiplied by the upstream gradient, so mixed precision with a
scaler, accumulation and clipping need nothing special. It is no loss, and no curve of it means anything. Where W is the
gradient of a loss, `GradientObjective.value` is that loss.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import sympy as sp
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.mining import Hardest, Miner
from goal_analysis.numeric.similarity import Direction, embedding_gradients
from goal_analysis.numeric.similarity import scores as pairwise
from goal_analysis.recombination.batch_integrability import BatchIntegrability, along, batch_integrability
from goal_analysis.recombination.description import Description, described
from goal_analysis.recombination.inputs import are_unit, check_finite, check_shapes, lengths
from goal_analysis.recombination.paths import matches_of, prescribed, quick_surrogate
from goal_analysis.recombination.products import wide
from goal_analysis.numeric.rounding import safe_at_the_ends, safe_weights
from goal_analysis.recombination.values import batch_loss, loss_of
from goal_analysis.recombination.weighting import Weighting, refusal
from goal_analysis.symbolic.language.similarity import COSINE, DOT, Similarity
from goal_analysis.symbolic.objective import Anchors, Reduction
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
        ValueError: an unknown hyperparameter or a value outside its domain; softmax mining of a triplet weight that is
            not real beyond the range of the similarity, or of relative pair weights.

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
        self.field: WeightField = replace(compose(triplet_weight, pair_weights), similarity=similarity)
        values = tuple(self.field.values(self.settings).items())
        safe = safe_weights(triplet_weight, pair_weights, similarity, values)
        self.weighting = Weighting(*safe, self.mining, anchors, values)
        refused = refusal(triplet_weight, pair_weights, self.mining, similarity, values)
        if refused:
            raise ValueError(refused)
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
        x, y = self._accepted(image_embeddings, text_embeddings, image_ids, text_ids)
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
            TypeError: matches that are none.
        """
        self._check_scores(scores, matches)
        with torch.no_grad():
            w = self.weight_matrix(scores, matches)
            value = (w * scores).sum()
        return prescribed(scores, None, w, None, value)

    @torch.compiler.disable
    def value(
        self,
        image_embeddings: Float[Tensor, "images dim"],
        text_embeddings: Float[Tensor, "texts dim"],
        image_ids: Int[Tensor, " images"] | None = None,
        text_ids: Int[Tensor, " texts"] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss whose gradient trains, up to a constant; differentiable, and fit for a curve.

        Args:
            image_embeddings: the rows.
            text_embeddings: the columns.
            image_ids: of the images; by default text i matches image i alone.
            text_ids: the image that each text describes; by default text i comes with image i.

        Raises:
            ValueError: the objective is the gradient of no loss, or of none with a known closed form, with the reason;
                or what `forward` refuses.

        >>> from losses_catalog.weights import constant_pair, nca_triplet
        >>> objective = GradientObjective(nca_triplet, constant_pair, settings={"tau": 1.0})
        >>> objective.value(torch.eye(2), torch.eye(2))
        tensor(1.2530)
        """
        loss = self._loss(self._verdict())
        x, y = self._accepted(image_embeddings, text_embeddings, image_ids, text_ids)
        of_unit = DOT if self.similarity == COSINE and self.direction is None else self.similarity
        with torch.autocast(x.device.type, enabled=False):
            s = pairwise(of_unit, *(e.to(torch.promote_types(e.dtype, torch.float32)) for e in (x, y)))
        matches = matches_of(len(x), x.device, image_ids, text_ids)
        return batch_loss(self.weighting, loss, self.reduction, s, matches)

    @torch.compiler.disable
    def value_from_scores(self, scores: Float[Tensor, "rows columns"], matches: Matches) -> Float[Tensor, ""]:
        """The loss of scores from anywhere whose gradient by the scores is W; the direction does not matter.

        Args:
            scores: the rows are images, the columns texts.
            matches: which pairs are positives and which negatives.

        Raises:
            ValueError: W is the gradient of no loss of the scores, or of none with a known closed form, with the
                reason; or what `from_scores` refuses.
        """
        loss = self._loss(self._verdict_on_scores())
        self._check_scores(scores, matches)
        return batch_loss(self.weighting, loss, self.reduction, scores, matches)

    def weight_matrix(self, scores: Float[Tensor, "rows columns"], matches: Matches) -> Float[Tensor, "rows columns"]:
        """W(S), which takes the place of a loss's ∂L/∂S; in float32 at least."""
        w, anchors = self.weighting.matrix(scores, matches)
        return w / max(anchors, 1) if self.reduction is Reduction.MEAN else w

    def describe(self) -> Description:
        """What the objective is: its weights, whether what trains is the gradient of a loss, and of which.

        >>> from losses_catalog.weights import constant_pair, nca_triplet
        >>> found = GradientObjective(nca_triplet, constant_pair).describe()
        >>> found.name, found.integrable, found.loss
        ('nca / constant @ hardest', True, softplus(tau*(s_n - s_p))/tau)
        """
        return described(
            self.field,
            name=f"{self.triplet_weight.name} / {self.pair_weights.name} @ {self.mining.name}",
            mining=self.mining,
            verdict=self._verdict(),
            direction=self.direction or self.similarity,
            reduction=self.reduction,
            anchors=self.anchors,
            values=self.weighting.values,
        )

    def _loss(self, verdict: BatchIntegrability) -> sp.Expr:
        return safe_at_the_ends(loss_of(repr(self), verdict), self.similarity, self.weighting.values)

    def _verdict(self) -> BatchIntegrability:
        """On what trains: the weights of the scores, along the direction."""
        return along(self.similarity, self.direction, self._verdict_on_scores())

    def _verdict_on_scores(self) -> BatchIntegrability:
        return batch_integrability(self.field, self.mining, self.reduction, self.settings)

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

    def replaced(self, **changes: Any) -> GradientObjective:
        """The objective with other arguments of its construction.

        Args:
            changes: by the names of the arguments.

        Raises:
            ValueError: as the construction.
        """
        names = inspect.signature(type(self).__init__).parameters.keys() - {"self"}
        return GradientObjective(**{name: getattr(self, name) for name in names} | changes)

    def _check_scores(self, scores: Tensor, matches: object) -> None:
        if not isinstance(matches, Matches):
            raise TypeError(
                f"matches: got {type(matches).__name__} but expected Matches, such as Matches.of_pairs({len(scores)}) "
                "or Matches.of_image_ids(images, texts)"
            )
        matches.check(scores, repr(self))
        if self.refuse_nonfinite:
            check_finite(scores, scores.detach().sum(1), "scores")

    def _accepted(
        self, images: Tensor, texts: Tensor, image_ids: Tensor | None, text_ids: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The embeddings, checked, and normalised where that is needed."""
        check_shapes(images, texts, image_ids, text_ids)
        of_images, of_texts = lengths(images), lengths(texts)
        if are_unit(torch.cat([of_images, of_texts])):  # what is not finite has no length of 1
            return images, texts
        if self.refuse_nonfinite:
            check_finite(images, of_images, "image_embeddings")
            check_finite(texts, of_texts, "text_embeddings")
        return self._unit(images, of_images), self._unit(texts, of_texts)

    def _through_scores(self, unit_images: Tensor, unit_texts: Tensor, matches: Matches) -> Tensor:
        similarity = DOT if self.similarity == COSINE else self.similarity
        with torch.no_grad(), torch.autocast(unit_images.device.type, enabled=False):
            x, y = wide(unit_images, unit_texts)
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
                stacklevel=7,  # who called the module: torch stands between
            )
        return nn.functional.normalize(embeddings, dim=1)
