"""Objectives under the call of open_clip's losses."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.processes import AcrossProcesses


class ClipObjective(nn.Module):
    """An objective in the place of `open_clip.ClipLoss`: image i and text i match, and all others are negatives.

    What it returns is the objective's surrogate: its gradient trains, and its curve means nothing.

    The model's ``logit_scale`` and ``logit_bias`` are not read. A cross-entropy multiplies its scores with the scale
    and learns it from its own value; a prescribed gradient is a function of the scores as they are, its steepness is a
    hyperparameter of the objective (such as ``tau``, or the scale of the mining), and without a loss there is nothing
    for a scale to be learned from. Both get the gradient zero, and not none at all, so that
    `torch.nn.parallel.DistributedDataParallel` finds no unused parameter; an optimiser without weight decay on
    them leaves them where they are.

    Args:
        objective: what trains; `AcrossProcesses` around it where several processes share a batch.

    >>> import torch
    >>> from goal_analysis.recombination.recombine import composed
    >>> from losses_catalog.weights import constant_pair, nca_triplet
    >>> loss = ClipObjective(GradientObjective(composed(nca_triplet, constant_pair)))
    >>> images, texts, scale = torch.eye(2, requires_grad=True), torch.eye(2), torch.tensor(14.0, requires_grad=True)
    >>> losses = loss(images, texts, scale, output_dict=True)
    >>> sum(losses.values()).backward()
    >>> images.grad * 1e4, scale.grad
    (tensor([[-0.2270,  0.2270],
            [ 0.2270, -0.2270]]), tensor(0.))
    """

    def __init__(self, objective: GradientObjective | AcrossProcesses) -> None:
        super().__init__()
        self.objective = objective

    def forward(
        self,
        image_features: Float[Tensor, "images dim"],
        text_features: Float[Tensor, "texts dim"],
        logit_scale: Tensor | float | None = None,
        logit_bias: Tensor | float | None = None,
        output_dict: bool = False,
    ) -> Float[Tensor, ""] | dict[str, Float[Tensor, ""]]:
        """The surrogate of a batch.

        Args:
            image_features: shape ``(images, dim)``, unit vectors as open_clip's models return them.
            text_features: shape ``(texts, dim)``, as many, likewise.
            logit_scale: not read; its gradient is zero.
            logit_bias: not read; its gradient is zero.
            output_dict: whether to return ``{"contrastive_loss": surrogate}``, as open_clip's training asks for.

        Raises:
            ValueError: features of different numbers, or what the objective refuses.
        """
        if len(image_features) != len(text_features):
            raise ValueError(
                f"got {len(image_features)} image_features and {len(text_features)} text_features "
                "but expected as many, since image i and text i match"
            )
        surrogate = self.objective(image_features, text_features)
        for unread in (logit_scale, logit_bias):
            if isinstance(unread, Tensor) and unread.requires_grad:
                surrogate = surrogate + 0 * unread.sum()
        return {"contrastive_loss": surrogate} if output_dict else surrogate
