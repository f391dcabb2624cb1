"""The pictures of ``goal-analyze plot --run`` that need the run's model and its data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch and matplotlib are loaded when the command runs
    from matplotlib.figure import Figure
    from torch import Tensor

    from goal_analysis.pictures.gallery import Item, Query
    from goal_analysis.vse.data.split import Split
    from goal_analysis.vse.folder.run import TrainedModel

QUERIES, TOP = 4, 5
"""Of the gallery each way, and what is retrieved for each."""


def pictures_of_model(folder: Path, data: str | None) -> dict[str, Figure]:
    """What the best model of a run does on dev: the objective on a batch, recalls, a gallery.

    Args:
        folder: of the run.
        data: in place of what it was trained on.

    Raises:
        ValueError: no model, data that cannot be used, or the run's own that are not what it was trained on.
        OSError: something cannot be read.
    """
    import torch

    from goal_analysis.cli.train import chosen_split, loaded_data
    from goal_analysis.pictures.gallery import draw_gallery, gallery_size
    from goal_analysis.pictures.ranking import draw_recall, recall_frame
    from goal_analysis.pictures.saving import alone
    from goal_analysis.vse.folder.run import check_data, load_model
    from goal_analysis.vse.retrieval.metrics import ranks_of_scores
    from goal_analysis.vse.retrieval.scoring import all_scores, scores_of

    model = load_model(folder)
    if data is None:
        loaded = loaded_data(model.experiment)
        check_data(folder, loaded)
        split = loaded.dev
    else:
        split = chosen_split(model.experiment, data, "dev")
        model.check_images(split.images, folder)
    with torch.no_grad():
        scores = all_scores(scores_of(model.model, split, model.tokenizer), split).float()
    found = ranks_of_scores(scores, split.image_of)
    figures = {"batch": _batch(model, split, scores)}
    figure, ax = alone()
    by_way = {"captions of images": found.of_captions, "images of captions": found.of_images}
    draw_recall(recall_frame(by_way, min(100, len(split.images))), ax)
    figures["recall"] = figure
    queries = _queries(split, scores)
    figure, ax = alone(*gallery_size(queries))
    draw_gallery(queries, ax)
    return figures | {"gallery": figure}


def _batch(model: TrainedModel, split: Split, scores: Tensor) -> Figure:
    """The objective on images of dev, as many as a batch had, each with its first caption."""
    import numpy as np
    import torch

    from goal_analysis.cli.train import trained_objective
    from goal_analysis.numeric.matches import Matches
    from goal_analysis.pictures import batch, distributions
    from goal_analysis.pictures.saving import panels
    from goal_analysis.pictures.weights import surface_frame

    objective = trained_objective(model.experiment.objective)
    rows = np.arange(min(model.experiment.training.batch_size, len(split.images)))
    chosen = scores[torch.from_numpy(rows)][:, torch.from_numpy(np.searchsorted(split.image_of, rows))]
    matches = Matches.of_pairs(len(rows))
    with torch.no_grad():
        pairs = batch.pairs_frame(chosen, objective.weight_matrix(chosen, matches), matches)
    anchors = batch.anchors_frame(pairs)
    figure, axes = panels(2, 2, 3.8, 3.2)
    surface = surface_frame(objective.field, "T", objective.settings, count=121)
    batch.draw_joint(batch.triplets_frame(pairs), surface, axes[0, 0])
    distributions.draw_weight_distribution(pairs, axes[0, 1])
    distributions.draw_shares(anchors, axes[1, 0])
    distributions.draw_effective_negatives(anchors, axes[1, 1])
    figure.suptitle(f"{model.experiment.objective} on {len(rows)} pairs of {split.name}", x=0.02, ha="left")
    return figure


def _queries(split: Split, scores: Tensor) -> list[Query]:
    """Images at even distances with the captions found for them, and captions with the images."""
    import numpy as np

    from goal_analysis.pictures.gallery import Found, Query

    rows = np.unique(np.linspace(0, len(split.images) - 1, QUERIES).round().astype(int)).tolist()
    queries = []
    for row in rows:
        best = scores[row].topk(min(TOP, scores.shape[1]))
        found = [
            Found(split.captions[c], bool(split.image_of[c] == row), s)
            for s, c in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        queries.append(Query(_picture(split, row), found))
    for row in rows:
        caption = int(np.searchsorted(split.image_of, row))
        best = scores[:, caption].topk(min(TOP, len(scores)))
        found = [
            Found(_picture(split, i), i == row, s)
            for s, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
        queries.append(Query(split.captions[caption], found))
    return queries


def _picture(split: Split, row: int) -> Item:
    """The picture of an image, or where there are features alone, its first caption to know it by."""
    import numpy as np

    shape: Any = split.images.shape
    if len(shape) == 4 and shape[1] == 3:
        return split.images.batch(np.asarray([row]))[0].permute(1, 2, 0).float().numpy()
    return f"[image {row}] {split.captions[int(np.searchsorted(split.image_of, row))]}"
