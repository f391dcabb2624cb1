"""What every test gets: fixed seeds, no display, reproducible hypotheses."""

import os
import random

import pytest
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")

# A busy machine may be slow without the code being wrong, hence no deadline.
settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    """Start every test from the same random state."""
    random.seed(0)
