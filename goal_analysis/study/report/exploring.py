"""A page on which the weights of objectives move with their hyperparameters, with the triplets of a batch over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.similarity import scores
from goal_analysis.pictures.batch import pairs_frame, triplets_frame
from goal_analysis.recombination.objective import GradientObjective
from goal_analysis.study.report import said, written
from goal_analysis.study.report.objectives import Laid, ObjectiveOf, objective_sections
from goal_analysis.vse.data.precomp import open_features

ROWS, DOTS = 2_000, 1_000  # embeddings of a batch that are read, and triplets that are drawn


def explore(
    texts: Iterable[str],
    objective_of: ObjectiveOf,
    files: Sequence[Path] = (),
    labels: Path | None = None,
    command: Sequence[str] = (),
) -> str:
    """The page on objectives.

    Args:
        texts: their lines, or what they are called.
        objective_of: what makes an objective of one of these.
        files: of a batch, as ``.npy``: one of shape ``(2, pairs, dim)``, images and texts; or two of ``(pairs, dim)``,
            row i of the one belonging to row i of the other; or one of ``(embeddings, dim)`` with labels.
        labels: a ``.npy`` of whole numbers, or a text with a label a line.
        command: what made the page.

    Raises:
        ValueError: another shape, and those that are accepted; numbers that are not finite; a label too few.
    """
    laid = _batch(files, labels) if files else None
    return written(
        "explore.html",
        objectives=objective_sections(texts, objective_of, laid),
        command=said(command),
    )


def _batch(files: Sequence[Path], labels: Path | None) -> Callable[[GradientObjective], Laid]:
    arrays = [_embeddings(path) for path in files]
    shapes = ", ".join(f"{path} of shape {tuple(array.shape)}" for path, array in zip(files, arrays, strict=True))
    expected = "one file (2, pairs, dim), two files (pairs, dim), or one file (embeddings, dim) and its labels"
    if len(arrays) == 1 and labels is None and arrays[0].ndim == 3 and len(arrays[0]) == 2:
        x, y = arrays[0]
    elif len(arrays) == 2 and labels is None and arrays[0].ndim == 2 and arrays[0].shape == arrays[1].shape:
        x, y = arrays
    elif len(arrays) == 1 and labels is not None and arrays[0].ndim == 2:
        x = y = arrays[0]
    else:
        raise ValueError(f"batch: got {shapes}{' and labels' if labels else ''} but expected {expected}")
    matches = Matches.of_pairs(len(x)) if labels is None else Matches.of_labels(_labels(labels, len(x)))
    if not (matches.positives.any(1) & matches.negatives.any(1)).any():
        raise ValueError(f"batch: got {shapes} but expected an anchor with a positive and a negative")

    count = int((matches.positives.sum(1) * matches.negatives.sum(1)).sum())

    def laid(objective: GradientObjective) -> Laid:
        s = scores(objective.objective.similarity, x, y)
        triplets = triplets_frame(pairs_frame(s, s, matches))
        hardest = triplets.groupby("anchor")["s_n"].transform("max") == triplets["s_n"]
        both = [of for _, of in triplets.assign(hardest=hardest).groupby("hardest")]
        shown = pd.concat([of.sample(min(len(of), DOTS), random_state=0) for of in both])
        return Laid(shown, f"{len(x):,} anchors; {len(shown):,} of {count:,} triplets are drawn")

    return laid


def _embeddings(path: Path) -> torch.Tensor:
    features, _ = open_features(path)
    pairs = features.batch(np.arange(min(len(features), ROWS))).double()
    return pairs[:, :ROWS] if pairs.ndim == 3 else pairs


def _labels(path: Path, count: int) -> torch.Tensor:
    if path.suffix == ".npy":
        with path.open("rb") as file:
            found = np.lib.format.read_array(file, allow_pickle=False).ravel().tolist()
    else:
        found = path.read_text("utf-8").split()
    if len(found) < count:
        raise ValueError(f"{path}: got {len(found)} labels but expected {count}, one an embedding")
    return torch.from_numpy(np.unique(np.array(found[:count]).astype(str), return_inverse=True)[1])
