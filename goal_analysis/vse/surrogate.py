"""An objective on what a model gives: embeddings of both sides, or the scores of a model that has none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.probe import GradientProbe
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.processes import AcrossProcesses


def surrogate(objective: GradientObjective | AcrossProcesses, outputs: Any, ids: Tensor) -> Tensor:
    """The objective on what a model gives: embeddings of images and texts, or the scores of them.

    Args:
        objective: what trains.
        outputs: a pair of embeddings, or scores of shape ``(images, texts)``.
        ids: shape ``(pairs,)``; the image of every pair.
    """
    if isinstance(outputs, Tensor):
        whole = objective.objective if isinstance(objective, AcrossProcesses) else objective
        return whole.from_scores(outputs, Matches.of_image_ids(ids, ids))  # pyright: ignore[reportCallIssue]
    return objective(*outputs, ids, ids)


def probed(objective: GradientObjective, outputs: Any, ids: Tensor) -> dict[str, float]:
    """What the objective's weights are on this batch, by the names of the probe's columns."""
    with torch.no_grad():
        scores = outputs if isinstance(outputs, Tensor) else outputs[0] @ outputs[1].T
    scores = scores.detach().float().requires_grad_()
    matches = Matches.of_image_ids(ids, ids)
    with GradientProbe(anchors=None) as probe:
        probe.watch(scores, matches)
        objective.from_scores(scores, matches).backward()  # pyright: ignore[reportCallIssue]
    row = probe.frame().drop(columns=["step", "backwards"]).iloc[0]
    return {str(name): float(value) for name, value in row.items()}
