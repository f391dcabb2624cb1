"""What the charts hold: surfaces that are the weights, sliders that change them, JSON that is safe in a page."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
import sympy as sp

from goal_analysis.pictures.charts import numbers, script_json, training_chart
from goal_analysis.pictures.run_frames import Records, log_frame
from goal_analysis.pictures.style import COLOURS, DIVERGING, SEQUENTIAL
from goal_analysis.pictures.weight_chart import weight_chart
from goal_analysis.pictures.weight_frames import MOVED, STEPS, matrix, moved_frame, surface_frame, values_around
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive, unit
from goal_analysis.symbolic.weight import WeightField


@pytest.fixture(scope="module")
def found(composed):
    return moved_frame(at_six(composed("circular/sigmoid")))


def at_six(field):
    moved = (replace(h, default=6) if h.name == "tau" else h for h in field.hyperparameters)
    return replace(field, hyperparameters=tuple(moved))


def own(frame):
    return frame[frame["moved"] == ""]


def spec(frame):
    return json.loads(weight_chart("x", frame).content)


def test_surfaces_are_the_weights_at_the_settings(found, composed):
    at = own(found)
    t = 1 / (1 + np.exp(-6 * ((1 - at["s_p"]) ** 2 + at["s_n"] ** 2 - 0.5)))
    np.testing.assert_allclose(at["w_p"], t / (1 + np.exp(2 * (at["s_p"] - 0.5))), rtol=1e-12)
    np.testing.assert_allclose(at["w_n"], t / (1 + np.exp(-10 * (at["s_n"] - 0.5))), rtol=1e-12)
    drawn = surface_frame(at_six(composed("circular/sigmoid")), "w_p", MOVED)
    np.testing.assert_allclose(at["w_p"], drawn["value"], rtol=1e-12, err_msg="what a picture draws, a chart draws")


def test_relative_pair_weights_without_other_pairs_have_the_limit_of_their_potential(composed):
    at = own(moved_frame(composed("constant/relative_sigmoid")))
    by_hand = np.exp(-2 * (at["s_p"] - 0.5)) / 2 + np.exp(10 * (at["s_n"] - 0.5)) / 10
    np.testing.assert_allclose(at["potential"], by_hand, rtol=1e-12)


def test_the_curl_of_what_is_integrable_vanishes(found, composed):
    assert own(moved_frame(composed("nca/constant")))["curl"].abs().max() < 1e-12
    assert own(found)["curl"].abs().max() > 0.5, "circle × sigmoid is no gradient"


def test_every_hyperparameter_that_a_weight_reads_is_moved(found, composed):
    assert list(found["moved"].unique()) == ["", "tau", "alpha", "beta", "lam"]
    for _, moved in found[found["moved"] != ""].groupby("moved"):
        values = moved["setting"].unique()
        assert list(values) == sorted(values)
        at, first = moved[moved["own"]], moved[moved["setting"] == values[0]]
        np.testing.assert_array_equal(at["w_p"], own(found)["w_p"])
        change = sum(np.abs(first[w].to_numpy() - at[w].to_numpy()).max() for w in ("w_p", "w_n"))
        assert change > 0.01
    assert set(moved_frame(composed("constant/linear"))["moved"]) == {""}


def test_relative_similarities_are_taken_to_be_zero(composed):
    frame = moved_frame(composed("constant/relative_linear"))
    np.testing.assert_allclose(frame["w_p"], 1 - frame["s_p"])
    assert "slack" not in set(frame["moved"]), "which only says with whom a pair is compared"


@pytest.mark.parametrize(
    ("domain", "value", "ends"),
    [
        (positive, 10.0, (2.5, 40)),
        (unit, 0.8, (0.2, 0.8)),
        (nonnegative, 0.0, (0, 1)),
        (sp.Interval(-8, 0), -2.0, (-8, -0.5)),
    ],
)
def test_values_stay_in_the_domain(domain: sp.Interval, value: float, ends: tuple[float, float]):
    values = values_around(Hyperparameter("h", value, domain), value)
    assert (values[0], values[-1]) == ends
    assert value in values
    assert len(set(values)) == len(values) <= STEPS


def test_a_slider_changes_its_surface_and_puts_the_others_back(found):
    drawn = spec(found)
    sliders = drawn["layout"]["sliders"]
    assert [slider["currentvalue"]["prefix"] for slider in sliders] == ["tau = ", "alpha = ", "beta = ", "lam = "]
    own_places = [slider["active"] for slider in sliders]
    for number, slider in enumerate(sliders):
        for place, step in enumerate(slider["steps"]):
            traces, layout = step["args"]
            assert {len(values) for values in traces.values()} == {len(drawn["data"])}
            told = [layout[f"sliders[{i}].active"] for i in range(len(sliders))]
            assert told == [*own_places[:number], place, *own_places[number + 1 :]]
            same = traces["z"][:4] == [trace["z"] for trace in drawn["data"][:4]]
            assert same == (place == own_places[number])


def test_a_chart_has_the_scale_and_the_colours_of_a_picture(taken_apart):
    steep = spec(moved_frame(taken_apart("info_nce")))
    axis = steep["layout"]["coloraxis"]
    assert axis["colorbar"]["title"]["text"] == "log scale, clipped below 0.001"
    assert (axis["cmin"], axis["cmax"]) == pytest.approx((1, 5)), "four decades"
    for of_axis, colours in (("coloraxis", SEQUENTIAL), ("coloraxis3", DIVERGING)):
        for share, colour in steep["layout"][of_axis]["colorscale"]:
            red_green_blue = [int(part) / 255 for part in re.findall(r"\d+", colour)]
            assert mpl.colormaps[colours](share)[:3] == pytest.approx(red_green_blue, abs=0.02)
    surface = steep["data"][0]
    expected = matrix(own(moved_frame(taken_apart("info_nce"))), "w_p")
    np.testing.assert_allclose(np.array(surface["text"]), expected, rtol=6e-3, err_msg="by the mouse: the weight")
    assert "%{text}" in surface["hovertemplate"]


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_weights_that_are_nothing_or_no_number_are_drawn(value):
    silent = WeightField(name="x", positive=sp.S.Zero, negative=sp.S.Zero)
    drawn = spec(moved_frame(silent).assign(w_p=value))
    assert drawn["layout"]["coloraxis"]["cmax"] == 1
    assert drawn["data"][5]["x"] == [], "no arrow"
    assert numbers(np.array([np.inf, np.nan, 0.12345])) == [None, None, 0.123]


def test_panels_do_not_overlap(found):
    drawn = spec(found)
    for way, axis in (("wide", "xaxis"), ("narrow", "yaxis")):
        spans = sorted(drawn[way][f"{axis}{number}.domain"] for number in ("", 2, 3))
        assert spans[0][0] >= 0
        assert spans[-1][1] == pytest.approx(1)
        assert all(before[1] < after[0] for before, after in pairwise(spans))


def test_a_line_has_one_colour_and_a_band_over_seeds():
    records = [{"kind": "epoch", "step": 1, "epoch": 1, "rsum": 1.0, "i2t_r1": 2.0, "t2i_r1": 3.0}]
    frame = log_frame([*(Records("<b>", seed, records) for seed in range(4)), Records("one", 0, records)], "epoch")
    drawn = json.loads(training_chart(frame).content)
    assert len(drawn["data"]) == 3 * (2 + 1), "two lines and a band in every panel"
    lines = [trace for trace in drawn["data"] if trace["mode"] == "lines+markers"]
    assert {(line["name"], line["line"]["color"]) for line in lines} == {("&lt;b&gt;", COLOURS[0]), ("one", COLOURS[1])}
    fewer = json.loads(training_chart(frame[frame["seed"] < 3]).content)
    assert len(fewer["data"]) == 3 * 2, "three seeds have no band"
    assert training_chart(frame[:0]) is None


def test_what_stands_in_a_script_element_cannot_end_it():
    words = "</script><!--<script> & \u2028"
    written = script_json({words: words})
    assert not set("<>&\u2028") & set(written)
    assert json.loads(written) == {words: words}
