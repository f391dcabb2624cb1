"""The field, its curl and its potential; the phase portrait against gradient descent on vectors."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
import torch

from goal_analysis.pictures import KINDS
from goal_analysis.pictures.canvas import panels, save
from goal_analysis.pictures.cosine_frames import (
    flow_frame,
    gram_flow,
    of_cosine,
    trajectories_frame,
)
from goal_analysis.pictures.objective_figures import figures
from goal_analysis.pictures.weight_figures import draw_field, draw_flow, draw_pair_weights
from goal_analysis.pictures.weight_frames import arrow_frame, curl_frame, field_frame, pair_frame
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.analysis.integrability import integrability
from goal_analysis.symbolic.language.primitives import s_n, s_p, sigmoid
from goal_analysis.symbolic.language.similarity import DOT, SIMILARITIES, Similarity
from goal_analysis.symbolic.weight import WeightField
from losses_catalog import triplet_weights


def test_the_curl_is_that_of_finite_differences(nca_linear):
    found = curl_frame(nca_linear, count=6)
    h = 1e-5

    def weight(which, dp, dn):
        moved = {s_p: found["s_p"] + dp, s_n: found["s_n"] + dn}
        t = 1 / (1 + np.exp(-10 * (moved[s_n] - moved[s_p])))
        return t * ((1 - moved[s_p]) if which == "p" else moved[s_n])

    across = (weight("p", 0, h) - weight("p", 0, -h) + weight("n", h, 0) - weight("n", -h, 0)) / (2 * h)
    np.testing.assert_allclose(found["curl"], across, atol=1e-7)
    assert found["curl"].abs().max() > 0.1


def test_the_potential_has_the_pair_weights_as_slopes(nca_linear):
    found = curl_frame(nca_linear, count=200).pivot(index="s_n", columns="s_p", values="potential")
    along_p = np.gradient(found.to_numpy(), found.columns, axis=1)[:, 1:-1]
    np.testing.assert_allclose(along_p, -(1 - found.columns.to_numpy()[None, 1:-1]) + 0 * along_p, atol=1e-4)


def test_a_stopped_gradient_leaves_a_curl(taken_apart, ax):
    circle, undetached = (taken_apart(name) for name in ("circle", "circle_undetached"))
    assert curl_frame(undetached, count=20)["curl"].abs().max() == 0
    curl = curl_frame(circle, count=40)
    assert curl["curl"].abs().max() > 1
    draw_field(field_frame(circle), curl, ax)
    assert "curl" in ax.child_axes[0].get_ylabel()
    assert ax.get_xlabel() == "$s_p$, cosine in [−1, 1]"


def test_without_a_curl_the_ground_is_white(taken_apart, ax):
    field = taken_apart("contrastive_cosine")
    draw_field(field_frame(field), curl_frame(field, count=20), ax)
    assert not ax.child_axes
    still = [line for line in ax.lines if line.get_marker() == "."]
    assert len(still[0].get_xdata()) == (field_frame(field)[["w_p", "w_n"]] == 0).all(axis=1).sum()


def test_a_concentrated_curl_is_drawn_where_it_is(taken_apart, ax):
    field = taken_apart("selectively_hard_triplet")
    curl = curl_frame(field, count=20)
    assert {"jump_0", "concentrated_0"} <= set(curl)
    draw_field(field_frame(field), curl, ax)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["curl concentrated here"]
    integrable = curl_frame(taken_apart("triplet"), count=20)
    assert not [name for name in integrable if name.startswith("jump_")], "its jump has no curl"


def test_a_verdict_that_is_known_is_not_derived_again(nca_linear, monkeypatch):
    verdict = integrability(nca_linear)
    monkeypatch.setattr("goal_analysis.pictures.weight_frames.integrability", None)
    assert len(curl_frame(nca_linear, verdict=verdict, count=3)) == 9


@pytest.mark.parametrize("similarity", SIMILARITIES, ids=lambda s: s.name)
def test_cosines_of_vectors(similarity):
    a, b = torch.nn.functional.normalize(torch.randn(2, 50, 6, dtype=torch.float64), dim=2)
    u = (a * b).sum(1).numpy()
    truth = {
        "cosine": u,
        "dot": u,
        "negative_squared_euclidean": -((a - b) ** 2).sum(1).numpy(),
        "negative_euclidean": -(a - b).norm(dim=1).numpy(),
    }[similarity.name]
    by = of_cosine(similarity)
    np.testing.assert_allclose(by.similarity(u), truth, atol=1e-12)
    np.testing.assert_allclose(by.cosine(truth), u, atol=1e-12)
    h = 1e-6
    np.testing.assert_allclose(by.slope(u), (by.similarity(u + h) - by.similarity(u - h)) / (2 * h), rtol=1e-6)


@pytest.mark.parametrize("name", ["info_nce", "contrastive", "neighbourhood_components"])
def test_the_flow_is_gradient_descent_on_unit_vectors(name, taken_apart):
    """A small step of autograd on vectors that are normalised inside moves the Gram matrix as derived."""
    decomposition = taken_apart(name)
    loss, similarity = decomposition.loss, decomposition.field.similarity
    from goal_analysis.numeric.compilation import formula

    function = formula(loss.expression(), (s_p, s_n), tuple(loss.values().items()))
    generator = torch.Generator().manual_seed(3)
    vectors = torch.nn.functional.normalize(torch.randn(3, 4, generator=generator, dtype=torch.float64), dim=1)

    def similarities(x):
        a, p, n = torch.nn.functional.normalize(x, dim=1)
        if similarity.name == "cosine":
            return a @ p, a @ n
        squared = -((a - p) ** 2).sum(), -((a - n) ** 2).sum()
        return squared if "squared" in similarity.name else tuple(-(-s).sqrt() for s in squared)

    x = vectors.clone().requires_grad_()
    s = [t.detach() for t in similarities(x)]
    (gradient,) = torch.autograd.grad(function(*similarities(x)), x)
    rate = 1e-6
    moved = torch.nn.functional.normalize(vectors - rate * gradient, dim=1)

    def gram(y):
        a, p, n = y
        return np.array([float(a @ p), float(a @ n), float(p @ n)])

    at = [t.requires_grad_() for t in s]
    w = torch.autograd.grad(function(*at), at)
    u, v, c = (np.array([g]) for g in gram(vectors))
    by_cosine = -float(w[0]) * of_cosine(similarity).slope(u), float(w[1]) * of_cosine(similarity).slope(v)
    flow = gram_flow(*by_cosine, u, v, c)[:, 0]
    np.testing.assert_allclose((gram(moved) - gram(vectors)) / rate, flow, rtol=1e-4, atol=1e-5)
    assert np.abs(flow).max() > 0.1


def test_the_flow_of_a_slice(nca_linear):
    frame = flow_frame(nca_linear, rho=0.0, count=8)
    t = 1 / (1 + np.exp(-10 * (frame["s_n"] - frame["s_p"])))
    np.testing.assert_allclose(frame["ds_p"], 2 * t * (1 - frame["s_p"]) * (1 - frame["s_p"] ** 2))
    np.testing.assert_allclose(frame["ds_n"], -2 * t * frame["s_n"] * (1 - frame["s_n"] ** 2))
    pushed = flow_frame(nca_linear, rho=1.0, count=8)
    assert not np.allclose(pushed["ds_p"], frame["ds_p"])
    with pytest.raises(ValueError, match=r"rho: got 1\.5 but expected a number in \[-1, 1\]"):
        flow_frame(nca_linear, rho=1.5)


def test_a_trajectory_rests_where_nothing_pulls(hinge):
    frame = trajectories_frame(hinge, starts=[(-0.5, 0.5), (0.5, -0.5)], rho=0.0)
    by = dict(list(frame.groupby("trajectory")))
    assert len(by[1]) == 1, "an easy triplet stays"
    end = by[0].iloc[-1]
    assert end["s_p"] == pytest.approx(end["s_n"], abs=0.02)
    assert (frame[["s_p", "s_n", "cos_pn"]].abs() <= 1).all(axis=None)


@pytest.mark.parametrize("name", ["circle", "contrastive", "lmnn", "arc_face"])
def test_flows_at_extremes(name, taken_apart, ax):
    decomposition = taken_apart(name)
    similarity = decomposition.field.similarity
    trajectories = trajectories_frame(decomposition)
    assert trajectories["trajectory"].nunique() == 9
    assert np.isfinite(trajectories.to_numpy()).all()
    draw_flow(flow_frame(decomposition, count=60), trajectories, ax, similarity)
    assert "from ○ to ●" in [t.get_text() for t in ax.get_legend().get_texts()]
    assert ax.get_xlim() == tuple(map(float, similarity.window))


def test_text_stays_text(tmp_path, taken_apart):
    figure, axes = panels(1, 1)
    draw_pair_weights(pair_frame(taken_apart("triplet")), axes[0, 0])
    save(figure, tmp_path / "a.svg")
    svg = (tmp_path / "a.svg").read_text()
    assert svg.count("<text") > 10
    save(figure, tmp_path / "a.pdf")
    assert b"/Type3" not in (tmp_path / "a.pdf").read_bytes()
    with pytest.raises(ValueError, match=r"got the ending '\.bmp' but expected one of \.png, \.svg, \.pdf"):
        save(figure, tmp_path / "a.bmp")


def test_a_similarity_without_a_range_or_of_no_cosine_is_drawn_but_for_its_flow(ax):
    odd = Similarity("log_ratio", "log p(a) − log p(b)", -sp.oo, sp.oo)
    field = WeightField(name="odd", positive=sigmoid(s_n - s_p), negative=sigmoid(s_n - s_p), similarity=odd)
    assert [kind for kind, _ in figures(field, "odd")] == ["pair", "triplet", "field", "portrait"]
    draw_field(field_frame(field), curl_frame(field, count=20), ax, odd)
    assert ax.get_xlim() == tuple(map(float, odd.window))
    assert " ".join(ax.get_xlabel().split()) == "$s_p$, log ratio, drawn from −4 to 4"
    with pytest.raises(ValueError, match="got 'log_ratio' but expected a function of the cosine"):
        flow_frame(field)


def test_an_open_verdict_is_said_and_the_rest_is_drawn(nca_linear, monkeypatch):
    verdict = replace(integrability(nca_linear), integrable=None)
    monkeypatch.setattr("goal_analysis.pictures.objective_figures.integrability", lambda objective: verdict)
    ((_, figure),) = figures(nca_linear, "nca / linear", ["field"])
    assert "neither proved nor refuted to be the gradient of a loss" in figure.get_suptitle()
    assert curl_frame(nca_linear, verdict=verdict, count=5)[["curl", "potential"]].notna().all(axis=None)


@pytest.mark.parametrize("triplet", triplet_weights, ids=lambda weight: weight.name)
@pytest.mark.parametrize("pair", ["relative_linear", "relative_sigmoid"])
def test_relative_pair_weights_are_drawn_with_every_triplet_weight(triplet, pair, composed):
    """A portrait has the panels of field and flow, which have a picture of their own with one of them."""
    field = composed(f"{triplet.name}/{pair}")
    kinds = list(KINDS) if triplet is triplet_weights[-1] else ["pair", "triplet", "portrait"]
    assert [kind for kind, _ in figures(field, pair, kinds)] == kinds
    assert np.isfinite(curl_frame(field, count=12)[["curl", "potential"]]).all(axis=None)


def test_a_flow_of_dot_products_is_that_of_unit_vectors(nca_linear, ax):
    field = replace(nca_linear, similarity=DOT)
    frame = flow_frame(field, count=40)
    for own, expected in zip((frame, trajectories_frame(field)), (flow_frame(nca_linear, count=40),
                              trajectories_frame(nca_linear)), strict=True):  # fmt: skip
        assert (own == expected).all(axis=None)
    draw_flow(frame, trajectories_frame(field), ax, DOT)
    assert ax.get_xlim() == (-1, 1)
    assert "unit vectors" in ax.get_xlabel()


def test_a_witness_a_number_and_a_picture_are_at_the_hyperparameters_that_were_set(taken_apart):
    gentle = decompose(taken_apart("circle").loss.with_settings({"gamma": 16}))
    verdict = integrability(gentle)
    at = dict(verdict.witness.point)
    assert at["gamma"] == 16
    ((_, figure),) = figures(gentle, "circle", ["field"])
    assert "gamma\u00a0=\u00a016" in figure.get_suptitle()
    here = {s_p: at["s_p"], s_n: at["s_n"]}
    symbols = gentle.field.values()
    assert float(verdict.curl.subs(symbols).subs(here)) == pytest.approx(verdict.witness.value, rel=1e-6)


def test_of_a_pole_the_arrows_keep_their_length():
    at = field_frame(WeightField(name="pole", positive=1 / (1 - s_p) ** 4, negative=s_n * 0), count=40)
    arrows = arrow_frame(at, at["w_p"], -at["w_n"])
    apart = 2 / 40
    assert arrows["across"].max() == pytest.approx(0.95 * apart)
    assert (arrows["across"] > 0.9 * apart).sum() >= 40, "and not one row alone"
    with_gap = at.assign(w_p=at["w_p"].where(at["s_p"] > 0))
    assert len(arrow_frame(with_gap, with_gap["w_p"], with_gap["w_n"])) == 800
