"""What runs say of objectives: means, deviations, paired differences, and what is within noise."""

from math import gamma, pi, sqrt

import numpy as np
import pytest

from goal_analysis.numeric.student import adjusted_for, bounds, quantile, score
from goal_analysis.study.comparison import compare


def table_of(differences: np.ndarray) -> dict[str, dict[int, float]]:
    """A baseline of zeros, and a row for every row of differences, of shape (rows, seeds)."""
    rows = {f"row {k}": dict(enumerate(values.tolist())) for k, values in enumerate(differences)}
    return {"a": dict.fromkeys(range(differences.shape[1]), 0.0), **rows}


def called(differences: np.ndarray) -> list[bool]:
    """Which rows are called better or worse."""
    return ["within noise" not in said for said in compare(table_of(differences), "a").statements()]


def test_the_numbers_are_those_by_hand() -> None:
    found = compare(
        {"a": {0: 10.0, 1: 20.0, 2: 30.0, 3: 40.0}, "b": {0: 11.0, 1: 22.0, 2: 33.0, 3: 44.0, 7: 100.0}}, "a"
    )
    rows = found.table.set_index("objective")
    assert list(rows.index) == ["b", "a"]
    assert rows.loc["a", "mean"] == 25
    assert rows.loc["a", "deviation"] == pytest.approx(sqrt(500 / 3))
    assert rows.loc["b", "difference"] == pytest.approx(2.5), "over the four seeds of both"
    half = 3.182446 * sqrt(5 / 3) / 2
    assert rows.loc["b", "low"] == pytest.approx(2.5 - half, abs=1e-5)
    assert rows.loc["b", "high"] == pytest.approx(2.5 + half, abs=1e-5)
    assert np.isnan(rows.loc["a", "difference"])
    assert found.statements() == ["b: better than a: +2.5 [+0.4, +4.6], over 4 of 5 seeds"]


@pytest.mark.parametrize(("tail", "freedom"), [(0.05, 3), (0.0025, 4), (0.5, 9), (0.999, 1)])
def test_a_quantile_leaves_its_tail(tail: float, freedom: int) -> None:
    """By adding up Student's density."""
    factor = gamma((freedom + 1) / 2) / (sqrt(freedom * pi) * gamma(freedom / 2))
    t, width = np.linspace(0, quantile(tail, freedom), 20_001, retstep=True)
    density = factor * (1 + t**2 / freedom) ** (-(freedom + 1) / 2)
    assert 2 * width * (density[1:] + density[:-1]).sum() / 2 == pytest.approx(1 - tail, abs=1e-6)


@pytest.mark.parametrize(
    ("shift", "said"), [(0.0, "within noise of a"), (9.0, "better than a"), (-9.0, "worse than a")]
)
def test_statements_follow_the_interval(shift: float, said: str) -> None:
    rng = np.random.default_rng(0)
    a = dict(enumerate(rng.normal(size=5)))
    b = {seed: float(rng.normal()) + shift for seed in a}
    (statement,) = compare({"a": a, "b": b}, "a").statements()
    assert said in statement


@pytest.mark.parametrize("seeds", [0, 1, 2, 3])
def test_fewer_than_four_common_seeds_say_nothing(seeds: int) -> None:
    a, b = dict.fromkeys(range(5), 1.0), dict.fromkeys(range(5 - seeds, 10 - seeds), 50.0)
    found = compare({"a": a, "b": b}, "a")
    assert found.statements() == [f"b: too few seeds to say: {seeds} in common with a, and 4 are needed"]
    assert ("b", "5", "50.0", "0.0", "+49.0" if seeds else "–", "–") in list(found.cells())


def test_a_seed_without_a_number_is_left_out_and_said() -> None:
    a = dict(enumerate([1.0, 2.0, 3.0, 4.0, 5.0]))
    b = {**{seed: value + 9 + seed % 2 for seed, value in a.items()}, 1: float("nan")}
    diverged = dict.fromkeys(a, float("inf"))
    found = compare({"a": a, "b": b, "c": diverged}, "a")
    assert found.statements()[0].endswith("over 4 of 5 seeds")
    assert found.statements()[1] == "c: too few seeds to say: 0 in common with a, and 4 are needed"
    assert ("c", "0", "–", "–", "–", "–") in list(found.cells())
    assert "nan" not in "\n".join(found.markdown())


def test_runs_that_do_not_vary_are_told_apart_by_their_difference() -> None:
    a = dict(enumerate([1.0, 2.0, 3.0, 4.0]))
    found = compare({"a": a, "same": dict(a), "more": {seed: value + 1 for seed, value in a.items()}}, "a")
    assert found.statements() == [
        "more: better than a: +1.0 [+1.0, +1.0]",
        "same: within noise of a: +0.0 [+0.0, +0.0]",
    ]


def test_a_difference_is_called_where_the_interval_leaves_out_zero_and_where_holm_rejects() -> None:
    """Of differences of any size, in tables of six, by Holm's method as it is published: from the least p upwards."""
    rng = np.random.default_rng(0)
    some = 0
    for _ in range(60):
        differences = rng.normal(size=(6, 5)) + rng.choice([0, 1, 3], 6)[:, None]
        found = compare(table_of(differences), "a").table.set_index("objective").drop("a")
        outside = {name for name, row in found.iterrows() if row["low"] > 0 or row["high"] < 0}
        sizes = np.abs(score(differences))
        rejected = set()
        for place, row in enumerate(np.argsort(-sizes)):
            if sizes[row] <= quantile(0.05 / (6 - place), 4):
                break
            rejected.add(f"row {row}")
        assert outside == rejected
        some += 0 < len(rejected) < 6
    assert some > 10


def test_rows_of_different_numbers_of_seeds_are_tested_by_their_own_degrees_of_freedom() -> None:
    assert adjusted_for(np.array([3.0, 3.0]), np.array([3, 9])).tolist() == [1, 2]
    assert adjusted_for(np.array([]), np.array([], dtype=int)).tolist() == []


@pytest.mark.parametrize("seeds", [4, 5, 10])
@pytest.mark.parametrize("rows", [1, 20])
def test_equal_objectives_are_seldom_called_different(seeds: int, rows: int) -> None:
    """In whole tables. The control calls each row as if it stood alone."""
    rng = np.random.default_rng(seeds + rows)
    runs = rng.normal(size=(600, rows + 1, seeds))
    scores = score(runs[:, 1:] - runs[:, :1])
    found = np.abs(scores) > bounds(adjusted_for(scores, seeds - 1), seeds - 1)
    assert found.any(1).mean() < 0.05 + 3 * sqrt(0.05 * 0.95 / 600)
    assert [called(table[1:] - table[0]) for table in runs[:10]] == found[:10].tolist()
    if rows > 1:
        assert (np.abs(scores) > bounds(np.ones(1), seeds - 1)).any(1).mean() > 0.2


def test_a_difference_of_three_deviations_is_found() -> None:
    rng = np.random.default_rng(2)
    assert np.mean([called(rng.normal(4, 1, size=(1, 5)))[0] for _ in range(100)]) > 0.9


def test_the_caption_says_what_the_intervals_are() -> None:
    caption = compare({"a": {0: 1.0}}, "a").caption
    for said in ("to a over the same seeds", "Student's", "Holm's", "5 %"):
        assert said in caption


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="baseline: got 'c' but expected one of a, b"):
        compare({"a": {0: 1.0}, "b": {0: 1.0}}, "c")
    with pytest.raises(ValueError, match="got no run of 'b'"):
        compare({"a": {0: 1.0}, "b": {}}, "a")
