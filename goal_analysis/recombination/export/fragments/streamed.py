"""Softmax mining from embeddings, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from goal_analysis.recombination.export.fragments.formulas import negative_weight, positive_weight, triplet_weight
from goal_analysis.recombination.export.fragments.prescribed import sparse_product
from goal_analysis.recombination.export.fragments.settled import (
    ALWAYS_SMALL,
    BOTH_ASK,
    IMAGES_ASK,
    MEAN,
    NEGATIVE_IS_CONSTANT,
    NEGATIVE_IS_ONE,
    NEGATIVE_SCALE,
    NEGATIVE_WEIGHT,
    POSITIVE_SCALE,
    SMALL_OR_LARGE,
)
from goal_analysis.recombination.export.fragments.tiles import tiles


def softmax_gradients(
    x: Tensor, y: Tensor, image_ids: Tensor | None, text_ids: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """⟨W, S⟩, W·Y and Wᵀ·X, without a whole matrix of scores for large batches.

    Args:
        x: shape (images, dim).
        y: shape (texts, dim).
        image_ids: shape (images,); None for pairs.
        text_ids: shape (texts,); None where text i comes with image i.
    """
    of_image = torch.arange(len(x), device=x.device) if image_ids is None else image_ids
    of_text = of_image if text_ids is None else text_ids
    row, column = matching_pairs(of_image, of_text)
    kept = list(blocks(x, y, of_image, of_text)) if max(len(x), len(y)) <= 2048 else None
    s_p, row_total, column_total = x.new_zeros(len(row)), x.new_zeros(len(x)), y.new_zeros(len(y))
    pulls = x.new_zeros(len(row) + 1)
    if SMALL_OR_LARGE:
        largest = torch.linalg.vector_norm(x, dim=1).max() * torch.linalg.vector_norm(y, dim=1).max()
        small = bool(NEGATIVE_SCALE * largest <= 40)
        lowest = 0.0 if small else torch.finfo(x.dtype).min
        row_shift, column_shift = torch.full_like(row_total, lowest), torch.full_like(column_total, lowest)
    elif ALWAYS_SMALL:
        row_shift, column_shift = torch.zeros_like(row_total), torch.zeros_like(column_total)
    else:
        lowest = torch.finfo(x.dtype).min
        row_shift, column_shift = torch.full_like(row_total, lowest), torch.full_like(column_total, lowest)

    # How much every anchor's negatives weigh together: Σ exp(NEGATIVE_SCALE·s) as total·exp(shift).
    for rows, columns, s, match in kept or blocks(x, y, of_image, of_text):
        inside = (rows.start <= row) & (row < rows.stop) & (columns.start <= column) & (column < columns.stop)
        s_p[inside] = s[row[inside] - rows.start, column[inside] - columns.start]
        if SMALL_OR_LARGE:
            if small:
                add_small(s, match, row_total[rows], column_total[columns])
            else:
                add_large(s, match, row_total[rows], row_shift[rows], column_total[columns], column_shift[columns])
        elif ALWAYS_SMALL:
            add_small(s, match, row_total[rows], column_total[columns])
        else:
            add_large(s, match, row_total[rows], row_shift[rows], column_total[columns], column_shift[columns])

    # T, and how it is spread over positives (pulls) and negatives (shares times exponentials).
    if BOTH_ASK:
        row_share = spread(s_p, members_of(row, len(x)), row_total, row_shift, pulls)
        column_share = spread(s_p, members_of(column, len(y)), column_total, column_shift, pulls)
    elif IMAGES_ASK:
        row_share = spread(s_p, members_of(row, len(x)), row_total, row_shift, pulls)
        column_share = torch.zeros_like(column_total)
    else:
        row_share = torch.zeros_like(row_total)
        column_share = spread(s_p, members_of(column, len(y)), column_total, column_shift, pulls)
    if NEGATIVE_IS_CONSTANT:
        if not NEGATIVE_IS_ONE:
            row_share, column_share = NEGATIVE_WEIGHT * row_share, NEGATIVE_WEIGHT * column_share

    to_x, to_y = torch.zeros_like(x), torch.zeros_like(y)
    for rows, columns, s, match in kept or blocks(x, y, of_image, of_text):
        if SMALL_OR_LARGE:
            if small:
                w = (NEGATIVE_SCALE * s).exp() * (row_share[rows][:, None] + column_share[columns])
            else:
                w = torch.add(-row_shift[rows][:, None], s, alpha=NEGATIVE_SCALE).exp() * row_share[rows][:, None]
                of_columns = torch.add(-column_shift[columns], s, alpha=NEGATIVE_SCALE).exp()
                w = w.addcmul(of_columns, column_share[columns][None, :])
        elif ALWAYS_SMALL:
            w = (NEGATIVE_SCALE * s).exp() * (row_share[rows][:, None] + column_share[columns])
        else:
            w = torch.add(-row_shift[rows][:, None], s, alpha=NEGATIVE_SCALE).exp() * row_share[rows][:, None]
            of_columns = torch.add(-column_shift[columns], s, alpha=NEGATIVE_SCALE).exp()
            w = w.addcmul(of_columns, column_share[columns][None, :])
        if not NEGATIVE_IS_CONSTANT:
            w = w * negative_weight(s)
        w = w.masked_fill(match, 0)
        to_x[rows].addmm_(w, y[columns])
        to_y[columns].addmm_(w.T, x[rows])

    pull = pulls[:-1] * positive_weight(s_p)
    if image_ids is None:
        to_x.addcmul_(pull[:, None], y, value=-1)
        to_y.addcmul_(pull[:, None], x, value=-1)
    else:
        to_x += sparse_product(row, column, -pull, y, len(x))
        to_y += sparse_product(column, row, -pull, x, len(y))
    value = torch.linalg.vecdot(to_x, x).sum()
    if MEAN:
        images = ((row_total > 0) & (torch.bincount(row, minlength=len(x)) > 0)).sum()
        texts = ((column_total > 0) & (torch.bincount(column, minlength=len(y)) > 0)).sum()
        if BOTH_ASK:
            anchors = (images + texts).clamp_min(1)
        elif IMAGES_ASK:
            anchors = images.clamp_min(1)
        else:
            anchors = texts.clamp_min(1)
        return value / anchors, to_x / anchors, to_y / anchors
    else:
        return value, to_x, to_y


def blocks(x: Tensor, y: Tensor, of_image: Tensor, of_text: Tensor) -> Iterator[tuple[slice, slice, Tensor, Tensor]]:
    """Rows, columns, scores and matches, a tile at a time."""
    for rows, columns in tiles(len(x), len(y)):
        yield rows, columns, x[rows] @ y[columns].T, of_image[rows][:, None] == of_text[columns]


def matching_pairs(of_image: Tensor, of_text: Tensor) -> tuple[Tensor, Tensor]:
    """The images and the texts of all pairs that match, in the order of the images, then of the texts."""
    parts = []
    for top in range(0, len(of_image), 1024):
        image, text = (of_image[top : top + 1024, None] == of_text).nonzero(as_tuple=True)
        parts.append(torch.stack([image + top, text]))
    row, column = torch.cat(parts, 1)
    return row, column


def members_of(anchor: Tensor, anchors: int) -> Tensor:
    """The pairs of every anchor, shape (anchors, most), filled up with how many pairs there are."""
    order = torch.sort(anchor, stable=True).indices
    count = torch.bincount(anchor, minlength=anchors)
    place = torch.arange(len(anchor), device=anchor.device) - (count.cumsum(0) - count)[anchor[order]]
    members = anchor.new_full((anchors, max(int(count.max()), 1)), len(anchor))
    members[anchor[order], place] = order
    return members


def add_small(s: Tensor, match: Tensor, row_total: Tensor, column_total: Tensor) -> None:
    """Add a tile's exponentials as they are."""
    e = (NEGATIVE_SCALE * s).exp().masked_fill(match, 0)
    row_total += e.sum(1)
    column_total += e.sum(0)


def add_large(
    s: Tensor, match: Tensor, row_total: Tensor, row_shift: Tensor, column_total: Tensor, column_shift: Tensor
) -> None:
    """Add a tile's exponentials relative to the largest so far."""
    logits = (NEGATIVE_SCALE * s).masked_fill(match, -torch.inf)
    for dim, total, shift in ((1, row_total, row_shift), (0, column_total, column_shift)):
        larger = torch.maximum(shift, logits.amax(dim))
        added = (logits - larger.unsqueeze(dim)).exp().sum(dim)
        total.copy_(total * (shift - larger).exp() + added)
        shift.copy_(larger)


def spread(s_p: Tensor, members: Tensor, total: Tensor, shift: Tensor, pulls: Tensor) -> Tensor:
    """Add T times the softmin over every anchor's positives to the pulls; return T over the negatives' total."""
    values = torch.cat([s_p, s_p.new_tensor([torch.inf])])[members]
    empty = (members == len(s_p)).all(1)
    logits = (-POSITIVE_SCALE * values).masked_fill(empty[:, None], 0)
    x_p = (torch.logsumexp(logits, 1) / -POSITIVE_SCALE).masked_fill(empty, torch.inf)
    x_n = (total.log() + shift) / NEGATIVE_SCALE
    present = (x_p != torch.inf) & (x_n != -torch.inf)
    x_p, x_n = x_p.masked_fill(~present, 0), x_n.masked_fill(~present, 0)
    t = triplet_weight(x_p, x_n).masked_fill(~present, 0)
    pulls[members] += t[:, None] * torch.softmax(logits, 1)
    return t / total.masked_fill(total == 0, 1)
