"""An objective on what a model gives: embeddings of both sides, the scores of a model that has none, or both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.probe import GradientProbe
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.processes import AcrossProcesses
from goal_analysis.vse.scorers.reranking import Mined


def surrogate(objective: GradientObjective | AcrossProcesses, outputs: Any, ids: Tensor) -> Tensor:
    """The objective on what a model gives: embeddings of images and texts, or the scores of them.

    On `Mined` it acts twice, and the sum trains: on the embeddings, and on the scores of the chosen pairs, of which the
    others are neither positives nor negatives. Scores are those of a process's own share of the batch.

    Args:
        objective: what trains.
        outputs: a pair of embeddings, scores of shape ``(images, texts)``, or `Mined`.
        ids: shape ``(pairs,)``; the image of every pair.
    """
    if not isinstance(outputs, Tensor | Mined):
        return objective(*outputs, ids, ids)
    whole = objective.objective if isinstance(objective, AcrossProcesses) else objective
    matches = Matches.of_image_ids(ids, ids)
    if isinstance(outputs, Tensor):
        return whole.from_scores(outputs, matches)  # pyright: ignore[reportCallIssue]
    among = Matches(matches.positives, matches.negatives & outputs.chosen)
    of_pairs = whole.from_scores(outputs.scores, among)  # pyright: ignore[reportCallIssue]
    return objective(outputs.images, outputs.texts, ids, ids) + of_pairs


def probed(objective: GradientObjective, outputs: Any, ids: Tensor) -> dict[str, float]:
    """What the objective's weights are on this batch, by the names of the probe's columns; of both, on embeddings."""
    with torch.no_grad():
        scores = outputs if isinstance(outputs, Tensor) else outputs[0] @ outputs[1].T
    scores = scores.detach().float().requires_grad_()
    matches = Matches.of_image_ids(ids, ids)
    with GradientProbe(anchors=None) as probe:
        probe.watch(scores, matches)
        objective.from_scores(scores, matches).backward()  # pyright: ignore[reportCallIssue]
    row = probe.frame().drop(columns=["step", "backwards"]).iloc[0]
    return {str(name): float(value) for name, value in row.items()}
