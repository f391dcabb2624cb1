"""Curves and surfaces against the numeric layer and by hand, and what is drawn of them."""

import numpy as np
import pytest
import torch
from matplotlib.colors import LogNorm, SymLogNorm

from goal_analysis.numeric.compilation import formula
from goal_analysis.pictures.style import scale_of
from goal_analysis.pictures.weight_figures import draw_contours, draw_pair_weights, draw_surface
from goal_analysis.pictures.weight_frames import grid, matrix, pair_frame, regions, span_of, surface_frame, weights_of
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.language.primitives import s_n, s_p
from goal_analysis.symbolic.language.similarity import COSINE
from goal_analysis.symbolic.weight import WeightField

LOSSES = ("triplet", "circle", "multi_similarity", "arc_face", "contrastive", "lmnn", "universal_weighting")


def by_autograd(decomposition, at):
    """w⁺ and w⁻ of the declared loss on triplets, without any of the derived weights."""
    loss = decomposition.loss
    s = [torch.tensor(at[name].to_numpy(), requires_grad=True) for name in ("s_p", "s_n")]
    value = formula(loss.expression(), (s_p, s_n), tuple(loss.values().items()))(*s)
    gradients = torch.autograd.grad(value.sum(), s, allow_unused=True, materialize_grads=True)
    return -gradients[0].numpy(), gradients[1].numpy()


@pytest.mark.parametrize("name", LOSSES)
def test_surfaces_are_what_autograd_says(name, taken_apart):
    decomposition = taken_apart(name)
    at = surface_frame(decomposition, "w_p", count=12)
    expected = by_autograd(decomposition, at)
    for weight, true in zip(("w_p", "w_n"), expected, strict=True):
        found = surface_frame(decomposition, weight, count=12)["value"]
        np.testing.assert_allclose(found, true, rtol=1e-9, atol=1e-12)
        with pytest.raises(AssertionError):  # a factor of a thousandth would be seen
            np.testing.assert_allclose(1.001 * found, true, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["circle", "multi_similarity"])
def test_the_factors_multiply_to_the_weights(name, taken_apart):
    one = {w: surface_frame(taken_apart(name), w, count=9)["value"] for w in ("T", "P_p", "P_n", "w_p", "w_n")}
    np.testing.assert_allclose(one["T"] * one["P_p"], one["w_p"])
    np.testing.assert_allclose(one["T"] * one["P_n"], one["w_n"])


def test_settings_reach_the_numbers(taken_apart):
    loss = taken_apart("circle").loss
    gentle, steep = (decompose(loss.with_settings({"gamma": gamma})) for gamma in (1, 256))
    gentle, steep = (surface_frame(objective, "T", 9)["value"].max() for objective in (gentle, steep))
    assert steep > 100 * gentle


def test_no_sample_lies_on_a_kink():
    at = grid(span_of(COSINE), 100)
    assert (at["s_p"] != at["s_n"]).all()
    assert (at["s_p"] != 0).all()


@pytest.mark.parametrize(
    ("name", "weight", "said"),
    [
        ("triplet", "w", "weight: got 'w' but expected one of w_p, w_n, T, P_p, P_n"),
        ("lmnn", "T", "lmnn: got weights that do not separate, which have no T, but expected one of w_p, w_n"),
    ],
)
def test_a_weight_that_is_not_there_is_named(name, weight, said, taken_apart):
    with pytest.raises(ValueError, match=said):
        surface_frame(taken_apart(name), weight)


def test_a_jump_stands_at_its_place(taken_apart):
    frame = pair_frame(decompose(taken_apart("contrastive_cosine").loss.with_settings({"neg_margin": 0.123})))
    pushes = frame[frame["weight"] == "P_n"]
    left, right = (pushes[pushes["piece"] == piece] for piece in (0, 1))
    assert left["s"].max() == pytest.approx(0.123, abs=1e-8)
    assert right["s"].min() == pytest.approx(0.123, abs=1e-8)
    assert set(left["value"]) == {0.0}
    assert set(right["value"]) == {1.0}


def test_curves_that_coincide_are_told_apart(ax, taken_apart):
    draw_pair_weights(pair_frame(taken_apart("info_nce"), ["P_p", "P_n"]), ax)
    curves = [line for line in ax.lines if line.get_label().startswith("$")]
    assert {line.get_linestyle() for line in curves} == {"-", "--"}
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["$P^+(s_p)$ $= 1$", "$P^-(s_n)$ $= 1$"]
    assert ax.get_xlabel() == "$s$, cosine in [−1, 1]"


def test_constant_pair_weights_leave_their_place_to_the_weights(taken_apart, composed):
    """What is constant says nothing, and a similarity that a weight does not read is not held."""
    assert set(pair_frame(taken_apart("info_nce"))["weight"]) == {"w_p", "w_n"}
    assert set(pair_frame(taken_apart("circle"))["weight"]) == {"P_p", "P_n"}
    silent = pair_frame(composed("constant/constant"))
    assert silent["held"].isna().all()
    assert set(silent["weight"]) == {"w_p", "w_n"}


def test_weights_that_do_not_separate_are_sliced(ax, taken_apart):
    decomposition = taken_apart("lmnn")
    frame = pair_frame(decomposition)
    assert sorted(frame["held"].unique()) == [-3, -2, -1]
    draw_pair_weights(frame, ax, decomposition.field.similarity)
    assert len(ax.get_legend().get_texts()) == 6
    assert ax.get_xlim() == (-4, 0)


def test_a_pole_is_clipped_and_said(ax):
    pole = WeightField(name="pole", positive=1 / (1.0001 - s_p), negative=s_n)
    frame = pair_frame(pole)
    draw_pair_weights(frame, ax)
    assert "clipped at" in ax.get_ylabel()
    assert ax.get_ylim()[1] < frame["value"].max()


def test_what_is_no_number_is_masked(ax):
    root = WeightField(name="root", positive=(s_p - s_n) ** 0.5, negative=s_n)
    frame = surface_frame(root, "w_p", count=20)
    assert frame["value"].isna().any()
    assert not np.isinf(frame["value"]).any()
    draw_surface(frame, ax, "w_p")
    assert ax.collections[0].get_array().mask.sum() == frame["value"].isna().sum()
    assert ax.patch.get_hatch() == "////"


def test_contours_stop_at_kinks(ax, taken_apart):
    """A hinged slope jumps across s_n = s_p − margin; no contour of it may run along the jump."""
    frame = surface_frame(taken_apart("triplet"), "T", count=40)
    assert len(np.unique(regions(frame))) == 2
    assert draw_contours(frame, "value", ax, (0.25, 0.5, 0.75)) == 0
    smeared = frame.drop(columns=[name for name in frame if name.startswith("kink_")])
    assert draw_contours(smeared, "value", ax, (0.25, 0.5, 0.75)) == 3


def test_a_surface_says_what_it_shows(ax, taken_apart):
    draw_surface(surface_frame(taken_apart("circle"), "T", count=40), ax, "T")
    assert ax.get_xlabel() == "$s_p$, cosine in [−1, 1]"
    assert ax.get_ylabel() == "$s_n$, cosine in [−1, 1]"
    assert [bar.get_ylabel() for bar in ax.child_axes] == ["$T$\n(log scale, clipped below\n0.026)"]
    shown = ax.collections[0].get_array()
    assert np.isfinite(shown).all()
    assert len(ax.collections) > 2, "colours, contours, and the kink"


def test_the_range_is_that_of_the_similarity(ax, taken_apart):
    decomposition = taken_apart("contrastive")
    draw_surface(surface_frame(decomposition, "w_p", count=20), ax, "w_p", decomposition.field.similarity)
    assert ax.get_xlabel().replace("\n", " ") == "$s_p$, negative euclidean in [−2, 0]"


def test_relative_similarities_are_zero(composed):
    field = composed("constant/relative_linear")
    assert weights_of(field)["w_p"].free_symbols <= {s_p, s_n}
    assert np.isfinite(surface_frame(field, "w_p", count=8)["value"]).all()


@pytest.mark.parametrize(
    ("values", "kind", "note"),
    [
        ([0.0, 0.5, 1.0], None, ""),
        ([-0.5, 1.0], None, ""),
        (np.logspace(-9, 0, 50), LogNorm, "log scale, clipped below 0.0001"),
        ([*np.logspace(-9, 0, 50), -1.0], SymLogNorm, "symlog scale, linear within ±0.0001"),
        ([*np.linspace(1, 2, 400), 100.0], None, "clipped above 2"),
        ([*np.logspace(-9, 0, 400), *[1.0] * 20, 1e9], LogNorm, "log scale, clipped below 0.0001 and above 1"),
        (
            [*np.logspace(-9, 0, 400), *[1.0] * 20, -1e9],
            SymLogNorm,
            "symlog scale, linear within ±0.0001, clipped beyond ±1",
        ),
        ([np.nan, np.inf, 1.0], None, ""),
        ([0.0, 0.0], None, ""),
        ([], None, ""),
    ],
)
def test_scales_say_what_they_do(values, kind, note):
    scale = scale_of(values)
    assert scale.note == note
    assert kind is None or isinstance(scale.norm, kind)
    assert list(scale.levels) == sorted(scale.levels)
    assert scale.low < min(scale.levels, default=scale.high) <= max(scale.levels, default=scale.high) <= scale.high


def test_rows_of_the_matrix_are_s_n():
    frame = surface_frame(WeightField(name="s_n", positive=s_n, negative=s_n), "w_p", count=4)
    assert (np.diff(matrix(frame, "value"), axis=0) > 0).all()
    assert (np.diff(matrix(frame, "value"), axis=1) == 0).all()
