"""The pictures of `docs/images` that the package draws: ``make images``."""

from __future__ import annotations

from pathlib import Path

import goal_analysis as ga
from goal_analysis.pictures.canvas import fit, panels, save
from goal_analysis.pictures.style import style
from goal_analysis.pictures.weight_figures import draw_field
from goal_analysis.pictures.weight_frames import curl_frame, field_frame

IMAGES = Path(__file__).parents[1] / "images"


def draw_images(folder: Path = IMAGES) -> None:
    """Draw the field of circle loss beside that with its factors differentiated, and the portrait of circle loss.

    Args:
        folder: where the pictures are.
    """
    with style():
        figure, axes = panels(1, 2, 2.8, 2.8)
        for ax, name in zip(axes[0], ("circle", "circle_undetached"), strict=True):
            gentle = ga.decompose(name, gamma=6)
            draw_field(field_frame(gentle), curl_frame(gentle), ax)
            ax.set_title(gentle.loss.name)
        save(fit(figure), folder / "circle.png")
    save(ga.plot("circle", kind="portrait", gamma=16), folder / "portrait.png")


if __name__ == "__main__":
    draw_images()
