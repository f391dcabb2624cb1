"""Logs, rankings, recalls and galleries: frames by hand, and what is drawn of them; and whole figures."""

import numpy as np
import pandas as pd
import pytest

from goal_analysis.pictures.canvas import panels
from goal_analysis.pictures.run_figures import (
    draw_curves,
    draw_quantiles,
    draw_ranking,
    draw_recall,
    gallery_figure,
)
from goal_analysis.pictures.run_frames import Records, log_frame, over_seeds

QUANTITIES = [f"{quantity}_{side}_q{level}" for quantity in "sw" for side in "pn" for level in (10, 50, 90)]


@pytest.fixture
def runs():
    """Three seeds of one objective and one of another."""
    found = []
    for objective, seed in (("a", 0), ("a", 1), ("a", 2), ("a", 3), ("b", 0)):
        records = [{"kind": "step", "step": 1, "learning_rate": 0.1}]
        for epoch in (1, 2):
            step = 5 * epoch
            records.append({"kind": "epoch", "step": step, "epoch": epoch, "rsum": 100.0 * epoch + seed})
            records.append({"kind": "probe", "step": step, "push_share": 0.5, **dict.fromkeys(QUANTITIES, 0.1 * epoch)})
        found.append(Records(objective, seed, records))
    return found


def test_logs_over_seeds(runs):
    frame = log_frame(runs, "epoch")
    assert len(frame) == 10
    means = over_seeds(frame, ("objective", "epoch")).set_index(["objective", "epoch"])
    assert means.loc[("a", 2.0), "mean"] == 201.5
    assert means.loc[("a", 2.0), "seeds"] == 4
    assert means.loc[("a", 2.0), ["low", "high"]].tolist() == pytest.approx([199.4457, 203.5543], abs=1e-4)
    assert np.isnan(means.loc[("b", 2.0), "low"]), "one seed has no interval"
    assert set(frame["quantity"]) == {"rsum"}, "and no other kind of record"
    assert log_frame([], "epoch").empty


def test_curves_have_a_line_an_objective(runs, ax):
    draw_curves(log_frame(runs, "epoch"), ax, "rsum")
    assert [line.get_label() for line in ax.lines] == ["a (4 seeds)", "b (1 seed)"]
    bands = [band for band in ax.collections if any(len(path) for path in band.get_paths())]
    assert len(bands) == 1, "one seed has none"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "RSUM (of 600)")


def test_a_short_line_and_a_long_one_are_both_whole(runs):
    frame = log_frame(runs, "epoch").query("quantity == 'rsum'")
    short, long = frame[frame["epoch"] == frame["epoch"].min()].assign(objective="short"), frame
    for parts in ([short, long], [long, short]):
        ax = draw_curves(pd.concat(parts), panels()[1][0, 0], "rsum")
        low, high = ax.get_xlim()
        assert low <= frame["epoch"].min() < frame["epoch"].max() <= high


def test_one_epoch_is_a_point(runs, ax):
    frame = log_frame(runs, "epoch")
    draw_curves(frame[frame["epoch"] == 1], ax, "rsum")
    assert {line.get_marker() for line in ax.lines} == {"o"}
    assert ax.get_xlim() == (0, 2)


@pytest.mark.parametrize("quantity", ["s", "w"])
def test_quantiles_of_probes(quantity, runs, ax):
    frame = log_frame(runs, "probe")
    draw_quantiles(frame[frame["objective"] == "a"], ax, quantity)
    assert len(ax.lines) == len(ax.collections) == 2
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0.1, 0.2])


def test_a_ranking(ax):
    frame = pd.DataFrame({"objective": ["worse", "worse", "better"], "value": [1.0, 2.0, 5.0]})
    draw_ranking(frame, ax)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["better\u00a0(1)", "worse\u00a0(2)"]
    assert "Student's 95 % interval" in ax.get_xlabel()


def test_recall_counts_hits(ax):
    places = np.array([1, 2, 2, 7])
    draw_recall(pd.DataFrame({"name": "one", "rank": places}), ax, 10)
    (line,) = ax.lines
    of = dict(line.get_xydata())  # the last value at every rank
    assert {k: of[k] for k in (1, 2, 7)} == {k: pytest.approx(100 * (places <= k).mean()) for k in (1, 2, 7)}
    assert "log scale" in ax.get_xlabel()


def test_a_gallery_marks_what_is_right():
    picture = np.linspace(0, 1, 48).reshape(4, 4, 3)
    rows = [
        (0, 0, "a red circle", False, np.nan),
        (0, 1, picture, True, 0.9),
        (0, 2, picture, False, 0.2),
        (1, 0, picture, False, np.nan),
        (1, 1, "a dog", False, 0.5),
        (1, 2, "a long caption " * 20, True, 0.4),
    ]
    frame = pd.DataFrame(rows, columns=["query", "place", "item", "right", "score"])
    axes = np.array(gallery_figure(frame).axes).reshape(2, 3)
    assert [[len(ax.images) for ax in row] for row in axes] == [[0, 1, 1], [1, 0, 0]]
    titles = [[ax.get_title(loc="left") for ax in row] for row in axes]
    assert titles == [["query", "✓ 0.90", "0.20"], ["query", "0.50", "✓ 0.40"]]
    assert axes[1, 2].texts[0].get_text().endswith("…")
