"""The module that an exported file offers."""

import torch
from torch import Tensor, nn

from goal_analysis.recombination.export.fragments.dense import matching, weight_matrix
from goal_analysis.recombination.export.fragments.directions import dot_gradients as embedding_gradients
from goal_analysis.recombination.export.fragments.directions import dot_products as similarities
from goal_analysis.recombination.export.fragments.hardest import hardest_entries
from goal_analysis.recombination.export.fragments.inputs import (
    check_batch,
    check_finite,
    check_masks,
    has_few_positives,
    unit,
    wide,
)
from goal_analysis.recombination.export.fragments.prescribed import Prescribed, Sparse
from goal_analysis.recombination.export.fragments.settled import CHECK_FINITE, COSINE, QUICK_HARDEST, QUICK_SOFTMAX
from goal_analysis.recombination.export.fragments.streamed import softmax_gradients


class Objective(nn.Module):
    """CLASS_DOCSTRING."""

    @torch.compiler.disable
    def forward(
        self,
        image_embeddings: Tensor,
        text_embeddings: Tensor,
        image_ids: Tensor | None = None,
        text_ids: Tensor | None = None,
    ) -> Tensor:
        """The surrogate of a batch of embeddings.

        Args:
            image_embeddings: shape (images, dim).
            text_embeddings: shape (texts, dim).
            image_ids: shape (images,); texts with an image's id match it. By default text i matches image i alone.
            text_ids: shape (texts,); by default text i comes with image i.
        """
        check_batch(image_embeddings, text_embeddings, image_ids, text_ids)
        x, y = image_embeddings, text_embeddings
        if COSINE:
            x, y = unit(x, "image_embeddings"), unit(y, "text_embeddings")
        elif CHECK_FINITE:
            check_finite(x, "image_embeddings")
            check_finite(y, "text_embeddings")
        if QUICK_HARDEST:
            if has_few_positives(x, y, image_ids, text_ids):
                with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
                    entries = hardest_entries(*wide(x, y), image_ids, text_ids)
                return Sparse.apply(x, y, *entries)
        if QUICK_SOFTMAX:
            if has_few_positives(x, y, image_ids, text_ids):
                with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
                    value, to_x, to_y = softmax_gradients(*wide(x, y), image_ids, text_ids)
                return Prescribed.apply(value, x, y, to_x, to_y)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            wide_x, wide_y = wide(x, y)
            scores = similarities(wide_x, wide_y)
            positives = matching(len(x), image_ids, text_ids, x.device)
            weights = weight_matrix(scores, positives, ~positives)
            to_x, to_y = embedding_gradients(weights, wide_x, wide_y)
            value = (weights * scores).sum()
        return Prescribed.apply(value, x, y, to_x, to_y)

    @torch.compiler.disable
    def from_scores(self, scores: Tensor, positives: Tensor, negatives: Tensor | None = None) -> Tensor:
        """The surrogate of scores from anywhere; its gradient by them is W.

        Args:
            scores: shape (images, texts).
            positives: bool, of the same shape; which pairs match.
            negatives: bool, of the same shape; by default all other pairs.
        """
        negatives = ~positives if negatives is None else negatives
        check_masks(scores, positives, negatives)
        if CHECK_FINITE:
            check_finite(scores, "scores")
        with torch.no_grad():
            weights = weight_matrix(scores, positives, negatives)
            value = (weights * scores).sum()
        return Prescribed.apply(value, scores, weights)
