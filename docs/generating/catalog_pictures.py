"""A picture of every loss: its pair weights, its triplet weight, and its field."""

from __future__ import annotations

from pathlib import Path

from goal_analysis.pictures.canvas import panels, save
from goal_analysis.pictures.style import style
from goal_analysis.pictures.weight_figures import draw_field, draw_pair_weights, draw_surface
from goal_analysis.pictures.weight_frames import curl_frame, field_frame, field_of, pair_frame, surface_frame
from goal_analysis.symbolic.analysis.decomposition import Decomposition, decompose
from losses_catalog import catalog

SAMPLES = 61
"""Along each side; the pictures are small."""


def draw_catalog(folder: Path) -> None:
    """Draw the losses whose picture is not there yet; `make clean` takes them away.

    Args:
        folder: where the pages of the losses are.
    """
    for loss in catalog:
        path = folder / f"{loss.name}.png"
        if not path.exists():
            draw_loss(decompose(loss), path)


def draw_loss(decomposition: Decomposition, path: Path) -> None:
    """Draw one loss at its defaults.

    Args:
        decomposition: of the loss.
        path: of the PNG.
    """
    similarity = field_of(decomposition).similarity
    weight = "T" if decomposition.separable else "w_n"
    with style():
        figure, axes = panels(1, 3, width=3.3, height=2.7)
        draw_pair_weights(pair_frame(decomposition), axes[0, 0], similarity)
        draw_surface(surface_frame(decomposition, weight, count=SAMPLES), axes[0, 1], weight, similarity)
        draw_field(field_frame(decomposition), curl_frame(decomposition, count=SAMPLES), axes[0, 2], similarity)
    save(figure, path)
