"""The pictures of the pages: a portrait of every loss, and those of `docs/images` that the package draws."""

from __future__ import annotations

from pathlib import Path

import goal_analysis as ga
from goal_analysis.pictures.canvas import fit, panels, save
from goal_analysis.pictures.objective_figures import figures
from goal_analysis.pictures.style import style
from goal_analysis.pictures.weight_figures import draw_field
from goal_analysis.pictures.weight_frames import curl_frame, field_frame
from goal_analysis.symbolic.analysis.decomposition import Decomposition, decompose
from losses_catalog import catalog

IMAGES = Path(__file__).parents[1] / "images"


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
    save(dict(figures(decomposition, decomposition.loss.title, ["portrait"]))["portrait"], path)


def draw_images(folder: Path = IMAGES) -> None:
    """Draw the field of circle loss beside that with its factors differentiated, and the portrait of circle loss."""
    with style():
        figure, axes = panels(1, 2, 2.8, 2.8)
        for ax, name in zip(axes[0], ("circle", "circle_undetached"), strict=True):
            gentle = ga.decompose(name, gamma=6)
            draw_field(field_frame(gentle), curl_frame(gentle), ax)
            ax.set_title(gentle.loss.name)
        save(fit(figure), folder / "circle.png")
    draw_loss(ga.decompose("circle", gamma=16), folder / "portrait.png")


if __name__ == "__main__":
    draw_images()
