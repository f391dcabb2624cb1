"""A batch in frames, against loops written out, and what is drawn of it, also over training."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import sympy as sp
import torch

from goal_analysis.numeric.matches import Matches
from goal_analysis.numeric.probe import statistics
from goal_analysis.pictures import batch
from goal_analysis.pictures.batch import anchors_frame, pairs_frame, triplets_frame
from goal_analysis.pictures.weight_frames import span_of, surface_frame
from goal_analysis.symbolic.language.similarity import Similarity

WIDE = Similarity("log_ratio", "log p/q", -sp.oo, sp.oo)


def test_the_frames_are_those_of_the_probe():
    """The probe's shares and effective negatives are those of the anchors here."""
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    weights = torch.softmax(scores, 1) - torch.eye(6, dtype=torch.float64)
    matches = Matches.of_pairs(6)
    anchors = anchors_frame(pairs_frame(scores, weights, matches))
    probed = statistics(scores, weights, matches, (0.5,))
    push, pull = anchors["push"].sum(), anchors["pull"].sum()
    assert push / (push + pull) == pytest.approx(probed["push_share"])
    assert anchors["effective_negatives"].mean() == pytest.approx(probed["effective_negatives"])
    assert anchors["effective_negatives"].mean() != pytest.approx(1.001 * probed["effective_negatives"])


def test_triplets_are_every_positive_with_every_negative():
    scores = torch.arange(6.0).reshape(2, 3)
    ids = torch.tensor([0, 1]), torch.tensor([0, 0, 1])
    pairs = pairs_frame(scores, scores, Matches.of_image_ids(*ids))
    expected = {(0, 0.0, 2.0), (0, 1.0, 2.0), (1, 5.0, 3.0), (1, 5.0, 4.0)}
    assert set(triplets_frame(pairs).itertuples(index=False, name=None)) == expected


def test_many_triplets_are_sampled(pairs, monkeypatch):
    monkeypatch.setattr(batch, "TRIPLETS", 100)
    assert len(triplets_frame(pairs)) == 100


def test_an_anchor_without_weight_has_no_share(pairs):
    last = anchors_frame(pairs).iloc[-1]
    assert last[["pull", "push"]].tolist() == [0, 0]
    assert last[["push_share", "effective_negatives"]].isna().all()


def test_the_joint_histogram_has_every_triplet(pairs, nca_linear, ax):
    triplets = triplets_frame(pairs)
    batch.draw_joint(triplets, surface_frame(nca_linear, "T", count=20), ax)
    drawn = ax.collections[-1].get_array().compressed()
    inside = triplets[(triplets[["s_p", "s_n"]].abs() <= 1).all(axis=1)]
    count, *_ = np.histogram2d(inside["s_p"], inside["s_n"], batch.CELLS, [(-1, 1), (-1, 1)])
    assert sorted(drawn) == sorted(count[count > 0])
    assert f"{len(triplets):,} triplets" in ax.get_title()


def test_scores_without_a_range_are_drawn_as_far_as_they_reach(pairs, nca_linear, ax):
    wide = pairs.assign(s=20 * pairs["s"])
    triplets, field = triplets_frame(wide), replace(nca_linear, similarity=WIDE)
    span = span_of(WIDE, wide["s"])
    assert span == (wide["s"].min(), wide["s"].max())
    batch.draw_joint(triplets, surface_frame(field, "T", count=20, span=span), ax, "T", WIDE)
    assert ax.get_xlim() == pytest.approx(span, rel=1e-4)
    ends = (f"{end:.3g}".replace("-", "−") for end in span)
    assert "log ratio, drawn from {} to {}".format(*ends) in " ".join(ax.get_xlabel().split())
    count, *_ = np.histogram2d(triplets["s_p"], triplets["s_n"], batch.CELLS, [span, span])
    assert sorted(ax.collections[-1].get_array().compressed()) == sorted(count[count > 0])
    assert "beyond" not in ax.get_title()
    batch.draw_joint(triplets, surface_frame(field, "T", count=20), ax, "T", WIDE)
    assert "beyond" in ax.get_title()


def test_the_distribution_is_the_share_of_pairs_that_have_at_least_a_weight(ax):
    pairs = pd.DataFrame({"kind": ["positive"] * 4 + ["negative"] * 4, "weight": [1.0] * 4 + [0.0, 0.0, 0.1, 1.0]})
    batch.draw_weight_distribution(pairs, ax)
    pull, push = ax.lines

    def share_of_at_least(line, weight):
        return line.get_ydata()[np.searchsorted(line.get_xdata(), weight) - 1]

    assert [share_of_at_least(push, weight) for weight in (0.1, 0.5, 1.0)] == [0.5, 0.25, 0.25]
    assert [share_of_at_least(pull, weight) for weight in (0.1, 0.5, 1.0)] == [1, 1, 1]
    assert (pull.get_label(), push.get_label()) == ("$|w^+|$, 4 pairs", "$|w^-|$, 4 pairs, 2 of them 0")
    assert "log scale" in ax.get_xlabel()


def test_shares_and_effective_negatives(pairs, ax):
    anchors = anchors_frame(pairs)
    batch.draw_shares(anchors, ax)
    assert sum(bar.get_height() for bar in ax.patches) == anchors["push_share"].notna().sum() == 39
    assert ax.get_legend().get_title().get_text() == "1 of 40 without weight"
    other = ax.figure.add_subplot()
    batch.draw_effective_negatives(anchors, other)
    assert sum(bar.get_height() for bar in other.patches) == 39


def test_one_negative_each_is_drawn(ax):
    anchors = pd.DataFrame({"effective_negatives": [1.0, 1.0, np.nan]})
    batch.draw_effective_negatives(anchors, ax)
    assert sum(bar.get_height() for bar in ax.patches) == 2
