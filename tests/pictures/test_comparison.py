"""Losses beside each other: the shared measure, and a page of thirty."""

import pytest

from goal_analysis.pictures.canvas import save, single_panel
from goal_analysis.pictures.cosine_frames import comparison_frame
from goal_analysis.pictures.weight_figures import draw_comparison
from losses_catalog import catalog


def test_thirty_losses_in_one_grid(taken_apart, tmp_path):
    losses = [(taken_apart(loss.name), None) for loss in catalog[:30]]
    frame = comparison_frame(losses, count=10)
    assert frame["share"].abs().groupby(frame["objective"]).quantile(0.99).between(0.5, 1.0001).all()
    figure, _ = single_panel()
    figure.clear()
    axes = draw_comparison(frame, figure)
    assert axes.shape == (30, 2)
    assert all(len(ax.collections) for ax in axes.flat)
    said = [text.get_text() for ax in axes[:, 0] for text in ax.texts]
    assert said == [loss.name for loss in catalog[:30]]
    boxes = [ax.get_position().bounds for ax in axes.flat]
    assert len(set(boxes)) == 60
    save(figure, tmp_path / "grid.png")
    with pytest.raises(ValueError, match="expected every name once"):
        comparison_frame([losses[0], losses[0]])


def test_comparison_is_by_the_cosine(taken_apart):
    """A loss of squared distances is one of cosines with slope 2, and says the same of them."""
    frame = comparison_frame([(taken_apart("triplet_squared_euclidean"), {"margin": 0.4})], count=8)
    assert set(frame["value"].round(12)) == {0.0, 2.0}
    inside = frame["value"] > 0
    assert ((2 * frame["s_n"] - 2 * frame["s_p"] + 0.4 > 0) == inside).all()
