"""Every test of this floor computes in float64."""

import pytest


@pytest.fixture(autouse=True)
def every_test_in_float64(float64: None) -> None:
    pass
