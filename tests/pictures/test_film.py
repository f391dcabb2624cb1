"""A film shows where a run's similarities lie, step by step, in the formats that there are."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageSequence

from goal_analysis.pictures.run_figures import STILLS, cloud_frame, draw_film


def probes(steps):
    """A cloud that moves to the right and down, and weights that fall."""
    rows = []
    for step in range(1, steps + 1):
        share = step / steps
        for level in (10, 50, 90):
            values = {"s_p": share * 0.8, "s_n": -share * 0.5, "w_p": 1 - share / 2, "w_n": 0.01 - share / 200}
            rows += [("a", 0, step, np.nan, f"{name}_q{level}", v + level / 1000) for name, v in values.items()]
    return pd.DataFrame(rows, columns=["objective", "seed", "step", "epoch", "quantity", "value"])


def test_a_film_has_a_still_a_step_and_they_differ(taken_apart, tmp_path):
    draw_film(taken_apart("circle"), probes(4), tmp_path / "film.gif", "circle")
    with Image.open(tmp_path / "film.gif") as film:
        stills = [np.asarray(still.convert("L"), dtype=int) for still in ImageSequence.Iterator(film)]
    assert len(stills) == 4
    moved = [np.abs(after - before).max() for before, after in pairwise(stills)]
    assert min(moved) > 50


def test_of_many_steps_some_are_shown():
    shown = cloud_frame(probes(3 * STILLS)).index
    assert len(shown) == STILLS
    assert shown.to_series().diff().nunique() == 1
    assert len(cloud_frame(probes(2))) == 2


@pytest.mark.parametrize(
    ("name", "steps", "said"),
    [
        ("film.png", 2, "got the ending '.png' but expected one of .gif, .mp4"),
        ("film.gif", 0, "got a run without probes but expected one with training.probe_steps above 0"),
        ("film.mp4", 2, "got no program ffmpeg"),
    ],
)
def test_what_cannot_be_a_film(name, steps, said, taken_apart, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # where no ffmpeg is
    with pytest.raises(ValueError, match=said):
        draw_film(taken_apart("triplet"), probes(steps), tmp_path / name, "triplet")
    assert not list(tmp_path.iterdir())
