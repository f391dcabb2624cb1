"""Objectives that are called as open_clip's losses."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.processes import AcrossProcesses
from goal_analysis.symbolic.language.similarity import DOT


class ClipObjective(nn.Module):
    """An objective in the place of `open_clip.ClipLoss`: image i and text i match, and all others are negatives.

    What it returns is the objective's surrogate: its gradient trains, and its curve means nothing.

    By default the model's ``logit_scale`` and ``logit_bias`` are not read: the steepness is a hyperparameter of the
    objective (such as ``tau``, or the scale of the mining), and without a loss there is nothing for a scale to be
    learned from. Both get the gradient zero, so that `torch.nn.parallel.DistributedDataParallel` finds no unused
    parameter. With ``learn_scale`` the objective acts on logit_scale·x·y + logit_bias, and both follow its loss.

    Args:
        objective: what trains; `AcrossProcesses` around it where several processes share a batch.
        learn_scale: whether the scores are scaled; for an objective with the similarity ``dot`` that has a loss, whose
            own scale is 1, such as ``objective("info_nce(tau=1)", similarity="dot")``.

    Raises:
        ValueError: ``learn_scale`` with another similarity, or an objective that is not the gradient of a loss.

    >>> import torch
    >>> import goal_analysis as ga
    >>> loss = ClipObjective(ga.objective("nca/constant"))
    >>> images, texts, scale = torch.eye(2, requires_grad=True), torch.eye(2), torch.tensor(14.0, requires_grad=True)
    >>> losses = loss(images, texts, scale, output_dict=True)
    >>> sum(losses.values()).backward()
    >>> images.grad * 1e4, scale.grad
    (tensor([[-0.2270,  0.2270],
            [ 0.2270, -0.2270]]), tensor(0.))
    """

    def __init__(self, objective: GradientObjective | AcrossProcesses, learn_scale: bool = False) -> None:
        super().__init__()
        if learn_scale:
            own: Any = objective.objective if isinstance(objective, AcrossProcesses) else objective
            found = own.verdict()
            if found.integrable is not True or own.similarity != DOT:
                raise ValueError(
                    f"learn_scale: got {own.name} with the similarity {own.similarity.name} ({found.reason}) but "
                    'expected the gradient of a loss with the similarity dot, such as objective("info_nce(tau=1)", '
                    'similarity="dot")'
                )
        self.objective = objective
        self.learn_scale = learn_scale

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
            logit_scale: what the scores are multiplied with, after the exponential; unread without ``learn_scale``.
            logit_bias: what is added to them then; unread without ``learn_scale``.
            output_dict: whether to return ``{"contrastive_loss": surrogate}``, as open_clip's training asks for.

        Raises:
            ValueError: features of different numbers, or what the objective refuses.
        """
        if self.learn_scale:
            image_features = image_features * (1.0 if logit_scale is None else logit_scale)
            if logit_bias is not None:  # one more coordinate, which is 1 of every text
                one = text_features.new_ones(len(text_features), 1)
                image_features = torch.cat((image_features, one * logit_bias), 1)
                text_features = torch.cat((text_features, one), 1)
        surrogate = self.objective(image_features, text_features)
        for unread in (logit_scale, logit_bias):
            if isinstance(unread, Tensor) and unread.requires_grad:
                surrogate = surrogate + 0 * unread.sum()
        return {"contrastive_loss": surrogate} if output_dict else surrogate
