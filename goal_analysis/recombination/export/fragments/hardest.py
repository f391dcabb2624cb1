"""Hardest mining from embeddings, tile by tile; two entries of W an anchor."""

from __future__ import annotations

import torch
from torch import Tensor

from goal_analysis.recombination.export.fragments.formulas import negative_weight, positive_weight, triplet_weight
from goal_analysis.recombination.export.fragments.settled import IMAGES_ASK, MEAN, TEXTS_ASK
from goal_analysis.recombination.export.fragments.tiles import tiles


def hardest_entries(
    x: Tensor, y: Tensor, image_ids: Tensor | None, text_ids: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """W's entries (row, column, weight), a positive and a negative an anchor, and ⟨W, S⟩; no matrix of scores is kept.

    Args:
        x: shape (images, dim).
        y: shape (texts, dim).
        image_ids: shape (images,); None for pairs.
        text_ids: shape (texts,); None where text i comes with image i.
    """
    images, texts = (torch.arange(len(e), device=x.device) for e in (x, y))
    of_image = images if image_ids is None else image_ids
    of_text = of_image if text_ids is None else text_ids
    image_p, image_n, text_p, text_n = (Largest(e) for e in (x, x, y, y))
    for rows, columns in tiles(len(x), len(y)):
        s = x[rows] @ y[columns].T
        match = of_image[rows][:, None] == of_text[columns]
        hard_p, hard_n = (-s).masked_fill(~match, -torch.inf), s.masked_fill(match, -torch.inf)
        if IMAGES_ASK:
            image_p.look_at(hard_p, rows, columns.start)
            image_n.look_at(hard_n, rows, columns.start)
        if TEXTS_ASK:
            text_p.look_at(hard_p.T, columns, rows.start)
            text_n.look_at(hard_n.T, columns, rows.start)
    sides = []
    if IMAGES_ASK:
        sides.append((-image_p.value, image_n.value, images, image_p.at, images, image_n.at))
    if TEXTS_ASK:
        sides.append((-text_p.value, text_n.value, text_p.at, texts, text_n.at, texts))
    s_p, s_n, row_p, column_p, row_n, column_n = (torch.cat(parts) for parts in zip(*sides, strict=True))
    present = (s_p != torch.inf) & (s_n != -torch.inf)
    s_p, s_n = s_p.masked_fill(~present, 0), s_n.masked_fill(~present, 0)
    t = triplet_weight(s_p, s_n)
    pull, push = ((t * w).masked_fill(~present, 0) for w in (positive_weight(s_p), negative_weight(s_n)))
    value = (push * s_n).sum() - (pull * s_p).sum()
    if image_ids is None:  # both sides of a pair have the one positive
        row_p, column_p, pull = images, images, pull.view(len(sides), -1).sum(0)
    weight = torch.cat([-pull, push])
    if MEAN:
        anchors = present.sum().clamp_min(1)
        weight, value = weight / anchors, value / anchors
    return torch.cat([row_p, row_n]), torch.cat([column_p, column_n]), weight, value


class Largest:
    """The largest number of every row so far, and the first column where it stands."""

    def __init__(self, like: Tensor) -> None:
        self.value = like.new_full((len(like),), -torch.inf)
        self.at = torch.zeros(len(like), dtype=torch.long, device=like.device)

    def look_at(self, tile: Tensor, rows: slice, offset: int) -> None:
        """Update these rows from a tile whose columns begin at ``offset``."""
        value, at = tile.max(1)
        larger = (value > self.value[rows]) | value.isnan()
        self.value[rows] = torch.where(larger, value, self.value[rows])
        self.at[rows] = torch.where(larger, at + offset, self.at[rows])
