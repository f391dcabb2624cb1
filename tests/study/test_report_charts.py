"""What the charts hold: surfaces that are the weights, sliders that change them, JSON that is safe in a page."""

import json
from itertools import pairwise

import numpy as np
import pytest
import sympy as sp

from goal_analysis.cli.study import FAMILIES
from goal_analysis.cli.study_options import BASELINES
from goal_analysis.study.report.charts import numbers, script_json
from goal_analysis.study.report.formulas import mathml
from goal_analysis.study.report.surfaces import GRID, STEPS, around, surfaces
from goal_analysis.study.report.weight_chart import weight_chart
from goal_analysis.symbolic.analysis.decomposition import decompose
from goal_analysis.symbolic.language.hyperparameter import Hyperparameter, nonnegative, positive, unit
from losses_catalog import catalog, pair_weights, triplet_weights


@pytest.fixture(scope="module")
def found(objective_of):
    return surfaces(objective_of("circle(tau=6)/sigmoid").describe())


def test_surfaces_are_the_weights_at_the_settings(found) -> None:
    s_p, s_n = np.meshgrid(found.s, found.s)
    t = 1 / (1 + np.exp(-6 * ((1 - s_p) ** 2 + s_n**2 - 0.5)))
    np.testing.assert_allclose(found.own.positive, t / (1 + np.exp(2 * (s_p - 0.5))), rtol=1e-12)
    np.testing.assert_allclose(found.own.negative, t / (1 + np.exp(-10 * (s_n - 0.5))), rtol=1e-12)


@pytest.mark.parametrize("name", [*FAMILIES["all"], *BASELINES])
def test_every_objective_of_a_family_has_surfaces(name: str, objective_of) -> None:
    found = surfaces(objective_of(name).describe()).own
    for surface in (found.positive, found.negative, found.curl):
        assert np.isfinite(surface).all()
    if found.potential is not None:
        assert np.isfinite(found.potential).all()
        assert np.ptp(found.potential) > 0


def test_relative_pair_weights_without_other_pairs_have_the_limit_of_their_potential(objective_of) -> None:
    found = surfaces(objective_of("constant/relative_sigmoid").describe())
    s_p, s_n = np.meshgrid(found.s, found.s)
    by_hand = np.exp(-2 * (s_p - 0.5)) / 2 + np.exp(10 * (s_n - 0.5)) / 10
    np.testing.assert_allclose(found.own.potential, by_hand, rtol=1e-12)


def test_the_curl_is_that_of_finite_differences(found) -> None:
    w_p, w_n, s = found.own.positive, found.own.negative, found.s
    measured = np.gradient(w_p, s, axis=0, edge_order=2) + np.gradient(w_n, s, axis=1, edge_order=2)
    assert np.abs(found.own.curl - measured)[1:-1, 1:-1].max() < 0.05 * np.abs(found.own.curl).max()
    assert np.abs(found.own.curl).max() > 0.5, "circle × sigmoid is no gradient"


def test_the_curl_of_what_is_integrable_vanishes(objective_of) -> None:
    assert np.abs(surfaces(objective_of("nca/constant").describe()).own.curl).max() < 1e-12


def test_every_hyperparameter_that_a_weight_reads_is_moved(found, objective_of) -> None:
    assert list(found.moved) == ["tau", "alpha", "beta", "lam"]
    for name, moved in found.moved.items():
        values = [value for value, _ in moved]
        assert values == sorted(values)
        own = moved[values.index(found.settings[name])][1]
        np.testing.assert_array_equal(own.positive, found.own.positive)
        first = moved[0][1]
        assert np.abs(first.positive - own.positive).max() + np.abs(first.negative - own.negative).max() > 0.01
    assert surfaces(objective_of("constant/linear").describe()).moved == {}


def test_relative_similarities_are_taken_to_be_zero(objective_of) -> None:
    found = surfaces(objective_of("constant/relative_linear").describe())
    np.testing.assert_allclose(found.own.positive, np.broadcast_to(1 - found.s, (GRID, GRID)))
    assert "slack" not in found.moved, "which only says with whom a pair is compared"


@pytest.mark.parametrize(
    ("domain", "value", "ends"),
    [
        (positive, 10.0, (2.5, 40)),
        (unit, 0.8, (0.2, 0.8)),
        (nonnegative, 0.0, (0, 1)),
        (sp.Interval(-8, 0), -2.0, (-8, -0.5)),
    ],
)
def test_values_stay_in_the_domain(domain: sp.Interval, value: float, ends: tuple[float, float]) -> None:
    values = around(Hyperparameter("h", value, domain), value)
    assert (values[0], values[-1]) == ends
    assert value in values
    assert len(set(values)) == len(values) <= STEPS


def test_a_slider_changes_its_surface_and_puts_the_others_back(found) -> None:
    spec = json.loads(weight_chart("circle/sigmoid", found).content)
    sliders = spec["layout"]["sliders"]
    assert [slider["currentvalue"]["prefix"] for slider in sliders] == ["tau = ", "alpha = ", "beta = ", "lam = "]
    own = [slider["active"] for slider in sliders]
    for number, slider in enumerate(sliders):
        for place, step in enumerate(slider["steps"]):
            traces, layout = step["args"]
            assert [len(traces[key]) for key in ("x", "y", "z")] == [len(spec["data"])] * 3
            told = [layout[f"sliders[{i}].active"] for i in range(len(sliders))]
            assert told == [*own[:number], place, *own[number + 1 :]]
            same = traces["z"][:2] == [trace["z"] for trace in spec["data"][:2]]
            assert same == (place == own[number])


def test_weights_that_are_infinite_or_nothing_are_drawn(objective_of) -> None:
    silent = surfaces(objective_of("constant/constant").describe())
    nothing = np.zeros((GRID, GRID))
    infinite = np.full((GRID, GRID), np.inf)
    for w in (nothing, infinite):
        own = type(silent.own)(w, w, w, None)
        spec = json.loads(weight_chart("x", type(silent)(silent.s, own, {}, {})).content)
        assert spec["layout"]["coloraxis"]["cmax"] == 1
        assert spec["data"][3]["x"] == []
    assert numbers(np.array([np.inf, np.nan, 0.12345])) == [None, None, 0.123]


def test_panels_do_not_overlap(found) -> None:
    spec = json.loads(weight_chart("x", found).content)
    for way, axis in (("wide", "xaxis"), ("narrow", "yaxis")):
        spans = sorted(spec[way][f"{axis}{number}.domain"] for number in ("", 2, 3))
        assert spans[0][0] >= 0
        assert spans[-1][1] == pytest.approx(1)
        assert all(before[1] < after[0] for before, after in pairwise(spans))


def test_what_stands_in_a_script_element_cannot_end_it() -> None:
    words = "</script><!--<script> & \u2028"
    written = script_json({words: words})
    assert not set("<>&\u2028") & set(written)
    assert json.loads(written) == {words: words}


def test_every_formula_of_the_catalog_is_typeset() -> None:
    formulas = {formula for t in triplet_weights for formula in (t.expression,)}
    formulas |= {formula for p in pair_weights for formula in (p.positive, p.negative)}
    for loss in catalog:
        field = decompose(loss).field
        formulas |= {field.positive, field.negative}
    for formula in formulas:
        written = mathml(formula)
        assert written.startswith("<math")
        assert "\\" not in written, f"{formula}: a command is left"


@pytest.mark.parametrize("name", ["_", "tau_pair", "λ", "x1", "lam", "long_name_2"])
def test_any_name_is_typeset(name: str) -> None:
    assert "\\" not in mathml(sp.Symbol(name) + 1)
