"""What the charts hold: programs that are the weights, sliders that change them, JSON that is safe in a page."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import sympy as sp

from goal_analysis.pictures.charts import numbers, training_chart, weight_chart
from goal_analysis.pictures.run_frames import Records, log_frame
from goal_analysis.pictures.style import COLOURS
from goal_analysis.pictures.weight_frames import surface_frame
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, exact, nonnegative, positive, unit
from goal_analysis.symbolic.proof.evaluation import FLOAT
from goal_analysis.symbolic.weight import WeightField

SETTINGS = {"tau": 6.0}


@pytest.fixture(scope="module")
def field(composed):
    found = composed("circular/sigmoid")
    moved = (replace(h, default=SETTINGS.get(h.name, h.default)) for h in found.hyperparameters)
    return replace(found, hyperparameters=tuple(moved))


def spec(objective):
    return json.loads(weight_chart("x", objective).content)


def computed(drawn, name, s_p, s_n, **settings):
    """What a page works out of a chart's program, here in Python's floats."""
    live = drawn["live"]
    inputs = [s_p, s_n, *({one["name"]: one["value"] for one in live["sliders"]} | settings).values()]
    known = [*inputs]
    for step in live["program"]["steps"]:
        known.append(step if isinstance(step, float) else FLOAT[step[0]](*(known[i] for i in step[1:])))
    return known[live["program"]["outputs"][live["names"].index(name)]]


@pytest.mark.parametrize("weight", ["w_p", "w_n"])
def test_a_page_computes_what_a_picture_draws(field, weight):
    drawn = spec(field)
    for _, at in surface_frame(field, weight, 7).iterrows():
        assert computed(drawn, weight, at["s_p"], at["s_n"]) == pytest.approx(at["value"], rel=1e-12)


def test_a_hyperparameter_moves_alone(field, composed):
    moved = surface_frame(composed("circular/sigmoid"), "w_p", 3).iloc[5]  # at the default of tau, 10
    here = computed(spec(field), "w_p", moved["s_p"], moved["s_n"])
    assert computed(spec(field), "w_p", moved["s_p"], moved["s_n"], tau=10.0) == pytest.approx(
        moved["value"], rel=1e-12
    )
    assert here != pytest.approx(moved["value"], rel=1e-3)


def test_relative_pair_weights_without_other_pairs_have_the_limit_of_their_potential(composed):
    by_hand = np.exp(-2 * (0.3 - 0.5)) / 2 + np.exp(10 * (0.1 - 0.5)) / 10
    assert computed(spec(composed("constant/relative_sigmoid")), "potential", 0.3, 0.1) == pytest.approx(by_hand)


def test_the_curl_of_what_is_integrable_vanishes(field, composed):
    assert computed(spec(composed("nca/constant")), "curl", 0.3, 0.1) == pytest.approx(0, abs=1e-12)
    assert abs(computed(spec(field), "curl", 0.3, 0.4)) > 0.1, "circle × sigmoid is no gradient"


def test_every_hyperparameter_that_is_read_has_a_slider_about_its_own_value(field, composed):
    sliders = spec(field)["live"]["sliders"]
    assert [one["name"] for one in sliders] == ["tau", "alpha", "beta", "lam"]
    assert sliders[0] | {"meaning": ""} == {
        "name": "tau",
        "meaning": "",
        "domain": "(0, inf)",
        "value": 6.0,
        "low": 1.5,
        "high": 24.0,
        "ends": {"min": 0.0},
        "open": {"min": True, "max": True},
    }
    assert spec(composed("constant/linear"))["live"]["sliders"] == []
    relative = spec(composed("constant/relative_linear"))["live"]
    assert "slack" in relative["fixed"], "which only says with whom a pair is compared"
    assert relative["sliders"] == []


@pytest.mark.parametrize(
    ("domain", "value", "ends"),
    [
        (positive, 10.0, (2.5, 40)),
        (unit, 0.8, (0.2, 1)),
        (nonnegative, 0.0, (0, 1)),
        (sp.Interval(-8, 0), -2.0, (-8, -0.5)),
    ],
)
def test_a_slider_stays_in_the_domain(domain: sp.Interval, value: float, ends: tuple[float, float]):
    assert Hyperparameter("h", value, domain).around(4) == tuple(map(exact, ends))


def test_a_batch_is_laid_over_every_panel(field):
    batch = pd.DataFrame({"s_p": [0.5, 0.25], "s_n": [0.1, 0.2], "hardest": [False, True]})
    drawn = json.loads(weight_chart("x", field, batch).content)["data"]
    dots = [trace for trace in drawn if trace.get("mode") == "markers"]
    assert [(trace["x"], trace["y"]) for trace in dots] == 3 * [([0.5], [0.1]), ([0.25], [0.2])]
    assert not any(trace.get("mode") == "markers" for trace in spec(field)["data"])


def test_weights_that_are_nothing_are_drawn():
    silent = WeightField(name="x", positive=sp.S.Zero, negative=sp.S.Zero)
    assert computed(spec(silent), "w_p", 0.5, 0.5) == 0
    assert numbers(np.array([np.inf, np.nan, 0.12345])) == [None, None, 0.123]


def test_panels_do_not_overlap(field):
    drawn = spec(field)
    widest, *_, narrowest = [place["layout"] for place in drawn["places"]]
    for layout, axis in ((widest, "xaxis"), (narrowest, "yaxis")):
        spans = sorted(layout[f"{axis}{number}.domain"] for number in ("", 2, 3))
        assert spans[0][0] >= 0
        assert spans[-1][1] == pytest.approx(1)
        assert all(before[1] < after[0] for before, after in pairwise(spans))
    least = [place["least"] for place in drawn["places"]]
    assert least == sorted(least, reverse=True)
    assert least[-1] == 0, "every page has a place for the panels"


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


def test_what_stands_in_a_script_element_cannot_end_it(field):
    words = "</script><!--<script> & \u2028"
    written = weight_chart(words, field, line={"text": words}).content
    assert not set("<>&\u2028") & set(written)
    assert json.loads(written)["live"]["line"] == {"text": words}
