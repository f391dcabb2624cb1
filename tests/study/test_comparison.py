"""What runs say of objectives: means, deviations, paired differences, and what is within noise."""

import numpy as np
import pytest

from goal_analysis.study.comparison import compare, interval


def test_the_numbers_are_those_by_hand() -> None:
    found = compare({"a": {0: 10.0, 1: 20.0, 2: 30.0}, "b": {1: 21.0, 2: 33.0, 7: 100.0}}, "a")
    rows = found.table.set_index("objective")
    assert list(rows.index) == ["b", "a"]
    assert rows.loc["a", "mean"] == 20
    assert rows.loc["a", "deviation"] == pytest.approx(10)
    assert rows.loc["b", "difference"] == pytest.approx(2), "over the seeds 1 and 2 alone"
    assert rows.loc["b", "low"] == 1
    assert rows.loc["b", "high"] == 3
    assert np.isnan(rows.loc["a", "difference"])


@pytest.mark.parametrize(
    ("shift", "said"), [(0.0, "within noise of a"), (9.0, "better than a"), (-9.0, "worse than a")]
)
def test_statements_follow_the_interval(shift: float, said: str) -> None:
    rng = np.random.default_rng(0)
    a = dict(enumerate(rng.normal(size=5)))
    b = {seed: float(rng.normal()) + shift for seed in a}
    (statement,) = compare({"a": a, "b": b}, "a").statements()
    assert said in statement


def test_one_common_seed_has_no_interval() -> None:
    (statement,) = compare({"a": {0: 1.0}, "b": {0: 5.0}}, "a").statements()
    assert statement == "b: too few common seeds for an interval"
    assert np.isnan(interval(np.array([1.0]))).all()


def test_the_interval_covers_about_as_often_as_it_says() -> None:
    """With forty differences; with five it covers less, as the docstring says."""
    rng = np.random.default_rng(1)
    covered = [low <= 0 <= high for low, high in (interval(rng.normal(size=40)) for _ in range(100))]
    assert 0.88 <= np.mean(covered) <= 0.99
    shifted = [low <= 1 <= high for low, high in (interval(rng.normal(size=40)) for _ in range(100))]
    assert np.mean(shifted) < 0.1


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="baseline: got 'c' but expected one of a, b"):
        compare({"a": {0: 1.0}, "b": {0: 1.0}}, "c")
    with pytest.raises(ValueError, match="got no run of 'b'"):
        compare({"a": {0: 1.0}, "b": {}}, "a")
