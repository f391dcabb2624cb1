"""Losses beside each other: the shared measure, and a page of thirty."""

from dataclasses import replace

import numpy as np
import pytest

from goal_analysis.pictures.canvas import save
from goal_analysis.pictures.cosine_frames import DIFFERENCE, comparison_frame, difference_frame
from goal_analysis.pictures.objective_figures import comparison_figure
from goal_analysis.symbolic.analysis.decomposition import decompose
from losses_catalog import catalog


def test_thirty_losses_in_one_grid(taken_apart, tmp_path):
    losses = [taken_apart(loss.name) for loss in catalog[:30]]
    frame = comparison_frame(losses, count=10)
    assert frame["share"].abs().groupby(frame["objective"]).quantile(0.99).between(0.5, 1.0001).all()
    figure = comparison_figure(losses)
    drawn = [ax for ax in figure.axes if ax.get_visible()]
    assert all(len(ax.collections) for ax in drawn)
    titles = [ax.get_title(loc="left").split("\n")[0] for ax in drawn if ax.get_title(loc="left")]
    assert sorted(titles) == sorted(loss.loss.name for loss in losses)
    equal = sum(ax.texts[0].get_text() == "$w^+$ = $w^-$" for ax in drawn)
    assert equal > 5
    assert len(drawn) + equal == 60, "what is equal is drawn once"
    assert len({ax.get_position().bounds for ax in drawn}) == len(drawn)
    save(figure, tmp_path / "grid.png")
    with pytest.raises(ValueError, match="expected every name once"):
        comparison_figure([losses[0], losses[0]])


def test_comparison_is_by_the_cosine(taken_apart):
    """A loss of squared distances is one of cosines with slope 2, and says the same of them."""
    loss = taken_apart("triplet_squared_euclidean").loss.with_settings({"margin": 0.4})
    frame = comparison_frame([decompose(loss)], count=8)
    assert set(frame["value"].round(12)) == {0.0, 2.0}
    inside = frame["value"] > 0
    assert ((2 * frame["s_n"] - 2 * frame["s_p"] + 0.4 > 0) == inside).all()


def test_a_difference_is_of_the_shares_and_has_the_kinks_of_both(taken_apart):
    one, other = taken_apart("triplet"), taken_apart("circle")
    frame = difference_frame(one, other)
    shares = {name: of["share"].to_numpy() for name, of in frame.groupby("objective")}
    np.testing.assert_allclose(shares[DIFFERENCE], shares["triplet"] - shares["circle"])
    assert np.abs(shares[DIFFERENCE]).max() > 0.5
    of_each = [comparison_frame([objective]).filter(regex="^kink_") for objective in (one, other)]
    kinks = frame[frame["objective"] == DIFFERENCE].filter(regex="^kink_").dropna(axis="columns", how="all")
    assert kinks.shape[1] == sum(kink.shape[1] for kink in of_each)
    same = difference_frame(one, replace(other.field, name="again"))
    assert (same.groupby("objective")["share"].count() == 2 * 64**2).all()
