"""An objective on what a model gives: embeddings of both sides, the scores of a model that has none, or both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.probe import GradientProbe
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.recombination.processes import AcrossProcesses
from goal_analysis.vse.models.dual_encoder import Mined


def surrogate(
    objective: GradientObjective | AcrossProcesses,
    outputs: Any,
    ids: Tensor,
    within: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """The objective on what a model gives: embeddings of images and texts, or the scores of them.

        objective(X, Y) + within[0]·objective(X, X) + within[1]·objective(Y, Y)

    Among embeddings of one kind, others of the same image are positives, and none is compared with itself.

    On `Mined` it acts twice, and the sum trains: on the embeddings, and on the scores of the chosen pairs, of which the
    others are neither positives nor negatives. Scores, and what is compared within one kind, are those of a process's
    own share of the batch.

    Args:
        objective: what trains.
        outputs: a pair of embeddings, scores of shape ``(images, texts)``, or `Mined`.
        ids: shape ``(pairs,)``; the image of every pair.
        within: how much is added of the images among themselves, and of the texts.

    Raises:
        ValueError: something is to be added, but the model gives scores alone.
    """
    whole = objective.objective if isinstance(objective, AcrossProcesses) else objective
    if isinstance(outputs, Tensor) and any(within):
        raise ValueError(f"image_image, text_text: got {within} but expected 0, for the model gives no embeddings")
    if not isinstance(outputs, Tensor | Mined):
        return objective(*outputs, ids, ids) + _within(whole, outputs, ids, within)
    matches = Matches.of_image_ids(ids, ids)
    if isinstance(outputs, Tensor):
        return whole.from_scores(outputs, matches)  # pyright: ignore[reportCallIssue]
    among = Matches(matches.positives, matches.negatives & outputs.chosen)
    of_pairs = whole.from_scores(outputs.scores, among)  # pyright: ignore[reportCallIssue]
    of_kinds = _within(whole, (outputs.images, outputs.texts), ids, within)
    return objective(outputs.images, outputs.texts, ids, ids) + of_pairs + of_kinds


def _within(whole: Any, embeddings: tuple[Tensor, Tensor], ids: Tensor, shares: tuple[float, float]) -> Any:
    """The objective among the embeddings of one kind, times its share, for both kinds; 0 without shares."""
    chosen = [(share, e) for share, e in zip(shares, embeddings, strict=True) if share]
    return sum(share * whole.from_scores(e @ e.T, Matches.of_labels(ids)) for share, e in chosen)


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
